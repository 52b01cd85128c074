//! A connection of the floor program.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, SendFlags};

#[derive(Debug)]
pub(super) struct Connection {
    pub fd: OwnedFd,
    /// Number of the room joined ([`NO_ROOM`]: none), and the place among its members.
    pub room: u32,
    pub place: u32,
    pub upgraded: bool,
    /// The socket took less than offered; its next edge will continue.
    pub blocked: bool,
    /// Close once everything is written.
    pub closing: bool,
    /// The start of a request or frame whose end has not come.
    pub carry: Vec<u8>,
    /// What this connection alone gets, and what the socket did not take.
    pub out: Vec<u8>,
}

/// A connection that has not joined.
pub(super) const NO_ROOM: u32 = u32::MAX;

impl Connection {
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            room: NO_ROOM,
            place: 0,
            upgraded: false,
            blocked: false,
            closing: false,
            carry: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Writes what is there for this connection, then `shared`, in one write. What the socket does not take is kept; an
    /// error is left to the read that finds it too.
    pub fn write_with(&mut self, shared: &[u8]) {
        if self.out.is_empty() {
            match net::send(&self.fd, shared, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == shared.len() => {}
                Ok(sent) => self.keep(&shared[sent..]),
                Err(Errno::AGAIN) => self.keep(shared),
                Err(_) => {}
            }
            return;
        }
        self.out.extend_from_slice(shared);
        if self.blocked {
            return;
        }
        match net::send(&self.fd, &self.out, SendFlags::NOSIGNAL) {
            Ok(sent) if sent < self.out.len() => {
                self.out.drain(..sent);
                self.blocked = true;
            }
            Err(Errno::AGAIN) => self.blocked = true,
            Ok(_) | Err(_) => self.out.clear(),
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        self.out.extend_from_slice(rest);
        self.blocked = true;
    }
}
