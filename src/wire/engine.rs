//! Engine.IO v4 packets and payloads.

use crate::wire::put_decimal;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig, general_purpose};

/// Between the packets of a payload (Engine.IO v4, "Payload").
const SEPARATOR: u8 = 0x1e;

/// Padding may be missing and trailing bits are ignored, as with Node's `Buffer.from`; other characters are refused.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Packet types (Engine.IO v4, "Protocol"), `0` to `6` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// `0`: the handshake's answer.
    Open,
    /// `1`: the session ends.
    Close,
    /// `2`: from the server, or a probe from the client.
    Ping,
    /// `3`: answers a ping.
    Pong,
    /// `4`: carries the payload of the layer above.
    Message,
    /// `5`: completes an upgrade.
    Upgrade,
    /// `6`: ends a poll that has nothing to deliver.
    Noop,
}

/// The type a text packet's first byte stands for.
pub fn decode_type(byte: u8) -> Option<PacketType> {
    Some(match byte {
        b'0' => PacketType::Open,
        b'1' => PacketType::Close,
        b'2' => PacketType::Ping,
        b'3' => PacketType::Pong,
        b'4' => PacketType::Message,
        b'5' => PacketType::Upgrade,
        b'6' => PacketType::Noop,
        _ => return None,
    })
}

/// One packet of a payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A packet's type and what follows it; valid UTF-8.
    Text(PacketType, &'a mut [u8]),
    /// A binary message.
    Binary(&'a mut [u8]),
}

/// Why a payload is refused; its sender's session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// An empty body, or an empty packet in it.
    Empty,
    /// A packet begins with neither `0`–`6` nor `b`.
    UnknownType,
    /// The body is not UTF-8.
    InvalidUtf8,
    /// A binary packet is not base64.
    InvalidBase64,
}

/// Iterator over the packets of a payload. After an error there are no more.
#[derive(Debug)]
pub struct Payload<'a> {
    rest: Result<Option<&'a mut [u8]>, PayloadError>,
}

/// The packets of a polling body (Engine.IO v4, "Payload"), each decoded in place when its turn comes.
/// That the body is UTF-8 is checked first: if it is not, there is no packet, only the error.
pub fn split_payload(body: &mut [u8]) -> Payload<'_> {
    let is_utf8 = std::str::from_utf8(body).is_ok();
    Payload { rest: if is_utf8 { Ok(Some(body)) } else { Err(PayloadError::InvalidUtf8) } }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = match std::mem::replace(&mut self.rest, Ok(None)) {
            Ok(rest) => rest?,
            Err(error) => return Some(Err(error)),
        };
        let end = rest.iter().position(|&byte| byte == SEPARATOR);
        let (packet, after) = rest.split_at_mut(end.unwrap_or(rest.len()));
        let packet = decode_packet(packet);
        if packet.is_ok() {
            self.rest = Ok(after.split_first_mut().map(|(_separator, after)| after));
        }
        Some(packet)
    }
}

fn decode_packet(packet: &mut [u8]) -> Result<Packet<'_>, PayloadError> {
    let (&mut first, data) = packet.split_first_mut().ok_or(PayloadError::Empty)?;
    if first == b'b' {
        return decode_base64(data).map(Packet::Binary).ok_or(PayloadError::InvalidBase64);
    }
    decode_type(first).map(|kind| Packet::Text(kind, data)).ok_or(PayloadError::UnknownType)
}

/// Decodes base64 onto itself, by way of blocks short enough for the stack. `None`: it is none.
pub fn decode_base64(text: &mut [u8]) -> Option<&mut [u8]> {
    const BLOCK: usize = 1024;
    let mut block = [0; BLOCK / 4 * 3];
    let (mut read, mut written) = (0, 0);
    while read < text.len() {
        let end = text.len().min(read + BLOCK);
        let len = BASE64.decode_slice(text.get(read..end)?, &mut block).ok()?;
        // Padding, which makes a block shorter, belongs at the end only.
        if end < text.len() && len < block.len() {
            return None;
        }
        text.get_mut(written..written + len)?.copy_from_slice(block.get(..len)?);
        read = end;
        written += len;
    }
    text.get_mut(..written)
}

/// Appends one packet to a polling response. `first`: there is no packet in front of it, so no separator either.
/// `payload`: that of the frame queued for WebSocket, where a text has its packet type and a binary message has none.
pub fn put_payload_packet(out: &mut Vec<u8>, first: bool, binary: bool, payload: &[u8]) {
    if !first {
        out.push(SEPARATOR);
    }
    if !binary {
        out.extend_from_slice(payload);
        return;
    }
    out.push(b'b');
    let start = out.len();
    out.resize(start + payload.len().div_ceil(3) * 4, 0);
    let (_, room) = out.split_at_mut(start);
    general_purpose::STANDARD.encode_slice(payload, room).expect("room was made for the padded length");
}

/// Appends the open packet (Engine.IO v4, "Handshake"); its keys are in the order of the reference server's. `sid`: base64url.
pub fn put_open_packet(
    out: &mut Vec<u8>,
    sid: &str,
    upgrades_websocket: bool,
    ping_interval_ms: u64,
    ping_timeout_ms: u64,
    max_payload: usize,
) {
    out.extend_from_slice(br#"0{"sid":""#);
    out.extend_from_slice(sid.as_bytes());
    out.extend_from_slice(br#"","upgrades":["#);
    if upgrades_websocket {
        out.extend_from_slice(br#""websocket""#);
    }
    out.extend_from_slice(br#"],"pingInterval":"#);
    put_decimal(out, ping_interval_ms);
    out.extend_from_slice(br#","pingTimeout":"#);
    put_decimal(out, ping_timeout_ms);
    out.extend_from_slice(br#","maxPayload":"#);
    put_decimal(out, max_payload as u64);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type (`None` for binary) and data of a packet.
    type Owned = (Option<PacketType>, Vec<u8>);

    fn packets(body: &[u8]) -> Result<Vec<Owned>, PayloadError> {
        split_payload(&mut body.to_vec())
            .map(|packet| {
                packet.map(|packet| match packet {
                    Packet::Text(kind, data) => (Some(kind), data.to_vec()),
                    Packet::Binary(data) => (None, data.to_vec()),
                })
            })
            .collect()
    }

    #[test]
    fn payloads_of_the_specification() {
        let message = Some(PacketType::Message);
        assert_eq!(
            packets(b"4hello\x1e2\x1e4world"),
            Ok(vec![(message, b"hello".to_vec()), (Some(PacketType::Ping), Vec::new()), (message, b"world".to_vec())])
        );
        assert_eq!(packets(b"4hello\x1ebAQIDBA=="), Ok(vec![(message, b"hello".to_vec()), (None, vec![1, 2, 3, 4])]));
        assert_eq!(packets("4€".as_bytes()), Ok(vec![(message, "€".into())]));
    }

    #[test]
    fn types_are_the_digits_0_to_6() {
        use PacketType::*;
        let types = [Open, Close, Ping, Pong, Message, Upgrade, Noop];
        for byte in 0..=u8::MAX {
            let expected = byte.checked_sub(b'0').and_then(|index| types.get(usize::from(index)));
            assert_eq!(decode_type(byte).as_ref(), expected, "{byte}");
        }
    }

    #[test]
    fn bad_payloads_are_refused() {
        let cases: [(&[u8], PayloadError); 14] = [
            (b"", PayloadError::Empty),
            (b"\x1e", PayloadError::Empty),
            (b"4a\x1e", PayloadError::Empty),
            (b"\x1e4a", PayloadError::Empty),
            (b"4a\x1e\x1e4b", PayloadError::Empty),
            (b"7", PayloadError::UnknownType),
            (b"abc", PayloadError::UnknownType),
            (b"4a\x1ex", PayloadError::UnknownType),
            ("é".as_bytes(), PayloadError::UnknownType),
            (b"4\xff", PayloadError::InvalidUtf8),
            (b"4a\x1e4\xe2\x82", PayloadError::InvalidUtf8),
            (b"bAQ!D", PayloadError::InvalidBase64),
            (b"bAQID=BA=", PayloadError::InvalidBase64),
            (b"bA", PayloadError::InvalidBase64),
        ];
        for (body, error) in cases {
            assert_eq!(packets(body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn packets_in_front_of_a_bad_one_are_given_and_none_behind_it() {
        let mut body = *b"4a\x1ex\x1e4b";
        let mut payload = split_payload(&mut body);
        assert!(matches!(payload.next(), Some(Ok(Packet::Text(PacketType::Message, b)) ) if b == b"a"));
        assert_eq!(payload.next(), Some(Err(PayloadError::UnknownType)));
        assert_eq!(payload.next(), None);
        let mut body = *b"4a\x1e4\xff";
        let mut payload = split_payload(&mut body);
        assert_eq!(payload.next(), Some(Err(PayloadError::InvalidUtf8)));
        assert_eq!(payload.next(), None);
    }

    #[test]
    fn base64_may_lack_padding_but_not_hold_garbage() {
        let decode = |text: &str| decode_base64(&mut text.as_bytes().to_vec()).map(|bytes| bytes.to_vec());
        for (text, bytes) in
            [("", &b""[..]), ("YQ==", b"a"), ("YQ", b"a"), ("YWI", b"ab"), ("YWI=", b"ab"), ("YR", b"a")]
        {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        let padded_inside = format!("{}YWI=YWJj", "YWJj".repeat(255));
        for text in ["Y", "YQ=", "=", "YQ==YQ==", "Y Q=", "YQ-_", &padded_inside] {
            let expected = if text == "YQ=" { Some(b"a".to_vec()) } else { None };
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn responses_are_read_back_as_what_was_queued() {
        for len in [0, 1, 2, 3, 767, 768, 769, 3000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = b"head".to_vec();
            put_payload_packet(&mut out, true, false, b"4text");
            put_payload_packet(&mut out, false, true, &bytes);
            put_payload_packet(&mut out, false, false, b"2");
            assert_eq!(
                packets(&out[4..]),
                Ok(vec![
                    (Some(PacketType::Message), b"text".to_vec()),
                    (None, bytes),
                    (Some(PacketType::Ping), Vec::new())
                ])
            );
        }
    }

    #[test]
    fn open_packet_has_exactly_the_five_keys() {
        let open_packet = |sid, upgrades_websocket, interval_ms, timeout_ms, max_payload| {
            let mut out = Vec::new();
            put_open_packet(&mut out, sid, upgrades_websocket, interval_ms, timeout_ms, max_payload);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(
            open_packet("lv_VI97HAXpY6yYWAAAC", true, 25000, 20000, 1000000),
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert_eq!(
            open_packet("s", false, 300, 200, 1),
            r#"0{"sid":"s","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1}"#
        );
    }
}
