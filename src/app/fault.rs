//! What is told to a client that is at fault.

use super::json::put_str;
use std::borrow::Cow;

/// What is wrong (contract A3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A field is missing, of the wrong type, malformed or too deep.
    InvalidPayload,
    /// There is no such event.
    UnknownEvent,
    /// The room has to be joined first.
    NotJoined,
    /// Not for this client.
    Forbidden,
    /// Too many messages in a short time.
    RateLimited,
    /// Longer than it may be.
    TooLarge,
    /// In more rooms than a socket may be.
    TooManyRooms,
    /// Something else is there already.
    Conflict,
    /// The server is full.
    Unavailable,
}

impl Code {
    /// The code in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidPayload => "invalid_payload",
            Self::UnknownEvent => "unknown_event",
            Self::NotJoined => "not_joined",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::TooLarge => "too_large",
            Self::TooManyRooms => "too_many_rooms",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request is refused; its sender stays connected and nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub code: Code,
    /// One sentence.
    pub message: Cow<'static, str>,
    /// Which field is wrong.
    pub field: Option<String>,
    /// The bound that is exceeded.
    pub limit: Option<u64>,
}

impl Fault {
    /// A fault of no field in particular.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None, limit: None }
    }

    /// A field that is not what it must be.
    pub fn field(field: &str, must_be: &str) -> Self {
        let field = shorten(field);
        let message = format!("{field} must be {must_be}.");
        Self { code: Code::InvalidPayload, message: message.into(), field: Some(field), limit: None }
    }

    /// A field that is longer or deeper than it may be; `unit`: what `limit` counts.
    pub fn limit(code: Code, field: &str, limit: usize, unit: &str) -> Self {
        let field = shorten(field);
        let message = format!("{field} must have at most {limit} {unit}.");
        Self { code, message: message.into(), field: Some(field), limit: Some(limit as u64) }
    }

    /// Appends `"error":…,"details":{…}`, for the event and the acknowledgement. `event`: what the client sent.
    pub fn put(&self, out: &mut Vec<u8>, event: &str) {
        out.extend_from_slice(br#""error":"#);
        put_str(out, &self.message);
        out.extend_from_slice(br#","details":{"code":""#);
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(br#"","event":"#);
        put_str(out, &shorten(event));
        if let Some(field) = &self.field {
            out.extend_from_slice(br#","field":"#);
            put_str(out, field);
        }
        if let Some(limit) = self.limit {
            out.extend_from_slice(format!(r#","limit":{limit}"#).as_bytes());
        }
        out.push(b'}');
    }
}

/// Characters of a client's own words that are repeated to it.
const QUOTE_MAX: usize = 64;

/// The beginning of a client's own words, so that an answer is never much larger than the question.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
