//! From the bytes of a head to a validated [`Head`].

use memchr::memchr;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use super::{Framing, Head, HeadError, MAX_HEAD, MAX_HEADERS, Method, Upgrade, split_at_byte};
use crate::wire::parse_decimal;

/// Empty lines tolerated in front of a request (RFC 9112 §2.2).
const MAX_EMPTY_LINES: u8 = 2;

/// Parses the head at the front of `bytes`; with it comes its length. `None`: it is not complete.
///
/// # Errors
/// [`HeadError`], as soon as the bytes there are cannot become a head that is accepted, or when it is complete.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, HeadError> {
    let mut end = HeadEnd::default();
    let Some(len) = end.find(bytes)? else {
        return Ok(None);
    };
    let head = bytes.get(end.start()..len).unwrap_or_default();
    Ok(Some((parse_complete(head)?, len)))
}

/// The search for a head's end. It remembers how far it looked, so that a head in many pieces costs linear time.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    empty_lines: u8,
    /// Where the request line begins, once a line that is not empty has ended.
    start: Option<usize>,
    /// Where the line being looked at begins.
    line: usize,
    looked_at: usize,
}

impl HeadEnd {
    /// Length of the head at the front of `bytes`, which are those of the previous call and what has arrived since.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(offset) = bytes.get(self.looked_at..).and_then(|new| memchr(b'\n', new)) {
            let end = self.looked_at + offset + 1;
            if end > MAX_HEAD {
                return Err(HeadError::TooLarge);
            }
            let line = bytes.get(self.line..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(HeadError::Malformed("a line must end in CRLF"));
            }
            match (line.len(), self.start) {
                (2, Some(_)) => return Ok(Some(end)),
                (2, None) => self.empty_lines += 1,
                (_, None) => {
                    check_request_line(line)?;
                    self.start = Some(self.line);
                }
                (_, Some(_)) => {}
            }
            if self.empty_lines > MAX_EMPTY_LINES {
                return Err(HeadError::Malformed("a request line is expected"));
            }
            (self.line, self.looked_at) = (end, end);
        }
        self.looked_at = bytes.len();
        // What is no HTTP at all (TLS, say) may never end a line.
        if self.start.is_none() {
            check_request_line(bytes.get(self.line..).unwrap_or_default())?;
        }
        if bytes.len() >= MAX_HEAD { Err(HeadError::TooLarge) } else { Ok(None) }
    }

    /// Where the request line begins.
    pub fn start(&self) -> usize {
        self.start.unwrap_or(0)
    }
}

/// Whether a request line, or an empty one, may begin so: a method is a token (RFC 9110 §5.6.2).
fn check_request_line(line: &[u8]) -> Result<(), HeadError> {
    let may_begin = |byte: u8| byte.is_ascii_alphanumeric() || b"\r!#$%&'*+-.^_`|~".contains(&byte);
    match line.first() {
        Some(&byte) if !may_begin(byte) => Err(HeadError::Malformed("a request line is expected")),
        _ => Ok(()),
    }
}

/// Parses a whole head, whose lines end in CRLF.
pub(crate) fn parse_complete(bytes: &[u8]) -> Result<Head<'_>, HeadError> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        Ok(_) => return Err(HeadError::Malformed("invalid request")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => return Err(version_error(bytes)),
        Err(httparse::Error::HeaderName) => {
            return Err(HeadError::Malformed("invalid header name"));
        }
        Err(httparse::Error::HeaderValue) => {
            return Err(HeadError::Malformed("invalid header value"));
        }
        Err(_) => return Err(HeadError::Malformed("invalid request line")),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed("invalid request line"));
    };
    let method = parse_method(method);
    let http_10 = version == 0;
    let (path, query) = split_target(target, method)?;
    let fields = Fields::collect(request.headers)?;
    match fields.host {
        None if !http_10 => return Err(HeadError::Malformed("Host is missing")),
        Some(host) if !is_authority(host) => return Err(HeadError::Malformed("invalid Host")),
        _ => {}
    }
    let framing = fields.framing(http_10)?;
    if fields.expects_more && !http_10 {
        return Err(HeadError::ExpectationFailed);
    }
    let lines = memchr(b'\n', bytes).and_then(|end| bytes.get(end + 1..));
    Ok(Head {
        method,
        path,
        query,
        http_10,
        keep_alive: !fields.close && (!http_10 || fields.keep_alive),
        framing,
        expect_continue: fields.expect_continue && !http_10,
        upgrade: fields.upgrade(method, http_10, framing),
        fields: lines.unwrap_or_default(),
    })
}

/// Tells a version that is not spoken here from what is no version.
fn version_error(bytes: &[u8]) -> HeadError {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let (Some(word), None) = (words.next(), words.next()) else {
        return HeadError::Malformed("invalid request line");
    };
    let is_version = |version: &[u8]| {
        let mut numbers = version.split(|&byte| byte == b'.');
        let mut is_number = || numbers.next().is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
        is_number() && is_number() && numbers.next().is_none()
    };
    match word.strip_prefix(b"HTTP/") {
        Some(version) if is_version(version) => HeadError::UnsupportedVersion,
        _ => HeadError::Malformed("invalid HTTP version"),
    }
}

fn parse_method(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// Path and query of a target in origin-form, absolute-form or asterisk-form (RFC 9112 §3.2).
fn split_target(target: &str, method: Method) -> Result<(&str, &str), HeadError> {
    let invalid = HeadError::Malformed("invalid request target");
    // Without a way out early, so that it is done many bytes at a time.
    if !target.bytes().fold(true, |is_valid, byte| is_valid & byte.is_ascii_graphic() & (byte != b'#')) {
        return Err(invalid);
    }
    if target == "*" && method == Method::Options {
        return Ok((target, ""));
    }
    let mut origin = target;
    if !target.starts_with('/') {
        let (scheme, rest) = target.split_once("://").ok_or(invalid)?;
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_http || !is_authority(authority.as_bytes()) {
            return Err(invalid);
        }
        origin = after;
    }
    let (path, query) = split_at_byte(origin, b'?').unwrap_or((origin, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// Bytes of which a name of a host consists (RFC 3986 §3.2.2). A comma is allowed by the grammar, but what has one is two
/// Host headers that were joined.
const HOST: [bool; 256] = alphanumeric_and(b"-._~%!$&'()*+;=");

/// The digits of base64 (RFC 4648 §4).
const BASE64: [bool; 256] = alphanumeric_and(b"+/");

const fn alphanumeric_and(marks: &[u8]) -> [bool; 256] {
    let mut class = [false; 256];
    let mut byte = 0;
    while byte < class.len() {
        class[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < marks.len() {
        class[marks[mark] as usize] = true;
        mark += 1;
    }
    class
}

fn is_all(bytes: &[u8], class: &[bool; 256]) -> bool {
    bytes.iter().all(|&byte| class[usize::from(byte)])
}

/// Whether `value` is a host that is not empty, with or without a port (RFC 3986 §3.2, without user information).
fn is_authority(value: &[u8]) -> bool {
    let host_len = match value {
        [b'[', rest @ ..] => memchr(b']', rest).map_or(value.len(), |end| end + 2),
        _ => memchr(b':', value).unwrap_or(value.len()),
    };
    let (host, port) = value.split_at(host_len);
    let is_host_valid = match host {
        [b'[', address @ .., b']'] => str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        host => !host.is_empty() && is_all(host, &HOST),
    };
    let is_port_valid = match port {
        [] | [b':'] => true,
        [b':', port @ ..] => parse_decimal(port).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    };
    is_host_valid && is_port_valid
}

/// The headers that have a meaning for the connection.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    upgrade_websocket: bool,
    websocket_key: Option<&'a [u8]>,
    is_key_repeated: bool,
    websocket_version: Option<&'a [u8]>,
    is_version_repeated: bool,
    expect_continue: bool,
    /// Something other than `100-continue` is expected.
    expects_more: bool,
}

impl<'a> Fields<'a> {
    fn collect(headers: &[httparse::Header<'a>]) -> Result<Self, HeadError> {
        let mut fields = Self::default();
        for header in headers {
            fields.add(header.name, header.value)?;
        }
        Ok(fields)
    }

    fn add(&mut self, name: &str, value: &'a [u8]) -> Result<(), HeadError> {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("Host") {
            if self.host.replace(value).is_some() {
                return Err(HeadError::Malformed("Host is repeated"));
            }
        } else if is("Content-Length") {
            if self.content_length.replace(value).is_some() {
                return Err(HeadError::Malformed("Content-Length is repeated"));
            }
        } else if is("Transfer-Encoding") {
            if self.transfer_encoding.replace(value).is_some() {
                return Err(HeadError::Malformed("Transfer-Encoding is repeated"));
            }
        } else if is("Connection") {
            for token in items(value) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("Upgrade") {
            self.upgrade_websocket |= items(value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
        } else if is("Sec-WebSocket-Key") {
            self.is_key_repeated = self.websocket_key.replace(value).is_some();
        } else if is("Sec-WebSocket-Version") {
            self.is_version_repeated = self.websocket_version.replace(value).is_some();
        } else if is("Expect") {
            for item in items(value).filter(|item| !item.is_empty()) {
                let is_known = item.eq_ignore_ascii_case(b"100-continue");
                self.expect_continue |= is_known;
                self.expects_more |= !is_known;
            }
        }
        Ok(())
    }

    /// RFC 9112 §6.3, without its leniencies.
    fn framing(&self, http_10: bool) -> Result<Framing, HeadError> {
        match (self.transfer_encoding, self.content_length) {
            (None, None) => Ok(Framing::None),
            (None, Some(length)) => {
                parse_decimal(length).map(Framing::Length).ok_or(HeadError::Malformed("invalid Content-Length"))
            }
            (Some(_), Some(_)) => Err(HeadError::Malformed("Content-Length beside Transfer-Encoding")),
            (Some(_), None) if http_10 => Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(coding), None) if coding.contains(&b',') || coding.is_empty() => {
                Err(HeadError::Malformed("Transfer-Encoding must be chunked"))
            }
            (Some(_), None) => Err(HeadError::NotImplemented),
        }
    }

    /// RFC 6455 §4.2.1.
    fn upgrade(&self, method: Method, http_10: bool, framing: Framing) -> Upgrade<'a> {
        if !self.upgrade_websocket {
            return Upgrade::No;
        }
        if method != Method::Get {
            return Upgrade::BadHandshake("a WebSocket handshake is a GET request");
        }
        if http_10 {
            return Upgrade::BadHandshake("a WebSocket handshake needs HTTP/1.1");
        }
        if !self.connection_upgrade {
            return Upgrade::BadHandshake("Connection must contain Upgrade");
        }
        if !matches!(framing, Framing::None | Framing::Length(0)) {
            return Upgrade::BadHandshake("a WebSocket handshake has no body");
        }
        if self.websocket_version != Some(b"13") || self.is_version_repeated {
            return Upgrade::UnsupportedVersion;
        }
        match self.websocket_key {
            Some(key) if is_websocket_key(key) && !self.is_key_repeated => Upgrade::WebSocket { key },
            _ => Upgrade::BadHandshake("Sec-WebSocket-Key must be 16 bytes in base64"),
        }
    }
}

/// The items of a comma separated list; some may be empty.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether `key` has the form of 16 bytes in base64.
fn is_websocket_key(key: &[u8]) -> bool {
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && is_all(digits, &BASE64))
}
