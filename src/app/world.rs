//! The rooms whose home is this shard, and the bounds on what is kept of them.

use super::history::Item;
use super::ids;
use super::order::Order;
use super::room::Room;
use crate::metrics::RoomCounters;
use crate::rooms::{RoomId, RoomMap};
use crate::shrink::Shrink;
use slab::Slab;
use std::collections::HashMap;
use uuid::Uuid;

/// What a shard keeps of its rooms.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rooms with state; beyond, the empty room (no socket in it, no message that waits) that was not used for the longest time goes.
    pub rooms: usize,
    /// Messages kept of a room; beyond, its oldest go.
    pub history_len: usize,
    /// Bytes of messages kept of a room; beyond, its oldest go.
    pub room_bytes: usize,
    /// Bytes of messages kept of all rooms; beyond, the oldest go of the room that was not used for the longest time.
    pub history_bytes: usize,
}

/// The rooms of one shard.
#[derive(Debug)]
pub struct World {
    bounds: Bounds,
    server: Uuid,
    rooms: Slab<Room>,
    by_id: RoomMap<u32>,
    /// The rooms of those messages that are kept and whose ids do not name them.
    by_message: HashMap<Uuid, u32, foldhash::quality::RandomState>,
    /// Empty rooms.
    disused: Order,
    /// Rooms with messages.
    spoken: Order,
    history_bytes: usize,
    counters: RoomCounters,
}

impl World {
    /// No rooms yet. `server`: the server id of rooms that name none.
    pub fn new(bounds: Bounds, server: Uuid) -> Self {
        Self {
            bounds,
            server,
            rooms: Slab::new(),
            by_id: RoomMap::default(),
            by_message: HashMap::default(),
            disused: Order::default(),
            spoken: Order::default(),
            history_bytes: 0,
            counters: RoomCounters::default(),
        }
    }

    /// What its bounds did.
    pub fn counters(&self) -> RoomCounters {
        RoomCounters { rooms: self.rooms.len() as u64, history_bytes: self.history_bytes as u64, ..self.counters }
    }

    /// How many rooms have state.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self) {
        self.rooms.shrink();
        self.by_id.shrink();
        self.by_message.shrink();
        self.disused.shrink();
        self.spoken.shrink();
    }

    /// The rooms with state.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().map(|(_, room)| room)
    }

    /// A room that exists.
    pub fn room(&self, id: &RoomId) -> Option<&Room> {
        self.rooms.get(*self.by_id.get(id)? as usize)
    }

    /// Changes a room that exists.
    pub fn change<R>(&mut self, id: &RoomId, change: impl FnOnce(&mut Room) -> R) -> Option<R> {
        let slot = *self.by_id.get(id)?;
        let result = change(self.rooms.get_mut(slot as usize)?);
        self.file(slot);
        Some(result)
    }

    /// Changes a room, which comes into being if need be. `None`: there are too many, and none of them is empty.
    pub fn open<R>(&mut self, id: &RoomId, now_ms: u64, change: impl FnOnce(&mut Room) -> R) -> Option<R> {
        let slot = match self.by_id.get(id) {
            Some(&slot) => slot,
            None => self.create(id, now_ms)?,
        };
        let result = change(self.rooms.get_mut(slot as usize)?);
        self.file(slot);
        Some(result)
    }

    fn create(&mut self, id: &RoomId, now_ms: u64) -> Option<u32> {
        if self.rooms.len() >= self.bounds.rooms && !self.drop_disused() {
            self.counters.refused += 1;
            return None;
        }
        // A place in the slab is 32 bits wide: `--max-rooms` is far below that.
        let slot = self.rooms.vacant_key() as u32;
        self.rooms.insert(Room::new(id.clone(), slot, self.server, now_ms));
        self.by_id.insert(id.clone(), slot);
        Some(slot)
    }

    /// Keeps a message of the room in `slot`, later than all others of it.
    pub fn store(&mut self, slot: u32, item: Item<'_>) {
        let Some(room) = self.rooms.get_mut(slot as usize).filter(|_| self.bounds.history_len > 0) else { return };
        self.history_bytes += item.bytes();
        if ids::named_room(item.stamp.id) != slot {
            self.by_message.insert(item.stamp.id, slot);
        }
        room.history.push(item);
        self.spoken.touch(slot);
        self.trim(slot);
    }

    /// Gives a message that is kept new content. It keeps its place and time.
    pub fn replace(&mut self, message: Uuid, object: &[u8], extra: Option<&[u8]>) -> bool {
        let Some(slot) = self.message(message).map(|(room, _)| room.slot()) else { return false };
        let Some(room) = self.rooms.get_mut(slot as usize) else { return false };
        let before = room.history.bytes();
        if !room.history.replace(message, object, extra) {
            return false;
        }
        self.history_bytes = self.history_bytes - before + room.history.bytes();
        self.spoken.touch(slot);
        self.trim(slot);
        true
    }

    /// A message that is kept, and its room.
    pub fn message(&self, id: Uuid) -> Option<(&Room, Item<'_>)> {
        let kept_in = |slot: u32| {
            let room = self.rooms.get(slot as usize)?;
            Some((room, room.history.find(id)?))
        };
        kept_in(ids::named_room(id)).or_else(|| kept_in(*self.by_message.get(&id)?))
    }

    /// A room that is read: it counts as used.
    pub fn read(&mut self, id: &RoomId) -> Option<&Room> {
        let slot = *self.by_id.get(id)?;
        for order in [&mut self.spoken, &mut self.disused] {
            if order.contains(slot) {
                order.touch(slot);
            }
        }
        self.rooms.get(slot as usize)
    }

    /// Drops what is beyond the bounds, after a message was added to the room in `slot`.
    fn trim(&mut self, slot: u32) {
        let Bounds { history_len, room_bytes, history_bytes, .. } = self.bounds;
        while let Some(history) = self.rooms.get(slot as usize).map(|room| &room.history).filter(|h| !h.is_empty()) {
            if history.bytes() > room_bytes {
                self.counters.trimmed_by_room_bytes += 1;
            } else if history.len() <= history_len {
                break;
            }
            self.drop_oldest(slot);
        }
        while self.history_bytes > history_bytes
            && let Some(slot) = self.spoken.first()
        {
            self.counters.trimmed_by_history_bytes += 1;
            self.drop_oldest(slot);
        }
    }

    /// Drops the oldest message of the room in `slot`.
    fn drop_oldest(&mut self, slot: u32) {
        let Some(room) = self.rooms.get_mut(slot as usize) else { return };
        if let Some((id, bytes)) = room.history.pop_oldest() {
            self.history_bytes -= bytes;
            if ids::named_room(id) != slot {
                self.by_message.remove(&id);
            }
        }
        if room.history.is_empty() {
            self.spoken.remove(slot);
        }
    }

    /// Drops the empty room that was not used for the longest time.
    fn drop_disused(&mut self) -> bool {
        let Some(slot) = self.disused.first() else { return false };
        let Some(room) = self.rooms.try_remove(slot as usize) else { return false };
        self.counters.dropped += 1;
        self.disused.remove(slot);
        self.spoken.remove(slot);
        self.history_bytes -= room.history.bytes();
        for item in room.history.before(None) {
            self.by_message.remove(&item.stamp.id);
        }
        self.by_id.remove(room.id());
        true
    }

    /// Notes whether a room is empty, and that it was just used.
    fn file(&mut self, slot: u32) {
        let Some(room) = self.rooms.get(slot as usize) else { return };
        if room.online > 0 || !room.waiting.is_empty() {
            self.disused.remove(slot);
        } else {
            self.disused.touch(slot);
        }
    }
}

#[cfg(test)]
mod tests;
