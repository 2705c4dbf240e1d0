//! What became of each address in `peers`: who answered there last, and why nobody does.
//!
//! The replica knows managers by their names, which a manager that was never met has not told. So that
//! it is missed all the same, every address is here from the start.

use std::collections::BTreeMap;

use tokio::sync::watch;
use weir_proto::{id::ManagerId, time::Time};

/// One address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// Who answered there last.
    pub(crate) id: Option<ManagerId>,
    /// Nobody has answered there for a while.
    pub(crate) absent: bool,
    /// When and why a link could not be had there; `None` while there is one.
    pub(crate) failure: Option<(Time, String)>,
}

/// All addresses; as many as are configured.
pub(crate) type Contacts = BTreeMap<String, Contact>;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Directory(watch::Sender<Contacts>);

impl Directory {
    /// Nobody has answered anywhere.
    pub(crate) fn new(addresses: &[String]) -> Directory {
        let contacts = addresses.iter().map(|address| (address.clone(), Contact::default()));
        Directory(watch::Sender::new(contacts.collect()))
    }

    /// Somebody answered there.
    pub(super) fn answered(&self, address: &str) {
        self.change(address, |contact| contact.absent = false);
    }

    /// This manager is there. Tells another address that leads to it as well.
    pub(super) fn met(&self, address: &str, id: &ManagerId) -> Option<String> {
        self.change(address, |contact| {
            *contact = Contact { id: Some(id.clone()), ..Contact::default() };
        });
        let same = |(other, contact): (&String, &Contact)| {
            (other != address && contact.id.as_ref() == Some(id)).then(|| other.clone())
        };
        self.0.borrow().iter().find_map(same)
    }

    /// A link could not be had there, or has ended; `absent`: nobody has answered for a while.
    pub(super) fn failed(&self, address: &str, why: String, absent: bool, now: Time) {
        self.change(address, |contact| {
            contact.failure = Some((now, why));
            contact.absent |= absent;
        });
    }

    /// Whoever waits for it sees only what may matter to them.
    fn change(&self, address: &str, change: impl FnOnce(&mut Contact)) {
        self.0.send_if_modified(|contacts| {
            let Some(contact) = contacts.get_mut(address) else { return false };
            let before = contact.absent;
            change(contact);
            contact.absent != before
        });
    }

    /// Addresses at which nobody has answered for a while.
    pub(crate) fn absent(&self) -> Vec<String> {
        let contacts = self.0.borrow();
        let absent = contacts.iter().filter(|(_, contact)| contact.absent);
        absent.map(|(address, _)| address.clone()).collect()
    }

    /// Resolves when so many addresses are absent.
    pub(crate) async fn absence(&self, count: usize) {
        let mut contacts = self.0.subscribe();
        let absent = |contacts: &Contacts| contacts.values().filter(|it| it.absent).count();
        // Fails only when the directory is gone, and with it the manager.
        let _ = contacts.wait_for(|contacts| absent(contacts) >= count).await;
    }

    /// Every configured address.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Where that manager answered last.
    pub(crate) fn find(&self, id: &ManagerId) -> Option<(String, Contact)> {
        let contacts = self.0.borrow();
        let found = contacts.iter().find(|(_, contact)| contact.id.as_ref() == Some(id));
        found.map(|(address, contact)| (address.clone(), contact.clone()))
    }

    /// Addresses of managers that were never met; `known` are those that were. A manager that only
    /// dials, behind a firewall, is known and answers nowhere: nobody is missed while there are as
    /// many of these as addresses without an answer.
    pub(crate) fn unmet<'a>(
        &self,
        known: impl Iterator<Item = &'a ManagerId>,
    ) -> Vec<(String, Contact)> {
        let contacts = self.0.borrow();
        let answers = |id: &&ManagerId| contacts.values().any(|it| it.id.as_ref() == Some(*id));
        let dialling = known.filter(|id| !answers(id)).count();
        let silent: Vec<_> = contacts.iter().filter(|(_, contact)| contact.id.is_none()).collect();
        if silent.len() <= dialling {
            return Vec::new();
        }
        silent.into_iter().map(|(address, contact)| (address.clone(), contact.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ManagerId {
        ManagerId::new(name).unwrap()
    }

    fn directory() -> Directory {
        Directory::new(&["http://a:1".to_owned(), "http://b:1".to_owned()])
    }

    fn unmet(directory: &Directory, known: &[ManagerId]) -> Vec<String> {
        directory.unmet(known.iter()).into_iter().map(|(address, _)| address).collect()
    }

    #[test]
    fn every_address_is_missed_until_somebody_answers_there() {
        let directory = directory();
        assert_eq!(unmet(&directory, &[]), ["http://a:1", "http://b:1"]);
        directory.failed("http://a:1", "refused".to_owned(), true, Time::from_micros(7));
        assert_eq!(directory.absent(), ["http://a:1"]);
        let missed = &directory.unmet([].iter())[0].1;
        assert_eq!(missed.failure, Some((Time::from_micros(7), "refused".to_owned())));
        assert_eq!(directory.met("http://a:1", &id("tm-2")), None);
        assert_eq!(unmet(&directory, &[id("tm-2")]), ["http://b:1"]);
        let (address, contact) = directory.find(&id("tm-2")).unwrap();
        assert!(address == "http://a:1" && contact.failure.is_none() && !contact.absent);
    }

    #[test]
    fn a_manager_that_only_dials_is_not_missed() {
        let directory = directory();
        directory.met("http://a:1", &id("tm-2"));
        assert_eq!(unmet(&directory, &[id("tm-2"), id("tm-3")]), [""; 0]);
    }

    #[test]
    fn two_addresses_of_one_manager_are_told() {
        let directory = directory();
        directory.met("http://a:1", &id("tm-2"));
        assert_eq!(directory.met("http://b:1", &id("tm-2")).as_deref(), Some("http://a:1"));
    }
}
