//! Which manager is at which address of the list. Two addresses of one manager, or one address of
//! several, as behind a load balancer, take away what the list is for: operators are told.

use weir_proto::id::ManagerId;

/// Who answered, by place in the list.
#[derive(Debug)]
pub(crate) struct Names {
    usage: Vec<Option<ManagerId>>,
    decisions: Vec<Option<String>>,
    /// Why the last session ended, unless one has begun since.
    lost: Vec<Option<String>>,
}

impl Names {
    /// Nobody has answered yet.
    pub(crate) fn new(managers: usize) -> Names {
        Names {
            usage: vec![None; managers],
            decisions: vec![None; managers],
            lost: vec![None; managers],
        }
    }

    /// Who answers on the usage link. What is worth a warning of that, once.
    pub(crate) fn usage(&mut self, place: usize, id: &ManagerId) -> Option<String> {
        let former = self.usage.get_mut(place)?;
        if former.as_ref() == Some(id) {
            return None;
        }
        let former = former.replace(id.clone());
        let same = |(other, name): (usize, &Option<ManagerId>)| {
            (other != place && name.as_ref() == Some(id)).then_some(other)
        };
        if let Some(other) = self.usage.iter().enumerate().find_map(same) {
            return Some(format!(
                "it is {id}, as number {} of the list is: list each manager once, or the list is shorter \
                 than it looks",
                other + 1
            ));
        }
        self.differ(place)
            .or_else(|| Some(format!("it is {id} now, and was {}: did the address move?", former?)))
    }

    /// Who answers in the decision session; likewise.
    pub(crate) fn decisions(&mut self, place: usize, name: &str) -> Option<String> {
        *self.lost.get_mut(place)? = None;
        let former = self.decisions.get_mut(place)?.replace(name.to_owned());
        (former.as_deref() != Some(name)).then(|| self.differ(place))?
    }

    /// A session with the manager there has ended; whether that is news.
    pub(crate) fn lost(&mut self, place: usize, why: &str) -> bool {
        let Some(lost) = self.lost.get_mut(place) else { return true };
        lost.replace(why.to_owned()).as_deref() != Some(why)
    }

    fn differ(&self, place: usize) -> Option<String> {
        let usage = self.usage.get(place)?.as_ref()?;
        let decisions = self.decisions.get(place)?.as_ref()?;
        (usage.as_str() != decisions).then(|| {
            format!(
                "usage goes to {usage} there, and decisions come from {decisions}: give each manager an \
                 address of its own; agents need no load balancer"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ManagerId {
        ManagerId::new(name).unwrap()
    }

    #[test]
    fn a_list_that_leads_where_it_should_is_no_news() {
        let mut names = Names::new(2);
        assert_eq!(names.usage(0, &id("tm-1")), None);
        assert_eq!(names.decisions(0, "tm-1"), None);
        assert_eq!(names.usage(1, &id("tm-2")), None);
        assert_eq!(names.decisions(1, "tm-2"), None);
        assert_eq!(names.usage(0, &id("tm-1")), None);
    }

    #[test]
    fn a_manager_that_lets_nobody_in_is_told_once() {
        let mut names = Names::new(2);
        assert!(names.lost(0, "no") && names.lost(1, "no"));
        assert!(!names.lost(0, "no") && !names.lost(1, "no"));
        assert!(names.lost(0, "another reason"));
        names.decisions(0, "tm-1");
        assert!(names.lost(0, "another reason"), "it was attached meanwhile");
    }

    #[test]
    fn two_addresses_of_one_manager_are_told_once() {
        let mut names = Names::new(2);
        assert_eq!(names.usage(0, &id("tm-1")), None);
        let told = names.usage(1, &id("tm-1")).unwrap();
        assert!(told.contains("tm-1") && told.contains("number 1"), "{told}");
        assert_eq!(names.usage(1, &id("tm-1")), None);
    }

    #[test]
    fn one_address_of_two_managers_is_told() {
        let mut names = Names::new(1);
        assert_eq!(names.usage(0, &id("tm-1")), None);
        let told = names.decisions(0, "tm-2").unwrap();
        assert!(told.contains("tm-1") && told.contains("tm-2"), "{told}");
        let told = Names::new(1);
        let mut names = told;
        assert_eq!(names.usage(0, &id("tm-1")), None);
        assert!(names.usage(0, &id("tm-3")).unwrap().contains("was tm-1"));
    }
}
