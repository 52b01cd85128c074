//! What a turn queued in a sink: ranges of batches, in a list.

use super::Slice;
use std::rc::Rc;

/// No entry, no sink.
pub const NONE: u32 = u32::MAX;
/// The batch of everything that is meant for one sink only.
pub const DIRECT: u32 = 0;

/// A range of a batch, and the next entry of the same sink.
#[derive(Clone, Copy)]
pub struct Entry {
    pub batch: u32,
    pub start: u32,
    pub end: u32,
    pub next: u32,
}

/// The entry `first` and those linked behind it.
pub fn chain(entries: &[Entry], first: u32) -> impl Iterator<Item = Entry> + '_ {
    std::iter::successors(entries.get(first as usize).copied(), |e| entries.get(e.next as usize).copied())
}

/// The bytes of an entry.
pub fn range(batches: &[Rc<Vec<u8>>], entry: Entry) -> &[u8] {
    batches.get(entry.batch as usize).and_then(|b| b.get(entry.start as usize..entry.end as usize)).unwrap_or_default()
}

/// What is left of an entry after `sent` bytes, to outlive the turn. A range of a room's batch is shared; one of the direct
/// batch is copied, because that batch is everybody's and would be held by the slowest reader.
pub fn keep(batches: &[Rc<Vec<u8>>], entry: Entry, sent: u32) -> Slice {
    let start = entry.start + sent;
    if entry.batch == DIRECT {
        let bytes = range(batches, Entry { start, ..entry }).to_vec();
        let end = bytes.len() as u32;
        return Slice { buffer: Rc::new(bytes), start: 0, end };
    }
    let buffer = batches.get(entry.batch as usize).map(Rc::clone).unwrap_or_default();
    Slice { buffer, start, end: entry.end }
}
