//! The application on several shards, without sockets.

mod access;
mod api;
mod api_bounds;
mod api_calls;
mod bad_input;
mod completion;
mod demo;
mod fleet;
mod http;
mod json;
mod jwt;
mod legacy;
mod logs;
mod permission;
mod rooms;
mod world_state;

use super::AgentsSettings;
use fleet::{Fleet, Packet, Peer};
use serde_json::{Value, json};

const ROOM: &str = "0a0a0a0a-0000-4000-8000-000000000001";
const OTHER_ROOM: &str = "0a0a0a0a-0000-4000-8000-000000000002";
const USER: &str = "0b0b0b0b-0000-4000-8000-000000000001";
const AGENT: &str = "0c0c0c0c-0000-4000-8000-000000000001";
const SERVER: &str = "00000000-0000-0000-0000-000000000000";

/// Runs a test on one shard, and on four.
fn each(settings: &AgentsSettings, test: impl Fn(&mut Fleet)) {
    for shards in [1, 4] {
        test(&mut Fleet::new(shards, settings));
    }
}

fn message(text: &str) -> Value {
    json!({"text": text, "roomId": ROOM, "userId": USER, "name": "Ada"})
}

impl super::Agents {
    /// The rooms with state on this shard, in order.
    fn world_rooms(&self) -> Vec<String> {
        let mut rooms: Vec<String> = self.world.rooms().map(|room| room.id().to_string()).collect();
        rooms.sort();
        rooms
    }
}

impl Fleet {
    /// A connected socket that has joined a room; on the `n`-th shard, counted round and round.
    fn member(&mut self, n: usize, room: &str) -> Peer {
        let peer = self.connect_to(n);
        assert_eq!(self.call(peer, "join", &json!({"roomId": room})).0["ok"], true);
        peer
    }

    /// A socket of an agent's own on the `n`-th shard, counted round and round.
    fn agent(&mut self, n: usize, agent: &str) -> Peer {
        let shards = self.shards();
        let peer = self.connect_with(n % shards, "", &format!("{{\"agentId\":\"{agent}\"}}"));
        self.take(peer);
        peer
    }

    /// A connected socket on the `n`-th shard, counted round and round.
    fn connect_to(&mut self, n: usize) -> Peer {
        let shards = self.shards();
        self.connect(n % shards)
    }
}

/// Asserts that an acknowledgement alone tells of a failure; gives the details.
#[track_caller]
fn failure((ack, rest): (Value, Vec<Packet>), code: &str) -> Value {
    assert_eq!(ack["ok"], false, "{ack}");
    assert_eq!(ack["details"]["code"], code, "{ack}");
    assert!(ack["error"].as_str().is_some_and(|e| e.ends_with('.')), "{ack}");
    assert_eq!(rest, [], "the acknowledgement says it all");
    ack["details"].clone()
}
