//! Forgetting every counter at once: a new life of the agent begins without any.

use super::Table;

impl Table {
    /// Takes every counter and lease out, idle or not. Their numbers are not used again. Checks go on
    /// meanwhile, by the newest standing: that must be one in which a new counter may be opened.
    pub fn clear(&self) {
        self.leases.clear();
        let mut writer = self.writer.lock();
        for slot in 0..self.slots() {
            let Some(mut counter) = self.at(slot) else { continue };
            let Some(family) = counter.family().cloned() else { continue };
            let fingerprint = self.name(&family, counter.parts()).fingerprint;
            self.index.remove(&mut writer.shape, fingerprint, slot);
            *counter = Default::default();
            writer.vacant.push(slot);
            self.live.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
        drop(writer);
        self.take_dirty();
        self.take_hot();
    }
}
