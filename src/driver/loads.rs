//! How many connections there are, in all and on each shard. A connection counts from its accept to its close, on the
//! way from one shard to another at the one it goes to.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Above the least loaded shard by this many connections and an eighth of them, a shard passes new ones on.
const IMBALANCE_MAX: u32 = 16;

/// Written by all shards. The counts are statistics: no other memory is read on their word, so they need no order.
#[derive(Debug)]
pub struct Loads {
    total: AtomicU32,
    max: u32,
    shards: Box<[AtomicU32]>,
}

impl Loads {
    /// For `shards` shards that may have `max` connections together.
    pub fn new(shards: usize, max: u32) -> Self {
        Self { total: AtomicU32::new(0), max, shards: (0..shards).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Connections of all shards.
    pub fn total(&self) -> u32 {
        self.total.load(Relaxed)
    }

    /// Connections of one shard.
    pub fn of(&self, shard: usize) -> u32 {
        self.shards[shard].load(Relaxed)
    }

    /// Counts a connection in at `shard`. `false`: there are as many as there may be.
    pub fn opened(&self, shard: usize) -> bool {
        let room = self.total.fetch_update(Relaxed, Relaxed, |n| (n < self.max).then_some(n + 1)).is_ok();
        if room {
            self.shards[shard].fetch_add(1, Relaxed);
        }
        room
    }

    /// Counts a connection of `shard` out.
    pub fn closed(&self, shard: usize) {
        self.shards[shard].fetch_sub(1, Relaxed);
        self.total.fetch_sub(1, Relaxed);
    }

    /// A connection goes from one shard to another.
    pub fn moved(&self, from: usize, to: usize) {
        self.shards[from].fetch_sub(1, Relaxed);
        self.shards[to].fetch_add(1, Relaxed);
    }

    /// The shard a connection accepted by `own` should live on.
    pub fn least(&self, own: usize) -> usize {
        let (least, count) =
            (0..self.shards.len()).map(|shard| (shard, self.of(shard))).min_by_key(|&(_, n)| n).unwrap_or((own, 0));
        if self.of(own) > count + count / 8 + IMBALANCE_MAX { least } else { own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_holds_for_all_shards_together() {
        let loads = Loads::new(2, 3);
        assert!(loads.opened(0) && loads.opened(0) && loads.opened(1));
        assert!(!loads.opened(1));
        loads.closed(0);
        assert!(loads.opened(1));
        assert_eq!((loads.total(), loads.of(0), loads.of(1)), (3, 1, 2));
        loads.moved(1, 0);
        assert_eq!((loads.total(), loads.of(0), loads.of(1)), (3, 2, 1));
    }

    #[test]
    fn only_a_clear_imbalance_moves_a_connection() {
        let loads = Loads::new(3, 1000);
        for _ in 0..=IMBALANCE_MAX {
            assert_eq!(loads.least(1), 1);
            loads.opened(1);
        }
        assert_eq!(loads.least(1), 0);
        for _ in 0..200 {
            loads.opened(loads.least(1));
        }
        let counts = [loads.of(0), loads.of(1), loads.of(2)];
        let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(max - min <= min / 8 + IMBALANCE_MAX + 1, "{counts:?}");
    }
}
