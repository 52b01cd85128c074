//! The state of the rooms whose home is this shard.

use super::mail::{Party, Stamp};
use crate::rooms::RoomId;
use slab::Slab;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// People and agents known in one room; beyond that those who are gone the longest are forgotten.
pub const MEMBERS_MAX: usize = 1000;

/// One room.
#[derive(Debug)]
pub struct Room {
    /// Sockets in it.
    pub online: u32,
    /// A conversation of two.
    pub is_dm: bool,
    /// People and agents.
    pub members: BTreeMap<Uuid, Member>,
    /// When it was last changed, in milliseconds since 1970 UTC.
    pub updated_at: u64,
    /// Messages so far.
    pub message_count: u64,
    id: RoomId,
    last_created_at: u64,
    /// Its place in the order of disuse while it is empty.
    disuse: Option<u64>,
}

/// A person or an agent of a room.
#[derive(Debug, Default)]
pub struct Member {
    /// Empty while unknown.
    pub name: Box<str>,
    /// It takes part as an agent, or has spoken as one.
    pub is_agent: bool,
    /// Sockets in the room that joined with this agent.
    pub taking_part: u32,
    /// Sockets in the room through which this user speaks.
    pub present: u32,
    /// Milliseconds since 1970 UTC.
    pub last_seen: u64,
}

impl Member {
    fn is_held(&self) -> bool {
        self.taking_part > 0 || self.present > 0
    }
}

impl Room {
    /// The time of a new message: now, but later than that of any other in the room.
    pub fn next_created_at(&mut self, now_ms: u64) -> u64 {
        self.last_created_at = now_ms.max(self.last_created_at + 1);
        self.last_created_at
    }

    /// A new message was stored.
    pub fn stored(&mut self, stamp: Stamp) {
        self.message_count += 1;
        self.updated_at = self.updated_at.max(stamp.created_at);
    }

    /// The entry of a person or an agent, new if need be.
    pub fn member(&mut self, id: Uuid, now_ms: u64) -> &mut Member {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&id) {
            let gone = self.members.iter().filter(|(_, m)| !m.is_held());
            if let Some(gone) = gone.min_by_key(|(_, m)| m.last_seen).map(|(&id, _)| id) {
                self.members.remove(&gone);
            }
        }
        let member = self.members.entry(id).or_default();
        member.last_seen = now_ms;
        member
    }

    /// A socket brings somebody.
    pub fn enter(&mut self, party: Party, now_ms: u64) -> &mut Member {
        match party {
            Party::Agent(id) => {
                let member = self.member(id, now_ms);
                member.is_agent = true;
                member.taking_part += 1;
                member
            }
            Party::User(id) => {
                let member = self.member(id, now_ms);
                member.present += 1;
                member
            }
        }
    }

    /// A socket takes somebody away. An agent that nobody holds any more stops taking part.
    pub fn exit(&mut self, party: Party, now_ms: u64) {
        let (Party::Agent(id) | Party::User(id)) = party;
        let Some(member) = self.members.get_mut(&id) else { return };
        member.last_seen = now_ms;
        match party {
            Party::Agent(_) => member.taking_part = member.taking_part.saturating_sub(1),
            Party::User(_) => member.present = member.present.saturating_sub(1),
        }
        if member.is_agent && !member.is_held() {
            self.members.remove(&id);
        }
    }
}

/// The rooms of one shard.
#[derive(Debug)]
pub struct World {
    rooms: Slab<Room>,
    by_id: HashMap<RoomId, usize>,
    /// Empty rooms, the longest unused first.
    disused: BTreeMap<u64, usize>,
    uses: u64,
    rooms_max: usize,
}

impl World {
    /// No rooms yet, and never more than `rooms_max`.
    pub fn new(rooms_max: usize) -> Self {
        Self { rooms: Slab::new(), by_id: HashMap::new(), disused: BTreeMap::new(), uses: 0, rooms_max }
    }

    /// The rooms with state.
    #[cfg(test)]
    pub fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.iter().map(|(_, room)| &room.id)
    }

    /// Changes a room that exists.
    pub fn change<R>(&mut self, id: &RoomId, change: impl FnOnce(&mut Room) -> R) -> Option<R> {
        let slot = *self.by_id.get(id)?;
        let result = change(self.rooms.get_mut(slot)?);
        self.file(slot);
        Some(result)
    }

    /// Changes a room, which comes into being if need be. `None`: there are too many, and none of them is empty.
    pub fn open<R>(&mut self, id: &RoomId, now_ms: u64, change: impl FnOnce(&mut Room) -> R) -> Option<R> {
        if !self.by_id.contains_key(id) {
            if self.rooms.len() >= self.rooms_max && !self.drop_disused() {
                return None;
            }
            let slot = self.rooms.insert(Room {
                online: 0,
                is_dm: false,
                members: BTreeMap::new(),
                updated_at: now_ms,
                message_count: 0,
                id: id.clone(),
                last_created_at: 0,
                disuse: None,
            });
            self.by_id.insert(id.clone(), slot);
        }
        self.change(id, change)
    }

    /// Drops the empty room that was not used for the longest time.
    fn drop_disused(&mut self) -> bool {
        let Some((_, slot)) = self.disused.pop_first() else { return false };
        if let Some(room) = self.rooms.try_remove(slot) {
            self.by_id.remove(&room.id);
        }
        true
    }

    /// Notes whether a room is empty, and that it was just used.
    fn file(&mut self, slot: usize) {
        let Some(room) = self.rooms.get_mut(slot) else { return };
        if let Some(disuse) = room.disuse.take() {
            self.disused.remove(&disuse);
        }
        if room.online == 0 {
            self.uses += 1;
            room.disuse = Some(self.uses);
            self.disused.insert(self.uses, slot);
        }
    }
}
