//! The server's own log lines, on their way from wherever they arise to the shards that read them.

use super::line::Line;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines kept for readers that have not come by yet; beyond, the oldest is dropped.
pub const LINES_MAX: usize = 1024;

/// A bounded queue of lines that every shard reads for itself. Nobody ever waits for a reader, and while there is none
/// nothing is kept.
#[derive(Debug, Default)]
pub struct Feed {
    readers: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Arc<Line>>,
    /// Lines since the start.
    total: u64,
}

/// How far a reader has come.
#[derive(Debug)]
pub struct Cursor {
    next: u64,
}

impl Feed {
    /// Whether lines are of use to anybody.
    pub fn is_read(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Adds a line.
    pub fn push(&self, line: Line) {
        let mut queue = self.queue();
        if queue.lines.len() == LINES_MAX {
            queue.lines.pop_front();
        }
        queue.lines.push_back(Arc::new(line));
        queue.total += 1;
    }

    /// A reader comes; it gets what is added from here on.
    pub fn open(&self) -> Cursor {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Cursor { next: self.queue().total }
    }

    /// A reader goes.
    pub fn close(&self, _: Cursor) {
        if self.readers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.queue().lines.clear();
        }
    }

    /// What was added since the last time, and how many lines of that were dropped.
    pub fn read(&self, cursor: &mut Cursor) -> (Vec<Arc<Line>>, u64) {
        let queue = self.queue();
        let oldest = queue.total - queue.lines.len() as u64;
        let missed = oldest.saturating_sub(cursor.next);
        let seen = usize::try_from((cursor.next + missed).saturating_sub(oldest)).unwrap_or(usize::MAX);
        cursor.next = queue.total;
        (queue.lines.iter().skip(seen).cloned().collect(), missed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // What is in it is whole whatever became of the thread that held it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64) -> Line {
        Line::of_server(30, n, "a line")
    }

    #[test]
    fn each_reader_gets_what_comes_while_it_reads() {
        let feed = Feed::default();
        assert!(!feed.is_read());
        let mut first = feed.open();
        feed.push(line(1));
        let mut second = feed.open();
        feed.push(line(2));
        assert_eq!((feed.read(&mut first).0.len(), feed.read(&mut second).0.len()), (2, 1));
        assert_eq!((feed.read(&mut first).0.len(), feed.read(&mut second).1), (0, 0));
        feed.close(first);
        assert!(feed.is_read());
        feed.close(second);
        assert!(!feed.is_read());
        assert!(feed.read(&mut feed.open()).0.is_empty());
    }

    #[test]
    fn a_reader_that_is_late_misses_the_oldest_and_is_told_how_many() {
        let feed = Feed::default();
        let mut cursor = feed.open();
        for n in 0..LINES_MAX as u64 + 10 {
            feed.push(line(n));
        }
        let (lines, missed) = feed.read(&mut cursor);
        assert_eq!((lines.len(), missed), (LINES_MAX, 10));
        assert_eq!(feed.read(&mut cursor).1, 0);
    }
}
