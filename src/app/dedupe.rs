//! Messages that clients send again because they did not hear of the first time.

use super::mail::Stamp;
use crate::rooms::RoomId;
use crate::shrink::Shrink;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use uuid::Uuid;

/// Messages remembered on one shard; beyond that the oldest are forgotten early.
pub const ENTRIES_MAX: usize = 100_000;

/// The messages with a `messageId` that were sent to rooms whose home is here in the last while.
#[derive(Debug)]
pub struct Dedupe {
    window_ms: u64,
    entries_max: usize,
    seen: HashMap<Rc<Sent>, Stamp, foldhash::quality::RandomState>,
    /// Oldest first, with the `mono_ms` at which each is forgotten.
    order: VecDeque<(u64, Rc<Sent>)>,
    forgotten: u64,
}

/// What makes two messages the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub room: RoomId,
    pub sender: Uuid,
    pub message_id: Box<str>,
}

impl Dedupe {
    /// Remembers for `window_ms` (0: not at all) and at most `entries_max` messages.
    pub fn new(window_ms: u64, entries_max: usize) -> Self {
        Self { window_ms, entries_max, seen: HashMap::default(), order: VecDeque::new(), forgotten: 0 }
    }

    /// Messages forgotten early.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What the same message was given the first time.
    pub fn find(&mut self, sent: &Sent, now_ms: u64) -> Option<Stamp> {
        self.forget(now_ms);
        self.seen.get(sent).copied()
    }

    /// Remembers a message that is not known.
    pub fn keep(&mut self, sent: Sent, stamp: Stamp, now_ms: u64) {
        if self.window_ms == 0 {
            return;
        }
        self.forget(now_ms);
        if self.order.len() >= self.entries_max {
            self.forgotten += 1;
            self.pop();
        }
        let sent = Rc::new(sent);
        self.order.push_back((now_ms + self.window_ms, Rc::clone(&sent)));
        self.seen.insert(sent, stamp);
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self, now_ms: u64) {
        self.forget(now_ms);
        self.seen.shrink();
        self.order.shrink();
    }

    fn forget(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, sent)) = self.order.pop_front() {
            self.seen.remove(&sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(n: u128, id: &str) -> Sent {
        Sent { room: RoomId::Uuid(Uuid::from_u128(1)), sender: Uuid::from_u128(n), message_id: id.into() }
    }

    const STAMP: Stamp = Stamp { id: Uuid::nil(), created_at: 7 };

    #[test]
    fn knows_a_message_again_within_the_window_only() {
        let mut dedupe = Dedupe::new(100, 10);
        assert_eq!(dedupe.find(&sent(1, "a"), 0), None);
        dedupe.keep(sent(1, "a"), STAMP, 0);
        assert_eq!(dedupe.find(&sent(1, "a"), 99), Some(STAMP));
        assert_eq!(dedupe.find(&sent(2, "a"), 99), None);
        assert_eq!(dedupe.find(&sent(1, "b"), 99), None);
        assert_eq!(dedupe.find(&sent(1, "a"), 100), None);
        assert!(dedupe.seen.is_empty() && dedupe.order.is_empty());
    }

    #[test]
    fn forgets_the_oldest_beyond_the_bound() {
        let mut dedupe = Dedupe::new(100, 2);
        for id in ["a", "b", "c"] {
            dedupe.keep(sent(1, id), STAMP, 0);
        }
        assert_eq!(dedupe.find(&sent(1, "a"), 1), None);
        assert_eq!(dedupe.find(&sent(1, "b"), 1), Some(STAMP));
        assert_eq!((dedupe.seen.len(), dedupe.order.len(), dedupe.forgotten()), (2, 2, 1));
        dedupe.keep(sent(1, "d"), STAMP, 100);
        assert_eq!(
            (dedupe.order.len(), dedupe.forgotten()),
            (1, 1),
            "those whose time is over are not forgotten early"
        );
    }

    #[test]
    fn a_window_of_zero_remembers_nothing() {
        let mut dedupe = Dedupe::new(0, 10);
        dedupe.keep(sent(1, "a"), STAMP, 0);
        assert_eq!(dedupe.find(&sent(1, "a"), 0), None);
    }
}
