//! Outgoing events, in the exact order of keys of the contract.

use super::events::{Message, Piece, STREAM_CHUNK, STREAM_ERROR, Stream};
use super::json::{Value, put_str};
use super::mail::Stamp;
use crate::rooms::RoomId;
use crate::wire::prepared::{Outline, Prepared};
use crate::wire::put_decimal;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// A `messageBroadcast` that lacks only what the room's home gives it, so that the home has next to nothing to do.
#[derive(Debug)]
pub struct Draft {
    outline: Outline,
    /// Where in the array `createdAt` and `id` go.
    created_at: usize,
    id: usize,
    /// Where `updatedAt` goes, if it has one.
    updated_at: Option<usize>,
}

/// A `messageBroadcast`, ready to be sent.
#[derive(Debug)]
pub struct Broadcast {
    frame: Prepared,
}

/// What stands in front of the object of a `messageBroadcast` packet.
const PACKET_HEAD: &[u8] = b"42[\"messageBroadcast\",";
/// Room for a time in milliseconds; those before 2001 have fewer digits.
const TIME_GAP: [u8; 13] = [b' '; 13];
const TIME_MAX: u64 = 9_999_999_999_999;

/// The two digits of every byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    hex
};

/// A uuid's text in quotes. Every message has half a dozen, and the uuid crate writes them digit by digit.
fn quoted(uuid: Uuid) -> [u8; Hyphenated::LENGTH + 2] {
    /// Where the digits of each byte stand between the quotes and hyphens.
    const PLACES: [usize; 16] = [1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35];
    let mut text = *b"\"________-____-____-____-____________\"";
    for (place, byte) in PLACES.into_iter().zip(uuid.into_bytes()) {
        let [high, low] = HEX[usize::from(byte)];
        (text[place], text[place + 1]) = (high, low);
    }
    text
}

/// A uuid as a JSON string.
pub fn put_uuid(out: &mut Vec<u8>, uuid: Uuid) {
    out.extend_from_slice(&quoted(uuid));
}

/// A room's id as a JSON string.
pub fn put_room(out: &mut Vec<u8>, room: &RoomId) {
    match room {
        RoomId::Uuid(uuid) => put_uuid(out, *uuid),
        RoomId::Name(name) => put_str(out, name),
    }
}

impl Draft {
    /// Serialises a message.
    pub fn new(message: &Message<'_>) -> Self {
        Self::with(message, |_| None)
    }

    /// Serialises an action, of which there will be later states. `raw`: the agent's own form of it.
    pub fn of_action(message: &Message<'_>, raw: Option<Value<'_>>) -> Self {
        Self::with(message, |out| {
            out.extend_from_slice(br#","updatedAt":"#);
            let updated_at = out.len();
            out.extend_from_slice(&TIME_GAP);
            out.extend_from_slice(br#","rawMessage":"#);
            match raw {
                Some(raw) => raw.put(out),
                None => out.extend_from_slice(b"{}"),
            }
            Some(updated_at)
        })
    }

    /// `more` appends further members, each with a comma in front, and says where `updatedAt` goes.
    fn with(message: &Message<'_>, more: impl FnOnce(&mut Vec<u8>) -> Option<usize>) -> Self {
        /// Bytes of an array with empty strings, and some more.
        const FRAMEWORK: usize = 448;
        let strings = [message.name, message.text, message.source, message.thought];
        let (mut created_at, mut id, mut updated_at) = (0, 0, None);
        let capacity = FRAMEWORK + strings.iter().map(|s| s.len()).sum::<usize>();
        let outline = Outline::event(capacity, |out| {
            let start = out.len();
            out.extend_from_slice(br#"["messageBroadcast",{"senderId":"#);
            put_uuid(out, message.sender);
            out.extend_from_slice(br#","senderName":"#);
            put_str(out, message.name);
            out.extend_from_slice(br#","text":"#);
            put_str(out, message.text);
            out.extend_from_slice(br#","roomId":"#);
            let room = out.len();
            put_room(out, &message.room);
            let room = room..out.len();
            out.extend_from_slice(br#","serverId":"#);
            let server = out.len();
            put_uuid(out, message.server);
            let server = server..out.len();
            out.extend_from_slice(br#","createdAt":"#);
            created_at = out.len() - start;
            out.extend_from_slice(&TIME_GAP);
            out.extend_from_slice(br#","source":"#);
            put_str(out, message.source);
            out.extend_from_slice(br#","id":"#);
            id = out.len() - start;
            out.extend_from_slice(&quoted(Uuid::nil()));
            out.extend_from_slice(br#","thought":"#);
            put_str(out, message.thought);
            for (key, value) in
                [(br#","actions":"#.as_slice(), message.actions), (br#","attachments":"#, message.attachments)]
            {
                out.extend_from_slice(key);
                match value {
                    Some(value) => value.put(out),
                    None => out.extend_from_slice(b"[]"),
                }
            }
            out.extend_from_slice(br#","channelId":"#);
            out.extend_from_within(room);
            out.extend_from_slice(br#","messageServerId":"#);
            out.extend_from_within(server);
            updated_at = more(out).map(|at| at - start);
            out.extend_from_slice(b"}]");
        });
        Self { outline, created_at, id, updated_at }
    }

    /// Bytes that a member will get.
    pub fn frame_len(&self) -> usize {
        self.outline.frame_len()
    }

    /// The broadcast with its stamp.
    pub fn finish(mut self, stamp: Stamp) -> Broadcast {
        let array = self.outline.array();
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(stamp.created_at.min(TIME_MAX)).as_bytes();
        for time in [Some(self.created_at), self.updated_at].into_iter().flatten() {
            let end = time + TIME_GAP.len();
            if let Some(gap) = array.get_mut(end - digits.len()..end) {
                gap.copy_from_slice(digits);
            }
        }
        let id = quoted(stamp.id);
        if let Some(gap) = array.get_mut(self.id..self.id + id.len()) {
            gap.copy_from_slice(&id);
        }
        Broadcast { frame: self.outline.finish() }
    }
}

impl Broadcast {
    /// The broadcast of a finished object, whose keys are those of the contract in their order.
    pub fn of(object: &[u8]) -> Self {
        let outline = Outline::event(br#"["messageBroadcast",]"#.len() + object.len(), |out| {
            out.extend_from_slice(br#"["messageBroadcast","#);
            out.extend_from_slice(object);
            out.push(b']');
        });
        Self { frame: outline.finish() }
    }

    /// What members get.
    pub fn frame(&self) -> &Prepared {
        &self.frame
    }

    /// The same, on its own.
    pub fn into_frame(self) -> Prepared {
        self.frame
    }

    /// The object alone, which rooms keep.
    pub fn object(&self) -> &[u8] {
        let packet = self.frame.packet();
        packet.get(PACKET_HEAD.len()..packet.len().saturating_sub(1)).unwrap_or_default()
    }

    /// Appends the array that the sender gets, with its own id of the message.
    pub fn put_own_copy(&self, out: &mut Vec<u8>, client_message_id: &str) {
        let object = self.object();
        out.extend_from_slice(br#"["messageBroadcast","#);
        out.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
        out.extend_from_slice(br#","clientMessageId":"#);
        put_str(out, client_message_id);
        out.extend_from_slice(b"}]");
    }
}

/// Appends the array of a `messageComplete`.
pub fn put_complete(out: &mut Vec<u8>, room: &RoomId, server: Uuid) {
    out.extend_from_slice(br#"["messageComplete",{"channelId":"#);
    put_room(out, room);
    out.extend_from_slice(br#","serverId":"#);
    put_uuid(out, server);
    out.extend_from_slice(b"}]");
}

/// Appends the array of a piece of what `agent` is saying.
pub fn put_stream(out: &mut Vec<u8>, stream: &Stream<'_>, agent: Uuid) {
    let Stream { room, message_id, piece } = stream;
    out.extend_from_slice(b"[");
    put_str(
        out,
        match piece {
            Piece::Chunk { .. } => STREAM_CHUNK,
            Piece::Error { .. } => STREAM_ERROR,
        },
    );
    out.extend_from_slice(br#",{"messageId":"#);
    put_str(out, message_id);
    if let Piece::Chunk { chunk, index } = piece {
        out.extend_from_slice(br#","chunk":"#);
        put_str(out, chunk);
        out.extend_from_slice(br#","index":"#);
        put_decimal(out, *index);
    }
    out.extend_from_slice(br#","channelId":"#);
    put_room(out, room);
    out.extend_from_slice(br#","agentId":"#);
    put_uuid(out, agent);
    if let Piece::Error { error, partial_text } = piece {
        out.extend_from_slice(br#","error":"#);
        put_str(out, error);
        if let Some(text) = partial_text {
            out.extend_from_slice(br#","partialText":"#);
            put_str(out, text);
        }
    }
    out.extend_from_slice(b"}]");
}
