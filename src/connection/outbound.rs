//! What is queued for sending, gathered over a turn and written once at its end.
//!
//! A *sink* is the outgoing queue of one WebSocket, one HTTP connection or one polling session. During a turn everything
//! sent is appended to shared *batches* of bytes, and each sink remembers only ranges of them; a room has a batch of its own
//! for the turn, so that consecutive broadcasts are one contiguous range for every member. At the end of the turn each dirty
//! sink is written once. Only what a socket did not take is kept, by reference to the batch, in the sink's backlog: an idle
//! sink owns no heap memory.

mod backlog;
mod entry;

use crate::shrink::Shrink;
use slab::Slab;
use smallvec::SmallVec;
use std::io::{self, IoSlice};
use std::rc::Rc;

use backlog::Backlog;
pub use backlog::Slice;
use entry::{DIRECT, Entry, NONE, chain, keep, range};

/// Up to this many bytes are copied together for one plain write; above, slices are handed to the kernel as they are.
const MERGE_MAX: usize = 16 * 1024;
/// Slices per write, gathered without heap memory.
const SLICES_MAX: usize = 64;
type Slices<'a> = SmallVec<[IoSlice<'a>; SLICES_MAX]>;

/// Names a sink of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkKey(u32);

/// Names a batch of the present turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchKey(u32);

/// Where the bytes of a sink go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The slot of a connection: bytes are written to it as they are.
    Connection(u32),
    /// The slot of a polling session: server frames, kept until a poll takes them.
    Session(u32),
}

struct Sink {
    head: u32,
    tail: u32,
    owner: Owner,
    backlog: Option<Box<Backlog>>,
}

const _: () = assert!(size_of::<Sink>() <= 24);

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// The socket is full; so many bytes that count wait.
    Blocked(usize),
    /// The connection is broken.
    Broken,
}

/// All sinks of a shard, and the batches of the present turn.
pub struct Outbound {
    sinks: Slab<Sink>,
    entries: Vec<Entry>,
    batches: Vec<Rc<Vec<u8>>>,
    used: usize,
    dirty: Vec<SinkKey>,
    flushed: usize,
    scratch: Vec<u8>,
    turn: u32,
    /// Bytes queued in the present turn, each recipient's counted.
    queued: usize,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            sinks: Slab::new(),
            entries: Vec::new(),
            batches: vec![Rc::default()],
            used: 1,
            dirty: Vec::new(),
            flushed: 0,
            scratch: Vec::with_capacity(MERGE_MAX),
            turn: 0,
            queued: 0,
        }
    }
}

impl Outbound {
    /// A new, empty sink.
    pub fn open(&mut self, owner: Owner) -> SinkKey {
        let key = self.sinks.insert(Sink { head: NONE, tail: NONE, owner, backlog: None });
        SinkKey(u32::try_from(key).unwrap_or(NONE))
    }

    /// Removes a sink with everything queued in it.
    pub fn close(&mut self, sink: SinkKey) {
        self.sinks.try_remove(sink.0 as usize);
    }

    /// Number of open sinks.
    pub fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Whether no sink is open.
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Where the bytes of `sink` go.
    pub fn owner(&self, sink: SinkKey) -> Option<Owner> {
        self.sinks.get(sink.0 as usize).map(|s| s.owner)
    }

    /// Gives a sink another owner; what is queued in `before` goes first, and `before` is closed.
    /// Used when a session leaves polling for a WebSocket.
    pub fn retarget(&mut self, sink: SinkKey, owner: Owner, before: SinkKey) {
        self.absorb(sink);
        self.absorb(before);
        let earlier = self.sinks.try_remove(before.0 as usize).and_then(|s| s.backlog);
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return };
        target.owner = owner;
        if let Some(mut earlier) = earlier {
            if let Some(later) = target.backlog.take() {
                earlier.bytes += later.bytes;
                earlier.exempt += later.exempt;
                earlier.slices.extend(later.slices);
            }
            target.backlog = Some(earlier);
        }
        if target.backlog.is_some() {
            self.dirty.push(sink);
        }
    }

    /// Whether nothing waits in `sink`.
    pub fn is_idle(&self, sink: SinkKey) -> bool {
        self.sinks.get(sink.0 as usize).is_none_or(|s| s.head == NONE && s.backlog.is_none())
    }

    /// Bytes left over from earlier turns that count towards a limit.
    pub fn backlog_bytes(&self, sink: SinkKey) -> usize {
        self.sinks.get(sink.0 as usize).and_then(|s| s.backlog.as_ref()).map_or(0, |b| b.counted())
    }

    /// Bytes left over from earlier turns, of all sinks. Walks them all.
    pub fn backlog_total(&self) -> usize {
        self.sinks.iter().filter_map(|(_, sink)| sink.backlog.as_ref()).map(|backlog| backlog.bytes).sum()
    }

    /// Queues for one sink what `write` appends.
    pub fn put(&mut self, sink: SinkKey, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(direct) = self.batches.first_mut() else { return };
        let bytes = Rc::make_mut(direct);
        let start = bytes.len() as u32;
        write(bytes);
        let end = bytes.len() as u32;
        if end > start {
            self.link(sink, DIRECT, start, end);
        }
    }

    /// The number of the present turn; batches of earlier turns are gone.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// Bytes queued in the present turn, each recipient's counted.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// A batch for this turn.
    pub fn open_batch(&mut self) -> BatchKey {
        if self.used == self.batches.len() {
            self.batches.push(Rc::default());
        }
        self.used += 1;
        BatchKey(self.used as u32 - 1)
    }

    /// Appends to a batch of this turn what `write` appends; returns the range of it.
    pub fn append(&mut self, batch: BatchKey, write: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let Some(bytes) = self.batches.get_mut(batch.0 as usize).map(Rc::make_mut) else { return (0, 0) };
        let start = bytes.len() as u32;
        write(bytes);
        (start, bytes.len() as u32)
    }

    /// Bytes a batch holds.
    pub fn batch_len(&self, batch: BatchKey) -> usize {
        self.batches.get(batch.0 as usize).map_or(0, |b| b.len())
    }

    /// Queues a range of a batch for `sink`.
    #[inline]
    pub fn push(&mut self, sink: SinkKey, batch: BatchKey, range: (u32, u32)) {
        self.link(sink, batch.0, range.0, range.1);
    }

    /// Queues shared bytes of an earlier turn. They are kept anyhow, so they do not count towards a limit on the queue.
    pub fn push_replay(&mut self, sink: SinkKey, slice: Slice) {
        self.absorb(sink);
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return };
        let backlog = target.backlog.get_or_insert_default();
        let bytes = slice.bytes().len();
        backlog.exempt += bytes;
        backlog.push(slice);
        self.queued += bytes;
        self.dirty.push(sink);
    }

    /// A range of a batch of this turn.
    pub fn batch_bytes(&self, batch: BatchKey, range: (u32, u32)) -> &[u8] {
        let bytes = self.batches.get(batch.0 as usize);
        bytes.and_then(|b| b.get(range.0 as usize..range.1 as usize)).unwrap_or_default()
    }

    #[inline]
    fn link(&mut self, sink: SinkKey, batch: u32, start: u32, end: u32) {
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return };
        self.queued += (end - start) as usize;
        if let Some(last) = self.entries.get_mut(target.tail as usize)
            && last.batch == batch
            && last.end == start
        {
            last.end = end;
            return;
        }
        let index = self.entries.len() as u32;
        if target.tail == NONE {
            target.head = index;
            self.dirty.push(sink);
        } else if let Some(last) = self.entries.get_mut(target.tail as usize) {
            last.next = index;
        }
        target.tail = index;
        self.entries.push(Entry { batch, start, end, next: NONE });
    }

    /// Marks a sink to be flushed at the end of this turn.
    pub fn touch(&mut self, sink: SinkKey) {
        self.dirty.push(sink);
    }

    /// The next sink to be flushed in this turn. A sink may come up again, and may be gone.
    pub fn next_dirty(&mut self) -> Option<SinkKey> {
        let sink = self.dirty.get(self.flushed).copied()?;
        self.flushed += 1;
        Some(sink)
    }

    /// Moves what this turn queued in `sink` to its backlog.
    pub fn absorb(&mut self, sink: SinkKey) {
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return };
        let mut at = std::mem::replace(&mut target.head, NONE);
        target.tail = NONE;
        while let Some(entry) = self.entries.get(at as usize).copied() {
            let slice = keep(&self.batches, entry, 0);
            target.backlog.get_or_insert_default().push(slice);
            at = entry.next;
        }
    }

    /// The server frames that wait in a polling session's sink, oldest first. `take` is given each slice and says how many
    /// bytes of it it consumed; less than all ends the walk.
    pub fn consume(&mut self, sink: SinkKey, mut take: impl FnMut(&[u8]) -> usize) {
        self.absorb(sink);
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return };
        let Some(backlog) = target.backlog.as_mut() else { return };
        while let Some(slice) = backlog.slices.front_mut() {
            let len = (slice.end - slice.start) as usize;
            let taken = take(slice.bytes()).min(len);
            backlog.bytes -= taken;
            if taken < len {
                slice.start += taken as u32;
                return;
            }
            backlog.slices.pop_front();
        }
        target.backlog = None;
    }

    /// Writes everything queued in `sink`, with one call of `send` unless there are very many ranges; keeps what the socket
    /// does not take.
    pub fn flush(&mut self, sink: SinkKey, send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return Flushed::All };
        if target.backlog.is_some() {
            self.absorb(sink);
            return self.flush_backlog(sink, send);
        }
        let first = std::mem::replace(&mut target.head, NONE);
        target.tail = NONE;
        let Some(entry) = self.entries.get(first as usize).copied() else { return Flushed::All };
        let bytes = if entry.next == NONE {
            range(&self.batches, entry)
        } else if chain(&self.entries, first).map(|e| (e.end - e.start) as usize).sum::<usize>() <= MERGE_MAX {
            self.scratch.clear();
            for e in chain(&self.entries, first) {
                self.scratch.extend_from_slice(range(&self.batches, e));
            }
            &self.scratch
        } else {
            return self.flush_ranges(sink, first, send);
        };
        let offered = bytes.len();
        match send(&[IoSlice::new(bytes)]) {
            Ok(sent) if sent < offered => self.keep_rest(sink, first, sent),
            Ok(_) => Flushed::All,
            Err(_) => Flushed::Broken,
        }
    }

    /// Writes what this turn queued from entry `at` on, as it is.
    fn flush_ranges(
        &mut self,
        sink: SinkKey,
        mut at: u32,
        send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Flushed {
        while at != NONE {
            let (mut slices, mut next) = (Slices::new(), NONE);
            for e in chain(&self.entries, at).take(SLICES_MAX) {
                slices.push(IoSlice::new(range(&self.batches, e)));
                next = e.next;
            }
            let offered = slices.iter().map(|s| s.len()).sum();
            let sent = send(&slices);
            drop(slices);
            match sent {
                Ok(sent) if sent < offered => return self.keep_rest(sink, at, sent),
                Ok(_) => at = next,
                Err(_) => return Flushed::Broken,
            }
        }
        Flushed::All
    }

    /// Keeps what this turn queued from entry `at` on but for the first `sent` bytes.
    fn keep_rest(&mut self, sink: SinkKey, at: u32, mut sent: usize) -> Flushed {
        let mut backlog = Backlog::default();
        for e in chain(&self.entries, at) {
            let len = (e.end - e.start) as usize;
            if sent >= len {
                sent -= len;
            } else {
                backlog.push(keep(&self.batches, e, sent as u32));
                sent = 0;
            }
        }
        let left = backlog.bytes;
        if let Some(target) = self.sinks.get_mut(sink.0 as usize) {
            target.backlog = Some(Box::new(backlog));
        }
        Flushed::Blocked(left)
    }

    fn flush_backlog(&mut self, sink: SinkKey, send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        let Some(target) = self.sinks.get_mut(sink.0 as usize) else { return Flushed::All };
        while let Some(backlog) = target.backlog.as_mut() {
            let slices: Slices<'_> = backlog.slices.iter().take(SLICES_MAX).map(|s| IoSlice::new(s.bytes())).collect();
            let offered: usize = slices.iter().map(|s| s.len()).sum();
            let Ok(sent) = send(&slices) else { return Flushed::Broken };
            drop(slices);
            backlog.advance(sent);
            if backlog.slices.is_empty() {
                target.backlog = None;
            } else if sent < offered {
                return Flushed::Blocked(backlog.counted());
            }
        }
        Flushed::All
    }

    /// Ends the turn: forgets its batches, but for what backlogs keep of them.
    pub fn end_turn(&mut self) {
        self.dirty.clear();
        self.flushed = 0;
        self.entries.clear();
        self.turn = self.turn.wrapping_add(1);
        self.queued = 0;
        for batch in self.batches.iter_mut().take(self.used) {
            match Rc::get_mut(batch) {
                Some(bytes) if bytes.capacity() <= BATCH_KEEP => bytes.clear(),
                _ => *batch = Rc::default(),
            }
        }
        self.batches.truncate(BATCHES_KEEP);
        self.used = 1;
    }

    /// Gives back what tables needed once and need no more, and all batches that the present turn does not use.
    pub fn shrink(&mut self) {
        self.sinks.shrink();
        self.entries.shrink();
        self.dirty.shrink();
        self.batches.truncate(self.used);
        self.batches.shrink();
        if let Some(direct) = self.batches.first_mut().and_then(Rc::get_mut) {
            direct.shrink();
        }
    }
}

/// Batches, and the capacity of each, that are kept for the next turn.
const BATCHES_KEEP: usize = 256;
const BATCH_KEEP: usize = 256 * 1024;

#[cfg(test)]
mod tests;
