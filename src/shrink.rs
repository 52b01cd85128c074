//! Tables give back the room that a crowd needed and that nobody uses any more.
//!
//! Not only for the sake of that room: one block that stays pins the whole region of the allocator it lies in, megabytes
//! of blocks around it that were freed long ago.

use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// A table is shrunk when it could hold so many times as much as it does, to half of that if it can be.
const SPARE: usize = 4;
/// Bytes of a table that are not worth the effort; fewer in debug builds, so that tables of tests are moved as well.
const KEEP_BYTES: usize = if cfg!(debug_assertions) { 256 } else { 16 * 1024 };

/// A table.
pub trait Shrink {
    /// Gives back room that is not used. To be called now and then: where it does anything, everything in the table is
    /// moved.
    fn shrink(&mut self);
}

/// Entries of `T` that a table is left room for in any case.
fn keep<T>() -> usize {
    KEEP_BYTES / size_of::<T>().max(1)
}

/// The capacity for a table with `len` entries that has too much.
fn enough(len: usize, keep: usize) -> usize {
    (SPARE / 2 * len).max(keep)
}

/// The same, if it has too much.
fn target(len: usize, capacity: usize, keep: usize) -> Option<usize> {
    let enough = enough(len, keep);
    (capacity > enough.max(SPARE * len)).then_some(enough)
}

/// As [`Shrink::shrink`], down to room for `keep` entries.
pub fn shrink_list<T>(list: &mut Vec<T>, keep: usize) {
    if let Some(capacity) = target(list.len(), list.capacity(), keep) {
        list.shrink_to(capacity);
    }
}

impl<T> Shrink for Vec<T> {
    fn shrink(&mut self) {
        shrink_list(self, keep::<T>());
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink(&mut self) {
        if let Some(capacity) = target(self.len(), self.capacity(), keep::<T>()) {
            self.shrink_to(capacity);
        }
    }
}

/// A map has a power of two of buckets, and says nothing of those whose entries were removed: so it is always asked.
impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink(&mut self) {
        self.shrink_to(enough(self.len(), keep::<(K, V)>()));
    }
}

/// Down to the last slot that is in use, since entries keep their slots.
impl<T> Shrink for Slab<T> {
    fn shrink(&mut self) {
        let too_large = |slots: usize, slab: &Self| target(slots, slab.capacity(), keep::<T>()).is_some();
        // Not for a few slots at a time: all that are vacant are linked anew.
        if too_large(self.len(), self) && too_large(self.iter().next_back().map_or(0, |(slot, _)| slot + 1), self) {
            self.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: usize = 100_000;

    #[test]
    fn what_a_crowd_needed_is_given_back_and_what_is_in_use_stays() {
        let mut list: Vec<usize> = (0..CROWD).collect();
        let mut queue: VecDeque<usize> = (0..CROWD).collect();
        let mut map: HashMap<usize, usize> = (0..CROWD).map(|n| (n, n)).collect();
        let mut slab: Slab<usize> = (0..CROWD).map(|n| (n, n)).collect();
        let mut shrink = |left: usize| {
            list.truncate(left);
            queue.truncate(left);
            map.retain(|&n, _| n < left);
            slab.retain(|n, _| n < left);
            list.shrink();
            queue.shrink();
            map.shrink();
            slab.shrink();
            assert!(list.iter().copied().eq(0..left) && queue.iter().copied().eq(0..left));
            assert!((0..left).all(|n| map[&n] == n && slab[n] == n));
            [list.capacity(), queue.capacity(), map.capacity(), slab.capacity()]
        };
        assert!(shrink(CROWD).iter().all(|&capacity| capacity >= CROWD));
        let [list, queue, _, slab] = shrink(CROWD / 2);
        assert!(list.min(queue).min(slab) >= CROWD, "half of it is in use");
        assert!(shrink(5_000).iter().all(|&capacity| capacity <= 20_000));
        assert!(shrink(0).iter().all(|&capacity| capacity * size_of::<usize>() <= KEEP_BYTES));
    }

    #[test]
    fn small_tables_are_left_alone() {
        let mut list: Vec<u8> = Vec::with_capacity(KEEP_BYTES);
        let mut slab: Slab<u8> = Slab::with_capacity(KEEP_BYTES / 64);
        list.shrink();
        slab.shrink();
        assert!(list.capacity() == KEEP_BYTES && slab.capacity() >= KEEP_BYTES / 64);
    }

    #[test]
    fn a_slab_that_was_shrunk_fills_its_gaps_first() {
        let mut slab: Slab<usize> = (0..CROWD).map(|n| (n, n)).collect();
        slab.retain(|n, _| n < 100 && n % 2 == 0);
        slab.shrink();
        let slots: Vec<usize> = (0..60).map(|n| slab.insert(n)).collect();
        assert!(slots[..49].iter().all(|slot| slot % 2 == 1 && *slot < 99), "{slots:?}");
    }
}
