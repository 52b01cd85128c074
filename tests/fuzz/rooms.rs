//! The rooms application on one shard, with clients that check everything they are sent.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};
use sockeye::app::{Agents, AgentsSettings};
use sockeye::engine::Now;
use sockeye::shard::{ConnectionKey, Core, Ended, Security, Shard};
use sockeye::socket::Sockets;
use sockeye::wire::websocket::split_server_frame;

use crate::drive::put_client_frame;
use crate::peers::{Peers, START, UPGRADE, assert_nothing_is_left, shard};

/// So much that no client is cut off for what it is sent.
const ROOMY: usize = 1 << 20;

/// Events that the server sends, and the keys of their payloads where these are always the same ones.
const EVENTS: [(&str, &[&str]); 16] = [
    ("messageBroadcast", &[]),
    ("messageComplete", &["channelId", "serverId"]),
    ("world-state", &["agents", "channels", "messages", "roomId", "serverTime", "users"]),
    ("logEntry", &["agentId", "agentName", "level", "msg", "time"]),
    ("log_stream", &["payload", "type"]),
    ("error", &["details", "error"]),
    ("connection_established", &["message", "socketId"]),
    ("authenticated", &["entityId", "timestamp"]),
    ("channel_joined", &[]),
    ("room_joined", &[]),
    ("messageAck", &[]),
    ("messageError", &["error"]),
    ("log_subscription_confirmed", &["message", "subscribed"]),
    ("log_filters_updated", &[]),
    ("messageStreamChunk", &["agentId", "channelId", "chunk", "index", "messageId"]),
    ("messageStreamError", &[]),
];
/// The keys of every `messageBroadcast` (contract A3), sorted.
const BROADCAST: [&str; 13] = [
    "actions",
    "attachments",
    "channelId",
    "createdAt",
    "id",
    "messageServerId",
    "roomId",
    "senderId",
    "senderName",
    "serverId",
    "source",
    "text",
    "thought",
];
/// Keys that some have besides.
const BROADCAST_MORE: [&str; 3] = ["clientMessageId", "rawMessage", "updatedAt"];
const CODES: [&str; 8] = [
    "invalid_payload",
    "unknown_event",
    "not_joined",
    "forbidden",
    "rate_limited",
    "too_large",
    "too_many_rooms",
    "unavailable",
];

/// A shard, its peers and the time.
pub struct Rooms {
    shard: Shard<Sockets<Agents>>,
    pub peers: Peers,
    now: Now,
}

impl Rooms {
    /// Bounds are small, so that inputs reach them.
    pub fn new() -> Self {
        let agents = AgentsSettings {
            text_max: 400,
            max_rooms: 3,
            max_rooms_per_socket: 2,
            history: 5,
            demo_agent: true,
            public_logs: true,
            ..AgentsSettings::default()
        };
        let peers = Peers { room: usize::MAX, ..Peers::default() };
        Self { shard: shard(ROOMY, ROOMY, agents), peers, now: START }
    }

    /// A new connection.
    pub fn open(&mut self) -> ConnectionKey {
        let key = self.shard.accepted(IpAddr::V4(Ipv4Addr::LOCALHOST), Security::Plain, self.now);
        let key = key.expect("a place for the connection");
        self.peers.open.insert(key, true);
        key
    }

    /// A socket that connected with `auth`. What it was told then is taken already.
    pub fn connect(&mut self, auth: &str) -> ConnectionKey {
        let key = self.open();
        self.receive(key, UPGRADE);
        let response = self.peers.received.get_mut(&key).expect("a response");
        let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        response.drain(..end);
        self.send(key, &format!("40{auth}"));
        self.texts(key);
        key
    }

    /// Bytes arrive, and the turn ends.
    pub fn receive(&mut self, key: ConnectionKey, bytes: &[u8]) {
        self.shard.received(key, &mut bytes.to_vec(), self.now);
        self.advance(0);
    }

    /// A socket sends an Engine.IO packet.
    pub fn send(&mut self, key: ConnectionKey, packet: &str) {
        let mut frame = Vec::new();
        put_client_frame(&mut frame, 0x81, packet.as_bytes(), [1, 2, 3, 4]);
        self.receive(key, &frame);
    }

    /// Time passes.
    pub fn advance(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        self.shard.tick(self.now);
        self.shard.flush(&mut self.peers, self.now);
    }

    /// The packets that a socket was sent. It answers pings.
    pub fn texts(&mut self, key: ConnectionKey) -> Vec<String> {
        let bytes = self.peers.received.remove(&key).unwrap_or_default();
        let (mut rest, mut texts) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (frame, after) = split_server_frame(rest).expect("a whole frame of data");
            assert!(!frame.binary);
            texts.push(String::from_utf8(frame.payload.to_vec()).expect("UTF-8"));
            rest = after;
        }
        if texts.iter().any(|text| text == "2") {
            self.send(key, "3");
        }
        texts.retain(|text| text != "2");
        texts
    }

    /// A client is gone.
    pub fn leave(&mut self, key: ConnectionKey) {
        self.shard.ended(key, Ended::Reset, self.now);
        self.advance(0);
    }

    /// All clients go, all windows pass: nothing is left.
    pub fn end(mut self) {
        self.peers.keys().into_iter().for_each(|key| self.shard.ended(key, Ended::Reset, self.now));
        (0..3).for_each(|_| self.advance(120_000));
        assert_nothing_is_left(&self.shard, &self.peers);
    }
}

/// A packet of Socket.IO from the server.
#[derive(Debug)]
pub enum Said {
    Event { name: String, payload: Value },
    Ack { id: u64, payload: Value },
}

impl Said {
    /// Checks that a packet is what the contract says of it.
    pub fn check(text: &str) -> Self {
        let data = &text[text.find('[').expect("an array")..];
        let mut args: Vec<Value> = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {text}"));
        if let Some(id) = text.strip_prefix("43").and_then(|rest| rest.strip_suffix(data)) {
            assert_eq!(args.len(), 1, "{text}");
            let payload = args.remove(0);
            let answer = payload.as_object().expect("an object");
            match answer.get("ok") {
                Some(Value::Bool(true)) => {}
                Some(Value::Bool(false)) => check_fault(answer),
                ok => assert!(ok.is_none() && has_keys(answer, EVENTS[2].1), "{text}"),
            }
            return Self::Ack { id: id.parse().expect("an id"), payload };
        }
        assert!(text.starts_with("42["), "{text}");
        let Value::String(name) = args.remove(0) else { panic!("no name: {text}") };
        let payload = args.remove(0);
        let object = payload.as_object().expect("an object");
        let (_, keys) = EVENTS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("unknown: {text}"));
        assert!(keys.is_empty() || has_keys(object, keys), "{text}");
        match name.as_str() {
            "error" => check_fault(object),
            "messageBroadcast" => {
                assert!(BROADCAST.iter().all(|key| object.contains_key(*key)), "{text}");
                let is_known = |key: &String| BROADCAST.iter().chain(&BROADCAST_MORE).any(|known| known == key);
                assert!(object.keys().all(is_known), "{text}");
                assert!(object["actions"].is_array() && object["attachments"].is_array(), "{text}");
            }
            _ => {}
        }
        Self::Event { name, payload }
    }

    /// What kind of thing was said: the event, or the fault.
    pub fn kind(&self) -> String {
        let (name, payload) = match self {
            Self::Event { name, payload } => (name.as_str(), payload),
            Self::Ack { payload, .. } => ("ack", payload),
        };
        let details = &payload["details"];
        format!("{name} {} {}", details["code"], details["field"])
    }
}

fn has_keys(object: &Map<String, Value>, keys: &[&str]) -> bool {
    object.keys().eq(keys)
}

fn check_fault(object: &Map<String, Value>) {
    let details = &object["details"];
    let code = details["code"].as_str().expect("a code");
    assert!(object["error"].is_string() && details["event"].is_string() && CODES.contains(&code), "{object:?}");
}
