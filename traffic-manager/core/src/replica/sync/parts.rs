//! Entries as they fit into frames.

use std::sync::Arc;

use weir_proto::peer::{Entry, Register, Version};

/// Bytes of entries in one delta, about; one version may be larger.
pub(super) const PART: usize = 256 * 1024;

/// About how many bytes the entry takes in a frame, rather too many.
pub(super) fn size(entry: &Entry) -> usize {
    match entry {
        Entry::Policy(name, register) => {
            let versions: usize = register.versions.iter().map(size_of_version).sum();
            name.as_str().len() + 64 + versions + register.votes.len() * 192
        }
        Entry::Audit(key, audit) => {
            let texts = [&audit.actor, &audit.action, &audit.policy, &audit.tag, &audit.detail];
            key.origin.id.as_str().len()
                + 64
                + texts.iter().map(|text| text.len() + 4).sum::<usize>()
        }
        Entry::Usage(key, usage) => {
            let parts: usize = key.key.iter().map(|part| part.len() + 4).sum();
            key.policy.len() + key.limit.len() + parts + usage.parts.len() * 26 + 64
        }
    }
}

fn size_of_version(version: &Arc<Version>) -> usize {
    let body = version.body.as_ref().map_or(0, |body| body.len());
    256 + version.seen.len() * 160 + version.author.len() + body
}

/// The entry in parts that fit; joined they are the whole.
pub(super) fn split(entry: Entry) -> Vec<Entry> {
    match entry {
        Entry::Policy(name, mut register) if register.versions.len() > 1 => {
            // The highest first, so that nobody votes for a lower one in between.
            register.versions.sort_by_key(|v| std::cmp::Reverse((v.ref_number, v.stamp)));
            let part = |version| Register {
                versions: vec![version],
                vote_ref: register.vote_ref,
                votes: register.votes.clone(),
            };
            let versions = register.versions.iter().cloned();
            versions.map(|version| Entry::Policy(name.clone(), part(version))).collect()
        }
        entry => vec![entry],
    }
}
