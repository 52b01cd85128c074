//! The documented API in short: ids, payloads, and the shapes that come back.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, Server, Via};

/// What a missing server id means.
pub const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Keys of a `messageBroadcast` in their order.
pub const BROADCAST_KEYS: [&str; 13] = [
    "senderId",
    "senderName",
    "text",
    "roomId",
    "serverId",
    "createdAt",
    "source",
    "id",
    "thought",
    "actions",
    "attachments",
    "channelId",
    "messageServerId",
];

/// A uuid nobody else has: of a room, a user, an agent.
pub fn uuid() -> String {
    Uuid::now_v7().to_string()
}

/// A message with what the document calls required.
pub fn message(room: &str, user: &str, text: &str) -> Value {
    json!({"text": text, "roomId": room, "userId": user, "name": "Ada"})
}

/// A connected client that has joined `room`.
#[track_caller]
pub fn member<'a>(server: &'a Server, via: Via, room: &str) -> Client<'a> {
    let mut client = Client::connect(server, via);
    join(&mut client, room);
    client
}

#[track_caller]
pub fn join(client: &mut Client, room: &str) {
    let ack = client.call("join", json!({"roomId": room}));
    assert_eq!(ack["ok"], true, "{ack}");
}

/// The texts of the next `n` broadcasts, whatever comes in between.
#[track_caller]
pub fn texts(client: &mut Client, n: usize) -> Vec<String> {
    (0..n).map(|_| client.find("messageBroadcast")["text"].as_str().expect("a text").to_string()).collect()
}

/// Asserts the shape of a failing ack and gives its `details`.
#[track_caller]
pub fn failure(ack: &Value, code: &str) -> Value {
    assert_eq!(ack["ok"], false, "{ack}");
    assert!(!ack["error"].as_str().unwrap_or("").is_empty(), "{ack}");
    assert_eq!(ack["details"]["code"], code, "{ack}");
    ack["details"].clone()
}

/// Milliseconds since 1970 UTC.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a date that fits")
}
