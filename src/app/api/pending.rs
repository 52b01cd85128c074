//! Calls that wait for what other shards say.
//!
//! A call's shard keeps it until everybody asked has answered, also when its connection is gone by then. Everybody asked
//! answers, knowing the room or not, and no mail is lost; so no call waits longer than a few trips between shards.

use super::message::Unstamped;
use super::problem::Problem;
use crate::app::json::put_list;
use crate::app::mail::Stamp;
use crate::engine::{Bucket, ConnectionKey};
use crate::shrink::Shrink;
use slab::Slab;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Calls of a shard that wait; beyond that they are refused.
pub const CALLS_MAX: usize = 4096;
/// Rooms of a shard that all its calls which look through every room may look at together; beyond, further ones are refused.
pub const LOOKED_AT_MAX: usize = 250_000;
/// Channels, or servers, that one answer names.
pub const LISTED_MAX: usize = 500;

/// Names a call of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallKey {
    slot: u32,
    generation: u32,
}

/// A call that waits.
#[derive(Debug)]
pub struct Call {
    generation: u32,
    /// Who is to be answered, if still there.
    pub connection: ConnectionKey,
    /// The idempotency key it claimed.
    pub claimed: Option<Box<[u8]>>,
    /// What its answer is made of.
    pub answer: Expected,
    /// How many shards still have to say something.
    pub waiting: usize,
    /// It cost much, and others could not begin before it was answered.
    pub stood_in_line: bool,
}

/// What the answer to a call is made of.
#[derive(Debug)]
pub enum Expected {
    /// The stamp of a message; the answer is the message.
    Message(Unstamped),
    /// The stamp of a message; the answer is its id.
    Ingested,
    /// What one shard says.
    One,
    /// What the one shard says that has the message.
    Holder,
    /// The channels of a server: when each was last changed, and its JSON.
    Channels(Vec<(u64, Box<[u8]>)>),
    /// The servers an agent takes part in.
    Servers(Uuid, BTreeSet<Uuid>),
}

/// What one shard says.
#[derive(Debug)]
pub enum Reply {
    /// The whole answer.
    Answer(u16, String),
    /// It does not have the message.
    Absent,
    /// The channels it is home to.
    Channels(Vec<(u64, Box<[u8]>)>),
    /// The servers of its rooms.
    Servers(Vec<Uuid>),
}

/// A status and a JSON text.
pub type Answered = (u16, String);

/// The calls of a shard, and how fast its connections may still publish.
#[derive(Debug, Default)]
pub struct Calls {
    open: Slab<Call>,
    /// Of these, those that look through every room.
    looking: usize,
    generation: u32,
    /// By slot: the connection's generation, and what it may still publish.
    buckets: Vec<(u32, Bucket)>,
}

impl Calls {
    /// Calls that wait.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self, now_ms: u64) {
        self.open.shrink();
        // A full bucket is as good as none.
        while self.buckets.pop_if(|(_, bucket)| bucket.is_full(now_ms)).is_some() {}
        self.buckets.shrink();
    }

    /// Takes up a call; `None`: too many wait. `rooms`: how many there are on the shard.
    pub fn open(&mut self, connection: ConnectionKey, answer: Expected, rooms: usize) -> Option<CallKey> {
        let looks = answer.looks_through_all();
        let is_costly = looks && self.looking > 0 && (self.looking + 1).saturating_mul(rooms) > LOOKED_AT_MAX;
        if self.open.len() >= CALLS_MAX || is_costly {
            return None;
        }
        self.looking += usize::from(looks);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot =
            self.open.insert(Call { generation, connection, claimed: None, answer, waiting: 1, stood_in_line: false });
        Some(CallKey { slot: slot as u32, generation })
    }

    /// A call that waits.
    pub fn get_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        self.open.get_mut(key.slot as usize).filter(|call| call.generation == key.generation)
    }

    /// Ends a call.
    pub fn close(&mut self, key: CallKey) -> Option<Call> {
        self.get_mut(key)?;
        let call = self.open.try_remove(key.slot as usize)?;
        self.looking -= usize::from(call.answer.looks_through_all());
        Some(call)
    }

    /// Ends all calls.
    pub fn close_all(&mut self) -> Vec<Call> {
        self.looking = 0;
        self.open.drain().collect()
    }

    /// Takes what a shard says; the whole answer, once it is known. Others that were asked may still say something then.
    pub fn take(&mut self, key: CallKey, reply: Reply) -> Option<Answered> {
        let call = self.get_mut(key)?;
        call.waiting = call.waiting.saturating_sub(1);
        match (&mut call.answer, reply) {
            (_, Reply::Answer(status, json)) => return Some((status, json)),
            (Expected::Channels(all), Reply::Channels(some)) => all.extend(some),
            (Expected::Servers(_, all), Reply::Servers(some)) => all.extend(some),
            _ => {}
        }
        (call.waiting == 0).then(|| call.answer.compose())
    }

    /// Whether a connection may publish now; `per_second`: 0 for no limit.
    pub fn may_publish(&mut self, connection: ConnectionKey, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let slot = connection.slot as usize;
        if self.buckets.len() <= slot {
            self.buckets.resize(slot + 1, (0, Bucket::default()));
        }
        let Some((generation, bucket)) = self.buckets.get_mut(slot) else { return false };
        if *generation != connection.generation {
            (*generation, *bucket) = (connection.generation, Bucket::default());
        }
        bucket.take(per_second, now_ms)
    }
}

impl Expected {
    /// Whether every shard looks through all its rooms for it.
    pub fn looks_through_all(&self) -> bool {
        matches!(self, Self::Channels(_) | Self::Servers(..))
    }

    /// The answer, once everybody has said what there is.
    fn compose(&mut self) -> Answered {
        let mut out = br#"{"success":true,"data":{"#.to_vec();
        match self {
            Self::Channels(all) => {
                all.sort_by_key(|(updated_at, _)| std::cmp::Reverse(*updated_at));
                out.extend_from_slice(br#""channels":["#);
                put_list(&mut out, all.iter().take(LISTED_MAX), |out, (_, json)| out.extend_from_slice(json));
                out.extend_from_slice(b"]}}");
            }
            Self::Servers(agent, all) => {
                out.extend_from_slice(format!(r#""agentId":"{agent}","messageServers":["#).as_bytes());
                put_list(&mut out, all.iter().take(LISTED_MAX), |out, id| crate::app::broadcast::put_uuid(out, *id));
                out.extend_from_slice(b"]}}");
            }
            Self::Message(_) | Self::Ingested | Self::One | Self::Holder => {
                let problem = Problem::not_found("Message not found");
                return (problem.status, problem.json());
            }
        }
        (200, super::text(out))
    }

    /// The answer, once the message has its place.
    pub fn stamped(&self, stamp: Stamp) -> Answered {
        let mut out = Vec::new();
        match self {
            Self::Message(message) => {
                out.extend_from_slice(br#"{"success":true,"data":"#);
                message.put(&mut out, stamp);
                out.push(b'}');
                (201, super::text(out))
            }
            _ => {
                let Stamp { id, .. } = stamp;
                let message = "Message ingested and published to bus";
                (202, format!(r#"{{"success":true,"message":"{message}","data":{{"messageId":"{id}"}}}}"#))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: ConnectionKey = ConnectionKey { slot: 3, generation: 1 };

    #[test]
    fn calls_that_wait_are_bounded() {
        let mut calls = Calls::default();
        let first = calls.open(CONNECTION, Expected::One, 0).expect("a place");
        (1..CALLS_MAX).for_each(|_| assert!(calls.open(CONNECTION, Expected::One, 0).is_some()));
        assert!(calls.open(CONNECTION, Expected::One, 0).is_none());
        assert!(calls.close(first).is_some());
        let second = calls.open(CONNECTION, Expected::One, 0).expect("a place");
        // The slot is used again; what is said late is not for its new owner.
        assert_eq!(second.slot, first.slot);
        assert!(calls.take(first, Reply::Answer(200, String::new())).is_none());
        assert!(calls.take(second, Reply::Answer(200, String::new())).is_some());
    }

    #[test]
    fn calls_that_look_through_all_rooms_are_bounded_by_what_that_costs() {
        let looks = || Expected::Channels(Vec::new());
        for (rooms, most) in [(LOOKED_AT_MAX / 10, 10), (LOOKED_AT_MAX * 2, 1), (0, CALLS_MAX)] {
            let mut calls = Calls::default();
            let open: Vec<CallKey> = std::iter::from_fn(|| calls.open(CONNECTION, looks(), rooms)).collect();
            assert_eq!(open.len(), most, "{rooms}");
            assert_eq!(calls.open(CONNECTION, Expected::One, rooms).is_some(), most < CALLS_MAX);
            calls.close(open[0]);
            let servers = Expected::Servers(Uuid::nil(), BTreeSet::new());
            assert!(calls.open(CONNECTION, servers, rooms).is_some());
            assert!(calls.open(CONNECTION, looks(), rooms).is_none());
            calls.close_all();
            assert!(calls.open(CONNECTION, looks(), rooms).is_some());
        }
    }

    #[test]
    fn the_one_that_has_the_message_answers_for_all_and_nobody_is_an_answer_too() {
        let mut calls = Calls::default();
        let asked = |calls: &mut Calls| {
            let call = calls.open(CONNECTION, Expected::Holder, 0).expect("a place");
            calls.get_mut(call).expect("open").waiting = 3;
            call
        };
        let call = asked(&mut calls);
        assert!(calls.take(call, Reply::Absent).is_none());
        assert_eq!(calls.take(call, Reply::Answer(200, "{}".to_owned())), Some((200, "{}".to_owned())));
        let call = asked(&mut calls);
        let answers: Vec<_> = (0..3).filter_map(|_| calls.take(call, Reply::Absent)).collect();
        assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [404]);
    }

    #[test]
    fn a_connection_has_its_own_rate_and_the_next_in_its_slot_a_new_one() {
        let mut calls = Calls::default();
        let next = ConnectionKey { generation: 2, ..CONNECTION };
        assert!((0..10).all(|_| calls.may_publish(CONNECTION, 0, 0)) && calls.buckets.is_empty());
        assert_eq!([0; 3].map(|now_ms| calls.may_publish(CONNECTION, 2, now_ms)), [true, true, false]);
        assert!(calls.may_publish(next, 2, 0));
    }
}
