//! The latest messages of a room, kept as the bytes that were sent.

use super::broadcast::Broadcast;
use super::mail::Stamp;
use std::collections::VecDeque;
use uuid::Uuid;

/// A message that is kept.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id and time.
    pub stamp: Stamp,
    /// Who sent it.
    pub sender: Uuid,
    /// The very bytes that members were sent, shared with whoever still has to get them.
    pub broadcast: Broadcast,
    /// What is told of it to callers of the API only, as a JSON object.
    pub extra: Option<Box<[u8]>>,
}

impl Item {
    /// Bytes it takes, all told.
    pub fn bytes(&self) -> usize {
        self.broadcast.bytes() + self.extra.as_ref().map_or(0, |extra| extra.len()) + size_of::<Self>()
    }
}

/// The messages of one room, oldest first. Their times grow strictly. How many there may be is its world's business.
#[derive(Debug, Default)]
pub struct History {
    items: VecDeque<Item>,
    bytes: usize,
}

impl History {
    /// Messages kept.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no message is kept.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all items.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message, later than all others.
    pub fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    /// Drops the oldest message.
    pub fn pop_oldest(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Gives a message new content. It keeps its place and time.
    pub fn replace(&mut self, id: Uuid, broadcast: Broadcast, extra: Option<Box<[u8]>>) -> bool {
        let Some(item) = self.items.iter_mut().rev().find(|item| item.stamp.id == id) else { return false };
        self.bytes -= item.bytes();
        (item.broadcast, item.extra) = (broadcast, extra);
        self.bytes += item.bytes();
        true
    }

    /// A message by its id.
    pub fn find(&self, id: Uuid) -> Option<&Item> {
        self.items.iter().rev().find(|item| item.stamp.id == id)
    }

    /// The messages from before `time_ms` (milliseconds since 1970 UTC; `None`: all), newest first.
    pub fn before(&self, time_ms: Option<u64>) -> impl Iterator<Item = &Item> {
        let end = time_ms.map_or(self.items.len(), |ms| self.items.partition_point(|i| i.stamp.created_at < ms));
        self.items.range(..end).rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u64, text: &str) -> Item {
        let stamp = Stamp { id: Uuid::from_u128(n.into()), created_at: 10 * n };
        Item { stamp, sender: Uuid::nil(), broadcast: Broadcast::of(text.as_bytes()), extra: None }
    }

    fn texts<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<&'a str> {
        items.map(|i| std::str::from_utf8(i.broadcast.object()).expect("UTF-8")).collect()
    }

    #[test]
    fn gives_messages_from_before_a_time_newest_first() {
        let mut history = History::default();
        (1..=4).for_each(|n| history.push(item(n, &n.to_string())));
        for (before, expected) in [
            (None, vec!["4", "3", "2", "1"]),
            (Some(41), vec!["4", "3", "2", "1"]),
            (Some(40), vec!["3", "2", "1"]),
            (Some(11), vec!["1"]),
            (Some(10), vec![]),
            (Some(0), vec![]),
        ] {
            assert_eq!(texts(history.before(before)), expected, "{before:?}");
        }
        assert_eq!(texts(history.before(None).take(2)), ["4", "3"]);
    }

    #[test]
    fn a_replaced_message_keeps_its_place_and_its_bytes_are_counted() {
        let mut history = History::default();
        (1..=3).for_each(|n| history.push(item(n, "x")));
        assert!(history.replace(Uuid::from_u128(2), Broadcast::of(b"a longer text"), Some(b"{}".as_slice().into())));
        assert!(!history.replace(Uuid::from_u128(4), Broadcast::of(b"nothing"), None));
        assert_eq!(texts(history.before(None)), ["x", "a longer text", "x"]);
        assert_eq!(history.find(Uuid::from_u128(2)).map(|i| i.stamp.created_at), Some(20));
        assert!(history.find(Uuid::from_u128(4)).is_none());
        assert_eq!(history.bytes(), history.before(None).map(Item::bytes).sum::<usize>());
        while history.pop_oldest().is_some() {}
        assert_eq!((history.bytes(), history.len()), (0, 0));
    }
}
