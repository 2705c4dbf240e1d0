//! Who may do what: tokens and certificates, roles, and what happens to those who may not.
//!
//! Every call of both ports passes `Guard`; what it lets through carries an `Actor`. Which agent or
//! manager a stream speaks for is said in its first frame, and checked by `Speaker`. Without an
//! `[auth]` table everybody is "anonymous" and may do all, which `config` allows on loopback only.

use std::{fmt, net::SocketAddr, sync::Arc};

use serde::Deserialize;

use self::book::Known;
pub use self::book::{CertificateEntry, TokenEntry};
pub(crate) use self::{
    book::{Book, Credentials},
    grpc::GuardLayer,
    guard::Guard,
    refusal::{Refused, Why},
    scope::{Scope, fault as scope_fault},
    speaker::Speaker,
};

mod book;
mod grpc;
mod guard;
mod refusal;
mod scope;
mod speaker;
pub mod token;

/// What somebody is allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reports usage and follows decisions.
    Agent,
    /// Another manager of the group.
    Peer,
    /// Reads everything of the admin API.
    Viewer,
    /// Reads and changes everything of the admin API.
    Admin,
}

impl Role {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Peer => "peer",
            Role::Viewer => "viewer",
            Role::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::Agent, Role::Peer, Role::Viewer, Role::Admin].into_iter().find(|r| r.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a call asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: probes, static pages.
    Nothing,
    /// To be somebody.
    Any,
    /// Exactly this role; an admin may also do what a viewer may.
    Role(Role),
    /// Nobody may.
    Never,
}

impl Need {
    /// Whether that role is enough.
    pub(crate) fn met_by(self, role: Role) -> bool {
        match self {
            Need::Nothing | Need::Any => true,
            Need::Role(Role::Viewer) => matches!(role, Role::Viewer | Role::Admin),
            Need::Role(needed) => role == needed,
            Need::Never => false,
        }
    }
}

/// Who makes a call; an extension of every request that was let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// The token's or the certificate's name; "anonymous" where nothing is asked.
    pub(crate) name: Arc<str>,
    /// `None` where nothing is asked.
    pub(crate) role: Option<Role>,
    /// Which agents or managers it may speak for.
    pub(crate) scope: Scope,
    /// Where the call comes from; `None` in tests without a socket.
    pub(crate) address: Option<SocketAddr>,
}

impl Actor {
    /// Whoever these credentials are for.
    fn known(known: Known, address: Option<SocketAddr>) -> Actor {
        let Known { name, role, scope, .. } = known;
        Actor { name, role: Some(role), scope, address }
    }

    /// Nobody in particular.
    pub(crate) fn anonymous(address: Option<SocketAddr>) -> Actor {
        Actor { name: "anonymous".into(), role: None, scope: Scope::Anybody, address }
    }
}

#[cfg(test)]
mod tests;
