//! What `/metrics` says of each peer. Written anew each time: a peer that was never met has its
//! address for a name, and must not be there twice once it has told its own.

use std::fmt::Write as _;

/// A peer, for the metrics.
pub(crate) struct PeerGauges {
    /// Its name; its address while that is not known.
    pub(crate) name: String,
    /// There is a link to it.
    pub(crate) up: bool,
    /// For how many seconds it has lacked something; `None` while it was never met.
    pub(crate) lag: Option<f64>,
}

/// The text for Prometheus; nothing without peers.
pub(super) fn render(peers: &[PeerGauges]) -> String {
    let mut text = String::new();
    let up = peers.iter().map(|peer| (&peer.name, f64::from(u8::from(peer.up))));
    let help =
        "1 if there is a link to the peer. One that was never met has its address for a name.";
    family(&mut text, "weir_manager_peer_up", help, up);
    let lag = peers.iter().filter_map(|peer| Some((&peer.name, peer.lag?)));
    let help = "For how long the peer has lacked something that this manager has; 0 if it lacks \
                nothing.";
    family(&mut text, "weir_manager_replication_lag_seconds", help, lag);
    text
}

fn family<'p>(
    text: &mut String,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (&'p String, f64)>,
) {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (peer, value) in samples {
        let peer = peer.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "{name}{{peer=\"{peer}\"}} {value}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_never_met_is_down_and_has_no_lag() {
        assert_eq!(render(&[]), "");
        let text = render(&[
            PeerGauges { name: "tm-2".to_owned(), up: true, lag: Some(0.5) },
            PeerGauges { name: "http://tm3:9611".to_owned(), up: false, lag: None },
        ]);
        let samples: Vec<&str> = text.lines().filter(|line| line.contains('{')).collect();
        assert_eq!(
            samples,
            [
                "weir_manager_peer_up{peer=\"tm-2\"} 1",
                "weir_manager_peer_up{peer=\"http://tm3:9611\"} 0",
                "weir_manager_replication_lag_seconds{peer=\"tm-2\"} 0.5",
            ]
        );
    }
}
