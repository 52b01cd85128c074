//! The JSON bodies of calls, parsed and checked field by field.

use super::message::Extra;
use super::route::Kind;
use crate::app::AgentsSettings;
use crate::app::events::{
    ACTION_MAX, ACTIONS_MAX, AGENT_NAME, Form, MESSAGE_ID_MAX, Message, NAME_MAX, SOURCE_MAX, USER_NAME, dm,
};
use crate::app::fault::{Code, Fault};
use crate::app::fields::{Fields, Key};
use crate::app::json::Value;
use crate::rooms::{RoomId, parse_uuid};
use uuid::Uuid;

/// Bytes of the id of a message on another platform.
const SOURCE_ID_MAX: usize = 256;

/// A message from an agent, or from another platform.
#[derive(Debug)]
pub struct Submission<'a> {
    pub message: Message<'a>,
    /// The id it is to have, if the sender made one.
    pub id: Option<Uuid>,
    pub extra: Extra<'a>,
}

/// What an action has become. What is not given stays as it was.
#[derive(Debug)]
pub struct Update<'a> {
    /// Where the action is, if the agent says so.
    pub room: Option<RoomId>,
    pub author: Option<Uuid>,
    pub name: Option<&'a str>,
    pub text: Option<&'a str>,
    pub source: Option<&'a str>,
    pub thought: Option<&'a str>,
    pub actions: Option<Value<'a>>,
    pub attachments: Option<Value<'a>>,
    pub extra: Extra<'a>,
}

/// Which processing is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// That of the messages of a room, on this server if the agent says so.
    Room(RoomId, Option<Uuid>),
    /// That of the room in which this message is.
    Message(Uuid),
}

/// The fields of a body. `root`: the whole of it.
pub fn fields(root: Value<'_>) -> Result<Fields<'_>, Fault> {
    Fields::of(root).ok_or_else(no_object)
}

/// The body is no JSON object.
pub fn no_object() -> Fault {
    Fault::new(Code::InvalidPayload, "The body must be a JSON object.")
}

/// What calls that publish a message take it to be, as long as it does not say itself.
struct Defaults {
    source: &'static str,
    name: &'static str,
    /// The text may be missing.
    text: bool,
}

impl Kind {
    fn defaults(self) -> Defaults {
        match self {
            Self::Submit => Defaults { source: "agent_response", name: AGENT_NAME, text: false },
            Self::Action => Defaults { source: "agent_action", name: AGENT_NAME, text: true },
            Self::External => Defaults { source: "external", name: USER_NAME, text: false },
        }
    }
}

/// A message that is to be published.
pub fn submission<'a>(fields: &Fields<'a>, settings: &AgentsSettings, kind: Kind) -> Result<Submission<'a>, Fault> {
    let defaults = kind.defaults();
    let room = fields.room("channel_id")?;
    let server = fields.uuid(Key::Server)?.unwrap_or(settings.server_id);
    let author = fields.uuid(Key::Author)?;
    // The short form has the agent only.
    let agent = fields.uuid(Key::Agent)?;
    let sender = author.or(agent).ok_or_else(|| Fault::field("author_id", "a uuid"))?;
    let said = said(fields, settings)?;
    let text = match said.content {
        Some(text) if !text.is_empty() => text,
        _ if defaults.text => said.raw_text.unwrap_or_default(),
        _ => fields.needed_text(Key::Content, "content", settings.text_max)?,
    };
    let message_id = fields.text(Key::MessageId, MESSAGE_ID_MAX)?.filter(|id| !id.is_empty());
    Ok(Submission {
        id: message_id.and_then(parse_uuid),
        message: Message {
            room,
            server,
            sender,
            name: said.name.unwrap_or(defaults.name),
            text,
            source: said.source.unwrap_or(defaults.source),
            thought: said.thought.unwrap_or_default(),
            actions: said.actions,
            attachments: said.attachments,
            message_id,
            dm: dm(fields, said.extra.metadata)?,
            form: Form::Flat,
        },
        extra: said.extra,
    })
}

/// What an action has become.
pub fn update<'a>(fields: &Fields<'a>, settings: &AgentsSettings) -> Result<Update<'a>, Fault> {
    let room = fields.uuid(Key::Room)?.map(RoomId::Uuid);
    fields.uuid(Key::Server)?;
    let author = fields.uuid(Key::Author)?.or(fields.uuid(Key::Agent)?);
    let Said { name, content, raw_text: _, source, thought, actions, attachments, extra } = said(fields, settings)?;
    Ok(Update { room, author, name, text: content, source, thought, actions, attachments, extra })
}

/// What is over.
pub fn complete(fields: &Fields<'_>) -> Result<Complete, Fault> {
    let server = fields.uuid(Key::Server)?;
    if let Some(room) = fields.uuid(Key::Room)? {
        return Ok(Complete::Room(RoomId::Uuid(room), server));
    }
    match fields.uuid(Key::MessageId)? {
        Some(message) => Ok(Complete::Message(message)),
        None => Err(Fault::field("channel_id", "a uuid")),
    }
}

/// What a body says of a message, wherever in it that stands.
struct Said<'a> {
    name: Option<&'a str>,
    content: Option<&'a str>,
    /// The text within `raw_message`.
    raw_text: Option<&'a str>,
    source: Option<&'a str>,
    thought: Option<&'a str>,
    actions: Option<Value<'a>>,
    attachments: Option<Value<'a>>,
    extra: Extra<'a>,
}

fn said<'a>(fields: &Fields<'a>, settings: &AgentsSettings) -> Result<Said<'a>, Fault> {
    let raw = fields.object(Key::RawMessage)?;
    let metadata = fields.object(Key::Metadata)?;
    let (raw_fields, metadata_fields) = (raw.map(|(_, fields)| fields), metadata.map(|(_, fields)| fields));
    let mut said = Said {
        name: None,
        content: fields.text(Key::Content, settings.text_max)?,
        raw_text: raw_fields.map(|raw| raw.text(Key::Text, settings.text_max)).transpose()?.flatten(),
        source: fields.text(Key::Source, SOURCE_MAX)?.filter(|source| !source.is_empty()),
        thought: None,
        actions: None,
        attachments: None,
        extra: Extra {
            raw: raw.map(|(value, _)| value),
            metadata: metadata.map(|(value, _)| value),
            in_reply_to: fields.uuid(Key::InReplyTo)?,
            source_id: fields.text(Key::SourceId, SOURCE_ID_MAX)?,
        },
    };
    for place in [Some(*fields), metadata_fields].into_iter().flatten() {
        for key in [Key::AgentName, Key::Name] {
            said.name = said.name.or(place.text(key, NAME_MAX)?.filter(|name| !name.is_empty()));
        }
    }
    for place in [Some(*fields), raw_fields, metadata_fields].into_iter().flatten() {
        said.thought = said.thought.or(place.text(Key::Thought, settings.text_max)?);
        said.actions = said.actions.or(place.texts(Key::Actions, ACTIONS_MAX, ACTION_MAX)?);
    }
    for place in [Some(*fields), metadata_fields, raw_fields].into_iter().flatten() {
        said.attachments = said.attachments.or(place.array(Key::Attachments)?);
    }
    Ok(said)
}
