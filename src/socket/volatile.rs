//! Events that are the first to go when a reader is slow.

use super::{App, Context, SocketKey};
use crate::connection::outbound::BatchKey;
use crate::wire::prepared::Prepared;

/// A turn's batch of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    number: u32,
    batch: BatchKey,
}

/// Of what may wait for a reader, this part may be volatile events of one turn.
const TURN_PART: usize = 4;
/// A reader for whom this part of it waits gets none. Reading from it stops there too.
const BACKLOG_PART: usize = 2;

impl<A: App> Context<'_, A> {
    /// Queues frames for sockets, but not for those who are away, and not for those who are behind with reading. Nobody is
    /// sent them again after a broken connection, and nobody is cut off for them.
    pub fn send_volatile(&mut self, frames: &[Prepared], sockets: &[SocketKey]) {
        if sockets.is_empty() {
            return;
        }
        let out = &mut self.engine.out;
        let turn = match self.hub.volatile {
            Some(turn) if turn.number == out.turn() => turn,
            _ => Turn { number: out.turn(), batch: out.open_batch() },
        };
        self.hub.volatile = Some(turn);
        let max_queue = self.engine.settings.max_queue;
        let is_full = out.batch_len(turn.batch) >= max_queue / TURN_PART;
        let range = if is_full {
            (0, 0)
        } else {
            out.append(turn.batch, |bytes| frames.iter().for_each(|frame| frame.put(bytes)))
        };
        for &socket in sockets {
            let Some(session) = self.hub.session(socket).and_then(|s| self.engine.session(s)) else { continue };
            let sink = session.sink();
            if is_full || self.engine.out.backlog_bytes(sink) > max_queue / BACKLOG_PART {
                self.engine.counters.volatile_dropped += 1;
            } else {
                self.engine.out.push(sink, turn.batch, range);
            }
        }
    }
}
