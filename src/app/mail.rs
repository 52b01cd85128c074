//! What shards tell one another about rooms.

use super::api::mail::CallMail;
use super::api::pending::CallKey;
use super::broadcast::{Broadcast, Draft};
use super::events::Form;
use super::fault::Fault;
use super::logs::Line;
use super::world_state::RoomState;
use crate::rooms::RoomId;
use crate::socket::SocketKey;
use crate::wire::prepared::Prepared;
use smallvec::SmallVec;
use std::sync::Arc;
use uuid::Uuid;

/// The socket that is to be answered, on the shard the mail came from.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub socket: SocketKey,
    /// The acknowledgement asked for.
    pub ack_id: Option<u64>,
    pub form: Form,
}

/// Who publishes a message and is told what becomes of it, on the shard the mail came from.
#[derive(Clone, Copy, Debug)]
pub enum Publisher {
    Socket(Asker),
    /// A call of the HTTP API.
    Call(CallKey),
    /// The demo agent, which is told nothing.
    Demo,
}

/// From one shard to another.
#[derive(Debug)]
pub enum Mail {
    /// To a room's home.
    Join(Box<JoinRoom>),
    /// To a room's home.
    Leave(Box<LeaveRoom>),
    /// To a room's home.
    Rejoin(Box<RejoinRoom>),
    /// To a room's home.
    Publish(Publisher, Box<Publish>),
    /// To the home of rooms.
    AskState(Box<StateQuestion>),
    /// From the home of rooms.
    State(Box<StateAnswer>),
    /// From a room's home.
    Joined(Box<Joined>),
    /// To a room's home: an agent is done with a message.
    Complete(Box<Complete>),
    /// To a room's home.
    Stream(Box<Stream>),
    /// To all shards: the sender has sockets of this agent's own, or has none any more.
    AgentSockets(Uuid, bool),
    /// To all shards: this agent called, and is live until then, in `mono_ms`.
    AgentCalled(Uuid, u64),
    /// To all shards: what agents logged.
    Logs(Arc<[Line]>),
    /// From a room's home.
    Done(RoomId, Asker),
    /// From a room's home: this very message was sent before.
    Repeated(RoomId, Publisher, Stamp, Option<Box<str>>),
    /// From a room's home: it was not sent.
    Unsent(Publisher, Box<Fault>),
    /// About calls of the HTTP API.
    Call(CallMail),
}

/// A socket joined.
#[derive(Debug)]
pub struct JoinRoom {
    pub room: RoomId,
    /// It was not in the room before.
    pub is_new: bool,
    pub server: Option<Uuid>,
    /// With whom it was not in the room before.
    pub parties: Parties,
    /// Whom the socket speaks for, if that has a name.
    pub named: Option<(Uuid, Box<str>)>,
    pub dm: Option<Option<Uuid>>,
    /// The agent named in the request, to be repeated.
    pub named_agent: Option<Uuid>,
    pub asker: Asker,
}

/// A socket that was away came back.
#[derive(Debug)]
pub struct RejoinRoom {
    pub room: RoomId,
    pub parties: Parties,
}

/// A socket left, of itself or because it is gone.
#[derive(Debug)]
pub struct LeaveRoom {
    pub room: RoomId,
    /// It was in the room.
    pub was_in: bool,
    /// With whom it was in the room.
    pub parties: Parties,
    /// Nobody when the socket is gone.
    pub asker: Option<Asker>,
}

/// Whom a socket brings into a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// An agent that takes part in the room.
    Agent(Uuid),
    /// The user who speaks through the socket.
    User(Uuid),
}

/// Whom a socket brings into one room; one of them without heap memory.
pub type Parties = SmallVec<[Party; 1]>;

/// What is the state of these rooms?
#[derive(Debug)]
pub struct StateQuestion {
    /// The asker's own number of the question.
    pub question: u32,
    pub rooms: Vec<RoomId>,
    /// Bytes the answer may take.
    pub max: usize,
}

/// The state of those rooms that there are.
#[derive(Debug)]
pub struct StateAnswer {
    pub question: u32,
    pub rooms: Vec<RoomState>,
    /// Something was left out.
    pub is_cut: bool,
}

/// An agent says that it is done with a message of a room.
#[derive(Debug)]
pub struct Complete {
    pub room: RoomId,
    /// As the agent says; else the message's.
    pub server: Option<Uuid>,
    /// Who says so; nobody: some agent.
    pub agent: Option<Uuid>,
    pub asker: Option<Asker>,
}

/// A piece of what an agent is saying.
#[derive(Debug)]
pub struct Stream {
    pub room: RoomId,
    pub frame: Prepared,
    pub asker: Asker,
}

/// A room's home answers a join.
#[derive(Debug)]
pub struct Joined {
    pub room: RoomId,
    pub agent: Option<Uuid>,
    pub asker: Asker,
    /// Sockets in the room, or why there cannot be such a room.
    pub members: Result<u32, Fault>,
}

/// A message to be ordered and stored.
#[derive(Debug)]
pub struct Publish {
    pub room: RoomId,
    pub server: Uuid,
    pub sender: Uuid,
    pub name: Box<str>,
    pub message_id: Option<Box<str>>,
    /// The id it is to have, if its sender may choose one.
    pub id: Option<Uuid>,
    pub dm: Option<Option<Uuid>>,
    /// The sender: an agent (the one whose own the socket is, or one that calls), or a user.
    pub speaker: Party,
    /// The socket is in the room and did not speak for the sender there before.
    pub is_new: bool,
    pub draft: Draft,
    /// What callers of the API are told beyond the broadcast, as a JSON object.
    pub extra: Option<Box<[u8]>>,
}

/// What a home gave a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub id: Uuid,
    /// Milliseconds since 1970 UTC.
    pub created_at: u64,
}

/// From a room's home to its members' shards.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A message of somebody's.
    Message(Arc<Ordered>),
    /// Anything that is the same for all members.
    Frame(Arc<Prepared>),
    /// A message is complete.
    Completed(Arc<Completed>),
}

/// A message that has its place.
#[derive(Debug)]
pub struct Ordered {
    pub broadcast: Broadcast,
    pub stamp: Stamp,
    pub server: Uuid,
    /// Where the sender is.
    pub shard: usize,
    pub by: Publisher,
    pub message_id: Option<Box<str>>,
    /// Nobody is going to work on it.
    pub complete: bool,
}

/// That a message is complete.
#[derive(Debug)]
pub struct Completed {
    pub frame: Prepared,
    /// Who sent the message and is told even if it is not in the room: shard and socket.
    pub sender: Option<(usize, SocketKey)>,
}
