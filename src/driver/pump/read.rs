//! How a turn reads: everything that is ready, within its budget.

use std::io;

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{BATCH, DOORBELL, Pump};
use crate::driver::connections::{NO_SLOT, event_key};
use crate::driver::gate;
use crate::shard::seam::{ConnectionKey, Core, Ended, Now};

/// Batches a turn reads.
const BATCHES_MAX: usize = 32;

impl<C: Core> Pump<C> {
    /// Reads what is ready, batch after batch, within the turn's budget; then on where earlier turns stopped. In this order,
    /// since whoever sends more than a read takes must not delay those who do not. While other shards do not keep up with
    /// what this one posts it reads only what is ready, and nothing while they are far behind.
    pub(super) fn read_all(&mut self, now: Now) -> io::Result<()> {
        let (left, port) = (self.unread.len(), self.connections.port());
        let (is_congested, is_jammed) = (port.is_congested(), port.is_jammed());
        let hurries = is_congested || port.is_behind();
        self.budget.begin(port.window(), hurries, !port.is_empty(), self.core.pending());
        if is_jammed {
            return Ok(());
        }
        self.more = !self.read_ready(now)?;
        if !is_congested {
            self.read_unread(left, now);
        }
        Ok(())
    }

    /// Whether everything that is ready was read.
    fn read_ready(&mut self, now: Now) -> io::Result<bool> {
        for batch in 1.. {
            let share = self.budget.share(self.events.len());
            while let Some(event) = self.events.get(self.handled).copied() {
                if self.budget.is_over(self.core.pending()) {
                    return Ok(false);
                }
                self.handled += 1;
                let bytes = self.dispatch(event, share, now);
                self.budget.spend(bytes);
            }
            if self.events.len() < BATCH {
                break;
            }
            if batch == BATCHES_MAX || self.budget.is_read() {
                return Ok(false);
            }
            self.collect(0)?;
        }
        Ok(true)
    }

    /// Reads connections of which something was left, the first `left`, each until it is empty or at its end: that may have
    /// been reported already.
    fn read_unread(&mut self, left: usize, now: Now) {
        if left == 0 {
            return;
        }
        self.budget.begin_rest(self.core.pending());
        let share = self.budget.share(left);
        for _ in 0..left {
            if self.budget.is_read() || self.budget.is_over(self.core.pending()) {
                return;
            }
            let Some(key) = self.unread.pop_front() else { return };
            self.connections.set_unread(key, false);
            let bytes = self.read(key, share, true, now);
            self.budget.spend(bytes);
        }
    }

    fn read_later(&mut self, key: ConnectionKey) {
        if self.connections.set_unread(key, true) {
            self.unread.push_back(key);
        }
    }

    /// Handles one event of the set. Returns the bytes read.
    fn dispatch(&mut self, event: Event, share: usize, now: Now) -> usize {
        let (data, flags) = (event.data, event.flags);
        match data.u64() {
            DOORBELL => self.connections.port().doorbell().silence(),
            _ if event_key(data).slot == NO_SLOT => {
                if let Some(index) = gate::event_index(data) {
                    self.accept_from(index, now);
                }
            }
            _ => {
                let key = event_key(data);
                let failed = EventFlags::ERR | EventFlags::HUP;
                let ends = flags.intersects(EventFlags::RDHUP | failed);
                let is_readable = (ends || flags.contains(EventFlags::IN)) && !self.connections.is_unread(key);
                let read = if is_readable { self.read(key, share, ends, now) } else { 0 };
                if flags.intersects(EventFlags::OUT | failed) {
                    self.write_again(key, now);
                }
                return read;
            }
        }
        0
    }

    /// One read of a connection. `ends`: the end of what it receives may have been reported. A read that took less than it
    /// might have has emptied the socket, and whatever comes after that is a new edge; else the next turn reads on.
    fn read(&mut self, key: ConnectionKey, share: usize, ends: bool, now: Now) -> usize {
        let Some(socket) = self.connections.readable(key) else {
            return 0;
        };
        match rustix::net::recv(socket, &mut self.scratch[..share], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.end(key, Ended::Eof, now),
            Ok((bytes, _)) => {
                if ends || bytes == share {
                    self.read_later(key);
                }
                self.core.received(key, &mut self.scratch[..bytes], now);
                return bytes;
            }
            Err(Errno::AGAIN) => {}
            Err(Errno::INTR) => self.read_later(key),
            Err(_) => self.end(key, Ended::Reset, now),
        }
        0
    }
}
