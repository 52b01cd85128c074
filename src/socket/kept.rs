//! The bytes of events that are kept for sockets that may come back.

use crate::connection::outbound::Slice;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes of a chunk; an event that is longer has a chunk of its own.
const CHUNK_LEN: usize = 256 * 1024;

/// A queue of byte strings, one behind the other in large chunks: the memory of the oldest is used again for the newest, so
/// that a steady stream of events allocates nothing.
#[derive(Default)]
pub(super) struct Kept {
    chunks: VecDeque<Rc<Vec<u8>>>,
    /// The number of the first chunk.
    first: u64,
    spare: Option<Rc<Vec<u8>>>,
    bytes: usize,
}

/// Where one byte string lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    chunk: u64,
    range: (u32, u32),
}

impl Place {
    /// Its length in bytes.
    pub(super) fn len(self) -> usize {
        (self.range.1 - self.range.0) as usize
    }
}

impl Kept {
    /// Bytes of everything kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a copy of `bytes`, fewer than 4 GiB.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Place {
        self.bytes += bytes.len();
        let chunk = self.writable(bytes.len());
        let start = chunk.len() as u32;
        chunk.extend_from_slice(bytes);
        let range = (start, chunk.len() as u32);
        Place { chunk: self.first + self.chunks.len() as u64 - 1, range }
    }

    /// The last chunk if so many bytes fit into it, or a new one.
    fn writable(&mut self, len: usize) -> &mut Vec<u8> {
        let fits = |chunk: &mut Rc<Vec<u8>>| chunk.capacity() - chunk.len() >= len;
        if !self.chunks.back_mut().is_some_and(fits) {
            let chunk = self.spare.take_if(fits);
            self.chunks.push_back(chunk.unwrap_or_else(|| Rc::new(Vec::with_capacity(len.max(CHUNK_LEN)))));
        }
        let last = self.chunks.len() - 1;
        // The last chunk is never shared, so nothing is cloned.
        Rc::make_mut(&mut self.chunks[last])
    }

    /// Forgets the oldest byte string. `next`: the one behind it.
    pub(super) fn pop(&mut self, oldest: Place, next: Option<Place>) {
        self.bytes -= oldest.len();
        let first = next.map_or(self.first + self.chunks.len() as u64, |next| next.chunk);
        while self.first < first {
            self.first += 1;
            let Some(mut chunk) = self.chunks.pop_front() else { continue };
            if let Some(bytes) = Rc::get_mut(&mut chunk).filter(|c| c.capacity() <= CHUNK_LEN) {
                bytes.clear();
                self.spare = Some(chunk);
            }
        }
    }

    /// Gives back the memory that is held for the next chunk.
    pub(super) fn forget_spare(&mut self) {
        self.spare = None;
    }

    /// A byte string that is kept: shared, or a copy while its chunk is still written to.
    pub(super) fn slice(&self, place: Place) -> Option<Slice> {
        let index = usize::try_from(place.chunk.checked_sub(self.first)?).ok()?;
        let chunk = self.chunks.get(index)?;
        if index + 1 < self.chunks.len() {
            return Some(Slice::new(Rc::clone(chunk), place.range));
        }
        let bytes = chunk.get(place.range.0 as usize..place.range.1 as usize)?;
        Some(Slice::new(Rc::new(bytes.to_vec()), (0, place.range.1 - place.range.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kept: &Kept, place: Place) -> Vec<u8> {
        kept.slice(place).map(|s| s.bytes().to_vec()).unwrap_or_default()
    }

    #[test]
    fn keeps_every_byte_string_until_it_is_popped() {
        let mut kept = Kept::default();
        let mut places = VecDeque::new();
        for n in 0..2_000_usize {
            let bytes = vec![n as u8; n % 1_000];
            places.push_back((n, kept.push(&bytes)));
            if n % 3 == 2 {
                let (_, oldest) = places.pop_front().expect("one");
                kept.pop(oldest, places.front().map(|&(_, place)| place));
            }
        }
        for &(n, place) in &places {
            assert_eq!(text(&kept, place), vec![n as u8; n % 1_000]);
        }
        assert_eq!(kept.bytes(), places.iter().map(|(_, p)| p.len()).sum::<usize>());
        while let Some((_, oldest)) = places.pop_front() {
            kept.pop(oldest, places.front().map(|&(_, place)| place));
        }
        assert_eq!((kept.bytes(), kept.chunks.len()), (0, 0));
    }

    #[test]
    fn a_steady_stream_uses_its_memory_again() {
        let mut kept = Kept::default();
        let (mut places, bytes) = (VecDeque::new(), [7; 1_000]);
        for n in 0..10_000 {
            places.push_back(kept.push(&bytes));
            if n >= 1_000 {
                let oldest = places.pop_front().expect("one");
                kept.pop(oldest, places.front().copied());
            }
            assert!(kept.chunks.len() <= 1_000 * bytes.len() / CHUNK_LEN + 2, "{n}");
        }
    }

    #[test]
    fn what_is_being_sent_outlives_what_is_kept() {
        let mut kept = Kept::default();
        let first = kept.push(b"first");
        let copied = kept.slice(first).expect("kept");
        let long = kept.push(&vec![1; 3 * CHUNK_LEN]);
        assert_ne!(first.chunk, long.chunk);
        let shared = kept.slice(first).expect("kept");
        kept.pop(first, Some(long));
        assert!(kept.slice(first).is_none() && kept.spare.is_none());
        assert_eq!((copied.bytes(), shared.bytes()), (b"first".as_slice(), b"first".as_slice()));
        assert_eq!(text(&kept, long).len(), 3 * CHUNK_LEN);
    }
}
