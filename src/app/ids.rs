//! Ids the server makes.

use crate::engine::Engine;
use uuid::Uuid;

/// Ids of messages: uuids of version 7.
#[derive(Debug)]
pub struct Ids {
    random: [u8; Self::BATCH],
    left: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self { random: [0; Self::BATCH], left: 0 }
    }
}

/// The slot of a room, which the last bytes of the ids of its messages name, so that they are found without a table.
const SLOT: usize = size_of::<u32>();

impl Ids {
    const EACH: usize = 10 - SLOT;
    /// Random bytes fetched at a time.
    const BATCH: usize = 64 * Self::EACH;

    /// The id of a message of this time, in milliseconds since 1970 UTC, of the room in `slot`. Ids of growing times grow.
    pub fn next(&mut self, engine: &mut Engine, created_at: u64, slot: u32) -> Uuid {
        if self.left == 0 {
            engine.random(&mut self.random);
            self.left = Self::BATCH;
        }
        self.left -= Self::EACH;
        let mut rest = [0; Self::EACH + SLOT];
        let (random, place) = rest.split_at_mut(Self::EACH);
        random.copy_from_slice(self.random.get(self.left..self.left + Self::EACH).unwrap_or(&[0; Self::EACH]));
        place.copy_from_slice(&slot.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(created_at, &rest).into_uuid()
    }
}

/// The slot of the room of a message, if its id is one of [`Ids::next`]; of another id anything.
pub fn named_room(id: Uuid) -> u32 {
    // The lowest bits are the last bytes.
    id.as_u128() as u32
}
