//! The members of rooms on this shard, contiguous in memory.

use super::{RoomId, RoomMap};
use crate::connection::outbound::{BatchKey, Outbound, SinkKey};
use crate::shrink::{Shrink, shrink_list};
use slab::Slab;
use smallvec::SmallVec;

/// One member of a room.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The socket's slot.
    pub socket: u32,
    /// Where its frames are queued.
    pub sink: SinkKey,
}

const _: () = assert!(size_of::<Member>() == 8);

/// A socket's place in a room.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    room: u32,
    index: u32,
    /// The offset at which it began.
    pub since: u64,
}

/// The rooms a socket is in; one without heap memory.
pub type Memberships = SmallVec<[Membership; 1]>;

const _: () = assert!(size_of::<Memberships>() <= 24);

/// Members that a room has room for even if they are gone: few, since there are many rooms.
const MEMBERS_KEEP: usize = 16;

struct Room {
    id: RoomId,
    /// Differs for every use of the local number.
    serial: u64,
    /// The offset of its latest event that is no longer kept for those who come back.
    trimmed: u64,
    members: Vec<Member>,
    /// Sockets that may come back to it.
    parked: u32,
    /// The batch of the turn with this number.
    batch: Option<(u32, BatchKey)>,
}

/// All rooms of which this shard has members.
#[derive(Default)]
pub struct Members {
    rooms: Slab<Room>,
    by_id: RoomMap<u32>,
    serial: u64,
}

/// Whether a room began or ended on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has other members.
    None,
    /// This is the first one, or the last one left.
    Edge,
}

impl Members {
    /// The local number of a room.
    pub fn find(&self, id: &RoomId) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// The room of a local number.
    pub fn id(&self, room: u32) -> Option<&RoomId> {
        self.rooms.get(room as usize).map(|r| &r.id)
    }

    /// Rooms with members here.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room has members here.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The members of a room.
    pub fn members(&self, room: u32) -> &[Member] {
        self.rooms.get(room as usize).map_or(&[], |r| &r.members)
    }

    /// The rooms of a socket.
    pub fn of<'a>(&'a self, memberships: &'a Memberships) -> impl Iterator<Item = &'a RoomId> {
        memberships.iter().filter_map(|m| self.id(m.room))
    }

    /// Whether a socket is in a room.
    pub fn contains(&self, memberships: &Memberships, room: &RoomId) -> bool {
        self.membership(memberships, room).is_some()
    }

    fn room_mut(&mut self, id: &RoomId) -> (u32, &mut Room, Change) {
        let (slot, change) = match self.by_id.get(id) {
            Some(&slot) => (slot, Change::None),
            None => {
                self.serial += 1;
                let (id, serial) = (id.clone(), self.serial);
                let room = Room { id, serial, trimmed: 0, members: Vec::new(), parked: 0, batch: None };
                let slot = self.rooms.insert(room) as u32;
                self.by_id.insert(self.rooms[slot as usize].id.clone(), slot);
                (slot, Change::Edge)
            }
        };
        (slot, &mut self.rooms[slot as usize], change)
    }

    /// Adds a socket that is not yet in the room.
    pub fn join(&mut self, id: &RoomId, member: Member, since: u64, memberships: &mut Memberships) -> Change {
        let (room, entry, change) = self.room_mut(id);
        memberships.push(Membership { room, index: entry.members.len() as u32, since });
        entry.members.push(member);
        change
    }

    /// Takes a socket out of a room. Where that changes another socket's place, `memberships` is asked for those of the
    /// socket in this slot.
    pub fn leave<'a>(
        &mut self,
        membership: Membership,
        memberships: impl FnOnce(u32) -> Option<&'a mut Memberships>,
    ) -> Change {
        let Some(room) = self.rooms.get_mut(membership.room as usize) else { return Change::None };
        let index = membership.index as usize;
        if index < room.members.len() {
            room.members.swap_remove(index);
            shrink_list(&mut room.members, MEMBERS_KEEP);
        }
        if let Some(moved) = room.members.get(index)
            && let Some(theirs) = memberships(moved.socket)
            && let Some(place) = theirs.iter_mut().find(|m| m.room == membership.room)
        {
            place.index = membership.index;
        }
        self.forget_if_unused(membership.room)
    }

    /// The membership of a room among a socket's.
    pub fn membership(&self, memberships: &Memberships, id: &RoomId) -> Option<usize> {
        /// To look at so few rooms costs less than to look one up.
        const FEW: usize = 2;
        if memberships.len() <= FEW {
            return memberships.iter().position(|m| self.id(m.room) == Some(id));
        }
        let room = self.find(id)?;
        memberships.iter().position(|m| m.room == room)
    }

    /// Takes a socket out of a room, but keeps the room for it: it may come back.
    pub fn park<'a>(&mut self, membership: Membership, memberships: impl FnOnce(u32) -> Option<&'a mut Memberships>) {
        if let Some(room) = self.rooms.get_mut(membership.room as usize) {
            room.parked += 1;
        }
        self.leave(membership, memberships);
    }

    /// A parked socket comes back.
    pub fn unpark(&mut self, membership: &mut Membership, member: Member) {
        if let Some(room) = self.rooms.get_mut(membership.room as usize) {
            room.parked = room.parked.saturating_sub(1);
            membership.index = room.members.len() as u32;
            room.members.push(member);
        }
    }

    /// A parked socket will not come back.
    pub fn give_up(&mut self, membership: Membership) -> Change {
        if let Some(room) = self.rooms.get_mut(membership.room as usize) {
            room.parked = room.parked.saturating_sub(1);
        }
        self.forget_if_unused(membership.room)
    }

    /// The serial number of a room, and the offset of its latest event that is no longer kept.
    pub fn history(&self, room: u32) -> Option<(u64, u64)> {
        self.rooms.get(room as usize).map(|r| (r.serial, r.trimmed))
    }

    /// An event of the room with this serial number is no longer kept.
    pub fn trim(&mut self, room: u32, serial: u64, offset: u64) {
        if let Some(room) = self.rooms.get_mut(room as usize).filter(|r| r.serial == serial) {
            room.trimmed = offset;
        }
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self) {
        self.rooms.shrink();
        self.by_id.shrink();
    }

    fn forget_if_unused(&mut self, room: u32) -> Change {
        let unused = self.rooms.get(room as usize).is_some_and(|r| r.members.is_empty() && r.parked == 0);
        if unused && let Some(room) = self.rooms.try_remove(room as usize) {
            self.by_id.remove(&room.id);
            return Change::Edge;
        }
        Change::None
    }

    /// Queues a frame for every member but `except`. `write` appends it to the room's batch, once. Returns the batch and
    /// range it was written to, and how many members got it.
    pub fn deliver(
        &mut self,
        room: u32,
        out: &mut Outbound,
        except: Option<u32>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<(BatchKey, (u32, u32), usize)> {
        let room = self.rooms.get_mut(room as usize)?;
        let turn = out.turn();
        let batch = match room.batch {
            Some((opened, batch)) if opened == turn => batch,
            _ => out.open_batch(),
        };
        room.batch = Some((turn, batch));
        let range = out.append(batch, write);
        let mut delivered = room.members.len();
        match except {
            None => {
                for member in &room.members {
                    out.push(member.sink, batch, range);
                }
            }
            Some(except) => {
                for member in &room.members {
                    if member.socket == except {
                        delivered -= 1;
                    } else {
                        out.push(member.sink, batch, range);
                    }
                }
            }
        }
        Some((batch, range, delivered))
    }
}

impl Membership {
    /// The local number of the room.
    pub fn room(&self) -> u32 {
        self.room
    }
}
