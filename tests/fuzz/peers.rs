//! One shard with the rooms application, and the peers of its connections in memory.

use std::collections::HashMap;
use std::io::{self, IoSlice};

use sockeye::app::{Agents, AgentsSettings};
use sockeye::config::Config;
use sockeye::engine::{Now, Settings};
use sockeye::server::{Shared, settings};
use sockeye::shard::{ConnectionKey, Handover, Routes, Shard, Wire};
use sockeye::socket::{Sockets, recovery};

use crate::random::Random;

/// Connections of a program; more are not opened.
pub const CONNECTIONS_MAX: usize = 8;
/// When every program begins.
pub const START: Now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 };

pub const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The sockets of the shard's peers.
#[derive(Default)]
pub struct Peers {
    /// Connections that are there, and whether they are read.
    pub open: HashMap<ConnectionKey, bool>,
    /// What a connection takes of the next writes.
    pub room: usize,
    pub sent: usize,
    /// What connections took and nobody has looked at yet.
    pub received: HashMap<ConnectionKey, Vec<u8>>,
}

impl Peers {
    /// Who is there, in an order that a seed repeats.
    pub fn keys(&self) -> Vec<ConnectionKey> {
        let mut keys: Vec<_> = self.open.keys().copied().collect();
        keys.sort_unstable_by_key(|key| key.slot);
        keys
    }
}

impl<M> Wire<M> for Peers {
    fn send(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        assert!(self.open.contains_key(&key), "{key:?} is written to and is not there");
        let received = self.received.entry(key).or_default();
        let before = received.len();
        for slice in slices {
            let taken = slice.len().min(self.room);
            self.room -= taken;
            received.extend_from_slice(&slice[..taken]);
        }
        self.sent += received.len() - before;
        Ok(received.len() - before)
    }

    fn set_reading(&mut self, key: ConnectionKey, on: bool) {
        *self.open.get_mut(&key).expect("a connection that is there") = on;
    }

    fn shutdown(&mut self, key: ConnectionKey) {
        assert!(self.open.contains_key(&key));
    }

    fn close(&mut self, key: ConnectionKey, _: bool) {
        assert!(self.open.remove(&key).is_some(), "{key:?} is closed twice");
    }

    fn hand_over(&mut self, _: ConnectionKey, _: usize, _: Handover) {
        panic!("there is no other shard");
    }

    fn post(&mut self, _: usize, _: M) {
        panic!("there is no other shard");
    }
}

/// The rooms application on a shard of its own.
pub fn shard(max_payload: usize, max_queue: usize, agents: AgentsSettings) -> Shard<Sockets<Agents>> {
    let settings = Settings {
        max_payload,
        max_fragments: 16,
        max_connections: CONNECTIONS_MAX,
        max_queue,
        ..settings(&Config::default(), 0, 1, Shared::default())
    };
    let routes = Routes { socket_io: "/socket.io/".into(), bare: None, call_body_max: max_payload };
    let mut random = Random::new(7);
    let entropy = Box::new(move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = random.next() as u8));
    let recovery = recovery::Settings { window_ms: 30_000, max_bytes: 10_000 };
    let sockets = Sockets::new(Agents::new(agents, 1), 0, 1, max_payload, recovery);
    Shard::new(settings, routes, sockets, entropy, START.mono_ms)
}

/// All clients are gone and all windows have passed: the shard keeps nothing of them.
pub fn assert_nothing_is_left(shard: &Shard<Sockets<Agents>>, peers: &Peers) {
    assert!(peers.open.is_empty() && shard.engine().connection_count() == 0, "connections are left");
    assert_eq!(shard.engine().session_count(), 0, "sessions are left");
    assert!(shard.engine().out.is_empty(), "sinks are left");
    assert!(shard.protocol().hub().is_empty(), "sockets are left");
}
