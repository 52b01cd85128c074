//! Every event of clients, parsed and checked (contract A2, B1).

use super::AgentsSettings;
use super::fault::{Code, Fault};
use super::fields::{Fields, Key};
use super::json::Value;
use super::logs;
use super::questions;
use crate::rooms::{RoomId, parse_uuid};
use uuid::Uuid;

/// Bytes of a `messageId`.
pub const MESSAGE_ID_MAX: usize = 128;
/// Bytes of a name.
pub const NAME_MAX: usize = 256;
/// Bytes of a `source`.
pub const SOURCE_MAX: usize = 128;
/// Elements of `actions`, and bytes of each.
pub const ACTIONS_MAX: usize = 64;
pub const ACTION_MAX: usize = 256;
/// What a person without a name is called.
pub const USER_NAME: &str = "User";
/// What an agent without a name is called.
pub const AGENT_NAME: &str = "Agent";
/// What a socket's message without a source comes from.
const SOURCE: &str = "socketio_client";

/// Events that agents send, and that rooms are sent under the same names.
pub const COMPLETE: &str = "messageComplete";
pub const STREAM_CHUNK: &str = "messageStreamChunk";
pub const STREAM_ERROR: &str = "messageStreamError";

/// Which form of an event a client used, and so what else it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The documented one.
    Flat,
    /// `{type, payload}` or a numbered event.
    Legacy,
}

/// A checked event.
#[derive(Debug)]
pub enum Event<'a> {
    Join(Join<'a>),
    /// The room as the client names it.
    Leave(RoomId),
    Message(Message<'a>),
    /// Something of the stream of log lines.
    Logs(logs::Request),
    /// The state of one room, or of all the socket is in.
    State(Option<RoomId>),
    /// An agent is done with a message.
    Complete(Complete),
    Stream(Stream<'a>),
}

/// A socket wants to join a room.
#[derive(Debug)]
pub struct Join<'a> {
    pub room: RoomId,
    pub server: Option<Uuid>,
    /// Takes part in the room.
    pub agent: Option<Uuid>,
    /// Whom the socket speaks for.
    pub entity: Option<Uuid>,
    pub name: Option<&'a str>,
    /// As in [`Message::dm`].
    pub dm: Option<Option<Uuid>>,
    pub form: Form,
}

/// A message to a room.
#[derive(Debug)]
pub struct Message<'a> {
    pub room: RoomId,
    pub server: Uuid,
    pub sender: Uuid,
    pub name: &'a str,
    pub text: &'a str,
    pub source: &'a str,
    pub thought: &'a str,
    pub actions: Option<Value<'a>>,
    pub attachments: Option<Value<'a>>,
    /// The client's own id of it; not empty.
    pub message_id: Option<&'a str>,
    /// The room is a conversation of two; the other one, if known.
    pub dm: Option<Option<Uuid>>,
    pub form: Form,
}

/// An agent is done with a message of a room.
#[derive(Debug)]
pub struct Complete {
    pub room: RoomId,
    pub server: Option<Uuid>,
}

/// A piece of what an agent is saying.
#[derive(Debug)]
pub struct Stream<'a> {
    pub room: RoomId,
    /// The message that is being said.
    pub message_id: &'a str,
    pub piece: Piece<'a>,
}

/// What there is to a message that is being said.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The next part of its text.
    Chunk { chunk: &'a str, index: u64 },
    /// It was broken off; with the text so far, if known.
    Error { error: &'a str, partial_text: Option<&'a str> },
}

/// A fault, and what the form that was used adds to the answer: the text of a `messageError`.
#[derive(Debug)]
pub struct Refusal {
    pub fault: Fault,
    pub message_error: Option<String>,
}

impl Refusal {
    /// A fault that came to light after the form was read.
    pub fn of(fault: Fault, form: Form) -> Self {
        match form {
            Form::Flat => fault.into(),
            Form::Legacy => refused_as_is(fault),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, message_error: None }
    }
}

/// Checks an event. `name`: as it was sent; `payload`: its first argument.
pub fn parse<'a>(name: &str, payload: Option<Value<'a>>, settings: &AgentsSettings) -> Result<Event<'a>, Refusal> {
    match name {
        "join" => Ok(join(&fields(payload)?).map(Event::Join)?),
        "leave" => Ok(leave(&fields(payload)?)?),
        "message" => message(&fields(payload)?, settings),
        questions::REQUEST => Ok(state(payload)?),
        "subscribe_logs" => Ok(Event::Logs(logs::Request::Subscribe)),
        "unsubscribe_logs" => Ok(Event::Logs(logs::Request::Unsubscribe)),
        "update_log_filters" => Ok(Event::Logs(logs::Request::Filter(logs::Filters::of(&fields(payload)?)?))),
        COMPLETE => Ok(complete(&fields(payload)?)?),
        STREAM_CHUNK => Ok(stream(&fields(payload)?, |fields| chunk(fields, settings))?),
        STREAM_ERROR => Ok(stream(&fields(payload)?, |fields| stream_error(fields, settings))?),
        "1" => legacy_join(fields(payload)),
        "2" => legacy_send(fields(payload), settings),
        _ => Err(Fault::new(Code::UnknownEvent, "There is no such event.").into()),
    }
}

fn fields(payload: Option<Value<'_>>) -> Result<Fields<'_>, Fault> {
    let object = || Fault::new(Code::InvalidPayload, "The payload must be an object.");
    payload.and_then(Fields::of).ok_or_else(object)
}

fn join<'a>(fields: &Fields<'a>) -> Result<Join<'a>, Fault> {
    Ok(Join {
        room: fields.room("roomId")?,
        server: fields.uuid(Key::Server)?,
        agent: fields.uuid(Key::Agent)?,
        entity: fields.uuid(Key::Entity)?,
        name: fields.text(Key::Name, NAME_MAX)?,
        dm: None,
        form: Form::Flat,
    })
}

fn leave<'a>(fields: &Fields<'a>) -> Result<Event<'a>, Fault> {
    fields.uuid(Key::Agent)?;
    // A room of a client's own name can be left too; what names none is judged by the documented form.
    let room = fields.any_room("roomId").map_err(|_| Fault::field("roomId", "a uuid"))?;
    Ok(Event::Leave(room))
}

fn state<'a>(payload: Option<Value<'a>>) -> Result<Event<'a>, Fault> {
    let Some(payload) = payload.filter(|payload| !payload.is_null()) else { return Ok(Event::State(None)) };
    let fields = fields(Some(payload))?;
    // As with `leave`: rooms of a client's own name are known to their members.
    let room = fields.value(Key::Room).map(|_| fields.any_room("roomId").map_err(|_| Fault::field("roomId", "a uuid")));
    Ok(Event::State(room.transpose()?))
}

fn complete<'a>(fields: &Fields<'a>) -> Result<Event<'a>, Fault> {
    Ok(Event::Complete(Complete { room: fields.room("channelId")?, server: fields.uuid(Key::Server)? }))
}

fn stream<'a>(
    fields: &Fields<'a>,
    piece: impl FnOnce(&Fields<'a>) -> Result<Piece<'a>, Fault>,
) -> Result<Event<'a>, Fault> {
    let room = fields.room("channelId")?;
    let message_id = fields.needed_text(Key::MessageId, "messageId", MESSAGE_ID_MAX)?;
    Ok(Event::Stream(Stream { room, message_id, piece: piece(fields)? }))
}

fn chunk<'a>(fields: &Fields<'a>, settings: &AgentsSettings) -> Result<Piece<'a>, Fault> {
    let chunk = fields.text(Key::Chunk, settings.text_max)?.ok_or_else(|| Fault::field("chunk", "a string"))?;
    let index = fields.value(Key::Index).and_then(Value::as_u64);
    let index = index.ok_or_else(|| Fault::field("index", "a whole number that is not negative"))?;
    Ok(Piece::Chunk { chunk, index })
}

fn stream_error<'a>(fields: &Fields<'a>, settings: &AgentsSettings) -> Result<Piece<'a>, Fault> {
    let error = fields.needed_text(Key::Error, "error", settings.text_max)?;
    Ok(Piece::Error { error, partial_text: fields.text(Key::PartialText, settings.text_max)? })
}

fn message<'a>(fields: &Fields<'a>, settings: &AgentsSettings) -> Result<Event<'a>, Refusal> {
    match fields.value(Key::Kind).and_then(Value::as_u64) {
        Some(1) => return legacy_join(nested(fields)),
        Some(2) => return legacy_send(nested(fields), settings),
        _ if fields.value(Key::Payload).is_some() && fields.value(Key::Room).is_none() => {
            return Err(Fault::field("type", "1 (join) or 2 (send)").into());
        }
        _ => {}
    }
    let room = fields.room("roomId")?;
    let sender = fields.needed_uuid(Key::User, "userId")?;
    Ok(content(fields, settings, room, sender, "text", Form::Flat).map(Event::Message)?)
}

/// The payload within a payload.
fn nested<'a>(fields: &Fields<'a>) -> Result<Fields<'a>, Fault> {
    fields.value(Key::Payload).and_then(Fields::of).ok_or_else(|| Fault::field("payload", "an object"))
}

/// What both forms of a message have in common.
fn content<'a>(
    fields: &Fields<'a>,
    settings: &AgentsSettings,
    room: RoomId,
    sender: Uuid,
    text: &str,
    form: Form,
) -> Result<Message<'a>, Fault> {
    let metadata = fields.object(Key::Metadata)?.map(|(value, _)| value);
    fields.text(Key::InReplyTo, MESSAGE_ID_MAX)?;
    Ok(Message {
        room,
        sender,
        server: fields.uuid(Key::Server)?.unwrap_or(settings.server_id),
        name: fields.text(Key::Name, NAME_MAX)?.filter(|n| !n.is_empty()).unwrap_or(USER_NAME),
        text: fields.needed_text(Key::Text, text, settings.text_max)?,
        source: fields.text(Key::Source, SOURCE_MAX)?.filter(|s| !s.is_empty()).unwrap_or(SOURCE),
        thought: fields.text(Key::Thought, settings.text_max)?.unwrap_or_default(),
        actions: fields.texts(Key::Actions, ACTIONS_MAX, ACTION_MAX)?,
        attachments: fields.array(Key::Attachments)?,
        message_id: fields.text(Key::MessageId, MESSAGE_ID_MAX)?.filter(|id| !id.is_empty()),
        dm: dm(fields, metadata)?,
        form,
    })
}

/// Whether metadata says that the room is a conversation of two, and with whom.
pub fn dm(fields: &Fields<'_>, metadata: Option<Value<'_>>) -> Result<Option<Option<Uuid>>, Fault> {
    let target = fields.uuid(Key::Target)?;
    let Some(metadata) = metadata else { return Ok(None) };
    let is_dm = metadata.get("isDm").and_then(Value::as_bool) == Some(true)
        || metadata.get("channelType").and_then(Value::as_str) == Some("DM");
    let named = |key| metadata.get(key).and_then(Value::as_str).and_then(parse_uuid);
    Ok(is_dm.then(|| named("targetUserId").or_else(|| named("recipientId")).or(target)))
}

const JOIN_ERROR: &str = "channelId is required for joining.";
const SEND_ERROR: &str =
    "For SEND_MESSAGE: channelId, messageServerId (message_server_id), senderId (author_id), and message are required.";

fn refused(fault: Fault, text: &str) -> Refusal {
    Refusal { fault, message_error: Some(text.to_owned()) }
}

/// A fault that no text of the reference server's is known for.
fn refused_as_is(fault: Fault) -> Refusal {
    Refusal { message_error: Some(fault.message.clone().into_owned()), fault }
}

fn legacy_join<'a>(fields: Result<Fields<'a>, Fault>) -> Result<Event<'a>, Refusal> {
    let fields = fields.map_err(|fault| refused(fault, JOIN_ERROR))?;
    let room = fields.any_room("channelId").map_err(|fault| match fault.code {
        Code::TooLarge => refused_as_is(fault),
        _ => refused(fault, JOIN_ERROR),
    })?;
    let rest = || -> Result<Join<'a>, Fault> {
        let metadata = fields.object(Key::Metadata)?.map(|(value, _)| value);
        Ok(Join {
            server: fields.uuid(Key::Server)?,
            agent: fields.uuid(Key::Agent)?,
            entity: fields.uuid(Key::Entity)?,
            name: fields.text(Key::Name, NAME_MAX)?,
            dm: dm(&fields, metadata)?,
            form: Form::Legacy,
            room,
        })
    };
    rest().map(Event::Join).map_err(refused_as_is)
}

fn legacy_send<'a>(fields: Result<Fields<'a>, Fault>, settings: &AgentsSettings) -> Result<Event<'a>, Refusal> {
    let fields = fields.map_err(|fault| refused(fault, SEND_ERROR))?;
    let needed = || -> Result<(RoomId, Uuid), Fault> {
        let room = fields.room("channelId")?;
        fields.uuid(Key::Server)?;
        let sender = match fields.uuid(Key::User)? {
            Some(sender) => sender,
            None => fields.uuid(Key::Author)?.ok_or_else(|| Fault::field("senderId", "a uuid"))?,
        };
        match fields.value(Key::Text).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok((room, sender)),
            _ => Err(Fault::field("message", "a non-empty string")),
        }
    };
    let (room, sender) = needed().map_err(|fault| refused(fault, SEND_ERROR))?;
    let message = content(&fields, settings, room, sender, "message", Form::Legacy);
    message.map(Event::Message).map_err(refused_as_is)
}
