//! Server frames written in place, and frames prepared once for many.

use crate::wire::websocket::{MAX_HEADER, put_header};
use std::sync::Arc;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Appends one text frame whose payload is what `write` appends.
pub fn put_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_frame(out, OpCode::Data(Data::Text), write);
}

/// Appends one binary frame with a copy of `payload`.
pub fn put_binary(out: &mut Vec<u8>, payload: &[u8]) {
    put_header(out, OpCode::Data(Data::Binary), payload.len());
    out.extend_from_slice(payload);
}

/// The payload is written behind room for the shortest header, and moved when that turns out longer.
fn put_frame(out: &mut Vec<u8>, opcode: OpCode, write: impl FnOnce(&mut Vec<u8>)) {
    const SHORT: usize = 2;
    let start = out.len();
    out.extend_from_slice(&[0; SHORT]);
    write(out);
    let len = out.len() - start - SHORT;
    let mut header = [0; MAX_HEADER];
    let mut room = header.as_mut_slice();
    let frame = FrameHeader { opcode, ..FrameHeader::default() };
    // A header of a server frame always fits.
    let _ = frame.format(len as u64, &mut room);
    let used = MAX_HEADER - room.len();
    if used > SHORT {
        out.resize(start + used + len, 0);
        out.copy_within(start + SHORT..start + SHORT + len, start + used);
    }
    if let (Some(room), Some(header)) = (out.get_mut(start..start + used), header.get(..used)) {
        room.copy_from_slice(header);
    }
}

/// Bytes of most frames; room for them is made at once.
const USUAL_LEN: usize = 1024;

/// Bytes of an offset's text.
pub const OFFSET_LEN: usize = 12;

/// A broadcast encoded once, as the frame that goes to a WebSocket; its payload is the packet that goes to a poll.
#[derive(Clone, Debug)]
pub struct Prepared {
    frame: Arc<[u8]>,
    header: u8,
}

impl Prepared {
    /// An event of the namespace `/`. `write` appends the JSON array, the event's name first.
    pub fn event(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        const PREFIX: &[u8] = b"42";
        let mut frame = Vec::with_capacity(USUAL_LEN);
        let mut len = 0;
        put_text(&mut frame, |out| {
            let start = out.len();
            out.extend_from_slice(PREFIX);
            write(out);
            len = out.len() - start;
        });
        // The header of a server frame has 2, 4 or 10 bytes.
        let header = (frame.len() - len) as u8;
        Self { frame: frame.into(), header }
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
        let tail = b",\"\"]".len() + OFFSET_LEN;
        // A batch is kept for those who come back: no more room than is needed.
        out.reserve(MAX_HEADER + open.len() + tail);
        put_header(out, OpCode::Data(Data::Text), open.len() + tail);
        out.extend_from_slice(open);
        out.extend_from_slice(b",\"");
        put_offset(out, offset);
        out.extend_from_slice(b"\"]");
    }
}

fn put_offset(out: &mut Vec<u8>, offset: u64) {
    for digit in (0..OFFSET_LEN as u32).rev() {
        let nibble = (offset >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef"[nibble as usize]);
    }
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
        for len in [0, 1, 100, 118, 119, 120, 121, 122, 123, 124, 125, 126, 65_515, 65_530, 65_536, 70_000] {
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
        }
    }

    #[test]
    fn offsets_survive_text() {
        let mut text = Vec::new();
        put_offset(&mut text, 0x1234_5678_9abc);
        assert_eq!(parse_offset(std::str::from_utf8(&text).expect("ASCII")), Some(0x1234_5678_9abc));
        for text in ["", "0", "00000000000g", "+00000000001", "0000000000001", "00000000000A"] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }
}
