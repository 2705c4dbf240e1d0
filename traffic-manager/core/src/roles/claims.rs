//! What a heartbeat says of roles, and its encoding.
//!
//! ```text
//! 1  sent:8  priority:4  ready:1  and for each role, in the order of Role::ALL:
//!    epoch:8  0
//!    epoch:8  1  epoch:8  priority:4  beat:8  incarnation:8  length:1  name
//! ```
//!
//! Numbers are big-endian. At most [`MAX_CLAIMS_BYTES`].

use weir_proto::{
    id::{MAX_NAME, ManagerId, ManagerLife, NameError},
    peer::MAX_CLAIMS,
};

use super::Epoch;

/// Longest encoding, in bytes.
pub const MAX_CLAIMS_BYTES: usize = 14 + 2 * (9 + 29 + MAX_NAME);
const _: () = assert!(MAX_CLAIMS_BYTES <= MAX_CLAIMS, "a heartbeat takes them");

const VERSION: u8 = 1;

/// What a manager says of the roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its clock, in microseconds: tells newer from older.
    pub sent: u64,
    /// Its priority.
    pub priority: u32,
    /// It could take over.
    pub ready: bool,
    /// Each role, in the order of [`Role::ALL`](super::Role::ALL).
    pub seats: [SeatClaim; 2],
}

/// What it says of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatClaim {
    /// The highest epoch that it has seen.
    pub epoch: Epoch,
    /// Its own tenure, or that of another whose life it has seen within
    /// [`SILENCE`](super::SILENCE).
    pub tenure: Option<Tenure>,
}

/// One manager's tenure of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// Its number.
    pub epoch: Epoch,
    /// Its holder's priority.
    pub priority: u32,
    /// Who.
    pub holder: ManagerLife,
    /// The holder's clock, in microseconds, when it last told of it.
    pub beat: u64,
}

/// Why bytes are no claims. The peer is at fault, or of another version; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Of another version of Weir.
    #[error("roles: the first byte is not {VERSION}, the encoding that this version reads")]
    Version,
    /// Bytes are missing, or too many.
    #[error("roles: ends inside a field, or has bytes after the last one")]
    Length,
    /// Neither 0 nor 1.
    #[error("roles: a flag is neither 0 nor 1")]
    Flag,
    /// Beyond [`Epoch::MAX`].
    #[error("roles: an epoch is beyond {}", Epoch::MAX)]
    Epoch,
    /// Not a manager's name.
    #[error("roles: the holder's name is not valid")]
    Name,
}

impl From<NameError> for ClaimsError {
    fn from(_: NameError) -> Self {
        ClaimsError::Name
    }
}

impl Claims {
    /// The bytes that a heartbeat carries.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.sent.to_be_bytes());
        out.extend(self.priority.to_be_bytes());
        out.push(u8::from(self.ready));
        for seat in &self.seats {
            out.extend(seat.epoch.0.to_be_bytes());
            out.push(u8::from(seat.tenure.is_some()));
            let Some(tenure) = &seat.tenure else { continue };
            out.extend(tenure.epoch.0.to_be_bytes());
            out.extend(tenure.priority.to_be_bytes());
            out.extend(tenure.beat.to_be_bytes());
            out.extend(tenure.holder.incarnation.to_be_bytes());
            let name = tenure.holder.id.as_str();
            // Names have at most MAX_NAME bytes.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend(name.as_bytes());
        }
        out
    }

    /// What [`Claims::encode`] wrote.
    ///
    /// # Errors
    /// [`ClaimsError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Claims, ClaimsError> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(ClaimsError::Version);
        }
        let (sent, priority, ready) = (reader.long()?, reader.int()?, reader.flag()?);
        let seats = [reader.seat()?, reader.seat()?];
        if !reader.0.is_empty() {
            return Err(ClaimsError::Length);
        }
        Ok(Claims { sent, priority, ready, seats })
    }
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ClaimsError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(ClaimsError::Length)?;
        self.0 = rest;
        Ok(*field)
    }

    fn byte(&mut self) -> Result<u8, ClaimsError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn int(&mut self) -> Result<u32, ClaimsError> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Result<u64, ClaimsError> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Result<bool, ClaimsError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ClaimsError::Flag),
        }
    }

    fn epoch(&mut self) -> Result<Epoch, ClaimsError> {
        let epoch = Epoch(self.long()?);
        if epoch > Epoch::MAX { Err(ClaimsError::Epoch) } else { Ok(epoch) }
    }

    fn name(&mut self) -> Result<ManagerId, ClaimsError> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length).ok_or(ClaimsError::Length)?;
        self.0 = rest;
        let name = std::str::from_utf8(name).map_err(|_| ClaimsError::Name)?;
        Ok(ManagerId::new(name)?)
    }

    fn seat(&mut self) -> Result<SeatClaim, ClaimsError> {
        let epoch = self.epoch()?;
        let tenure = if self.flag()? { Some(self.tenure()?) } else { None };
        Ok(SeatClaim { epoch, tenure })
    }

    fn tenure(&mut self) -> Result<Tenure, ClaimsError> {
        let (epoch, priority, beat) = (self.epoch()?, self.int()?, self.long()?);
        let incarnation = self.long()?;
        Ok(Tenure { epoch, priority, holder: ManagerLife { id: self.name()?, incarnation }, beat })
    }
}
