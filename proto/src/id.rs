//! Names of the parties.

use std::{fmt, sync::Arc};

/// By these words an agent knows that it is refused because another one has its name.
pub const SAME_ID: &str = "give each agent an id of its own";

/// By these words it knows that the other one has ended meanwhile.
pub const RIVAL_ENDED: &str = "it has ended since, so this one may begin anew";

/// Longest name of an agent or manager, in bytes.
pub const MAX_NAME: usize = 128;

/// Why a name was refused. The sender's configuration is at fault; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An empty name names nobody.
    #[error("is empty; give a name of 1 to {MAX_NAME} bytes")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("has {0} bytes; at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// Names appear in URLs, logs and tables.
    #[error("contains {0:?}; use letters, digits and . _ - : /")]
    BadCharacter(char),
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong(name.len()));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-:/".contains(*c))) {
        Some(c) => Err(NameError::BadCharacter(c)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// A valid name, or why it is not one.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check(name).map(|()| Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A gateway agent, unique in the fleet.
    AgentId
);
name!(
    /// A traffic manager, unique in its group.
    ManagerId
);

/// One life of a process: a restart has a larger number and none of the former life's state.
pub type Incarnation = u64;

/// One life of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentLife {
    /// The agent's lasting name.
    pub id: AgentId,
    /// Larger after each restart.
    pub incarnation: Incarnation,
}

/// One life of a manager.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerLife {
    /// The manager's lasting name.
    pub id: ManagerId,
    /// Larger after each restart.
    pub incarnation: Incarnation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(AgentId::new("gw-1.eu/a:b").is_ok());
        assert_eq!(AgentId::new(""), Err(NameError::Empty));
        assert_eq!(AgentId::new("a b"), Err(NameError::BadCharacter(' ')));
        assert_eq!(AgentId::new(&"x".repeat(129)), Err(NameError::TooLong(129)));
    }
}
