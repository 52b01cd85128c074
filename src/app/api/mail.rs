//! What shards tell one another about calls.

use super::body::Update;
use super::idempotency::Claimed;
use super::pending::{Answered, CallKey, Reply};
use crate::app::grant::Rooms;
use crate::app::json::Value;
use crate::app::mail::{Party, Publish};
use crate::rooms::RoomId;
use std::sync::Arc;
use uuid::Uuid;

/// From one shard to another.
#[derive(Debug)]
pub enum CallMail {
    /// To a room's home, or to every shard.
    Ask(CallKey, Arc<Asked>),
    /// From a shard that was asked.
    Reply(CallKey, Box<Reply>),
    /// To the shard that remembers the key: a call wants to begin.
    Claim(CallKey, Box<Claim>),
    /// From there.
    Claimed(CallKey, Box<(Box<[u8]>, Claimed, Operation)>),
    /// To there: what the call is answered.
    Settle(CallKey, Box<(Box<[u8]>, Answered)>),
    /// From there: it is remembered, and can be told.
    Settled(CallKey, Box<Answered>),
}

/// A call that wants to begin.
#[derive(Debug)]
pub struct Claim {
    pub key: Box<[u8]>,
    pub fingerprint: u64,
    /// What it will do; comes back with the answer.
    pub operation: Operation,
}

/// What a call does.
#[derive(Debug)]
pub enum Operation {
    /// At the room's home.
    Publish(Box<Publish>),
    /// At the home of this room.
    AskHome(RoomId, Question),
    /// On every shard.
    AskAll(Question),
}

impl Operation {
    /// The agent that calls, as far as the call says.
    pub fn agent(&self) -> Option<Uuid> {
        match self {
            Self::Publish(publish) => match publish.speaker {
                Party::Agent(agent) => Some(agent),
                Party::User(_) => None,
            },
            Self::AskHome(_, Question::AddAgent(_, agent)) | Self::AskAll(Question::ServersOfAgent(agent)) => {
                Some(*agent)
            }
            Self::AskHome(..) | Self::AskAll(_) => None,
        }
    }
}

/// What is asked of a shard, and of which rooms it may be answered.
#[derive(Debug)]
pub struct Asked {
    pub question: Question,
    pub rooms: Rooms,
}

/// What is asked of a shard.
#[derive(Debug)]
pub enum Question {
    Details(RoomId),
    Participants(RoomId),
    Messages {
        room: RoomId,
        /// Only those older than this, in milliseconds since 1970 UTC.
        before_ms: Option<u64>,
        limit: usize,
    },
    AddAgent(RoomId, Uuid),
    RemoveAgent(RoomId, Uuid),
    /// The processing of the room's messages is over; on this server, if the agent says so.
    Complete(RoomId, Option<Uuid>),
    /// The same, for the room of this message.
    CompleteFor(Uuid),
    Update {
        message: Uuid,
        /// Where it is, if the agent says so.
        room: Option<RoomId>,
        update: OwnedUpdate,
    },
    ChannelsOfServer(Uuid),
    ServersOfAgent(Uuid),
}

/// What an action has become, each part as JSON.
#[derive(Debug, Default)]
pub struct OwnedUpdate {
    /// New values of keys of the broadcast.
    pub members: Vec<(&'static str, Box<[u8]>)>,
    /// What is said beyond that, as an object.
    pub extra: Option<Box<[u8]>>,
    /// The agent's own form of the action.
    pub raw: Option<Box<[u8]>>,
}

impl OwnedUpdate {
    pub fn of(update: &Update<'_>) -> Self {
        let text = |text: &str| json(|out| crate::app::json::put_str(out, text));
        let value = |value: Value<'_>| json(|out| value.put(out));
        let members = [
            ("senderId", update.author.map(|author| json(|out| crate::app::broadcast::put_uuid(out, author)))),
            ("senderName", update.name.map(text)),
            ("text", update.text.map(text)),
            ("source", update.source.map(text)),
            ("thought", update.thought.map(text)),
            ("actions", update.actions.map(value)),
            ("attachments", update.attachments.map(value)),
        ];
        Self {
            members: members.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
            extra: update.extra.without_raw().json(),
            raw: update.extra.raw.map(value),
        }
    }
}

fn json(write: impl FnOnce(&mut Vec<u8>)) -> Box<[u8]> {
    let mut out = Vec::new();
    write(&mut out);
    out.into()
}
