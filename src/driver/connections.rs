//! The connections of a shard: their sockets by slot, the epoll set that watches them, and [`Wire`] over both.
//!
//! An idle connection costs eight bytes here and nothing else: no buffer, no task. The set tells edges, not levels: a level
//! costs the kernel another look at every socket it has reported. Whoever leaves bytes unread has to come back by itself.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg};

use super::loads::Loads;
use crate::mesh::{Envelope, Port};
use crate::shard::seam::{ConnectionKey, Handover, Wire};
use crate::shrink::Shrink;

/// Slices one `sendmsg` takes (`IOV_MAX`); what is beyond goes with the next write.
const SLICES_MAX: usize = 1024;

/// The slot that no connection has; events of a driver's own descriptors carry it.
pub const NO_SLOT: u32 = u32::MAX;

/// Read interest: the connection is in the set for reading.
const READING: u32 = 1;
/// A write took less than offered; somebody watches for room.
const BLOCKED: u32 = 1 << 1;
/// The end of the receiving side was read.
const ENDED: u32 = 1 << 2;
/// The driver will read on by itself.
const UNREAD: u32 = 1 << 3;
/// Flags take the low byte of a tag, the low 24 bits of the generation the rest: enough to tell the events of one turn.
const FLAGS: u32 = 0xff;

fn generation_bits(key: ConnectionKey) -> u32 {
    key.generation << 8
}

/// A slot of the table.
struct Entry {
    socket: Option<OwnedFd>,
    tag: u32,
}

impl Entry {
    fn is(&self, flag: u32) -> bool {
        self.tag & flag != 0
    }

    fn set(&mut self, flag: u32, on: bool) {
        self.tag = if on { self.tag | flag } else { self.tag & !flag };
    }
}

/// Who watches a connection that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// The own epoll set.
    Set,
    /// The ring: the driver takes the keys from [`Connections::take_blocked`] and has one poll in flight for each.
    Ring,
}

/// All connections of one shard.
pub struct Connections<M> {
    entries: Vec<Entry>,
    set: Rc<OwnedFd>,
    watcher: Watcher,
    /// With [`Watcher::Ring`]: connections that became blocked and have no poll in flight yet.
    blocked: Vec<ConnectionKey>,
    /// Sockets of closed connections whose poll is still in flight; at most one per poll.
    parting: HashMap<ConnectionKey, OwnedFd>,
    /// Connections the set refused to watch, to be reported as reset.
    broken: Vec<ConnectionKey>,
    port: Port<Envelope<M>>,
    loads: Arc<Loads>,
}

impl<M> Connections<M> {
    pub fn new(port: Port<Envelope<M>>, loads: Arc<Loads>, watcher: Watcher) -> io::Result<Self> {
        Ok(Self {
            entries: Vec::new(),
            set: Rc::new(epoll::create(CreateFlags::CLOEXEC)?),
            watcher,
            blocked: Vec::new(),
            parting: HashMap::new(),
            broken: Vec::new(),
            port,
            loads,
        })
    }

    pub fn set(&self) -> &Rc<OwnedFd> {
        &self.set
    }

    pub fn port(&mut self) -> &mut Port<Envelope<M>> {
        &mut self.port
    }

    /// Takes a socket in under the key the shard gave it, and reads it from now on.
    pub fn insert(&mut self, key: ConnectionKey, socket: OwnedFd) {
        let slot = key.slot as usize;
        if slot >= self.entries.len() {
            self.entries.resize_with(slot + 1, || Entry { socket: None, tag: 0 });
        }
        let entry = &mut self.entries[slot];
        debug_assert!(entry.socket.is_none(), "slot {slot} is in use");
        *entry = Entry { socket: Some(socket), tag: generation_bits(key) };
        self.change(key, READING, true);
    }

    /// Gives back what is behind the last slot in use.
    pub fn shrink(&mut self) {
        while self.entries.pop_if(|entry| entry.socket.is_none()).is_some() {}
        self.entries.shrink();
        self.parting.shrink();
        self.port.shrink();
    }

    /// The entry of a connection that is still there.
    fn entry(&mut self, key: ConnectionKey) -> Option<&mut Entry> {
        self.entries
            .get_mut(key.slot as usize)
            .filter(|entry| entry.socket.is_some() && (entry.tag & !FLAGS) == generation_bits(key))
    }

    /// The socket of a connection to be read now. `None`: gone, or not read.
    pub fn readable(&mut self, key: ConnectionKey) -> Option<&OwnedFd> {
        self.entry(key).filter(|entry| entry.is(READING) && !entry.is(ENDED)).and_then(|entry| entry.socket.as_ref())
    }

    /// Whether the driver will read a connection on by itself.
    pub fn is_unread(&mut self, key: ConnectionKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.is(UNREAD))
    }

    /// Notes whether the driver will read a connection on by itself. Returns whether that is new.
    pub fn set_unread(&mut self, key: ConnectionKey, on: bool) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let is_new = entry.is(UNREAD) != on;
        entry.set(UNREAD, on);
        is_new
    }

    /// The receiving side ended: the connection is read no more. Returns whether that is new.
    pub fn end(&mut self, key: ConnectionKey) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let is_new = !entry.is(ENDED);
        entry.set(ENDED, true);
        is_new
    }

    /// There may be room to write. Returns whether the connection waits for it; it is not watched any more.
    pub fn unblock(&mut self, key: ConnectionKey) -> bool {
        let waited = self.entry(key).is_some_and(|entry| entry.is(BLOCKED));
        if waited {
            self.change(key, BLOCKED, false);
        }
        waited
    }

    /// Changes what the connection is watched for, and the set with it.
    fn change(&mut self, key: ConnectionKey, flag: u32, on: bool) {
        let set = Rc::clone(&self.set);
        let writes_in_set = self.watcher == Watcher::Set;
        let Some(entry) = self.entry(key) else { return };
        let Some(socket) = &entry.socket else { return };
        let interest = |tag: u32| {
            let mut events = EventFlags::empty();
            // RDHUP tells that a FIN is behind the bytes that are read.
            events.set(EventFlags::IN | EventFlags::RDHUP, tag & READING != 0);
            events.set(EventFlags::OUT, writes_in_set && tag & BLOCKED != 0);
            events
        };
        let tag = if on { entry.tag | flag } else { entry.tag & !flag };
        let (before, after) = (interest(entry.tag), interest(tag));
        let data = event_data(key);
        // Whatever is ready at that moment counts as an edge. Out of the set altogether when nothing is wanted: an errored
        // or hung-up socket reports itself unasked.
        let result = match (before.is_empty(), after.is_empty()) {
            _ if before == after => Ok(()),
            (true, _) => epoll::add(&*set, socket, data, after | EventFlags::ET),
            (_, true) => epoll::delete(&*set, socket),
            _ => epoll::modify(&*set, socket, data, after | EventFlags::ET),
        };
        entry.tag = tag;
        if let Err(error) = result {
            tracing::warn!(%error, "a connection cannot be watched");
            self.broken.push(key);
        }
    }

    /// Connections that became blocked since the last call; each gets a poll in flight.
    pub fn take_blocked(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.blocked)
    }

    /// The socket of a connection, to be watched.
    pub fn socket(&mut self, key: ConnectionKey) -> Option<&OwnedFd> {
        self.entry(key).and_then(|entry| entry.socket.as_ref())
    }

    /// The poll of a connection is over: if the connection is closed, its socket can go now.
    pub fn polled(&mut self, key: ConnectionKey) {
        self.parting.remove(&key);
    }

    /// Whether there are connections to be reported as reset.
    pub fn has_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// The next connection to be reported as reset.
    pub fn pop_broken(&mut self) -> Option<ConnectionKey> {
        self.broken.pop()
    }

    /// Takes the socket of a connection out of the table, and out of the set unless it is `closing`: the last one who has
    /// the file open takes it out by closing it. The flag says whether a poll is in flight.
    fn remove(&mut self, key: ConnectionKey, closing: bool) -> Option<(OwnedFd, bool)> {
        let ring = self.watcher == Watcher::Ring;
        let in_flight = self.entry(key)?.is(BLOCKED) && ring;
        if in_flight || !closing {
            self.change(key, READING | BLOCKED, false);
        }
        let socket = self.entry(key)?.socket.take()?;
        if in_flight && let Some(at) = self.blocked.iter().position(|blocked| *blocked == key) {
            // Blocked in this very turn: the poll was not begun.
            self.blocked.swap_remove(at);
            return Some((socket, false));
        }
        Some((socket, in_flight))
    }

    /// Closes a socket that is in no table. `abort`: unsent bytes are thrown away and the peer is reset.
    fn part(&mut self, key: ConnectionKey, socket: OwnedFd, in_flight: bool, abort: bool) {
        if abort {
            reset(&socket);
        }
        if in_flight {
            // The poll holds the socket open until it completes, and would leave the number to somebody else if it were
            // closed before the ring took the poll. A reset makes it complete, and so does the shutdown.
            let _ = rustix::net::shutdown(&socket, Shutdown::Both);
            self.parting.insert(key, socket);
        }
    }
}

/// What an event about `key` carries.
fn event_data(key: ConnectionKey) -> EventData {
    EventData::new_u64(u64::from(key.generation) << 32 | u64::from(key.slot))
}

/// The key an event carries.
pub fn event_key(data: EventData) -> ConnectionKey {
    let data = data.u64();
    ConnectionKey { slot: (data & 0xffff_ffff) as u32, generation: (data >> 32) as u32 }
}

/// Throws unsent bytes away and resets the peer at once (connect(2), `AF_UNSPEC`). A zero `SO_LINGER` would do so only
/// when the last holder of the open file is gone, which may be a poll in flight.
pub fn reset(socket: &OwnedFd) {
    // An error says that there is no connection any more.
    let _ = rustix::net::connect_unspec(socket);
}

impl<M> Connections<M> {
    fn write(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        let Some(entry) = self.entry(key) else {
            return Err(Errno::NOTCONN.into());
        };
        let Some(socket) = &entry.socket else {
            return Err(Errno::NOTCONN.into());
        };
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let sent = match write(socket, slices, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::NOBUFS) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < offered && !entry.is(BLOCKED) {
            self.change(key, BLOCKED, true);
            if self.watcher == Watcher::Ring {
                self.blocked.push(key);
            }
        }
        Ok(sent)
    }
}

impl<M> Wire<M> for Connections<M> {
    fn send(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(key, slices, SendFlags::empty())
    }

    fn send_last(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // What does not fill a segment is held back for the FIN. A full socket holds nothing back.
        self.write(key, slices, SendFlags::MORE)
    }

    fn set_reading(&mut self, key: ConnectionKey, on: bool) {
        if self.entry(key).is_some_and(|entry| !entry.is(ENDED)) {
            self.change(key, READING, on);
        }
    }

    fn shutdown(&mut self, key: ConnectionKey) {
        if let Some(socket) = self.socket(key) {
            // An error says that the connection is gone, which reading reports.
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
    }

    fn close(&mut self, key: ConnectionKey, abort: bool) {
        if let Some((socket, in_flight)) = self.remove(key, true) {
            self.part(key, socket, in_flight, abort);
            self.loads.closed(self.port.index());
        }
    }

    fn hand_over(&mut self, key: ConnectionKey, to: usize, handover: Handover) {
        let Some((socket, in_flight)) = self.remove(key, false) else {
            return;
        };
        let own = self.port.index();
        let travels = match in_flight.then(|| socket.try_clone()) {
            None => socket,
            // The poll keeps the old number until it completes.
            Some(Ok(duplicate)) => {
                self.parting.insert(key, socket);
                duplicate
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection cannot change its shard and is reset");
                self.part(key, socket, in_flight, true);
                self.loads.closed(own);
                return;
            }
        };
        self.loads.moved(own, to);
        self.port.post(to, Envelope::Connection { socket: travels, handover });
    }

    fn post(&mut self, to: usize, mail: M) {
        self.port.post(to, Envelope::Mail(mail));
    }
}

/// One write without blocking; `send` for one slice, `sendmsg` for more.
fn write(socket: impl AsFd, slices: &[IoSlice<'_>], flags: SendFlags) -> rustix::io::Result<usize> {
    let flags = flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        let result = match slices {
            [slice] => rustix::net::send(&socket, slice, flags),
            _ => {
                let slices = &slices[..slices.len().min(SLICES_MAX)];
                sendmsg(&socket, slices, &mut SendAncillaryBuffer::default(), flags)
            }
        };
        match result {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
