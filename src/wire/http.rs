//! HTTP/1.1 heads, chunked bodies and responses (RFC 9112). What two parsers might read in two ways is refused.

use memchr::memchr;
use std::borrow::Cow;

mod chunks;
mod parse;
mod response;
#[cfg(test)]
mod tests;

pub use chunks::Chunks;
pub(crate) use parse::parse_complete;
pub use parse::{HeadEnd, parse_head};
pub use response::{CONTINUE, Response, put_switching_protocols};

/// Longest head, in bytes, its final empty line included.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most header lines in a head.
pub const MAX_HEADERS: usize = 64;

/// The methods the server tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other; method names are case-sensitive.
    Other,
}

/// How long the body is (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a head asks for in the way of a WebSocket (RFC 6455 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<'a> {
    /// Nothing.
    No,
    /// A valid handshake.
    WebSocket {
        /// `Sec-WebSocket-Key`: 16 bytes in base64.
        key: &'a [u8],
    },
    /// `Sec-WebSocket-Version` is not 13.
    UnsupportedVersion,
    /// `Upgrade: websocket` in a request that cannot be a handshake; why.
    BadHandshake(&'static str),
}

/// A parsed and validated head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The path of the target, not decoded; `*` for `OPTIONS *`.
    pub path: &'a str,
    /// What follows `?` in the target, not decoded; empty if there is none.
    pub query: &'a str,
    /// HTTP/1.0 rather than 1.1.
    pub http_10: bool,
    /// Whether the client can use the connection again after this request.
    pub keep_alive: bool,
    /// How long the body is.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Whether it is a WebSocket handshake.
    pub upgrade: Upgrade<'a>,
    /// The header lines, validated, each with its CRLF.
    fields: &'a [u8],
}

impl<'a> Head<'a> {
    /// Value of the first header called `name` in any case, without surrounding white space.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// Values of all headers called `name` in any case, in their order, without surrounding white space.
    pub fn headers(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.fields.split(|&byte| byte == b'\n').filter_map(move |line| {
            let (field, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            field.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    /// Value of the first query parameter called `name`, percent-decoded; `+` is a space. What is not UTF-8 when decoded is
    /// replaced, and what is not percent-encoding is taken literally.
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        let [value] = self.query_params([name]);
        value
    }

    /// As [`Head::query_param`], for several names at once.
    pub fn query_params<const N: usize>(&self, names: [&str; N]) -> [Option<Cow<'a, str>>; N] {
        let mut values = [const { None }; N];
        let mut rest = self.query;
        while !rest.is_empty() {
            let (pair, after) = split_at_byte(rest, b'&').unwrap_or((rest, ""));
            rest = after;
            let (key, value) = split_at_byte(pair, b'=').unwrap_or((pair, ""));
            let key = percent_decode(key);
            let named = names.iter().zip(&mut values).find(|(name, _)| **name == key);
            if let Some((_, first @ None)) = named {
                *first = Some(percent_decode(value));
            }
        }
        values
    }
}

/// What is before and behind the first `byte`, which is ASCII.
fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Why a head is refused. The client is at fault, and the connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP, or ambiguous: 400.
    Malformed(&'static str),
    /// Over [`MAX_HEAD`] or [`MAX_HEADERS`]: 431.
    TooLarge,
    /// Neither HTTP/1.0 nor 1.1: 505.
    UnsupportedVersion,
    /// An unknown transfer coding: 501.
    NotImplemented,
    /// An expectation other than `100-continue`: 417 (RFC 9110 §10.1.1).
    ExpectationFailed,
}

impl HeadError {
    /// Status of the response.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooLarge => 431,
            Self::UnsupportedVersion => 505,
            Self::NotImplemented => 501,
            Self::ExpectationFailed => 417,
        }
    }

    /// What is wrong, for the sender.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Malformed(message) => message,
            Self::TooLarge => "request head too large",
            Self::UnsupportedVersion => "HTTP version not supported",
            Self::NotImplemented => "transfer coding not supported",
            Self::ExpectationFailed => "only 100-continue can be expected",
        }
    }
}

/// Why a body is refused. The client is at fault, and the connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Over the limit: 413.
    TooLarge,
    /// Bad chunked coding: 400.
    Malformed(&'static str),
}
