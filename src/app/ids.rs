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

impl Ids {
    const EACH: usize = 10;
    /// Random bytes fetched at a time.
    const BATCH: usize = 64 * Self::EACH;

    /// The id of a message of this time, in milliseconds since 1970 UTC. Ids of growing times grow.
    pub fn next(&mut self, engine: &mut Engine, created_at: u64) -> Uuid {
        if self.left == 0 {
            engine.random(&mut self.random);
            self.left = Self::BATCH;
        }
        self.left -= Self::EACH;
        let random = self.random.get(self.left..).and_then(|r| r.first_chunk()).copied().unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(created_at, &random).into_uuid()
    }
}
