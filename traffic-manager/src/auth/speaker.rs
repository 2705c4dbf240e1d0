//! Whom a stream speaks for: its first frame names an agent or a manager, its credentials say which it
//! may be.

use tonic::{Request, Status};

use super::{Actor, Guard, Refused, Role, Why};
use crate::tls::Port;

/// The other end of a stream.
#[derive(Clone)]
pub(crate) struct Speaker {
    guard: Guard,
    actor: Actor,
    call: &'static str,
}

impl Speaker {
    /// Whoever makes this call, which the guard has let through; `call` names it for the log.
    pub(crate) fn of<T>(guard: &Guard, request: &Request<T>, call: &'static str) -> Speaker {
        let actor = request.extensions().get::<Actor>().cloned();
        let actor = actor.unwrap_or_else(|| Actor::anonymous(None));
        Speaker { guard: guard.clone(), actor, call }
    }

    /// Whoever was dialled, as what it is known for.
    pub(crate) fn dialled(guard: &Guard, actor: Actor) -> Speaker {
        Speaker { guard: guard.clone(), actor, call: "dialled" }
    }

    /// Whether it may speak for this agent or manager; a refusal is counted and logged.
    ///
    /// # Errors
    /// It may not: what it is told, with the id and the name of its credentials.
    pub(crate) fn may_be(&self, id: &str) -> Result<(), Status> {
        let Actor { name, role, scope, address } = &self.actor;
        if scope.covers(id) {
            return Ok(());
        }
        let what = if *role == Some(Role::Peer) { "manager" } else { "agent" };
        self.guard.refuse(&Refused {
            port: Port::Grpc,
            why: Why::Identity,
            name: Some(name.to_string()),
            address: *address,
            what: format!("{} as the {what} {id:?}; allowed: {scope}", self.call),
        });
        Err(Status::permission_denied(format!(
            "the credentials {name:?} may not speak for the {what} {id:?}; they may for {scope}: give the \
             {what} credentials of its own, or change its id"
        )))
    }
}
