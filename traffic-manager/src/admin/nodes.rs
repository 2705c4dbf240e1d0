//! `GET /nodes`: this manager, and the others as it sees them.

use axum::{Json, extract::State};
use serde::Serialize;
use traffic_manager_core::{replica::PeerStatus, roles::Role};
use utoipa::ToSchema;
use weir_proto::id::ManagerId;

use super::{Admin, problem::Problem, query::Params, views::instant};
use crate::peers::Contact;

/// The managers.
#[derive(Serialize, ToSchema)]
pub(super) struct Nodes {
    /// The one that answers first, then its peers by name, then those that it never met by address.
    nodes: Vec<Node>,
    /// Addresses of the other managers, from the configuration.
    peers: Vec<String>,
}

/// A manager.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Node {
    Me(Box<Me>),
    Peer(Box<Peer>),
}

/// The manager that answers.
#[derive(Serialize, ToSchema)]
struct Me {
    /// Its name.
    id: String,
    /// True.
    #[serde(rename = "self")]
    is_self: bool,
    /// Which life of it.
    incarnation: u64,
    /// Its build.
    version: String,
    /// `fleet`: it sizes the agents' shares; `ledger`: it records usage; `janitor`: it clears away
    /// what is old.
    roles: Vec<&'static str>,
    /// When it started.
    started: String,
    /// Grows with every change of what managers replicate, in this life of it.
    revision: u64,
    /// Revision of its policies, which its agents report.
    policies_revision: u64,
    /// Policies that it holds.
    policies: usize,
    /// Losers in its conflict log.
    conflicts: usize,
    /// Counters that it keeps.
    counters: usize,
    /// Agents that it knows.
    agents: usize,
    /// Agents that follow its decisions.
    decision_sessions: usize,
    /// The fleet as it sees it.
    fleet: Fleet,
}

/// Which agents share the limits.
#[derive(Serialize, ToSchema)]
struct Fleet {
    /// Larger is newer.
    view: u64,
    /// Each member owns one part in this many of every limit.
    size: u32,
    /// In rank order.
    members: Vec<String>,
}

/// Another manager, as the one that answers sees it. What is not known of one that was never met is
/// null.
#[derive(Default, Serialize, ToSchema)]
struct Peer {
    /// Its name; null while nobody has told it.
    id: Option<String>,
    /// False.
    #[serde(rename = "self")]
    is_self: bool,
    /// Which life of it.
    incarnation: Option<u64>,
    /// `ledger`, `janitor`: as for the manager that answers.
    roles: Vec<&'static str>,
    /// `up` or `down`.
    link: &'static str,
    /// Where it answered last, or should answer: of `peers`. Null for one that only dials.
    address: Option<String>,
    /// Why the last attempt to reach it there failed; null while that works.
    last_failure: Option<String>,
    /// When that was.
    last_failure_at: Option<String>,
    /// It serves.
    ready: bool,
    /// Its own revision.
    revision: Option<u64>,
    /// It has everything of this manager up to this revision; null while that is not known of this life of it.
    acknowledged_revision: Option<u64>,
    /// Entries that it is not known to have.
    outstanding: Option<usize>,
    /// For how long it has lacked something, in seconds; 0 if it lacks nothing.
    lag_seconds: Option<f64>,
    /// It and this manager have the same policies and records.
    equal: bool,
    /// When it was last heard.
    last_seen: Option<String>,
}

impl Peer {
    fn met(peer: PeerStatus, holders: &[(Role, Option<ManagerId>)]) -> Self {
        let held = holders.iter().filter(|(_, holder)| holder.as_ref() == Some(&peer.id));
        Peer {
            roles: held.map(|(role, _)| role.as_str()).collect(),
            id: Some(peer.id.to_string()),
            incarnation: Some(peer.life.incarnation),
            link: if peer.up { "up" } else { "down" },
            ready: peer.up && peer.ready,
            revision: Some(peer.revision),
            acknowledged_revision: peer.acked,
            outstanding: Some(peer.outstanding),
            lag_seconds: Some(peer.lag.as_secs_f64()),
            equal: peer.equal,
            last_seen: peer.heard.map(instant),
            ..Peer::default()
        }
    }

    fn at(self, (address, contact): (String, Contact)) -> Self {
        let (at, why) = contact.failure.unzip();
        Peer { address: Some(address), last_failure: why, last_failure_at: at.map(instant), ..self }
    }
}

/// The managers: roles, revisions, lag, load.
#[utoipa::path(
    get, path = "/api/v1/nodes", tag = "fleet", operation_id = "listNodes",
    responses((status = 200, body = Nodes)),
)]
pub(super) async fn nodes(
    State(admin): State<Admin>,
    _: Params<()>,
) -> Result<Json<Nodes>, Problem> {
    let look = admin.with(|manager, _, _| (manager.stats(), manager.fleet(), manager.revision()));
    let (stats, fleet, policies_revision) = look.await?;
    let look = admin
        .ask(|replica, now| (replica.revision(), replica.conflicts().count(), replica.peers(now)));
    let (revision, conflicts, peers) = look.await?;
    let look = admin.keeper.ask_office(|office, now| {
        let holder = |role| (role, office.holder(role).cloned());
        (office.held(now), Role::ALL.map(holder))
    });
    let (held, holders) =
        look.await.map_err(|stopped| Problem::unavailable(&stopped.to_string()))?;
    let mut roles = if fleet.incumbent { vec!["fleet"] } else { Vec::new() };
    roles.extend(held.iter().map(|role| role.as_str()));
    let me = Me {
        id: admin.driver.id().to_string(),
        is_self: true,
        incarnation: admin.driver.incarnation(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles,
        started: instant(admin.driver.started()),
        revision,
        policies_revision,
        policies: stats.policies,
        conflicts,
        counters: stats.counters,
        agents: stats.agents,
        decision_sessions: stats.decision_sessions,
        fleet: Fleet {
            view: fleet.number,
            size: fleet.fleet,
            members: fleet.members.iter().map(|life| life.id.to_string()).collect(),
        },
    };
    let mut nodes = vec![Node::Me(Box::new(me))];
    let directory = &admin.directory;
    let unmet = directory.unmet(peers.iter().map(|peer| &peer.id));
    nodes.extend(peers.into_iter().map(|peer| {
        let contact = directory.find(&peer.id);
        let peer = Peer::met(peer, &holders);
        Node::Peer(Box::new(match contact {
            Some(contact) => peer.at(contact),
            None => peer,
        }))
    }));
    let never = || Peer { link: "down", ..Peer::default() };
    nodes.extend(unmet.into_iter().map(|contact| Node::Peer(Box::new(never().at(contact)))));
    Ok(Json(Nodes { nodes, peers: directory.addresses() }))
}
