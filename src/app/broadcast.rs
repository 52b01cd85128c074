//! Outgoing events, in the exact order of keys of the contract.

use super::events::Message;
use super::json::put_str;
use super::mail::Stamp;
use crate::rooms::RoomId;
use crate::wire::prepared::Prepared;
use std::io::Write;
use uuid::Uuid;

/// A `messageBroadcast` object that lacks only what the room's home gives it, so that the home has next to nothing to do.
#[derive(Debug)]
pub struct Draft {
    json: Vec<u8>,
    /// Where `createdAt` and `id` go.
    created_at: usize,
    id: usize,
}

/// A `messageBroadcast`, ready to be sent and kept.
#[derive(Clone, Debug)]
pub struct Broadcast {
    frame: Prepared,
    object_len: usize,
}

/// A JSON string of what needs no escapes.
pub fn put_uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.push(b'"');
    out.extend_from_slice(uuid.as_hyphenated().encode_lower(&mut text).as_bytes());
    out.push(b'"');
}

/// A room's id as a JSON string.
pub fn put_room(out: &mut Vec<u8>, room: &RoomId) {
    match room {
        RoomId::Uuid(uuid) => put_uuid(out, *uuid),
        RoomId::Name(name) => put_str(out, name),
    }
}

/// A number.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "{number}");
}

impl Draft {
    /// Serialises a message.
    pub fn new(message: &Message<'_>) -> Self {
        let mut json = Vec::with_capacity(512 + message.text.len());
        json.extend_from_slice(br#"{"senderId":"#);
        put_uuid(&mut json, message.sender);
        json.extend_from_slice(br#","senderName":"#);
        put_str(&mut json, message.name);
        json.extend_from_slice(br#","text":"#);
        put_str(&mut json, message.text);
        json.extend_from_slice(br#","roomId":"#);
        put_room(&mut json, &message.room);
        json.extend_from_slice(br#","serverId":"#);
        put_uuid(&mut json, message.server);
        json.extend_from_slice(br#","createdAt":"#);
        let created_at = json.len();
        json.extend_from_slice(br#","source":"#);
        put_str(&mut json, message.source);
        json.extend_from_slice(br#","id":"#);
        let id = json.len();
        json.extend_from_slice(br#","thought":"#);
        put_str(&mut json, message.thought);
        for (key, value) in
            [(br#","actions":"#.as_slice(), message.actions), (br#","attachments":"#, message.attachments)]
        {
            json.extend_from_slice(key);
            match value {
                Some(value) => value.put(&mut json),
                None => json.extend_from_slice(b"[]"),
            }
        }
        json.extend_from_slice(br#","channelId":"#);
        put_room(&mut json, &message.room);
        json.extend_from_slice(br#","messageServerId":"#);
        put_uuid(&mut json, message.server);
        json.push(b'}');
        Self { json, created_at, id }
    }

    /// The broadcast with its stamp.
    pub fn finish(&self, stamp: Stamp) -> Broadcast {
        let (head, rest) = self.json.split_at_checked(self.created_at).unwrap_or((&self.json, &[]));
        let (middle, tail) = rest.split_at_checked(self.id - self.created_at).unwrap_or((rest, &[]));
        let mut object_len = 0;
        let frame = Prepared::event(|out| {
            out.extend_from_slice(br#"["messageBroadcast","#);
            let start = out.len();
            out.extend_from_slice(head);
            put_number(out, stamp.created_at);
            out.extend_from_slice(middle);
            put_uuid(out, stamp.id);
            out.extend_from_slice(tail);
            object_len = out.len() - start;
            out.push(b']');
        });
        Broadcast { frame, object_len }
    }
}

impl Broadcast {
    /// What members get.
    pub fn frame(&self) -> &Prepared {
        &self.frame
    }

    /// The object alone.
    pub fn object(&self) -> &[u8] {
        let bytes = self.frame.packet();
        let end = bytes.len().saturating_sub(1);
        bytes.get(end.saturating_sub(self.object_len)..end).unwrap_or_default()
    }

    /// What the sender gets, with its own id of the message.
    pub fn own_copy(&self, client_message_id: &str) -> Prepared {
        let object = self.object();
        Prepared::event(|out| {
            out.extend_from_slice(br#"["messageBroadcast","#);
            out.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
            out.extend_from_slice(br#","clientMessageId":"#);
            put_str(out, client_message_id);
            out.extend_from_slice(b"}]");
        })
    }
}

/// `messageComplete`.
pub fn complete(room: &RoomId, server: Uuid) -> Prepared {
    Prepared::event(|out| {
        out.extend_from_slice(br#"["messageComplete",{"channelId":"#);
        put_room(out, room);
        out.extend_from_slice(br#","serverId":"#);
        put_uuid(out, server);
        out.extend_from_slice(b"}]");
    })
}
