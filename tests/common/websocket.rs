//! A WebSocket client that builds its frames by hand, so that it can build wrong ones, and checks every frame it gets.

use std::time::{Duration, Instant};

use super::http::{End, Http, Response};
use super::{LIMIT, Server};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Where the echo app's bare Engine.IO answers.
pub const ENGINE_ECHO: &str = "/engine.io/?EIO=4&transport=websocket";

/// The key of RFC 6455 §1.3 and the accept value that belongs to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    /// The three reserved bits, RSV1 the highest.
    pub rsv: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// How a length is written; anything but the shortest is an error to be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Shortest,
    Sixteen,
    SixtyFour,
}

pub struct WebSocket {
    pub http: Http,
}

impl Frame {
    pub fn new(fin: bool, opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { fin, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }

    pub fn text(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(true, TEXT, payload)
    }

    pub fn binary(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(true, BINARY, payload)
    }

    /// A close frame with a code and a reason.
    pub fn close(code: u16, reason: &str) -> Frame {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Frame::new(true, CLOSE, payload)
    }

    /// As a client sends it.
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64, Length::Shortest, true);
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend_from_slice(&mask);
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        bytes
    }

    /// The header up to the mask, for a payload of any length.
    pub fn header(&self, length: u64, how: Length, masked: bool) -> Vec<u8> {
        let first = (u8::from(self.fin) << 7) | (self.rsv << 4) | self.opcode;
        let mask_bit = u8::from(masked) << 7;
        let mut bytes = vec![first];
        match (how, length) {
            (Length::Shortest, 0..=125) => bytes.push(mask_bit | length as u8),
            (Length::Sixteen, _) | (Length::Shortest, 126..=0xffff) => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            (Length::SixtyFour, _) | (Length::Shortest, _) => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes
    }
}

/// The request that opens a WebSocket, without the empty line at its end.
pub fn upgrade_request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    )
}

impl WebSocket {
    /// Opens one; anything but a correct 101 fails the test.
    pub fn open(server: &Server, target: &str) -> WebSocket {
        WebSocket::try_open(server, target, "")
            .unwrap_or_else(|refusal| panic!("the WebSocket was refused: {refusal:?}"))
    }

    /// Opens one with more headers, or gives the refusal.
    pub fn try_open(server: &Server, target: &str, headers: &str) -> Result<WebSocket, Response> {
        let mut http = Http::connect(server);
        http.send(format!("{}{headers}\r\n", upgrade_request(target)));
        WebSocket::opened(http)
    }

    /// Reads the answer to an upgrade request that was sent by other means.
    pub fn opened(mut http: Http) -> Result<WebSocket, Response> {
        let response = http.response();
        if response.status != 101 {
            return Err(response);
        }
        let header = |name| response.header(name).unwrap_or("").to_ascii_lowercase();
        assert_eq!(header("upgrade"), "websocket");
        assert_eq!(header("connection"), "upgrade");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(response.header("sec-websocket-extensions"), None);
        Ok(WebSocket { http })
    }

    pub fn send(&mut self, frame: &Frame) {
        self.http.send(frame.masked());
    }

    /// Sends several frames in one write.
    pub fn send_all(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::masked).collect();
        self.http.send(bytes);
    }

    pub fn text(&mut self, payload: impl AsRef<str>) {
        self.send(&Frame::text(payload.as_ref()));
    }

    pub fn binary(&mut self, payload: impl AsRef<[u8]>) {
        self.send(&Frame::binary(payload));
    }

    /// The next frame, whatever it is.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.try_frame(LIMIT).unwrap_or_else(|end| panic!("no frame came: {end:?}"))
    }

    /// The next frame if one comes in time. A frame that no server may send fails the test.
    pub fn try_frame(&mut self, limit: Duration) -> Result<Frame, End> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some((frame, used)) = parse_frame(&self.http.buffer) {
                self.http.buffer.drain(..used);
                return Ok(frame);
            }
            self.http.fill(deadline)?;
        }
    }

    /// The next text, Engine.IO pings answered and left out.
    #[track_caller]
    pub fn expect_text(&mut self) -> String {
        let frame = self.data_frame();
        assert_eq!(frame.opcode, TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("a text frame is UTF-8")
    }

    /// The next binary message.
    #[track_caller]
    pub fn expect_binary(&mut self) -> Vec<u8> {
        let frame = self.data_frame();
        assert_eq!(frame.opcode, BINARY, "{frame:?}");
        frame.payload
    }

    /// The next frame that is not an Engine.IO ping; those are answered.
    #[track_caller]
    pub fn data_frame(&mut self) -> Frame {
        self.data_frame_by(Instant::now() + LIMIT).expect("a frame in time")
    }

    /// As [`WebSocket::data_frame`], up to a deadline.
    #[track_caller]
    pub fn data_frame_by(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.try_frame(left) {
                Ok(frame) if frame == Frame::text("2") => self.text("3"),
                Ok(frame) => return Some(frame),
                Err(End::TimedOut) => return None,
                Err(End::Closed) => panic!("the connection ended"),
            }
        }
    }

    /// Asserts that the server closes with `code` and then ends the connection; gives the reason.
    /// Data that was under way before it may come first.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let (got, reason) = self.close_frame();
        assert_eq!(got, Some(code), "close code, reason {reason:?}");
        self.http.ends();
        reason
    }

    /// Reads up to the close frame: its code, if any, and reason.
    #[track_caller]
    pub fn close_frame(&mut self) -> (Option<u16>, String) {
        loop {
            let frame = self.frame();
            if frame.opcode != CLOSE {
                continue;
            }
            // The other half of the handshake: the server may wait for it before it ends the connection.
            self.send(&frame);
            let Some((code, reason)) = frame.payload.split_first_chunk::<2>() else {
                assert!(frame.payload.is_empty(), "a close code has two bytes");
                return (None, String::new());
            };
            let reason = String::from_utf8(reason.to_vec()).expect("a close reason is UTF-8");
            return (Some(u16::from_be_bytes(*code)), reason);
        }
    }

    /// Asserts that the connection ends, with or without a close frame, whatever else comes before.
    #[track_caller]
    pub fn expect_end(&mut self) {
        loop {
            match self.try_frame(LIMIT) {
                Ok(frame) if frame.opcode == CLOSE => self.send(&frame),
                Ok(_) => {}
                Err(End::Closed) => return,
                Err(End::TimedOut) => panic!("the WebSocket is still open after {LIMIT:?}"),
            }
        }
    }

    /// Asserts that nothing but Engine.IO pings comes; those are answered.
    #[track_caller]
    pub fn is_quiet(&mut self, duration: Duration) {
        if let Some(frame) = self.data_frame_by(Instant::now() + duration) {
            panic!("unexpected: {frame:?}");
        }
    }
}

fn parse_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, header_len) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    assert_eq!(second & 0x80, 0, "a server masks nothing");
    let shortest = match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    assert_eq!(header_len, shortest, "a length is written the shortest way");
    let end = header_len + usize::try_from(length).expect("a length that fits memory");
    let frame = Frame {
        fin: first & 0x80 != 0,
        rsv: (first >> 4) & 7,
        opcode: first & 0x0f,
        payload: bytes.get(header_len..end)?.to_vec(),
    };
    assert_eq!(frame.rsv, 0, "no extension was negotiated");
    if frame.opcode >= CLOSE {
        assert!(frame.fin && length <= 125, "a control frame: {frame:?}");
    } else {
        assert!(frame.fin && frame.opcode != CONTINUATION, "one frame is one message");
    }
    Some((frame, end))
}
