//! Names of policies, from where they stand in their files.

use std::collections::HashMap;

/// Longest name; the rest of what a name may have is for the mark.
const MAX_NAME: usize = 128;
/// `-` and eight digits.
const MARK: usize = 9;

/// Names for paths: readable, unique, and the same whenever the same file is read. A path whose name
/// does not tell all of it, or that another path has, too, gets a mark of its own behind the name.
pub(super) struct Names {
    taken: HashMap<String, usize>,
}

impl Names {
    pub(super) fn of<'p>(paths: impl Iterator<Item = &'p [String]>) -> Names {
        let mut taken: HashMap<String, usize> = HashMap::new();
        for path in paths {
            *taken.entry(plain(path).0.to_ascii_lowercase()).or_default() += 1;
        }
        Names { taken }
    }

    /// The name of the policy at a path. `identity` tells it from all others, and stays the same.
    pub(super) fn name(&self, path: &[String], identity: &str) -> String {
        let (name, complete) = plain(path);
        let alone = self.taken.get(&name.to_ascii_lowercase()).is_none_or(|count| *count < 2);
        if complete && alone && name.len() <= MAX_NAME {
            return name;
        }
        let short: String = name.chars().take(MAX_NAME - MARK).collect();
        format!("{}-{:08x}", short.trim_end_matches(['.', '-', '_']), mark(identity))
    }
}

/// The parts in letters that a name may have, and whether nothing was lost.
fn plain(path: &[String]) -> (String, bool) {
    let mut name = String::new();
    let mut complete = true;
    for part in path {
        if !name.is_empty() {
            name.push('.');
        }
        for c in part.chars() {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                name.push(c);
            } else {
                complete = false;
                if !name.ends_with(['-', '.']) {
                    name.push('-');
                }
            }
        }
        let kept = name.trim_end_matches('-').len();
        complete &= kept == name.len() && !part.is_empty();
        name.truncate(kept);
    }
    (name, complete)
}

/// FNV-1a of what the policy is: fixed for ever, so that names are.
fn mark(identity: &str) -> u32 {
    let hash = identity.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Both halves tell.
    u32::try_from((hash ^ (hash >> 32)) & u64::from(u32::MAX)).unwrap_or_default()
}
