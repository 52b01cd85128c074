//! The sockets of a shard: who they are, how they are reached, which rooms they are in.

mod away;

use super::recovery::{self, Recovery};
use super::{App, ConnectError, Mail, volatile};
use crate::engine::session::NO_UPPER;
use crate::engine::{Engine, SessionKey};
use crate::rooms::RoomId;
use crate::rooms::home::Interest;
use crate::rooms::members::{Change, Member, Members, Memberships};
use crate::shrink::Shrink;
use crate::wire::sid::Sid;
use crate::wire::socket::{PacketType, put_prefix};
use slab::Slab;
use std::collections::VecDeque;

/// Names a socket of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// Index into the slab of sockets.
    pub slot: u32,
    /// Differs for every use of the slot.
    pub generation: u32,
}

/// One socket: a session in a namespace, or for a while none.
struct Socket<D> {
    generation: u32,
    /// While it is away: no session, and the number of its departure.
    session: SessionKey,
    /// The next socket of the same session.
    next: u32,
    namespace: u8,
    id: Sid,
    /// The private id by which it may come back.
    pid: Sid,
    /// The offset at which it began.
    start: u64,
    /// That of the latest event for it alone that is no longer kept; 0: all are.
    trimmed: u64,
    rooms: Memberships,
    data: D,
}

/// What the sockets of an application send one another between shards.
pub type MailOf<A> = Mail<<A as App>::Mail, <A as App>::Delivery>;

/// The sockets of a shard and what they share.
pub struct Hub<A: App> {
    shard: usize,
    shards: usize,
    sockets: Slab<Socket<A::Data>>,
    pub(super) members: Members,
    interest: Interest,
    pub(super) outgoing: Vec<(usize, MailOf<A>)>,
    /// Bytes that it will have queued for clients, as far as this shard can tell.
    pub(super) outgoing_bytes: usize,
    local: VecDeque<MailOf<A>>,
    marked: Vec<SocketKey>,
    pub(super) volatile: Option<volatile::Turn>,
    pub(super) recovery: Recovery,
}

impl<A: App> Hub<A> {
    pub(super) fn new(shard: usize, shards: usize, recovery: recovery::Settings) -> Self {
        Self {
            shard,
            shards,
            sockets: Slab::new(),
            members: Members::default(),
            interest: Interest::default(),
            outgoing: Vec::new(),
            outgoing_bytes: 0,
            local: VecDeque::new(),
            marked: Vec::new(),
            volatile: None,
            recovery: Recovery::new(shard, recovery),
        }
    }

    /// This shard's number.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Who may come back.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Sockets connected.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether no socket is connected.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.sockets.shrink();
        self.members.shrink();
        self.interest.shrink();
        self.outgoing.shrink();
        self.local.shrink();
        self.marked.shrink();
        self.recovery.shrink();
    }

    /// Rooms with members on this shard, and rooms whose home is here and that somebody is in.
    pub fn rooms(&self) -> (usize, usize) {
        (self.members.len(), self.interest.len())
    }

    fn get(&self, key: SocketKey) -> Option<&Socket<A::Data>> {
        self.sockets.get(key.slot as usize).filter(|s| s.generation == key.generation)
    }

    fn get_mut(&mut self, key: SocketKey) -> Option<&mut Socket<A::Data>> {
        self.sockets.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)
    }

    /// The socket in a slot, and the next of its session.
    pub(super) fn at(&self, slot: u32) -> Option<(SocketKey, u32)> {
        let socket = self.sockets.get(slot as usize)?;
        Some((SocketKey { slot, generation: socket.generation }, socket.next))
    }

    /// The session's socket in a namespace.
    pub(super) fn find(&self, engine: &Engine, session: SessionKey, namespace: &str) -> Option<SocketKey> {
        let mut slot = engine.session(session)?.upper;
        while slot != NO_UPPER {
            let (key, next) = self.at(slot)?;
            if self.namespace(key) == Some(namespace) {
                return Some(key);
            }
            slot = next;
        }
        None
    }

    /// Takes up a socket and tells it so.
    pub(super) fn connect(
        &mut self,
        engine: &mut Engine,
        session: SessionKey,
        namespace: u8,
        data: A::Data,
    ) -> Option<SocketKey> {
        let slot = u32::try_from(self.sockets.vacant_key()).ok()?;
        let generation = engine.next_generation();
        let (id, pid) = (engine.new_sid(0), engine.new_sid(slot));
        let next = std::mem::replace(&mut engine.session_mut(session)?.upper, slot);
        let (rooms, start) = (Memberships::new(), self.recovery.mark());
        self.sockets.insert(Socket { generation, session, next, namespace, id, pid, start, trimmed: 0, rooms, data });
        let key = SocketKey { slot, generation };
        self.tell_connected(engine, key);
        Some(key)
    }

    fn tell_connected(&self, engine: &mut Engine, key: SocketKey) {
        let (Some(socket), Some(namespace)) = (self.get(key), self.namespace(key)) else { return };
        engine.send_text(socket.session, |out| {
            put_prefix(out, PacketType::Connect, 0, namespace, None);
            out.extend_from_slice(br#"{"sid":""#);
            out.extend_from_slice(socket.id.text().as_bytes());
            if self.recovery.is_on() {
                out.extend_from_slice(br#"","pid":""#);
                out.extend_from_slice(socket.pid.text().as_bytes());
            }
            out.extend_from_slice(br#""}"#);
        });
    }

    /// The socket with this private id, connected or away.
    pub(super) fn find_pid(&self, engine: &Engine, pid: &Sid) -> Option<SocketKey> {
        let (shard, slot) = engine.place(pid);
        let socket = self.sockets.get(slot as usize).filter(|s| shard == self.shard && s.pid == *pid)?;
        Some(SocketKey { slot, generation: socket.generation })
    }

    pub(super) fn refuse(&mut self, engine: &mut Engine, session: SessionKey, namespace: &str, error: &ConnectError) {
        let data = serde_json::json!({ "message": error.message }).to_string();
        engine.send_text(session, |out| {
            put_prefix(out, PacketType::ConnectError, 0, namespace, None);
            out.extend_from_slice(data.as_bytes());
        });
    }

    /// Takes a socket out of its rooms and its session.
    pub(super) fn remove(&mut self, engine: &mut Engine, key: SocketKey) {
        if self.get(key).is_none() {
            return;
        }
        self.leave_all(key);
        self.unlink(engine, key);
        self.sockets.try_remove(key.slot as usize);
    }

    /// Takes a socket off its session's list.
    fn unlink(&mut self, engine: &mut Engine, key: SocketKey) {
        let Some(socket) = self.get_mut(key) else { return };
        let (session, next) = (socket.session, std::mem::replace(&mut socket.next, NO_UPPER));
        let Some(session) = engine.session_mut(session) else { return };
        if session.upper == key.slot {
            session.upper = next;
            return;
        }
        let mut at = session.upper;
        while let Some(other) = self.sockets.get_mut(at as usize) {
            if other.next == key.slot {
                other.next = next;
                return;
            }
            at = other.next;
        }
    }

    /// The namespace of a socket.
    pub fn namespace(&self, key: SocketKey) -> Option<&'static str> {
        A::NAMESPACES.get(self.get(key)?.namespace as usize).copied()
    }

    /// The id a socket was given.
    pub fn id(&self, key: SocketKey) -> Option<Sid> {
        self.get(key).map(|s| s.id)
    }

    /// What the application keeps with a socket.
    pub fn data(&self, key: SocketKey) -> Option<&A::Data> {
        self.get(key).map(|s| &s.data)
    }

    /// What the application keeps with a socket.
    pub fn data_mut(&mut self, key: SocketKey) -> Option<&mut A::Data> {
        self.get_mut(key).map(|s| &mut s.data)
    }

    /// The session of a socket.
    pub fn session(&self, key: SocketKey) -> Option<SessionKey> {
        self.get(key).map(|s| s.session)
    }

    /// The socket in a slot.
    pub fn key(&self, slot: u32) -> Option<SocketKey> {
        self.at(slot).map(|(key, _)| key)
    }

    /// Keys of all sockets.
    pub fn keys(&self) -> impl Iterator<Item = SocketKey> + '_ {
        self.sockets.iter().map(|(slot, s)| SocketKey { slot: slot as u32, generation: s.generation })
    }

    /// The rooms a socket is in.
    pub fn rooms_of(&self, key: SocketKey) -> impl Iterator<Item = &RoomId> {
        self.get(key).into_iter().flat_map(|s| self.members.of(&s.rooms))
    }

    /// How many rooms a socket is in.
    pub fn room_count(&self, key: SocketKey) -> usize {
        self.get(key).map_or(0, |s| s.rooms.len())
    }

    /// Whether a socket is in a room.
    pub fn is_in(&self, key: SocketKey, room: &RoomId) -> bool {
        self.get(key).is_some_and(|s| self.members.contains(&s.rooms, room))
    }

    /// Adds a socket to a room; `false` if it was there already.
    pub fn join(&mut self, engine: &Engine, key: SocketKey, room: &RoomId) -> bool {
        if self.is_in(key, room) {
            return false;
        }
        let Some(sink) = self.session(key).and_then(|s| engine.session(s)).map(|s| s.sink()) else { return false };
        let Some(socket) = self.sockets.get_mut(key.slot as usize).filter(|s| s.generation == key.generation) else {
            return false;
        };
        let (member, since) = (Member { socket: key.slot, sink }, self.recovery.mark());
        let change = self.members.join(room, member, since, &mut socket.rooms);
        self.announce(room, change, true);
        true
    }

    /// Takes a socket out of a room; `false` if it was not there.
    pub fn leave(&mut self, key: SocketKey, room: &RoomId) -> bool {
        let Some(socket) = self.sockets.get_mut(key.slot as usize).filter(|s| s.generation == key.generation) else {
            return false;
        };
        let Some(index) = self.members.membership(&socket.rooms, room) else { return false };
        let membership = socket.rooms.swap_remove(index);
        let sockets = &mut self.sockets;
        let change = self.members.leave(membership, |slot| sockets.get_mut(slot as usize).map(|s| &mut s.rooms));
        self.announce(room, change, false);
        true
    }

    fn leave_all(&mut self, key: SocketKey) {
        let rooms: Vec<RoomId> = self.rooms_of(key).cloned().collect();
        for room in rooms {
            self.leave(key, &room);
        }
    }

    fn announce(&mut self, room: &RoomId, change: Change, on: bool) {
        if change == Change::Edge {
            self.post(room.home(self.shards), Mail::Interest(room.clone(), on));
        }
    }

    pub(super) fn set_interest(&mut self, room: RoomId, shard: usize, on: bool) {
        self.interest.set(room, shard, on);
    }

    /// Sends `delivery` to every shard with members of a room whose home is here, and to shard `also`.
    pub fn fan_out(&mut self, room: &RoomId, also: Option<usize>, delivery: &A::Delivery) {
        if self.shards == 1 {
            return self.post(self.shard, Mail::Deliver(room.clone(), delivery.clone()));
        }
        for shard in self.interest.shards(room, also) {
            self.post(shard, Mail::Deliver(room.clone(), delivery.clone()));
        }
    }

    /// Sends mail to a shard, this one included: all of it in the order posted.
    pub(super) fn post(&mut self, to: usize, mail: MailOf<A>) {
        if to == self.shard {
            self.local.push_back(mail);
        } else {
            self.outgoing.push((to, mail));
        }
    }

    pub(super) fn next_local(&mut self) -> Option<MailOf<A>> {
        self.local.pop_front()
    }

    /// Marks a socket to be disconnected once the application's call is over.
    pub(super) fn mark(&mut self, key: SocketKey) {
        self.marked.push(key);
    }

    pub(super) fn next_marked(&mut self) -> Option<SocketKey> {
        self.marked.pop()
    }

    /// Queues a DISCONNECT packet.
    pub(super) fn tell_disconnected(&mut self, engine: &mut Engine, key: SocketKey) {
        let (Some(session), Some(namespace)) = (self.session(key), self.namespace(key)) else { return };
        engine.send_text(session, |out| put_prefix(out, PacketType::Disconnect, 0, namespace, None));
    }

    /// Queues a DISCONNECT packet for every socket.
    pub(super) fn tell_all(&mut self, engine: &mut Engine) {
        for key in self.keys().collect::<Vec<_>>() {
            self.tell_disconnected(engine, key);
        }
    }
}
