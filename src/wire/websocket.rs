//! WebSocket frames (RFC 6455): what a server writes, and the pieces its receiving side is made of.

use std::io::Cursor;

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Longest header of a server frame; server frames are unmasked (RFC 6455 §5.1).
pub const MAX_HEADER: usize = 10;

/// Longest payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a peer did against RFC 6455, as the close frame that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Close code: 1002, 1007 or 1009 (RFC 6455 §7.4.1).
    pub code: u16,
    /// Close reason.
    pub reason: &'static str,
}

impl Violation {
    /// A message over its bound on bytes.
    pub const TOO_BIG: Self = Self { code: 1009, reason: "message too big" };
    /// A message over its bound on frames: its size counted otherwise, so 1009 as well.
    pub const TOO_MANY_FRAGMENTS: Self = Self { code: 1009, reason: "too many fragments" };
    /// A text or close reason that is not UTF-8.
    pub const INVALID_UTF8: Self = Self { code: 1007, reason: "invalid UTF-8" };

    /// A frame against the framing rules.
    pub const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }
}

/// One data frame of our own, as [`split_server_frame`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFrame<'a> {
    /// Whether the opcode is binary; text otherwise.
    pub binary: bool,
    /// The application data.
    pub payload: &'a [u8],
}

/// Appends the header of an unfragmented server frame with a payload of `len` bytes.
pub fn put_header(out: &mut Vec<u8>, opcode: OpCode, len: usize) {
    let (header, used) = header(opcode, len);
    out.extend_from_slice(header.get(..used).unwrap_or_default());
}

/// The header of an unfragmented server frame with a payload of `len` bytes (RFC 6455 §5.2), and how long it is.
pub fn header(opcode: OpCode, len: usize) -> ([u8; MAX_HEADER], usize) {
    let first = 0x80 | u8::from(opcode);
    match len {
        0..=125 => ([first, len as u8, 0, 0, 0, 0, 0, 0, 0, 0], 2),
        126..=0xffff => {
            let [high, low] = (len as u16).to_be_bytes();
            ([first, 126, high, low, 0, 0, 0, 0, 0, 0], 4)
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
            ([first, 127, a, b, c, d, e, f, g, h], 10)
        }
    }
}

/// Appends a close frame; `reason` is cut at a character boundary so that the payload fits 125 bytes.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let room = (0..=MAX_CONTROL_PAYLOAD - 2).rev();
    let reason = room.into_iter().find_map(|end| reason.get(..end)).unwrap_or_default();
    put_header(out, OpCode::Control(Control::Close), 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a pong frame; `payload` is that of the ping, at most 125 bytes.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= MAX_CONTROL_PAYLOAD);
    put_header(out, OpCode::Control(Control::Pong), payload.len());
    out.extend_from_slice(payload);
}

/// Splits the first frame off `bytes`, which are whole data frames of our own: unmasked and unfragmented.
/// `None`: `bytes` do not begin with one.
pub fn split_server_frame(bytes: &[u8]) -> Option<(ServerFrame<'_>, &[u8])> {
    let mut cursor = Cursor::new(bytes);
    let (header, len) = FrameHeader::parse(&mut cursor).ok()??;
    let binary = match header.opcode {
        OpCode::Data(Data::Text) => false,
        OpCode::Data(Data::Binary) => true,
        _ => return None,
    };
    if !header.is_final || header.mask.is_some() {
        return None;
    }
    let after_header = bytes.get(usize::try_from(cursor.position()).ok()?..)?;
    let (payload, rest) = after_header.split_at_checked(usize::try_from(len).ok()?)?;
    Some((ServerFrame { binary, payload }, rest))
}

/// Applies `mask` to `bytes`, the first of which belongs to the mask's first byte (RFC 6455 §5.3).
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    // Blocks of a fixed size, so that the compiler turns the inner loop into vector instructions.
    const BLOCK: usize = 32;
    let wide: [u8; BLOCK] = std::array::from_fn(|at| mask[at % mask.len()]);
    let (blocks, tail) = bytes.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (byte, mask) in block.iter_mut().zip(&wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in tail.iter_mut().zip(&wide) {
        *byte ^= mask;
    }
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// Checks what the first two bytes of a header say, as soon as they are there (RFC 6455 §5.2, §5.4, §5.5).
pub fn check_client_start(header: &[u8], in_message: bool) -> Result<(), Violation> {
    let Some(first) = header.first() else {
        return Ok(());
    };
    if first & 0x70 != 0 {
        return Err(Violation::protocol("reserved bits must be 0"));
    }
    let opcode = OpCode::from(first & 0x0f);
    match opcode {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(Violation::protocol("unknown opcode"));
        }
        OpCode::Control(_) if first & 0x80 == 0 => {
            return Err(Violation::protocol("fragmented control frame"));
        }
        OpCode::Data(Data::Continue) if !in_message => {
            return Err(Violation::protocol("nothing to continue"));
        }
        OpCode::Data(Data::Text | Data::Binary) if in_message => {
            return Err(Violation::protocol("unfinished message"));
        }
        _ => {}
    }
    let Some(second) = header.get(1) else {
        return Ok(());
    };
    if second & 0x80 == 0 {
        return Err(Violation::protocol("client frames must be masked"));
    }
    if matches!(opcode, OpCode::Control(_)) && usize::from(second & 0x7f) > MAX_CONTROL_PAYLOAD {
        return Err(Violation::protocol("control frame too long"));
    }
    Ok(())
}

/// The payload length of a data frame, once its field is complete in the header so far; `None` for control frames, whose
/// length [`check_client_start`] judges.
pub fn declared_len(header: &[u8]) -> Option<u64> {
    let (first, second) = (header.first()?, header.get(1)?);
    if first & 0x08 != 0 {
        return None;
    }
    match second & 0x7f {
        126 => header.get(2..4).and_then(|len| len.try_into().ok()).map(|len| u64::from(u16::from_be_bytes(len))),
        127 => header.get(2..10).and_then(|len| len.try_into().ok()).map(u64::from_be_bytes),
        len => Some(u64::from(len)),
    }
}

/// The code in the payload of a close frame, once that is validated (RFC 6455 §5.5.1, §7.4; codes as registered with IANA).
pub fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::protocol("invalid close payload")) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::protocol("invalid close code"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::INVALID_UTF8);
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_of_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn headers_take_the_shortest_length() {
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 40, &[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
        ];
        for (len, expected) in cases {
            let mut out = Vec::new();
            put_header(&mut out, OpCode::Data(Data::Text), len);
            assert_eq!(out, expected, "{len}");
            assert!(out.len() <= MAX_HEADER);
        }
    }

    #[test]
    fn frames_of_the_rfc() {
        let mut out = Vec::new();
        put_header(&mut out, OpCode::Data(Data::Text), 5);
        out.extend_from_slice(b"Hello");
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], "RFC 6455 §5.7");
        let mut out = Vec::new();
        put_pong(&mut out, b"Hello");
        assert_eq!(out, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        put_close(&mut out, 1001, "bye");
        assert_eq!(out, b"\x88\x05\x03\xe9bye");
        for reason in ["é".repeat(100), "a".repeat(200), "€".repeat(50)] {
            let mut out = Vec::new();
            put_close(&mut out, 1000, &reason);
            let text = std::str::from_utf8(&out[4..]).expect("cut at a boundary");
            assert!(reason.starts_with(text) && text.len() > 123 - 4);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            assert!(out[1] <= 125);
        }
    }

    #[test]
    fn queued_frames_are_split_again() {
        let mut bytes = Vec::new();
        let payloads = [vec![b'a'; 3], Vec::new(), vec![b'b'; 300], vec![b'c'; 70_000]];
        for (number, payload) in payloads.iter().enumerate() {
            let data = if number % 2 == 0 { Data::Text } else { Data::Binary };
            put_header(&mut bytes, OpCode::Data(data), payload.len());
            bytes.extend_from_slice(payload);
        }
        let mut rest = &bytes[..];
        for (number, payload) in payloads.iter().enumerate() {
            let (frame, after) = split_server_frame(rest).expect("a frame");
            assert_eq!((frame.binary, frame.payload), (number % 2 == 1, &payload[..]));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(split_server_frame(rest), None);
    }

    #[test]
    fn what_is_not_a_whole_data_frame_of_ours_is_not_split() {
        let foreign: [&[u8]; 7] = [
            &[0x81],
            &[0x81, 2, b'a'],
            &[0x01, 1, b'a'],
            &[0x81, 0x81, 0, 0, 0, 0, b'a'],
            &[0x89, 0],
            &[0x88, 2, 3, 0xe8],
            &[0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ];
        for bytes in foreign {
            assert_eq!(split_server_frame(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn unmask_equals_its_definition() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in (0..70).chain([255, 1000]) {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut bytes = plain.clone();
            unmask(&mut bytes, mask);
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            assert_eq!(bytes, expected, "{len}");
        }
        let mut hello = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut hello, mask);
        assert_eq!(&hello, b"Hello", "RFC 6455 §5.7");
    }
}
