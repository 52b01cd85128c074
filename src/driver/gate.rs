//! One of a shard's listeners: watched, at rest while the system has no room for more connections, or closed for good.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::Listener;
use super::accept::{Accepted, accept};
use super::connections::NO_SLOT;
use crate::shard::seam::Security;

/// How long accepting rests when the system has no room for more.
const REST_MS: u64 = 100;

/// What events of a shard's first listener carry; those of its other ones follow.
const LISTENERS: u64 = 1 << 32 | NO_SLOT as u64;

/// What events of a shard's listener carry.
fn event_data(index: usize) -> EventData {
    EventData::new_u64(LISTENERS + ((index as u64) << 32))
}

/// Which of a shard's listeners an event without a slot is about, if it is about one.
pub fn event_index(data: EventData) -> Option<usize> {
    (data.u64() >> 32).checked_sub(1).and_then(|index| usize::try_from(index).ok())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No room: not before this time (monotonic).
    RestsUntil(u64),
    Closed,
}

/// The listener and its state.
pub struct Gate {
    listener: Listener,
    /// Which of the shard's listeners it is.
    index: usize,
    /// The set that watches it; none when the ring does.
    set: Option<Rc<OwnedFd>>,
    state: State,
    /// The lack of room was logged; again only after a connection was accepted.
    said: bool,
    rests: u64,
}

impl Gate {
    /// An open gate, watched by `set` or else by the ring.
    pub fn new(listener: Listener, index: usize, set: Option<Rc<OwnedFd>>) -> rustix::io::Result<Self> {
        let gate = Self { listener, index, set, state: State::Open, said: false, rests: 0 };
        gate.watch()?;
        Ok(gate)
    }

    fn watch(&self) -> rustix::io::Result<()> {
        let Some(set) = &self.set else { return Ok(()) };
        epoll::add(&**set, &self.listener.socket, event_data(self.index), EventFlags::IN)
    }

    fn unwatch(&self) {
        if let Some(set) = &self.set {
            // An error says that it is not in the set.
            let _ = epoll::delete(&**set, &self.listener.socket);
        }
    }

    /// The listener, while it is to be watched.
    pub fn open(&self) -> Option<&OwnedFd> {
        (self.state == State::Open).then_some(&self.listener.socket)
    }

    /// What its connections are.
    pub fn security(&self) -> Security {
        self.listener.security
    }

    /// When the rest is over, if it rests.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::RestsUntil(ms) => Some(ms),
            State::Open | State::Closed => None,
        }
    }

    /// Times it had to rest.
    pub fn rests(&self) -> u64 {
        self.rests
    }

    /// The next connection, if there is one and room for it. `tries` counts down for each one asked for.
    pub fn accept(&mut self, tries: &mut u32, now_ms: u64) -> Option<(OwnedFd, IpAddr)> {
        while self.state == State::Open && *tries > 0 {
            *tries -= 1;
            match accept(&self.listener.socket) {
                Accepted::Connection(socket, peer) => {
                    self.said = false;
                    return Some((socket, peer));
                }
                Accepted::Broken => {}
                Accepted::None => return None,
                Accepted::NoRoom(error) => self.rest(error, now_ms),
            }
        }
        None
    }

    fn rest(&mut self, error: Errno, now_ms: u64) {
        if !self.said {
            tracing::warn!(%error, "no room for another connection; accepting rests");
        }
        self.said = true;
        self.rests += 1;
        self.unwatch();
        self.state = State::RestsUntil(now_ms + REST_MS);
    }

    /// Opens again if the rest is over.
    pub fn reopen(&mut self, now_ms: u64) {
        if self.deadline_ms().is_some_and(|ms| ms <= now_ms) {
            self.state = State::Open;
            if let Err(error) = self.watch() {
                self.rest(error, now_ms);
            }
        }
    }

    /// Closes for good. The descriptor stays, since the ring may hold it; shut down, it refuses connections from here on.
    pub fn close(&mut self) {
        self.unwatch();
        self.state = State::Closed;
        // An error says that it does not listen.
        let _ = rustix::net::shutdown(&self.listener.socket, Shutdown::Both);
    }
}
