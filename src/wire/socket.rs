//! Socket.IO v5 packets. What is valid is what socket.io-parser takes, with numbers read exactly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{parse_decimal, put_decimal};

mod placeholders;
#[cfg(test)]
mod tests;

pub use placeholders::check_placeholders;

/// Most attachments of one packet, as in socket.io-parser.
pub const MAX_ATTACHMENTS: u32 = 10;

/// Largest acknowledgement id: what a JavaScript number holds exactly.
const MAX_ACK_ID: u64 = (1 << 53) - 1;

/// Event names with a meaning of their own in the Socket.IO libraries (socket.io-parser, `RESERVED_EVENTS`).
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Packet types (Socket.IO v5, "Packet types"), `0` to `6` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// `0`: asks to connect to a namespace, or grants it.
    Connect,
    /// `1`: leaves a namespace.
    Disconnect,
    /// `2`: an event.
    Event,
    /// `3`: acknowledges an event.
    Ack,
    /// `4`: refuses a namespace; from the server only.
    ConnectError,
    /// `5`: an event with attachments.
    BinaryEvent,
    /// `6`: an acknowledgement with attachments.
    BinaryAck,
}

/// A decoded packet; its data is not parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type.
    pub kind: PacketType,
    /// Binary messages that follow: 1 to [`MAX_ATTACHMENTS`] for the binary types, else 0.
    pub attachments: u32,
    /// The namespace, `/` if absent, without a query part.
    pub namespace: &'a str,
    /// The acknowledgement id, at most 2^53 - 1.
    pub ack_id: Option<u64>,
    /// JSON text that is valid UTF-8, or empty.
    pub data: &'a mut [u8],
}

/// Why a packet is refused; its sender is at fault and its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No type, an unknown one, or one that clients may not send.
    Type,
    /// The count of attachments is missing, malformed or zero.
    Attachments,
    /// More than [`MAX_ATTACHMENTS`].
    TooManyAttachments,
    /// The namespace is not UTF-8.
    Namespace,
    /// The acknowledgement id is over 2^53 - 1.
    AckId,
    /// The data does not fit the type, or is not JSON.
    Data,
    /// The event name is missing, reserved, or neither string nor number.
    EventName,
    /// A placeholder does not name an attachment.
    Placeholder,
}

/// Decodes a packet (Socket.IO v5, "Packet encoding"). `text`: valid UTF-8, without the Engine.IO packet type.
///
/// Of the data only the first byte is checked: `{` or nothing for a CONNECT, nothing for a DISCONNECT, else `[`.
pub fn decode(text: &mut [u8]) -> Result<Packet<'_>, DecodeError> {
    let (&mut kind, rest) = text.split_first_mut().ok_or(DecodeError::Type)?;
    let kind = match kind {
        b'0' => PacketType::Connect,
        b'1' => PacketType::Disconnect,
        b'2' => PacketType::Event,
        b'3' => PacketType::Ack,
        b'5' => PacketType::BinaryEvent,
        b'6' => PacketType::BinaryAck,
        _ => return Err(DecodeError::Type),
    };
    let (attachments, rest) = match kind {
        PacketType::BinaryEvent | PacketType::BinaryAck => split_attachments(rest)?,
        _ => (0, rest),
    };
    let (namespace, rest) = split_namespace(rest)?;
    let (ack_id, data) = split_ack_id(rest)?;
    let fits = match kind {
        PacketType::Connect => matches!(data.first(), None | Some(b'{')),
        PacketType::Disconnect => data.is_empty(),
        _ => data.first() == Some(&b'['),
    };
    if !fits {
        return Err(DecodeError::Data);
    }
    Ok(Packet { kind, attachments, namespace, ack_id, data })
}

/// Splits off the count of attachments and the `-` behind it.
fn split_attachments(rest: &mut [u8]) -> Result<(u32, &mut [u8]), DecodeError> {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).ok_or(DecodeError::Attachments)?;
    let (digits, rest) = rest.split_at_mut(end);
    let (&mut dash, rest) = rest.split_first_mut().ok_or(DecodeError::Attachments)?;
    if digits.is_empty() || dash != b'-' {
        return Err(DecodeError::Attachments);
    }
    // A number too large to be read is too many as well.
    match parse_decimal(digits).and_then(|count| u32::try_from(count).ok()) {
        Some(0) => Err(DecodeError::Attachments),
        Some(count @ 1..=MAX_ATTACHMENTS) => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// Splits off a namespace, which begins with `/` and ends in front of the first comma, or with the packet.
fn split_namespace(rest: &mut [u8]) -> Result<(&str, &mut [u8]), DecodeError> {
    if rest.first() != Some(&b'/') {
        return Ok(("/", rest));
    }
    let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
    let (namespace, rest) = rest.split_at_mut(end);
    let namespace = std::str::from_utf8(namespace).map_err(|_| DecodeError::Namespace)?;
    let namespace = namespace.split_once('?').map_or(namespace, |(name, _query)| name);
    Ok((namespace, rest.split_first_mut().map_or(&mut [], |(_comma, rest)| rest)))
}

/// Splits off an acknowledgement id.
fn split_ack_id(rest: &mut [u8]) -> Result<(Option<u64>, &mut [u8]), DecodeError> {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 {
        return Ok((None, rest));
    }
    let (digits, data) = rest.split_at_mut(end);
    let id = parse_decimal(digits).filter(|&id| id <= MAX_ACK_ID).ok_or(DecodeError::AckId)?;
    Ok((Some(id), data))
}

/// Appends all of a packet that precedes its data: `2`, `2/custom,`, `51-/custom,12`.
/// `attachments` is written for the binary types only. `namespace` has no comma.
pub fn put_prefix(out: &mut Vec<u8>, kind: PacketType, attachments: u32, namespace: &str, ack_id: Option<u64>) {
    out.push(match kind {
        PacketType::Connect => b'0',
        PacketType::Disconnect => b'1',
        PacketType::Event => b'2',
        PacketType::Ack => b'3',
        PacketType::ConnectError => b'4',
        PacketType::BinaryEvent => b'5',
        PacketType::BinaryAck => b'6',
    });
    if matches!(kind, PacketType::BinaryEvent | PacketType::BinaryAck) {
        put_decimal(out, u64::from(attachments));
        out.push(b'-');
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = ack_id {
        put_decimal(out, id);
    }
}

/// The arguments of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Args<'a> {
    /// The event name; a number as it was written.
    pub name: Cow<'a, str>,
    /// The elements after the name: raw JSON without the brackets, empty if there are none.
    pub rest: &'a str,
    /// How many elements are in `rest`.
    pub count: usize,
}

/// Validates the data of an event: a JSON array whose first element is its name.
///
/// One pass, linear in `data`, without recursion on its nesting and without a bound on the size of its numbers.
pub fn validate_args(data: &str) -> Result<Args<'_>, DecodeError> {
    let elements = elements(data)?;
    let name = event_name(elements.first.ok_or(DecodeError::EventName)?)?;
    Ok(Args { name, rest: elements.rest, count: elements.count - 1 })
}

/// Validates the data of an acknowledgement, as [`validate_args`] does that of an event: its elements, raw and without the
/// brackets, and how many they are.
pub fn validate_ack_args(data: &str) -> Result<(&str, usize), DecodeError> {
    let elements = elements(data)?;
    Ok((elements.all, elements.count))
}

/// The name from its JSON text.
fn event_name(raw: &str) -> Result<Cow<'_, str>, DecodeError> {
    let name = match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => Cow::Owned(serde_json::from_str(raw).map_err(|_| DecodeError::EventName)?),
        None if raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            return Ok(Cow::Borrowed(raw));
        }
        None => return Err(DecodeError::EventName),
    };
    if RESERVED_EVENTS.contains(&&*name) {
        return Err(DecodeError::EventName);
    }
    Ok(name)
}

/// What a JSON array consists of, as slices of its text.
struct Elements<'a> {
    first: Option<&'a str>,
    /// From the first element to the last.
    all: &'a str,
    /// From the second element to the last.
    rest: &'a str,
    count: usize,
}

fn elements(data: &str) -> Result<Elements<'_>, DecodeError> {
    struct Array<'a>(&'a str);

    impl<'a> Visitor<'a> for Array<'a> {
        type Value = Elements<'a>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Elements<'a>, A::Error> {
            let mut elements = Elements { first: None, all: "", rest: "", count: 0 };
            let Some(first) = seq.next_element::<&'a RawValue>()? else {
                return Ok(elements);
            };
            let (mut second, mut last) = (None, first);
            elements.count = 1;
            while let Some(element) = seq.next_element::<&'a RawValue>()? {
                second.get_or_insert(element);
                last = element;
                elements.count += 1;
            }
            elements.first = Some(first.get());
            elements.all = span(self.0, first.get(), last.get());
            elements.rest = second.map_or("", |second| span(self.0, second.get(), last.get()));
            Ok(elements)
        }
    }

    // A RawValue is skipped over by serde_json's iterative scanner, which keeps a byte per level of nesting.
    let mut json = serde_json::Deserializer::from_str(data);
    let elements = json.deserialize_seq(Array(data)).map_err(|_| DecodeError::Data)?;
    json.end().map_err(|_| DecodeError::Data)?;
    Ok(elements)
}

/// The part of `text` from `first` to the end of `last`, which are slices of it.
fn span<'a>(text: &'a str, first: &'a str, last: &'a str) -> &'a str {
    let offset = |part: &str| part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    text.get(offset(first)..offset(last) + last.len()).unwrap_or_default()
}
