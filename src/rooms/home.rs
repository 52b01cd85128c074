//! Which shards take part in the rooms whose home is here.

use super::{RoomId, RoomMap};
use crate::shrink::Shrink;

/// The interest sets: for each room, a bit a shard.
#[derive(Debug, Default)]
pub struct Interest {
    rooms: RoomMap<u64>,
}

impl Interest {
    /// Shard `shard` (below 64) has its first member of `room`, or its last one left.
    pub fn set(&mut self, room: RoomId, shard: usize, on: bool) {
        let bit = 1u64 << (shard % 64);
        if on {
            *self.rooms.entry(room).or_default() |= bit;
        } else if let Some(shards) = self.rooms.get_mut(&room) {
            *shards &= !bit;
            if *shards == 0 {
                self.rooms.remove(&room);
            }
        }
    }

    /// The shards with members of `room`, and `also` in any case.
    pub fn shards(&self, room: &RoomId, also: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.rooms.get(room).copied().unwrap_or_default();
        if let Some(shard) = also {
            left |= 1 << (shard % 64);
        }
        std::iter::from_fn(move || {
            let shard = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (shard < 64).then_some(shard as usize)
        })
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self) {
        self.rooms.shrink();
    }

    /// Rooms somebody is interested in.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether nobody is interested in anything.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_shards_with_members_and_the_sender() {
        let room = || RoomId::Name("r".into());
        let mut interest = Interest::default();
        interest.set(room(), 0, true);
        interest.set(room(), 63, true);
        interest.set(room(), 5, true);
        assert_eq!(interest.shards(&room(), Some(2)).collect::<Vec<_>>(), [0, 2, 5, 63]);
        interest.set(room(), 5, false);
        assert_eq!(interest.shards(&room(), Some(0)).collect::<Vec<_>>(), [0, 63]);
        interest.set(room(), 0, false);
        interest.set(room(), 63, false);
        assert!(interest.is_empty());
        assert_eq!(interest.shards(&room(), None).count(), 0);
    }
}
