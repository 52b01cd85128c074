//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a call that is made again is answered as the first time.
//!
//! A key is remembered on one shard, chosen by the key: connections of one client may be on different shards. What was
//! refused before anything happened is not remembered, so that it can be tried again.

use super::pending::Answered;
use super::route::Kind;
use crate::shrink::Shrink;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// Bytes of a key.
const KEY_MAX: usize = 255;
/// Keys remembered on one shard; beyond that the oldest are forgotten early.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of answers remembered on one shard; beyond that the oldest are forgotten early.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The keys remembered on a shard.
#[derive(Debug)]
pub struct Keys {
    window_ms: u64,
    entries: HashMap<Rc<[u8]>, Entry>,
    /// Oldest first, with the `mono_ms` at which each is forgotten.
    order: VecDeque<(u64, Rc<[u8]>)>,
    bytes: usize,
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    /// Of the first call.
    fingerprint: u64,
    /// `None`: it is in progress.
    answered: Option<Answered>,
}

/// What becomes of a call with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the first one: go ahead.
    First,
    /// It was made before, and answered so.
    Before(Answered),
    /// It is being made.
    InProgress,
    /// The key was used for another call.
    Reused,
}

/// The key of a call; those of one kind are told apart by it. `None`: it is empty or too long. Quotes, which the draft asks for, may be left out.
pub fn key(scope: Kind, header: &[u8]) -> Option<Box<[u8]>> {
    let bare = header.strip_prefix(b"\"").and_then(|h| h.strip_suffix(b"\"")).unwrap_or(header);
    let is_key = !bare.is_empty() && bare.len() <= KEY_MAX;
    is_key.then(|| [&[scope as u8], bare].concat().into())
}

/// What tells one body from another.
pub fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// The shard that remembers a key, of `shards`.
pub fn home(key: &[u8], shards: usize) -> usize {
    (fingerprint(key) % shards.max(1) as u64) as usize
}

impl Keys {
    /// Remembers for `window_ms`; 0: not at all.
    pub fn new(window_ms: u64) -> Self {
        Self { window_ms, entries: HashMap::new(), order: VecDeque::new(), bytes: 0, forgotten: 0 }
    }

    /// Keys forgotten early.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A call with a key begins.
    pub fn claim(&mut self, key: &[u8], fingerprint: u64, now_ms: u64) -> Claimed {
        self.forget(now_ms);
        if let Some(entry) = self.entries.get(key) {
            return match &entry.answered {
                _ if entry.fingerprint != fingerprint => Claimed::Reused,
                None => Claimed::InProgress,
                Some(answered) => Claimed::Before(answered.clone()),
            };
        }
        if self.window_ms > 0 {
            if self.order.len() >= ENTRIES_MAX {
                self.forgotten += 1;
                self.forget_oldest();
            }
            let key: Rc<[u8]> = key.into();
            self.order.push_back((now_ms + self.window_ms, Rc::clone(&key)));
            self.entries.insert(key, Entry { fingerprint, answered: None });
        }
        Claimed::First
    }

    /// The call that claimed a key is answered so. When the server could not do it, nothing has happened.
    pub fn settle(&mut self, key: &[u8], (status, json): &Answered) {
        if *status >= 500 {
            // It was claimed a moment ago; or forgotten meanwhile.
            if self.entries.remove(key).is_some()
                && let Some(at) = self.order.iter().rposition(|(_, k)| **k == *key)
            {
                self.order.remove(at);
            }
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes += json.len();
            entry.answered = Some((*status, json.clone()));
        }
        while self.bytes > BYTES_MAX && !self.order.is_empty() {
            self.forgotten += 1;
            self.forget_oldest();
        }
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self, now_ms: u64) {
        self.forget(now_ms);
        self.entries.shrink();
        self.order.shrink();
    }

    /// Forgets the keys whose time is over.
    fn forget(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(Entry { answered: Some((_, json)), .. }) = self.entries.remove(&key) {
            self.bytes -= json.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> Answered {
        (201, text.to_owned())
    }

    #[test]
    fn a_call_is_made_once_and_answered_alike() {
        let mut keys = Keys::new(100);
        assert_eq!(keys.claim(b"k", 1, 0), Claimed::First);
        assert_eq!(keys.claim(b"k", 1, 1), Claimed::InProgress);
        assert_eq!(keys.claim(b"k", 2, 1), Claimed::Reused);
        keys.settle(b"k", &answered("done"));
        assert_eq!(keys.claim(b"k", 1, 99), Claimed::Before((201, "done".to_owned())));
        assert_eq!(keys.claim(b"k", 2, 99), Claimed::Reused);
        assert_eq!(keys.claim(b"k", 2, 100), Claimed::First);
        assert_eq!((keys.entries.len(), keys.order.len(), keys.bytes), (1, 1, 0));
    }

    #[test]
    fn what_did_not_happen_can_be_tried_again() {
        let mut keys = Keys::new(100);
        assert_eq!(keys.claim(b"k", 1, 0), Claimed::First);
        keys.settle(b"k", &(503, String::new()));
        assert_eq!(keys.claim(b"k", 2, 0), Claimed::First);
        assert_eq!(keys.order.len(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bounds() {
        let mut keys = Keys::new(100);
        let name = |n: usize| n.to_string().into_bytes();
        (0..=ENTRIES_MAX).for_each(|n| assert_eq!(keys.claim(&name(n), 1, 0), Claimed::First));
        assert_eq!(keys.order.len(), ENTRIES_MAX);
        assert_eq!(keys.claim(&name(1), 1, 0), Claimed::InProgress);
        assert_eq!(keys.claim(&name(0), 1, 0), Claimed::First);

        let mut keys = Keys::new(100);
        let large = "x".repeat(BYTES_MAX / 2);
        for n in 0..3 {
            assert_eq!(keys.claim(&name(n), 1, 0), Claimed::First);
            keys.settle(&name(n), &answered(&large));
        }
        assert_eq!(keys.claim(&name(0), 1, 0), Claimed::First);
        assert!(matches!(keys.claim(&name(2), 1, 0), Claimed::Before(_)));
        assert!(keys.bytes <= BYTES_MAX);
    }

    #[test]
    fn a_window_of_zero_remembers_nothing() {
        let mut keys = Keys::new(0);
        assert_eq!(keys.claim(b"k", 1, 0), Claimed::First);
        keys.settle(b"k", &answered("done"));
        assert_eq!(keys.claim(b"k", 1, 0), Claimed::First);
    }

    #[test]
    fn keys_are_bounded_and_may_be_quoted() {
        assert_eq!(key(Kind::Submit, b"\"a b\""), key(Kind::Submit, b"a b"));
        assert_ne!(key(Kind::Submit, b"a"), key(Kind::Action, b"a"));
        assert!(key(Kind::Submit, b"").is_none() && key(Kind::Submit, b"\"\"").is_none());
        assert!(key(Kind::Submit, &[b'k'; KEY_MAX]).is_some() && key(Kind::Submit, &[b'k'; KEY_MAX + 1]).is_none());
    }
}
