//! A message as the API tells it: every key that published ElizaOS clients read, and those of its `messageBroadcast`.

use super::body::Submission;
use crate::app::broadcast::put_uuid;
use crate::app::json::{Value, put_str};
use crate::app::mail::Stamp;
use crate::rooms::parse_uuid;
use crate::wire::put_decimal;
use uuid::Uuid;

/// A message, as far as it is known before it has its place in the room.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    room: &'a str,
    server: &'a str,
    author: &'a str,
    name: &'a str,
    text: &'a str,
    source: &'a str,
    thought: &'a str,
    actions: Option<Value<'a>>,
    attachments: Option<Value<'a>>,
    extra: Extra<'a>,
}

/// What members of the room are not told of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// The agent's own form of the message.
    pub raw: Option<Value<'a>>,
    pub metadata: Option<Value<'a>>,
    /// The message it answers.
    pub in_reply_to: Option<Uuid>,
    /// Its id on another platform.
    pub source_id: Option<&'a str>,
}

const RAW: &str = "rawMessage";
const METADATA: &str = "metadata";
const IN_REPLY_TO: &str = "inReplyToRootMessageId";
const SOURCE_ID: &str = "sourceId";

/// Keys of `metadata` that say the same as other fields.
const DERIVED: [&str; 4] = ["authorDisplayName", "thought", "actions", "attachments"];

impl<'a> Extra<'a> {
    /// Of what [`Extra::put`] wrote.
    pub fn of(stored: Value<'a>) -> Self {
        let text = |key| stored.get(key).and_then(Value::as_str);
        Self {
            raw: stored.get(RAW),
            metadata: stored.get(METADATA),
            in_reply_to: text(IN_REPLY_TO).and_then(parse_uuid),
            source_id: text(SOURCE_ID),
        }
    }

    /// What there is of it as an object, to be kept with the message; `None` if there is nothing.
    pub fn json(&self) -> Option<Box<[u8]>> {
        let mut out = Vec::new();
        for (key, value) in [(RAW, self.raw), (METADATA, self.metadata)] {
            if let Some(value) = value {
                put_key(&mut out, key);
                value.put(&mut out);
            }
        }
        self.put_origin(&mut out);
        *out.first_mut()? = b'{';
        out.push(b'}');
        Some(out.into())
    }

    /// Appends what it answers and where it comes from, each with a comma in front.
    fn put_origin(&self, out: &mut Vec<u8>) {
        if let Some(message) = self.in_reply_to {
            put_key(out, IN_REPLY_TO);
            put_uuid(out, message);
        }
        if let Some(id) = self.source_id {
            put_key(out, SOURCE_ID);
            put_str(out, id);
        }
    }

    /// The same without the agent's own form, of a message that carries it in its broadcast.
    pub fn without_raw(self) -> Self {
        Self { raw: None, ..self }
    }

    /// This, and where it says nothing what `earlier` said.
    pub fn or(self, earlier: Self) -> Self {
        Self {
            raw: self.raw.or(earlier.raw),
            metadata: self.metadata.or(earlier.metadata),
            in_reply_to: self.in_reply_to.or(earlier.in_reply_to),
            source_id: self.source_id.or(earlier.source_id),
        }
    }
}

impl<'a> View<'a> {
    /// What a room keeps of a message: the object of its broadcast, and the rest.
    pub fn of(object: Value<'a>, extra: Extra<'a>) -> Self {
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            room: text("roomId"),
            server: text("serverId"),
            author: text("senderId"),
            name: text("senderName"),
            text: text("text"),
            source: text("source"),
            thought: text("thought"),
            actions: object.get("actions"),
            attachments: object.get("attachments"),
            extra: Extra { raw: object.get(RAW).or(extra.raw), ..extra },
        }
    }

    /// Appends the members of the message's object from the fourth on, each with a comma in front, and closes it.
    fn put(&self, out: &mut Vec<u8>) {
        let (text, source) = (self.text, self.source);
        for (key, value) in [
            ("channelId", self.room),
            ("messageServerId", self.server),
            ("authorId", self.author),
            ("content", text),
            ("sourceType", source),
        ] {
            put_key(out, key);
            put_str(out, value);
        }
        put_key(out, RAW);
        put_or(out, self.extra.raw, b"{}");
        self.extra.put_origin(out);
        self.put_metadata(out);
        for (key, value) in [
            ("roomId", self.room),
            ("serverId", self.server),
            ("senderId", self.author),
            ("senderName", self.name),
            ("text", text),
            ("source", source),
        ] {
            put_key(out, key);
            put_str(out, value);
        }
        self.put_thoughts(out);
        out.push(b'}');
    }

    fn put_metadata(&self, out: &mut Vec<u8>) {
        put_key(out, METADATA);
        out.extend_from_slice(br#"{"authorDisplayName":"#);
        put_str(out, self.name);
        self.put_thoughts(out);
        let given = self.extra.metadata.and_then(Value::members).into_iter().flatten();
        for (key, value) in given.filter(|(key, _)| !DERIVED.contains(key)) {
            put_key(out, key);
            value.put(out);
        }
        out.push(b'}');
    }

    fn put_thoughts(&self, out: &mut Vec<u8>) {
        put_key(out, "thought");
        put_str(out, self.thought);
        for (key, value) in [("actions", self.actions), ("attachments", self.attachments)] {
            put_key(out, key);
            put_or(out, value, b"[]");
        }
    }
}

/// A comma, a key and a colon.
fn put_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    put_str(out, key);
    out.push(b':');
}

fn put_or(out: &mut Vec<u8>, value: Option<Value<'_>>, default: &[u8]) {
    match value {
        Some(value) => value.put(out),
        None => out.extend_from_slice(default),
    }
}

/// A message that is to be published, ready but for its stamp.
#[derive(Debug)]
pub struct Unstamped(Box<[u8]>);

impl Unstamped {
    /// Of a checked body.
    pub fn of(submission: &Submission<'_>) -> Self {
        let message = &submission.message;
        let (room, server, author) = (message.room.to_string(), message.server.to_string(), message.sender.to_string());
        let view = View {
            room: &room,
            server: &server,
            author: &author,
            name: message.name,
            text: message.text,
            source: message.source,
            thought: message.thought,
            actions: message.actions,
            attachments: message.attachments,
            extra: submission.extra,
        };
        let mut out = Vec::new();
        view.put(&mut out);
        Self(out.into())
    }

    /// Appends the message.
    pub fn put(&self, out: &mut Vec<u8>, stamp: Stamp) {
        put_stamp(out, stamp.id, stamp.created_at, stamp.created_at);
        out.extend_from_slice(&self.0);
    }
}

/// Appends a message that a room keeps.
pub fn put_kept(out: &mut Vec<u8>, stamp: Stamp, object: Value<'_>, extra: Extra<'_>) {
    let updated_at = object.get("updatedAt").and_then(Value::as_u64).unwrap_or(stamp.created_at);
    put_stamp(out, stamp.id, stamp.created_at, updated_at);
    View::of(object, extra).put(out);
}

/// Both spellings of the times: clients read either.
fn put_stamp(out: &mut Vec<u8>, id: Uuid, created_at: u64, updated_at: u64) {
    out.extend_from_slice(br#"{"id":"#);
    put_uuid(out, id);
    for (key, time) in
        [("createdAt", created_at), ("updatedAt", updated_at), ("created_at", created_at), ("updated_at", updated_at)]
    {
        put_key(out, key);
        put_decimal(out, time);
    }
}
