//! How a turn reads: everything that is ready, within its budget.

use std::io;

use rustix::event::epoll::{Event, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{BATCH, DOORBELL, Pump};
use crate::driver::budget::Visit;
use crate::driver::connections::{NO_SLOT, event_key};
use crate::driver::gate;
use crate::shard::seam::{ConnectionKey, Core, Ended, Now};

/// Batches a turn reads.
const BATCHES_MAX: usize = 32;

impl<C: Core> Pump<C> {
    /// Reads what is ready, batch after batch, within the turn's budget; then on where earlier turns stopped. In this order,
    /// since whoever sends more than a read takes must not delay those who do not. While shards have more for one another than
    /// they take, be it this one that is behind or another, it reads what is ready and one connection more, so that none waits
    /// for ever; and nothing while those to whom it posts are far behind.
    pub(super) fn read_all(&mut self, now: Now) -> io::Result<()> {
        let (left, port) = (self.unread.len(), self.connections.port());
        let (is_congested, is_jammed) = (port.is_congested(), port.is_jammed());
        let hurries = is_congested || port.is_behind();
        self.budget.begin(port.window(), hurries, !port.is_empty(), self.core.pending());
        if is_jammed {
            return Ok(());
        }
        self.reads_again = self.flush_at_ms.is_some();
        self.more = !self.read_ready(now)?;
        self.reads_again = self.flush_at_ms.is_some();
        self.read_unread(if hurries { left.min(1) } else { left }, now);
        Ok(())
    }

    /// Whether everything that is ready was read.
    fn read_ready(&mut self, now: Now) -> io::Result<bool> {
        for batch in 1.. {
            let ready = self.events.len();
            while let Some(event) = self.events.get(self.handled).copied() {
                if self.budget.is_over(self.core.pending()) {
                    return Ok(false);
                }
                self.handled += 1;
                self.dispatch(event, ready, now);
            }
            if self.events.len() < BATCH {
                break;
            }
            if batch == BATCHES_MAX || self.budget.is_read() {
                return Ok(false);
            }
            self.collect(0)?;
            self.reads_again = true;
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
        for _ in 0..left {
            if self.budget.is_read() || self.budget.is_over(self.core.pending()) {
                return;
            }
            let Some(key) = self.unread.pop_front() else { return };
            self.connections.set_unread(key, false);
            let visit = self.budget.visit(left, true, self.core.pending());
            self.read(key, visit, true, now);
        }
    }

    fn read_later(&mut self, key: ConnectionKey) {
        if self.connections.set_unread(key, true) {
            self.unread.push_back(key);
        }
    }

    /// Handles one event of the set, of so many.
    fn dispatch(&mut self, event: Event, ready: usize, now: Now) {
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
                if is_readable {
                    let visit = self.budget.visit(ready, false, self.core.pending());
                    self.read(key, visit, ends, now);
                }
                if flags.intersects(EventFlags::OUT | failed) {
                    self.write_again(key, now);
                }
            }
        }
    }

    /// One visit of a connection. `ends`: the end of what it receives may have been reported. A read that took less than it
    /// might have has emptied the socket, and whatever comes after that is a new edge; else a later turn reads on.
    /// So it does at an end behind bytes that were read since the last flush: first they are answered.
    fn read(&mut self, key: ConnectionKey, mut visit: Visit, ends: bool, now: Now) {
        let mut is_first = !self.reads_again;
        while visit.next() > 0 {
            let Some(socket) = self.connections.readable(key) else { return };
            let read = rustix::net::recv(socket, &mut self.scratch[..visit.next()], RecvFlags::DONTWAIT);
            self.budget.spend(read.map_or(0, |(bytes, _)| bytes));
            match read {
                Ok((0, _)) if is_first => return self.end(key, Ended::Eof, now),
                Ok((0, _)) => {
                    // Not a busy wait for the flush that is put off.
                    self.flush_at_ms = self.flush_at_ms.and(Some(0));
                    break;
                }
                Ok((bytes, _)) => {
                    self.core.received(key, &mut self.scratch[..bytes], now);
                    if !ends && bytes < visit.next() {
                        return;
                    }
                    visit.spend(bytes, self.core.pending());
                    is_first = false;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => break,
                Err(_) => return self.end(key, Ended::Reset, now),
            }
        }
        self.read_later(key);
    }
}
