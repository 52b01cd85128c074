//! The packets a client of the documented API exchanges with the server over a WebSocket (Engine.IO v4, Socket.IO v5).

use std::io::Write;

use super::frame::{TEXT, append_client_frame};
use super::stamp::Stamp;

/// The upgrade request's `Sec-WebSocket-Key` and the accept value it asks for (the example of RFC 6455 §1.3). One key
/// for all connections: the key guards browsers against caches, and nothing here is one.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Every `messageBroadcast` starts like this.
pub(super) const BROADCAST: &[u8] = b"42[\"messageBroadcast\",";
/// Ack id of the `join`. Messages that want an ack use the ids after it.
pub(super) const JOIN_ACK: u64 = 0;
/// Engine.IO pong, Socket.IO CONNECT.
pub(super) const PONG: &[u8] = b"3";
pub(super) const CONNECT: &[u8] = b"40";

/// What a server's text frame is, as far as the load generator must know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// Engine.IO open: the session exists.
    Open,
    /// Engine.IO ping.
    Ping,
    /// Engine.IO close, or Socket.IO DISCONNECT.
    Disconnect,
    /// Socket.IO CONNECT: the socket exists.
    Connected,
    /// The server refused the connection.
    ConnectError(&'a [u8]),
    /// An ack; `ok`: of success.
    Ack {
        id: u64,
        ok: bool,
        arguments: &'a [u8],
    },
    Broadcast,
    /// The `error` event.
    Error(&'a [u8]),
    /// Another event (`messageComplete`, `connection_established`, …).
    OtherEvent,
    /// Nothing of the protocol.
    Unknown,
}

pub(super) fn classify(packet: &[u8]) -> Packet<'_> {
    match packet {
        [b'0', ..] => Packet::Open,
        [b'1'] | b"41" => Packet::Disconnect,
        [b'2', ..] => Packet::Ping,
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'4', reason @ ..] => Packet::ConnectError(reason),
        [b'4', b'3', ack @ ..] => classify_ack(ack),
        [b'4', b'2', ..] if packet.starts_with(BROADCAST) => Packet::Broadcast,
        [b'4', b'2', event @ ..] if event.starts_with(b"[\"error\",") => Packet::Error(event),
        [b'4', b'2', ..] => Packet::OtherEvent,
        _ => Packet::Unknown,
    }
}

fn classify_ack(ack: &[u8]) -> Packet<'_> {
    let digits = ack.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, arguments) = ack.split_at(digits);
    match std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
        Some(id) => Packet::Ack { id, ok: arguments.starts_with(b"[{\"ok\":true"), arguments },
        None => Packet::Unknown,
    }
}

/// The HTTP request that opens a WebSocket session.
pub(super) fn upgrade_request(host: &str) -> Vec<u8> {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Writes the packets of a run: its rooms, its users, its texts.
#[derive(Debug)]
pub(super) struct Script {
    /// Random, so that two runs share no room.
    run: u64,
    /// What follows the stamp in a text.
    filler: Vec<u8>,
}

impl Script {
    /// `filler_bytes`: length of the text after its stamp.
    pub fn new(run: u64, filler_bytes: usize) -> Self {
        const WORDS: &[u8] = b" the quick brown fox jumps over the lazy dog, and then it rests for a while.";
        Self { run, filler: WORDS.iter().copied().cycle().take(filler_bytes).collect() }
    }

    /// A uuid: 64 random bits of the run, then the index. The floor program reads the index at its fixed place.
    fn uuid<'a>(&self, kind: u8, index: u32, digits: &'a mut [u8; 36]) -> &'a [u8] {
        let low = 0x8000_0000_0000_0000 | u64::from(kind) << 32 | u64::from(index);
        uuid::Uuid::from_u64_pair(self.run, low).hyphenated().encode_lower(digits).as_bytes()
    }

    /// Appends the frame of a `join` of `room`, wanting an ack with id [`JOIN_ACK`].
    pub fn append_join(&self, out: &mut Vec<u8>, key: [u8; 4], room: u32) {
        let mut digits = [0; 36];
        let room = self.uuid(ROOM, room, &mut digits);
        append_client_frame(out, TEXT, key, &[b"420", JOIN_HEAD, room, b"\"}]"]);
    }

    /// Appends the frame of a `message` of `user`; `ack`: the id of the ack wanted.
    pub fn append_message(&self, out: &mut Vec<u8>, key: [u8; 4], ack: Option<u64>, stamp: &Stamp, user: u32) {
        let mut id = [0; 20];
        let mut unwritten = &mut id[..];
        if let Some(ack) = ack {
            // 20 bytes hold every u64.
            let _ = write!(unwritten, "{ack}");
        }
        let id_bytes = 20 - unwritten.len();
        let (mut room_digits, mut user_digits) = ([0; 36], [0; 36]);
        append_client_frame(
            out,
            TEXT,
            key,
            &[
                b"42",
                &id[..id_bytes],
                MESSAGE_HEAD,
                &stamp.encode(),
                &self.filler,
                b"\",\"roomId\":\"",
                self.uuid(ROOM, stamp.room, &mut room_digits),
                b"\",\"userId\":\"",
                self.uuid(USER, user, &mut user_digits),
                b"\",\"name\":\"Bench\"}]",
            ],
        );
    }
}

/// Kinds of uuid in a run.
const ROOM: u8 = 0;
const USER: u8 = 1;
/// What precedes the room's uuid in a `join`, after the ack id.
const JOIN_HEAD: &[u8] = b"[\"join\",{\"roomId\":\"";
/// Where the room's index (8 hex digits) stands in the arguments of a `join`.
pub(super) const JOIN_INDEX: std::ops::Range<usize> = JOIN_HEAD.len() + 28..JOIN_HEAD.len() + 36;
/// What precedes the text in a `message`, after the ack id if it wants one.
pub(super) const MESSAGE_HEAD: &[u8] = b"[\"message\",{\"text\":\"";
/// Length of what follows the text in a `message`; the same for all.
pub(super) const MESSAGE_TAIL_BYTES: usize = 12 + 36 + 12 + 36 + 18;

#[cfg(test)]
mod tests {
    use super::super::frame::next_client_frame;
    use super::*;

    #[test]
    fn tells_the_packets_of_a_server_apart() {
        let table: [(&[u8], Packet<'_>); 12] = [
            (br#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#, Packet::Open),
            (b"2", Packet::Ping),
            (b"1", Packet::Disconnect),
            (b"41", Packet::Disconnect),
            (br#"40{"sid":"x"}"#, Packet::Connected),
            (br#"44{"message":"no"}"#, Packet::ConnectError(br#"{"message":"no"}"#)),
            (br#"430[{"ok":true}]"#, Packet::Ack { id: 0, ok: true, arguments: br#"[{"ok":true}]"# }),
            (br#"4312[{"ok":false}]"#, Packet::Ack { id: 12, ok: false, arguments: br#"[{"ok":false}]"# }),
            (b"43[]", Packet::Unknown),
            (br#"42["messageBroadcast",{}]"#, Packet::Broadcast),
            (br#"42["error",{"error":"x"}]"#, Packet::Error(br#"["error",{"error":"x"}]"#)),
            (br#"42["messageComplete",{}]"#, Packet::OtherEvent),
        ];
        for (bytes, expected) in table {
            assert_eq!(classify(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(classify(b""), Packet::Unknown);
    }

    fn payload(mut frame: Vec<u8>) -> Vec<u8> {
        next_client_frame(&mut frame).unwrap().unwrap().payload.to_vec()
    }

    fn join(script: &Script, room: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        script.append_join(&mut frame, [1, 2, 3, 4], room);
        payload(frame)
    }

    fn message(script: &Script, ack: Option<u64>, stamp: &Stamp, user: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        script.append_message(&mut frame, [1, 2, 3, 4], ack, stamp, user);
        payload(frame)
    }

    const STAMP: Stamp = Stamp { sent_ns: 1, room: 0x0012_3abc, publisher: 2, sequence: 3 };

    #[test]
    fn parts_of_packets_have_their_fixed_places() {
        let script = Script::new(u64::MAX, 260);
        assert_eq!(&join(&script, 0x0012_3abc)[3..][JOIN_INDEX], b"00123abc");
        for (ack, head) in [(None, "42"), (Some(7), "427"), (Some(u64::MAX), "4218446744073709551615")] {
            let message = message(&script, ack, &STAMP, 99_999);
            let rest = message.strip_prefix(head.as_bytes()).unwrap().strip_prefix(MESSAGE_HEAD).unwrap();
            let text = &rest[..rest.len() - MESSAGE_TAIL_BYTES];
            assert_eq!(text.strip_prefix(&STAMP.encode()).unwrap(), script.filler);
        }
    }

    #[test]
    fn what_is_sent_is_json_of_the_documented_shape() {
        let script = Script::new(7, 260);
        let message: serde_json::Value = serde_json::from_slice(&message(&script, None, &STAMP, 2)[2..]).unwrap();
        let join: serde_json::Value = serde_json::from_slice(&join(&script, STAMP.room)[3..]).unwrap();
        assert_eq!(message[0], "message");
        assert_eq!(message[1]["text"].as_str().unwrap().len(), 300);
        assert_eq!(message[1]["name"], "Bench");
        assert_eq!(join[0], "join");
        assert_eq!(join[1]["roomId"], message[1]["roomId"]);
        assert_ne!(message[1]["userId"], message[1]["roomId"]);
        for id in [&message[1]["roomId"], &message[1]["userId"]] {
            assert!(uuid::Uuid::parse_str(id.as_str().unwrap()).is_ok());
        }
    }
}
