//! What an application can do.

use super::recovery::Target;
use super::{App, Hub, Mail, SocketKey};
use crate::engine::wheel::{Timer, TimerKind};
use crate::engine::{Engine, Now};
use crate::rooms::RoomId;
use crate::wire::prepared::{Prepared, put_event};
use crate::wire::socket::{PacketType, put_prefix};

/// The application's hands: its shard's engine and sockets.
pub struct Context<'a, A: App> {
    /// Sessions, connections, timers.
    pub engine: &'a mut Engine,
    /// Sockets and rooms.
    pub hub: &'a mut Hub<A>,
}

impl<A: App> Context<'_, A> {
    /// The time of this turn.
    pub fn now(&self) -> Now {
        self.engine.now
    }

    /// Emits an event to one socket. `write` appends the JSON array, the event's name first.
    pub fn emit(&mut self, socket: SocketKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.send(socket, PacketType::Event, None, 0, write);
    }

    /// Acknowledges an event. `write` appends the JSON array of arguments.
    pub fn ack(&mut self, socket: SocketKey, ack_id: u64, write: impl FnOnce(&mut Vec<u8>)) {
        self.send(socket, PacketType::Ack, Some(ack_id), 0, write);
    }

    /// Emits an event with binary attachments, to which placeholders in the JSON refer.
    pub fn emit_binary(&mut self, socket: SocketKey, attachments: &[Vec<u8>], write: impl FnOnce(&mut Vec<u8>)) {
        self.send(socket, PacketType::BinaryEvent, None, attachments.len() as u32, write);
        self.send_attachments(socket, attachments);
    }

    /// Acknowledges an event with binary attachments.
    pub fn ack_binary(
        &mut self,
        socket: SocketKey,
        ack_id: u64,
        attachments: &[Vec<u8>],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.send(socket, PacketType::BinaryAck, Some(ack_id), attachments.len() as u32, write);
        self.send_attachments(socket, attachments);
    }

    fn send_attachments(&mut self, socket: SocketKey, attachments: &[Vec<u8>]) {
        let Some(session) = self.hub.session(socket) else { return };
        for bytes in attachments {
            self.engine.send_binary(session, bytes);
        }
    }

    fn send(
        &mut self,
        socket: SocketKey,
        kind: PacketType,
        ack_id: Option<u64>,
        attachments: u32,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (Some(session), Some(namespace)) = (self.hub.session(socket), self.hub.namespace(socket)) else { return };
        self.engine.send_text(session, |out| {
            put_prefix(out, kind, attachments, namespace, ack_id);
            write(out);
        });
    }

    /// Emits an event to one socket of the namespace `/`, which will get it even if it is away for a while. `write` appends
    /// the JSON array, the event's name first.
    pub fn emit_recoverable(&mut self, socket: SocketKey, write: impl FnOnce(&mut Vec<u8>)) {
        self.append_recoverable(socket, |out, offset| put_event(out, offset, write));
    }

    /// Queues a prepared frame for one socket, which will get it even if it is away for a while.
    pub fn send_prepared(&mut self, socket: SocketKey, frame: &Prepared) {
        self.append_recoverable(socket, |out, offset| match offset {
            Some(offset) => frame.put_with_offset(out, offset),
            None => frame.put(out),
        });
    }

    fn append_recoverable(&mut self, socket: SocketKey, write: impl FnOnce(&mut Vec<u8>, Option<u64>)) {
        let sink = self.hub.session(socket).and_then(|s| self.engine.session(s)).map(|s| s.sink());
        let out = &mut self.engine.out;
        let recovery = &mut self.hub.recovery;
        if !recovery.is_on() {
            if let Some(sink) = sink {
                out.put(sink, |bytes| write(bytes, None));
            }
            return;
        }
        let (offset, batch) = (recovery.take_offset(), recovery.direct_batch(out));
        let range = out.append(batch, |bytes| write(bytes, Some(offset)));
        recovery.note(offset, Target::Socket(socket), batch, range);
        if let Some(sink) = sink {
            out.push(sink, batch, range);
        }
    }

    /// Queues a prepared frame for every member of a room on this shard but `except`, and for those who are away.
    pub fn deliver(&mut self, room: &RoomId, frame: &Prepared, except: Option<SocketKey>) {
        // The slot of a socket that is gone may be another's by now.
        let except = except.filter(|&s| self.hub.session(s).is_some()).map(|s| s.slot);
        let Hub { members, recovery, .. } = &mut *self.hub;
        let Some(room) = members.find(room) else { return };
        let offset = recovery.is_on().then(|| recovery.take_offset());
        let delivered = members.deliver(room, &mut self.engine.out, except, |bytes| match offset {
            Some(offset) => frame.put_with_offset(bytes, offset),
            None => frame.put(bytes),
        });
        let Some((batch, range, count)) = delivered else { return };
        self.engine.counters.deliveries += count as u64;
        if let (Some(offset), Some((serial, _))) = (offset, members.history(room)) {
            recovery.note(offset, Target::Room { room, serial, except }, batch, range);
        }
    }

    /// Adds a socket to a room; `false` if it was there already.
    pub fn join(&mut self, socket: SocketKey, room: &RoomId) -> bool {
        self.hub.join(self.engine, socket, room)
    }

    /// Takes a socket out of a room; `false` if it was not there.
    pub fn leave(&mut self, socket: SocketKey, room: &RoomId) -> bool {
        self.hub.leave(socket, room)
    }

    /// The shard that owns a room.
    pub fn home(&self, room: &RoomId) -> usize {
        room.home(self.hub.shards())
    }

    /// Sends mail to the application's instance on a shard, this one included.
    pub fn post(&mut self, to: usize, mail: A::Mail) {
        self.hub.post(to, Mail::App(mail));
    }

    /// Sends mail to a room's home, which sends so many bytes on to every member. The members of this shard tell how many
    /// those are likely to be: whoever publishes to a large room is then read less, wherever its home is.
    pub fn post_to_room(&mut self, room: &RoomId, bytes: usize, mail: A::Mail) {
        let home = self.home(room);
        if home != self.hub.shard() {
            let members = self.hub.members.find(room).map_or(0, |room| self.hub.members.members(room).len());
            self.hub.outgoing_bytes += members * self.hub.shards() * bytes;
        }
        self.post(home, mail);
    }

    /// Whether a socket has lost its connection and may come back.
    pub fn is_away(&self, socket: SocketKey) -> bool {
        self.hub.is_away(socket)
    }

    /// Puts a socket out of its namespace.
    pub fn disconnect(&mut self, socket: SocketKey) {
        self.hub.mark(socket);
    }

    /// Arms a timer of a socket's.
    pub fn remind(&mut self, at_ms: u64, socket: SocketKey) {
        let SocketKey { slot, generation } = socket;
        self.engine.wheel.arm(at_ms, Timer { kind: TimerKind::Socket, slot, generation });
    }

    /// Arms a timer that fires with these two numbers.
    pub fn arm(&mut self, at_ms: u64, slot: u32, generation: u32) {
        self.engine.wheel.arm(at_ms, Timer { kind: TimerKind::App, slot, generation });
    }
}
