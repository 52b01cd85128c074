//! Server frames written in place, and frames prepared once for many.

use crate::wire::websocket::{MAX_HEADER, header, put_header};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Bytes of the header of a frame with a payload of up to 125 bytes, and of one with up to 65,535.
const SHORT: usize = 2;
const LONG: usize = 4;

/// Appends one text frame whose payload is what `write` appends.
pub fn put_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_text_behind::<SHORT>(out, write);
}

/// Appends one binary frame with a copy of `payload`.
pub fn put_binary(out: &mut Vec<u8>, payload: &[u8]) {
    put_header(out, OpCode::Data(Data::Binary), payload.len());
    out.extend_from_slice(payload);
}

/// The payload is written behind room for a header of `HEADER` bytes, and moved when another one is needed. Returns the
/// length of the header.
fn put_text_behind<const HEADER: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let len = out.len() - start - HEADER;
    let (header, used) = header(OpCode::Data(Data::Text), len);
    if used != HEADER {
        out.resize(start + used.max(HEADER) + len, 0);
        out.copy_within(start + HEADER..start + HEADER + len, start + used);
        out.truncate(start + used + len);
    }
    if let (Some(room), Some(header)) = (out.get_mut(start..start + used), header.get(..used)) {
        room.copy_from_slice(header);
    }
    used
}

/// Bytes of an offset's text.
pub const OFFSET_LEN: usize = 12;

/// A broadcast that is encoded but for what a few gaps are left for; then it is [`Prepared`].
#[derive(Debug)]
pub struct Outline(Prepared);

impl Outline {
    /// An event of the namespace `/`. `write` appends the JSON array, the event's name first; `capacity`: its usual length.
    pub fn event(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut frame = Vec::with_capacity(LONG + EVENT.len() + capacity);
        let header = put_text_behind::<LONG>(&mut frame, |out| {
            out.extend_from_slice(EVENT);
            write(out);
        });
        // The header of a server frame has 2, 4 or 10 bytes.
        Self(Prepared { frame, header: header as u8 })
    }

    /// The JSON array.
    pub fn array(&mut self) -> &mut [u8] {
        let Prepared { frame, header } = &mut self.0;
        frame.get_mut(usize::from(*header) + EVENT.len()..).unwrap_or_default()
    }

    /// Bytes of the frame.
    pub fn frame_len(&self) -> usize {
        self.0.frame_len()
    }

    /// The broadcast as it is now.
    pub fn finish(self) -> Prepared {
        self.0
    }
}

/// What an event of the namespace `/` begins with.
const EVENT: &[u8] = b"42";

/// A broadcast encoded once, as the frame that goes to a WebSocket; its payload is the packet that goes to a poll.
#[derive(Debug)]
pub struct Prepared {
    frame: Vec<u8>,
    header: u8,
}

impl Prepared {
    /// Bytes of the frame.
    pub fn frame_len(&self) -> usize {
        self.frame.len()
    }

    /// An event of the namespace `/`. `write` appends the JSON array, the event's name first.
    pub fn event(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        const USUAL_LEN: usize = 128;
        Outline::event(USUAL_LEN, write).finish()
    }

    /// The packet: `42` and the JSON array.
    pub fn packet(&self) -> &[u8] {
        self.frame.get(usize::from(self.header)..).unwrap_or_default()
    }

    /// Appends the frame as it is.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.frame);
    }

    /// Appends the frame with an offset as the event's last argument, by which a client that comes back says what it has.
    pub fn put_with_offset(&self, out: &mut Vec<u8>, offset: u64) {
        let packet = self.packet();
        let open = packet.strip_suffix(b"]").unwrap_or(packet);
        let tail = offset_tail(offset);
        out.reserve(MAX_HEADER + open.len() + tail.len());
        put_header(out, OpCode::Data(Data::Text), open.len() + tail.len());
        out.extend_from_slice(open);
        out.extend_from_slice(&tail);
    }
}

/// Appends an event of the namespace `/` for one socket, with an offset as in [`Prepared::put_with_offset`] if there is one.
/// `write` appends the JSON array, the event's name first.
pub fn put_event(out: &mut Vec<u8>, offset: Option<u64>, write: impl FnOnce(&mut Vec<u8>)) {
    put_text_behind::<LONG>(out, |out| {
        out.extend_from_slice(EVENT);
        write(out);
        if let Some(offset) = offset {
            out.pop();
            out.extend_from_slice(&offset_tail(offset));
        }
    });
}

/// The end of an event with an offset: a comma, a string and the bracket.
fn offset_tail(offset: u64) -> [u8; OFFSET_LEN + 4] {
    let mut tail = *b",\"000000000000\"]";
    for (n, digit) in tail.iter_mut().skip(2).take(OFFSET_LEN).enumerate() {
        let nibble = (offset >> (4 * (OFFSET_LEN - 1 - n))) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    tail
}

/// The number of an offset's text; `None` if it is none of ours.
pub fn parse_offset(text: &str) -> Option<u64> {
    let is_ours = text.len() == OFFSET_LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::split_server_frame;

    #[test]
    fn frames_of_every_header_length() {
        for len in [0, 1, 2, 100, 118, 119, 120, 121, 122, 123, 124, 125, 126, 65_515, 65_530, 65_536, 70_000] {
            let array = format!("[\"{}\"]", "x".repeat(len));
            let prepared = Prepared::event(|out| out.extend_from_slice(array.as_bytes()));
            let mut out = b"before".to_vec();
            prepared.put(&mut out);
            prepared.put_with_offset(&mut out, 0xabc);
            let (frame, rest) = split_server_frame(&out[6..]).expect("whole");
            assert_eq!(frame.payload, format!("42{array}").as_bytes());
            let (frame, rest) = split_server_frame(rest).expect("whole");
            let open = array.strip_suffix(']').expect("an array");
            assert_eq!(frame.payload, format!("42{open},\"000000000abc\"]").as_bytes());
            assert!(rest.is_empty());
            let (mut written, mut copied) = (b"x".to_vec(), b"x".to_vec());
            for offset in [None, Some(7)] {
                put_event(&mut written, offset, |out| out.extend_from_slice(array.as_bytes()));
            }
            prepared.put(&mut copied);
            prepared.put_with_offset(&mut copied, 7);
            assert_eq!(written, copied);
        }
    }

    #[test]
    fn an_outline_can_be_changed_until_it_is_finished() {
        for len in [1, 200, 70_000] {
            let mut outline = Outline::event(10, |out| out.resize(out.len() + len, b'a'));
            assert_eq!(outline.array().len(), len);
            outline.array()[len - 1] = b'z';
            let prepared = outline.finish();
            assert!(prepared.packet().starts_with(b"42") && prepared.packet().ends_with(b"z"));
            assert_eq!(prepared.packet().len(), 2 + len);
        }
    }

    #[test]
    fn offsets_survive_text() {
        let tail = offset_tail(0x1234_5678_9abc);
        let text = std::str::from_utf8(&tail[2..2 + OFFSET_LEN]).expect("ASCII");
        assert_eq!(parse_offset(text), Some(0x1234_5678_9abc));
        for text in ["", "0", "00000000000g", "+00000000001", "0000000000001", "00000000000A"] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }
}
