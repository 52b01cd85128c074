//! Rooms: who is in them on this shard, and which shards a room's home has to reach.

pub mod home;
pub mod members;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use uuid::Uuid;

/// A room's name: a uuid, or for older clients any text of at most [`RoomId::MAX_LEN`] bytes. Rooms are a name space of
/// their own; no socket id ever names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomId {
    /// Compared and shown in lower case.
    Uuid(Uuid),
    /// Compared as it is.
    Name(Box<str>),
}

/// A table by room, hashed with a key of the process's own. A message is looked up in several of them.
pub type RoomMap<T> = HashMap<RoomId, T, foldhash::quality::RandomState>;

impl RoomId {
    /// Bytes of a name.
    pub const MAX_LEN: usize = 255;

    /// A uuid in its hyphenated form, any version and case.
    pub fn uuid(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self::Uuid)
    }

    /// A uuid, or else any text that is not empty and not too long.
    pub fn any(text: &str) -> Option<Self> {
        let named = || (!text.is_empty() && text.len() <= Self::MAX_LEN).then(|| Self::Name(text.into()));
        Self::uuid(text).or_else(named)
    }

    /// The shard that owns the room, of `shards`.
    pub fn home(&self, shards: usize) -> usize {
        if shards <= 1 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        (hasher.finish() % shards as u64) as usize
    }
}

impl Hash for RoomId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // As one number: a uuid's own bytes would be hashed with their length, and no name is told from it by more.
            Self::Uuid(uuid) => state.write_u128(uuid.as_u128()),
            Self::Name(name) => name.hash(state),
        }
    }
}

impl std::fmt::Display for RoomId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.as_hyphenated().fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A uuid in its hyphenated form (8-4-4-4-12 hex digits, any case), and in no other.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (text.len() == HYPHENATED).then(|| Uuid::try_parse(text).ok()).flatten()
}
