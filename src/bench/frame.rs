//! WebSocket frames (RFC 6455 §5.2) as a load generator needs them: read in place, written masked.

/// Longest payload accepted, in bytes. The longest message text (`--text-bytes`) escaped and wrapped stays below it.
pub(super) const PAYLOAD_MAX_BYTES: usize = 192 * 1024;
/// Longest frame header: 2 bytes, an 8-byte length, a 4-byte masking key.
pub(super) const HEADER_MAX_BYTES: usize = 14;

/// Opcodes of RFC 6455 §5.2.
pub(super) const TEXT: u8 = 0x1;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

/// Why bytes are not a frame this program can read. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A fragment, a reserved bit: legal or not, neither a Socket.IO server nor the load generator sends it.
    Unsupported,
    /// The payload is longer than the largest message a run can cause.
    TooLong,
    /// The mask bit is not what the direction asks for (RFC 6455 §5.1).
    Mask,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Unsupported => "a fragmented WebSocket frame or one with reserved bits",
            Self::TooLong => "a WebSocket frame longer than any this run can cause",
            Self::Mask => "a WebSocket frame whose mask bit is wrong for its direction",
        })
    }
}

/// A parsed frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub opcode: u8,
    /// The masking key of a client's frame.
    pub key: Option<[u8; 4]>,
    /// Offset of the payload.
    pub payload_at: usize,
    /// Offset of the next frame. The header may stand in the buffer before its whole payload does.
    pub end: usize,
}

/// Reads the header at the start of `bytes`; `None`: more bytes are needed.
#[inline]
pub(super) fn parse_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xF0 != 0x80 {
        return Err(FrameError::Unsupported);
    }
    let (length, rest, length_bytes) = match second & 0x7F {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest, 2),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), rest, 8),
            None => return Ok(None),
        },
        length => (usize::from(length), rest, 0),
    };
    if length > PAYLOAD_MAX_BYTES {
        return Err(FrameError::TooLong);
    }
    let (key, key_bytes) = if second & 0x80 == 0 {
        (None, 0)
    } else {
        match rest.first_chunk::<4>() {
            Some(key) => (Some(*key), 4),
            None => return Ok(None),
        }
    };
    let payload_at = 2 + length_bytes + key_bytes;
    Ok(Some(Header { opcode: first & 0x0F, key, payload_at, end: payload_at + length }))
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Offset of the next frame.
    pub end: usize,
}

/// The next whole server frame of `bytes`. `None`: more bytes are needed.
#[inline]
pub(super) fn next_server_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(header) = parse_header(bytes)? else {
        return Ok(None);
    };
    if header.key.is_some() {
        return Err(FrameError::Mask);
    }
    let payload = bytes.get(header.payload_at..header.end);
    Ok(payload.map(|payload| Frame { opcode: header.opcode, payload, end: header.end }))
}

/// The next whole client frame of `bytes`, unmasked in place. `None`: more bytes are needed.
#[inline]
pub(super) fn next_client_frame(bytes: &mut [u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(header) = parse_header(bytes)? else {
        return Ok(None);
    };
    let Some(key) = header.key else {
        return Err(FrameError::Mask);
    };
    let Some(payload) = bytes.get_mut(header.payload_at..header.end) else {
        return Ok(None);
    };
    apply_mask(payload, key);
    Ok(Some(Frame { opcode: header.opcode, payload, end: header.end }))
}

/// Appends a masked client frame whose payload is `parts` in a row. `parts` together are at most
/// [`PAYLOAD_MAX_BYTES`]; a run's texts are bounded far below.
pub(super) fn append_client_frame(out: &mut Vec<u8>, opcode: u8, key: [u8; 4], parts: &[&[u8]]) {
    append_header(out, opcode, parts.iter().map(|part| part.len()).sum(), 0x80);
    out.extend_from_slice(&key);
    let payload_at = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    apply_mask(&mut out[payload_at..], key);
}

/// Appends the header of a server frame.
pub(super) fn append_server_header(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize) {
    append_header(out, opcode, payload_bytes, 0);
}

fn append_header(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize, mask_bit: u8) {
    debug_assert!(payload_bytes <= PAYLOAD_MAX_BYTES);
    out.push(0x80 | opcode);
    match u16::try_from(payload_bytes) {
        Ok(short @ 0..=125) => out.push(mask_bit | short.to_be_bytes()[1]),
        Ok(length) => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

/// Masks or unmasks (RFC 6455 §5.3), eight bytes at a time.
fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    let half = u64::from(u32::from_ne_bytes(key));
    let wide = half << 32 | half;
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_server_header(&mut bytes, TEXT, payload.len());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn reads_server_frames_of_every_length_form() {
        for length in [0, 1, 125, 126, 65_535, 65_536, PAYLOAD_MAX_BYTES] {
            let payload = vec![b'x'; length];
            let mut bytes = server_frame(&payload);
            let end = bytes.len();
            bytes.extend_from_slice(b"next");
            assert_eq!(next_server_frame(&bytes), Ok(Some(Frame { opcode: TEXT, payload: &payload, end })), "{length}");
        }
    }

    #[test]
    fn waits_for_the_whole_frame_wherever_it_is_cut() {
        let bytes = server_frame(&[b'x'; 300]);
        for cut in 0..bytes.len() {
            assert_eq!(next_server_frame(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn unmasks_the_example_of_rfc_6455_section_5_7() {
        let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(next_client_frame(&mut bytes), Ok(Some(Frame { opcode: TEXT, payload: b"Hello", end: 11 })));
    }

    #[test]
    fn what_a_client_writes_is_read_back() {
        for length in [0, 1, 7, 8, 9, 125, 126, 4_000, 65_536] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let (front, back) = payload.split_at(length / 3);
            let mut bytes = Vec::new();
            append_client_frame(&mut bytes, TEXT, [1, 2, 3, 250], &[front, back]);
            let end = bytes.len();
            assert_eq!(
                next_client_frame(&mut bytes),
                Ok(Some(Frame { opcode: TEXT, payload: &payload, end })),
                "{length}"
            );
        }
    }

    #[test]
    fn refuses_what_neither_side_sends() {
        assert_eq!(next_server_frame(&[0x01, 0x00]), Err(FrameError::Unsupported), "a fragment");
        assert_eq!(next_server_frame(&[0xC1, 0x00]), Err(FrameError::Unsupported), "a compressed frame");
        assert_eq!(next_server_frame(&[0x81, 0x80, 0, 0, 0, 0]), Err(FrameError::Mask));
        assert_eq!(next_client_frame(&mut [0x81, 0x00]), Err(FrameError::Mask));
        let endless = [0x81, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(next_server_frame(&endless), Err(FrameError::TooLong));
    }
}
