//! What sockets did not take, and still has to be sent.

use std::collections::VecDeque;
use std::rc::Rc;

/// What a sink has left over from earlier turns.
#[derive(Default)]
pub struct Backlog {
    pub slices: VecDeque<Slice>,
    pub bytes: usize,
    /// Bytes that do not count towards a limit.
    pub exempt: usize,
}

/// A range of shared bytes.
#[derive(Clone, Debug)]
pub struct Slice {
    pub(super) buffer: Rc<Vec<u8>>,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Slice {
    /// A range of `buffer`.
    pub fn new(buffer: Rc<Vec<u8>>, range: (u32, u32)) -> Self {
        Self { buffer, start: range.0, end: range.1 }
    }

    /// The bytes of the range.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Backlog {
    /// Adds a range behind the others.
    pub fn push(&mut self, slice: Slice) {
        self.bytes += (slice.end - slice.start) as usize;
        self.slices.push_back(slice);
    }

    /// Bytes that count towards a limit.
    pub fn counted(&self) -> usize {
        self.bytes.saturating_sub(self.exempt)
    }

    /// So many bytes were taken.
    pub fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent.min(self.bytes);
        while let Some(front) = self.slices.front_mut() {
            let len = (front.end - front.start) as usize;
            if sent < len {
                front.start += sent as u32;
                return;
            }
            sent -= len;
            self.slices.pop_front();
        }
    }
}
