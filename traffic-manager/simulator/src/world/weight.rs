//! What messages weigh: the bytes of the real frames, with gRPC's five in front of each. What HTTP/2
//! and TCP add is left out.

use prost::Message as _;
use weir_proto::wire::weir::v1 as wire;

use crate::{network::Message, outcome::Cost};

/// Length and compression flag in front of each gRPC message.
const PREFIX: u64 = 5;

impl Cost {
    /// Counts a message.
    pub(super) fn add(&mut self, message: &Message) {
        let length = |bytes: usize| PREFIX + bytes as u64;
        match message {
            Message::Usage(frame) => {
                self.usage_messages += 1;
                self.usage_bytes += length(wire::UsageFrame::from(frame.clone()).encoded_len());
            }
            Message::Ack(seq, life) => {
                let ack = wire::UsageAck {
                    seq: *seq,
                    manager_id: life.id.to_string(),
                    manager_incarnation: life.incarnation,
                };
                self.usage_messages += 1;
                self.usage_bytes += length(ack.encoded_len());
            }
            Message::Credit(frame) => {
                self.decision_messages += 1;
                self.decision_bytes += length(wire::CreditFrame::from(frame.clone()).encoded_len());
            }
            Message::Decision(frame) => {
                self.decision_messages += 1;
                self.decision_bytes +=
                    length(wire::DecisionFrame::from(frame.clone()).encoded_len());
            }
            Message::Close(_) => {}
        }
    }
}
