//! The fields of a payload: found in one pass, under whatever name clients give them, and checked one by one.

use super::fault::{Code, Fault};
use super::json::{Place, Value};
use crate::rooms::{RoomId, parse_uuid};
use uuid::Uuid;

/// Every field that anything reads. Names that mean the same share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Room,
    Server,
    User,
    Author,
    Agent,
    Entity,
    Name,
    Text,
    Content,
    MessageId,
    Source,
    Thought,
    Actions,
    Attachments,
    Metadata,
    RawMessage,
    SourceId,
    InReplyTo,
    Target,
    Kind,
    Payload,
    Chunk,
    Index,
    Error,
    PartialText,
    AgentName,
    Level,
}

impl Key {
    const COUNT: usize = Self::Level as usize + 1;

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "roomId" | "channelId" | "room_id" | "channel_id" => Self::Room,
            "serverId" | "messageServerId" | "server_id" | "message_server_id" | "worldId" | "world_id" => Self::Server,
            "userId" | "user_id" | "senderId" | "sender_id" => Self::User,
            "authorId" | "author_id" => Self::Author,
            "agentId" | "agent_id" => Self::Agent,
            "entityId" | "entity_id" => Self::Entity,
            "name"
            | "senderName"
            | "sender_name"
            | "displayName"
            | "display_name"
            | "authorDisplayName"
            | "author_display_name" => Self::Name,
            "text" | "message" => Self::Text,
            "content" => Self::Content,
            "messageId" | "message_id" => Self::MessageId,
            "source" | "sourceType" | "source_type" => Self::Source,
            "thought" => Self::Thought,
            "actions" => Self::Actions,
            "attachments" => Self::Attachments,
            "metadata" => Self::Metadata,
            "rawMessage" | "raw_message" => Self::RawMessage,
            "sourceId" | "source_id" => Self::SourceId,
            "inReplyTo" | "in_reply_to" | "inReplyToMessageId" | "in_reply_to_message_id" => Self::InReplyTo,
            "targetUserId" | "recipientId" => Self::Target,
            "type" => Self::Kind,
            "payload" => Self::Payload,
            "chunk" => Self::Chunk,
            "index" => Self::Index,
            "error" => Self::Error,
            "partialText" | "partial_text" => Self::PartialText,
            "agentName" | "agent_name" => Self::AgentName,
            "level" => Self::Level,
            _ => return None,
        })
    }
}

/// A payload's fields as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    object: Value<'a>,
    found: [Option<Place>; Key::COUNT],
}

impl<'a> Fields<'a> {
    /// The fields of an object. Of several with one meaning the last that is not null counts.
    pub fn of(object: Value<'a>) -> Option<Self> {
        let mut found = [None; Key::COUNT];
        for (place, name, value) in object.placed_members()? {
            if let Some(slot) = Key::of(name).and_then(|key| found.get_mut(key as usize))
                && (slot.is_none() || !value.is_null())
            {
                *slot = Some(place);
            }
        }
        Some(Self { object, found })
    }

    /// A field and the name it was sent under.
    fn sent(&self, key: Key) -> Option<(&'a str, Value<'a>)> {
        self.object.member_at(self.found.get(key as usize).copied().flatten()?)
    }

    /// A field and the name it was sent under; null is as good as absent.
    fn get(&self, key: Key) -> Option<(&'a str, Value<'a>)> {
        self.sent(key).filter(|(_, value)| !value.is_null())
    }

    /// A field as it is.
    pub fn value(&self, key: Key) -> Option<Value<'a>> {
        self.get(key).map(|(_, value)| value)
    }

    /// The name a field was sent under, or else `name`.
    pub fn name(&self, key: Key, name: &'a str) -> &'a str {
        self.sent(key).map_or(name, |(name, _)| name)
    }

    fn missing(&self, key: Key, name: &str, must_be: &str) -> Fault {
        Fault::field(self.name(key, name), must_be)
    }

    /// A string of at most `max` bytes.
    pub fn text(&self, key: Key, max: usize) -> Result<Option<&'a str>, Fault> {
        let Some((name, value)) = self.get(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| Fault::field(name, "a string"))?;
        if text.len() > max {
            return Err(Fault::limit(Code::TooLarge, name, max, "bytes"));
        }
        Ok(Some(text))
    }

    /// A string that may not be missing or empty. `name`: what the field is called when it is missing.
    pub fn needed_text(&self, key: Key, name: &str, max: usize) -> Result<&'a str, Fault> {
        let must_be = "a non-empty string";
        let (name, value) = self.get(key).ok_or_else(|| self.missing(key, name, must_be))?;
        let text = value.as_str().filter(|t| !t.is_empty()).ok_or_else(|| Fault::field(name, must_be))?;
        if text.len() > max {
            return Err(Fault::limit(Code::TooLarge, name, max, "bytes"));
        }
        Ok(text)
    }

    /// A uuid.
    pub fn uuid(&self, key: Key) -> Result<Option<Uuid>, Fault> {
        let Some((name, value)) = self.get(key) else { return Ok(None) };
        let uuid = value.as_str().and_then(parse_uuid);
        uuid.map(Some).ok_or_else(|| Fault::field(name, "a uuid"))
    }

    /// A uuid that may not be missing.
    pub fn needed_uuid(&self, key: Key, name: &str) -> Result<Uuid, Fault> {
        self.uuid(key)?.ok_or_else(|| self.missing(key, name, "a uuid"))
    }

    /// The room, which may not be missing.
    pub fn room(&self, name: &str) -> Result<RoomId, Fault> {
        self.needed_uuid(Key::Room, name).map(RoomId::Uuid)
    }

    /// The room, which may not be missing but have any name.
    pub fn any_room(&self, name: &str) -> Result<RoomId, Fault> {
        let text = self.needed_text(Key::Room, name, RoomId::MAX_LEN)?;
        RoomId::any(text).ok_or_else(|| Fault::field(self.name(Key::Room, name), "a non-empty string"))
    }

    /// An object that is not too deep, with its fields.
    pub fn object(&self, key: Key) -> Result<Option<(Value<'a>, Fields<'a>)>, Fault> {
        let Some((name, value)) = self.get(key) else { return Ok(None) };
        let fields = Fields::of(value).ok_or_else(|| Fault::field(name, "an object"))?;
        check_depth(name, value)?;
        Ok(Some((value, fields)))
    }

    /// An array that is not too deep.
    pub fn array(&self, key: Key) -> Result<Option<Value<'a>>, Fault> {
        let Some((name, value)) = self.get(key) else { return Ok(None) };
        if !value.is_array() {
            return Err(Fault::field(name, "an array"));
        }
        check_depth(name, value)?;
        Ok(Some(value))
    }

    /// An array of at most `max` strings of at most `max_len` bytes each.
    pub fn texts(&self, key: Key, max: usize, max_len: usize) -> Result<Option<Value<'a>>, Fault> {
        let Some((name, value)) = self.get(key) else { return Ok(None) };
        let elements = value.elements().ok_or_else(|| Fault::field(name, "an array of strings"))?;
        for (n, element) in elements.enumerate() {
            let text = element.as_str().ok_or_else(|| Fault::field(name, "an array of strings"))?;
            if text.len() > max_len {
                return Err(Fault::limit(Code::TooLarge, name, max_len, "bytes in each string"));
            }
            if n == max {
                return Err(Fault::limit(Code::TooLarge, name, max, "elements"));
            }
        }
        Ok(Some(value))
    }
}

fn check_depth(name: &str, value: Value<'_>) -> Result<(), Fault> {
    if value.is_too_deep() {
        return Err(Fault::limit(Code::InvalidPayload, name, super::json::DEPTH_MAX, "levels of nesting"));
    }
    Ok(())
}
