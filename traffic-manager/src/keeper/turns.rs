//! Who uses the store next.

/// Who may have something for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Whoever asked for a write.
    Callers,
    /// Peers that sent entries.
    Peers,
    /// The roles of this manager.
    Office,
}

/// They take turns, so that none of them, however much it has, keeps the others waiting for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns([Turn; 3]);

impl Default for Turns {
    fn default() -> Self {
        Turns([Turn::Callers, Turn::Peers, Turn::Office])
    }
}

impl Turns {
    /// The first who has something; it is the last one next time.
    pub(super) fn next<T>(&mut self, mut what: impl FnMut(Turn) -> Option<T>) -> Option<T> {
        for (place, turn) in self.0.into_iter().enumerate() {
            if let Some(found) = what(turn) {
                self.0.get_mut(place..)?.rotate_left(1);
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_always_has_something_does_not_keep_the_others_waiting() {
        let mut turns = Turns::default();
        let mut had = Vec::new();
        for step in 0..9 {
            had.extend(turns.next(|turn| (turn != Turn::Office || step > 3).then_some(turn)));
        }
        use Turn::{Callers as C, Office as O, Peers as P};
        assert_eq!(had, [C, P, C, P, O, C, P, O, C]);
        assert_eq!(turns.next(|_| None::<Turn>), None);
    }
}
