//! What a client's side of a connection reads and writes. Anything a server must not send panics.

use crate::random::Random;
use sockeye::wire::websocket::unmask;

/// One response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub close: bool,
    pub body: Vec<u8>,
}

/// Reads responses one after another.
#[derive(Default)]
pub struct Responses {
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Responses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.bytes))
    }
}

impl Responses {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes behind the last response: frames, after a 101.
    pub fn into_rest(self) -> Vec<u8> {
        self.bytes
    }

    /// The next response; interim ones are read past. `head_only`: it answers HEAD.
    pub fn next(&mut self, head_only: bool) -> Option<Response> {
        loop {
            let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            let head = std::str::from_utf8(&self.bytes[..end - 2]).expect("a head is ASCII");
            let mut lines = head.split_terminator("\r\n");
            let status_line = lines.next().expect("a status line");
            let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|s| s.get(..3)).and_then(|s| s.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("a status line, not {status_line:?}"));
            let (mut len, mut close) = (None, None);
            for line in lines {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a header, not {line:?}"));
                match name {
                    "Content-Length" => assert_eq!(len.replace(value.parse().expect("a length")), None),
                    "Connection" => assert_eq!(close.replace(value == "close"), None),
                    _ => {}
                }
            }
            if status == 100 {
                self.bytes.drain(..end);
                continue;
            }
            let len: usize = match (status, len) {
                (101 | 204, None) => 0,
                (_, Some(_)) if head_only => 0,
                (_, len) => len.unwrap_or_else(|| panic!("a length with {status}")),
            };
            let body = self.bytes.get(end..end + len)?.to_vec();
            self.bytes.drain(..end + len);
            return Some(Response { status, close: close.expect("Connection is always given"), body });
        }
    }
}

/// A message of the server's.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
}

/// Reads server frames: unmasked, unfragmented, of minimal length.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    closed: bool,
}

impl Frames {
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(!self.closed || bytes.is_empty(), "bytes behind a close frame");
        self.bytes.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn next(&mut self) -> Option<Frame> {
        let (&first, &second) = (self.bytes.first()?, self.bytes.get(1)?);
        assert!(second < 0x80, "a masked server frame");
        let (len, start) = match second {
            126 => {
                let len = u16::from_be_bytes(self.bytes.get(2..4)?.try_into().expect("two"));
                assert!(len > 125, "a length in too many bytes");
                (usize::from(len), 4)
            }
            127 => {
                let len = u64::from_be_bytes(self.bytes.get(2..10)?.try_into().expect("eight"));
                assert!(len > 0xffff, "a length in too many bytes");
                (usize::try_from(len).expect("a length"), 10)
            }
            len => (usize::from(len), 2),
        };
        assert!(len < 1 << 24, "a frame of {len} bytes");
        let payload = self.bytes.get(start..start + len)?.to_vec();
        self.bytes.drain(..start + len);
        let text = |payload| String::from_utf8(payload).expect("UTF-8");
        Some(match first {
            0x81 => Frame::Text(text(payload)),
            0x82 => Frame::Binary(payload),
            0x8a => Frame::Pong(payload),
            0x88 => {
                self.closed = true;
                assert!(self.bytes.is_empty(), "bytes behind a close frame");
                Frame::Close(u16::from_be_bytes(payload.get(..2).expect("a code").try_into().expect("two")))
            }
            _ => panic!("a frame that begins with {first:#x}"),
        })
    }
}

/// Appends one masked frame; `first`: flags and opcode.
pub fn put_frame(out: &mut Vec<u8>, random: &mut Random, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = (random.next() as u32).to_be_bytes();
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
}

/// Appends a message, perhaps in fragments. Returns how many pings are between them.
pub fn put_message(out: &mut Vec<u8>, random: &mut Random, opcode: u8, payload: &[u8]) -> usize {
    if !random.chance(100) {
        put_frame(out, random, 0x80 | opcode, payload);
        return 0;
    }
    let (mut rest, mut opcode, mut pings) = (payload, opcode, 0);
    while random.chance(700) {
        let (part, after) = rest.split_at(random.below(rest.len() + 1));
        put_frame(out, random, opcode, part);
        (rest, opcode) = (after, 0);
        if random.chance(300) {
            put_frame(out, random, 0x89, b"ping");
            pings += 1;
        }
    }
    put_frame(out, random, 0x80 | opcode, rest);
    pings
}

/// A packet of Engine.IO, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// The packets of an answer to a poll.
pub fn packets(body: &[u8]) -> Vec<Packet> {
    let body = std::str::from_utf8(body).expect("a payload is UTF-8");
    let packets: Vec<_> = body.split('\u{1e}').map(packet).collect();
    assert!(packets.len() <= 16, "{} packets in a payload", packets.len());
    packets
}

fn packet(text: &str) -> Packet {
    use base64::Engine as _;
    match text.strip_prefix('b') {
        Some(text) => Packet::Binary(base64::engine::general_purpose::STANDARD.decode(text).expect("base64")),
        None => {
            assert!(text.starts_with(|c: char| ('0'..='6').contains(&c)), "a packet of a payload: {text:?}");
            Packet::Text(text.to_owned())
        }
    }
}

/// Packets as the body of a POST.
pub fn payload(packets: &[Packet]) -> Vec<u8> {
    use base64::Engine as _;
    let texts = packets.iter().map(|packet| match packet {
        Packet::Text(text) => text.clone(),
        Packet::Binary(bytes) => format!("b{}", base64::engine::general_purpose::STANDARD.encode(bytes)),
    });
    texts.collect::<Vec<_>>().join("\u{1e}").into_bytes()
}

/// A body in chunks.
pub fn chunked(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 + random.below(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
