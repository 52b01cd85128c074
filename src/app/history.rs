//! The latest messages of a room, kept in one piece of memory.
//!
//! A room that is spoken in drops a message for every one it takes. What is dropped was not looked at for a long time and is
//! in no cache, so it is not touched: the newest message is written over it.

use super::mail::Stamp;
use std::collections::VecDeque;
use uuid::Uuid;

/// A message as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its id and time.
    pub stamp: Stamp,
    /// Who sent it.
    pub sender: Uuid,
    /// The object of its broadcast, the very bytes that members were sent.
    pub object: &'a [u8],
    /// What is told of it to callers of the API only, as a JSON object.
    pub extra: Option<&'a [u8]>,
}

impl Item<'_> {
    /// Bytes it takes, all told.
    pub fn bytes(&self) -> usize {
        self.len() + size_of::<Note>()
    }

    fn len(&self) -> usize {
        self.object.len() + self.extra.map_or(0, <[u8]>::len)
    }
}

/// What is noted of a message; its texts lie one behind the other.
#[derive(Clone, Copy, Debug)]
struct Note {
    stamp: Stamp,
    sender: Uuid,
    start: usize,
    object_len: u32,
    /// 0: there is none.
    extra_len: u32,
}

impl Note {
    fn len(&self) -> usize {
        self.object_len as usize + self.extra_len as usize
    }

    fn bytes(&self) -> usize {
        self.len() + size_of::<Self>()
    }
}

/// The messages of one room, oldest first. Their times grow strictly. How many there may be is its world's business.
#[derive(Debug, Default)]
pub struct History {
    notes: VecDeque<Note>,
    /// The texts, in a ring: no text lies across its end.
    texts: Box<[u8]>,
    /// Behind the newest text.
    end: usize,
    bytes: usize,
}

/// The ring has place for a part of its texts more than there are: so far apart are two times at which it is moved.
const SPARE_PART: usize = 4;

impl History {
    /// Messages kept.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether no message is kept.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Bytes of all items. At most as much again is reserved for those to come.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn texts_len(&self) -> usize {
        self.bytes - self.notes.len() * size_of::<Note>()
    }

    /// Adds a message, later than all others; of less than 4 GiB.
    pub fn push(&mut self, item: Item<'_>) {
        let start = self.place(item.len()).unwrap_or_else(|| {
            self.move_to(self.texts_len() + item.len());
            self.end
        });
        self.end = start + item.len();
        let texts = self.texts.get_mut(start..self.end).unwrap_or_default();
        let (object, extra) = texts.split_at_mut(item.object.len());
        object.copy_from_slice(item.object);
        extra.copy_from_slice(item.extra.unwrap_or_default());
        let Item { stamp, sender, .. } = item;
        let (object_len, extra_len) = (item.object.len() as u32, extra.len() as u32);
        self.notes.push_back(Note { stamp, sender, start, object_len, extra_len });
        self.bytes += item.bytes();
    }

    /// Where the next text goes.
    fn place(&self, len: usize) -> Option<usize> {
        let (end, all) = (self.end, self.texts.len());
        match self.notes.front() {
            None => (len <= all).then_some(0),
            Some(oldest) if oldest.start < end && len <= all - end => Some(end),
            Some(oldest) if oldest.start < end => (len <= oldest.start).then_some(0),
            // The newest is in front of the oldest, and of an empty text it could not be told whether it is.
            Some(oldest) => (len > 0 && len <= oldest.start - end).then_some(end),
        }
    }

    /// Moves the texts into memory of their own for so many bytes and some more.
    fn move_to(&mut self, bytes: usize) {
        let mut texts = Vec::with_capacity(bytes + bytes / SPARE_PART);
        for note in &mut self.notes {
            let start = texts.len();
            texts.extend_from_slice(self.texts.get(note.start..note.start + note.len()).unwrap_or_default());
            note.start = start;
        }
        self.end = texts.len();
        texts.resize(texts.capacity(), 0);
        self.texts = texts.into_boxed_slice();
    }

    /// Drops the oldest message. Returns its id and the bytes it took.
    pub fn pop_oldest(&mut self) -> Option<(Uuid, usize)> {
        let note = self.notes.pop_front()?;
        self.bytes -= note.bytes();
        if 2 * self.texts_len() < self.texts.len() {
            self.move_to(self.texts_len());
        }
        Some((note.stamp.id, note.bytes()))
    }

    /// Gives a message new content. It keeps its place and time.
    pub fn replace(&mut self, id: Uuid, object: &[u8], extra: Option<&[u8]>) -> bool {
        let Some(old) = self.find(id) else { return false };
        let texts_len = self.texts_len() - old.len() + object.len() + extra.map_or(0, <[u8]>::len);
        let before = std::mem::take(self);
        self.move_to(texts_len);
        for item in before.notes.iter().map(|note| before.item(note)) {
            self.push(if item.stamp.id == id { Item { object, extra, ..item } } else { item });
        }
        true
    }

    fn item(&self, note: &Note) -> Item<'_> {
        let texts = self.texts.get(note.start..note.start + note.len()).unwrap_or_default();
        let (object, extra) = texts.split_at_checked(note.object_len as usize).unwrap_or_default();
        Item { stamp: note.stamp, sender: note.sender, object, extra: (!extra.is_empty()).then_some(extra) }
    }

    /// A message by its id.
    pub fn find(&self, id: Uuid) -> Option<Item<'_>> {
        self.notes.iter().rev().find(|note| note.stamp.id == id).map(|note| self.item(note))
    }

    /// The messages from before `time_ms` (milliseconds since 1970 UTC; `None`: all), newest first.
    pub fn before(&self, time_ms: Option<u64>) -> impl Iterator<Item = Item<'_>> {
        let end = time_ms.map_or(self.notes.len(), |ms| self.notes.partition_point(|n| n.stamp.created_at < ms));
        self.notes.range(..end).rev().map(|note| self.item(note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(n: u64, object: &[u8]) -> Item<'_> {
        let stamp = Stamp { id: Uuid::from_u128(n.into()), created_at: 10 * n };
        Item { stamp, sender: Uuid::nil(), object, extra: None }
    }

    fn texts<'a>(items: impl Iterator<Item = Item<'a>>) -> Vec<&'a str> {
        items.map(|i| std::str::from_utf8(i.object).expect("UTF-8")).collect()
    }

    #[test]
    fn gives_messages_from_before_a_time_newest_first() {
        let mut history = History::default();
        (1..=4).for_each(|n| history.push(item(n, n.to_string().as_bytes())));
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
        (1..=3).for_each(|n| history.push(item(n, b"x")));
        assert!(history.replace(Uuid::from_u128(2), b"a longer text", Some(b"{}")));
        assert!(!history.replace(Uuid::from_u128(4), b"nothing", None));
        assert_eq!(texts(history.before(None)), ["x", "a longer text", "x"]);
        let found = history.find(Uuid::from_u128(2)).expect("it is there");
        assert_eq!((found.stamp.created_at, found.extra), (20, Some(b"{}".as_slice())));
        assert!(history.find(Uuid::from_u128(4)).is_none());
        assert_eq!(history.bytes(), history.before(None).map(|item| item.bytes()).sum::<usize>());
        while history.pop_oldest().is_some() {}
        assert_eq!((history.bytes(), history.len(), history.texts.len()), (0, 0, 0));
    }

    #[test]
    fn a_steady_room_writes_over_what_it_drops() {
        let mut history = History::default();
        let mut moves = 0;
        for n in 0..10_000 {
            let texts = history.texts.as_ptr();
            history.push(item(n, &vec![b'x'; 400 + n as usize % 100]));
            if n >= 50 {
                history.pop_oldest();
            }
            moves += usize::from(texts != history.texts.as_ptr());
        }
        assert!(moves < 25, "moved {moves} times");
        assert!(history.texts.len() < 2 * history.texts_len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize, usize),
        Pop,
        Replace(usize, usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = || prop_oneof![0..4_usize, 0..200_usize];
        prop_oneof![
            3 => (len(), len()).prop_map(|(object, extra)| Step::Push(object, extra)),
            2 => Just(Step::Pop),
            1 => (0..8_usize, len(), len()).prop_map(|(n, object, extra)| Step::Replace(n, object, extra)),
        ]
    }

    proptest! {
        #[test]
        fn is_a_queue_of_texts(steps in prop::collection::vec(step(), 0..200)) {
            let (mut history, mut model) = (History::default(), VecDeque::new());
            let text = |n: u64, len: usize| vec![n as u8; len];
            for (n, step) in (1..).zip(steps) {
                match step {
                    Step::Push(object, extra) => {
                        let (object, extra) = (text(n, object), Some(text(!n, extra)).filter(|extra| !extra.is_empty()));
                        history.push(Item { extra: extra.as_deref(), ..item(n, &object) });
                        model.push_back((n, object, extra));
                    }
                    Step::Pop => {
                        let popped = history.pop_oldest().map(|(id, _)| id.as_u128() as u64);
                        prop_assert_eq!(popped, model.pop_front().map(|(id, ..)| id));
                    }
                    Step::Replace(at, object, extra) => {
                        let (object, extra) = (text(n, object), Some(text(!n, extra)).filter(|extra| !extra.is_empty()));
                        let id = model.get(at).map_or(0, |(id, ..)| *id);
                        let replaced = history.replace(Uuid::from_u128(id.into()), &object, extra.as_deref());
                        prop_assert_eq!(replaced, at < model.len());
                        if let Some(message) = model.get_mut(at) {
                            (message.1, message.2) = (object, extra);
                        }
                    }
                }
                let kept: Vec<_> = history.before(None).map(|i| (i.stamp.created_at / 10, i.object, i.extra)).collect();
                let expected: Vec<_> = model.iter().rev().map(|(n, o, e)| (*n, o.as_slice(), e.as_deref())).collect();
                prop_assert_eq!(kept, expected);
                prop_assert_eq!(history.bytes(), history.before(None).map(|item| item.bytes()).sum::<usize>());
                prop_assert!(history.texts.len() <= 2 * history.texts_len());
            }
        }
    }
}
