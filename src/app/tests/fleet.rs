//! Several shards in one thread, without sockets: what a driver does, in memory.

use crate::app::{Agents, AgentsSettings};
use crate::config::Config;
use crate::engine::{Now, Settings};
use crate::metrics::Counters;
use crate::server::{Shared, settings};
use crate::shard::seam::Pending;
use crate::shard::{ConnectionKey, Core, Handover, Mail, Routes, Security, Shard, Wire};
use crate::socket::{self, Sockets};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};

type Post = Mail<socket::Mail<<Agents as socket::App>::Mail, <Agents as socket::App>::Delivery>>;

/// The shards, their connections and the mail between them.
pub struct Fleet {
    shards: Vec<Shard<Sockets<Agents>>>,
    wires: Vec<Recorder>,
    now: Now,
}

/// What one shard asked of its driver.
#[derive(Default)]
struct Recorder {
    written: HashMap<ConnectionKey, Vec<u8>>,
    stuck: Vec<ConnectionKey>,
    closed: Vec<ConnectionKey>,
    posted: VecDeque<(usize, Post)>,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub shard: usize,
    key: ConnectionKey,
}

/// A Socket.IO packet that came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// Name and arguments.
    Event(String, Vec<Value>),
    Ack(u64, Vec<Value>),
    /// Anything else, as text.
    Other(String),
}

impl Wire<Post> for Recorder {
    fn send(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.stuck.contains(&key) {
            return Ok(0);
        }
        let bytes = self.written.entry(key).or_default();
        Ok(slices
            .iter()
            .map(|slice| {
                bytes.extend_from_slice(slice);
                slice.len()
            })
            .sum())
    }

    fn set_reading(&mut self, _: ConnectionKey, _: bool) {}

    fn shutdown(&mut self, _: ConnectionKey) {}

    fn close(&mut self, key: ConnectionKey, _: bool) {
        self.closed.push(key);
    }

    fn hand_over(&mut self, _: ConnectionKey, _: usize, _: Handover) {
        panic!("nothing is handed over here");
    }

    fn post(&mut self, to: usize, mail: Post) {
        self.posted.push_back((to, mail));
    }
}

/// The time at which every fleet starts, in milliseconds since 1970 UTC.
pub const START_MS: u64 = 1_700_000_000_000;

impl Fleet {
    /// `shards` shards without connections.
    pub fn new(shards: usize, settings: &AgentsSettings) -> Self {
        let now = Now { mono_ms: 1_000, unix_ms: START_MS };
        let shard = |n: usize| {
            let agents = Agents::new(settings.clone(), shards);
            let routes = Routes { socket_io: "/socket.io/".into(), bare: None, call_body_max: 1 << 20 };
            let mut seed = n as u8;
            let entropy = Box::new(move |bytes: &mut [u8]| {
                for byte in bytes {
                    seed = seed.wrapping_mul(101).wrapping_add(37);
                    *byte = seed;
                }
            });
            let sockets = Sockets::new(agents, n, shards, 1 << 20, Default::default());
            Shard::new(engine_settings(n, shards), routes, sockets, entropy, now.mono_ms)
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            wires: (0..shards).map(|_| Recorder::default()).collect(),
            now,
        }
    }

    /// The application on a shard.
    pub fn app(&self, shard: usize) -> &Agents {
        self.shards[shard].protocol().app()
    }

    /// The counters of a shard.
    pub fn counters(&self, shard: usize) -> &Counters {
        &self.shards[shard].engine().counters
    }

    /// Timers armed on a shard.
    pub fn timers(&self, shard: usize) -> usize {
        self.shards[shard].engine().wheel.len()
    }

    /// The peer reads nothing for a while.
    pub fn stall(&mut self, peer: Peer) {
        self.wires[peer.shard].stuck.push(peer.key);
    }

    /// Bytes that wait for peers of a shard.
    pub fn queue_bytes(&self, shard: usize) -> usize {
        self.shards[shard].snapshot().gauges.queue_bytes
    }

    /// The peer reads again.
    pub fn resume(&mut self, peer: Peer) {
        self.wires[peer.shard].stuck.retain(|&key| key != peer.key);
        self.shards[peer.shard].writable(peer.key, self.now);
        self.settle();
    }

    /// An agent calls the HTTP API on a shard.
    pub fn heard(&mut self, shard: usize, agent: &str) {
        let agent = crate::rooms::parse_uuid(agent).expect("a uuid");
        let (engine, sockets) = self.shards[shard].parts();
        sockets.with_app(engine, |app, cx| app.heard(cx, agent));
        self.settle();
    }

    /// What the end of a shard's turn has to do.
    pub fn pending(&self, shard: usize) -> Pending {
        self.shards[shard].pending()
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// Ends turns until no shard has mail left.
    pub fn settle(&mut self) {
        loop {
            for (shard, wire) in self.shards.iter_mut().zip(&mut self.wires) {
                shard.tick(self.now);
                shard.flush(wire, self.now);
            }
            let posted: Vec<_> = self.wires.iter_mut().map(|wire| std::mem::take(&mut wire.posted)).collect();
            if posted.iter().all(VecDeque::is_empty) {
                return;
            }
            for (from, posted) in posted.into_iter().enumerate() {
                for (to, mail) in posted {
                    self.shards[to].mail(from, mail, self.now);
                }
            }
        }
    }

    /// Lets time pass, a little at a time.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while self.now.mono_ms < end {
            let step = (end - self.now.mono_ms).min(10);
            self.now.mono_ms += step;
            self.now.unix_ms += step;
            self.settle();
        }
    }

    /// The server is told to stop.
    pub fn drain(&mut self) {
        for shard in &mut self.shards {
            shard.drain(self.now);
        }
        self.advance(3_000);
    }

    /// A connection that has sent nothing yet.
    pub fn accept(&mut self, shard: usize) -> Peer {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let key = self.shards[shard].accepted(address, Security::Plain, self.now).expect("a place for the connection");
        Peer { shard, key }
    }

    /// Bytes arrive; the turn does not end.
    pub fn receive(&mut self, peer: Peer, bytes: &mut [u8]) {
        self.shards[peer.shard].received(peer.key, bytes, self.now);
    }

    /// A connected WebSocket; the answers to the handshake are still to be taken. `headers`: each with CRLF; `auth`: as in
    /// the CONNECT packet, or nothing.
    pub fn connect_with(&mut self, shard: usize, headers: &str, auth: &str) -> Peer {
        let peer = self.accept(shard);
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
        );
        self.receive(peer, &mut request.into_bytes());
        self.settle();
        let response = self.wires[shard].written.remove(&peer.key).expect("a response");
        let head = response.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        assert!(response.starts_with(b"HTTP/1.1 101"));
        self.wires[shard].written.insert(peer.key, response[head..].to_vec());
        assert!(self.take_texts(peer)[0].starts_with('0'));
        self.send_packet(peer, &format!("40{auth}"));
        peer
    }

    /// A connected socket, whose greeting is taken already.
    pub fn connect(&mut self, shard: usize) -> Peer {
        let peer = self.connect_with(shard, "", "");
        assert!(matches!(&self.take(peer)[0], Packet::Other(text) if text.starts_with("0{\"sid\"")));
        peer
    }

    /// Sends an Engine.IO packet.
    pub fn send_packet(&mut self, peer: Peer, text: &str) {
        self.send_frame(peer, 0x81, text.as_bytes());
    }

    /// An Engine.IO packet arrives; the turn does not end.
    pub fn receive_packet(&mut self, peer: Peer, text: &str) {
        self.receive(peer, &mut frame(0x81, text.as_bytes()));
    }

    /// Sends several Engine.IO packets in one turn.
    pub fn send_packets(&mut self, peer: Peer, texts: &[&str]) {
        let mut bytes: Vec<u8> = texts.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        self.receive(peer, &mut bytes);
        self.settle();
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, peer: Peer, bytes: &[u8]) {
        self.send_frame(peer, 0x82, bytes);
    }

    fn send_frame(&mut self, peer: Peer, opcode: u8, payload: &[u8]) {
        self.receive(peer, &mut frame(opcode, payload));
        self.settle();
    }

    /// Emits an event.
    pub fn emit(&mut self, peer: Peer, name: &str, payload: &Value) {
        self.send_packet(peer, &format!("42[{name:?},{payload}]"));
    }

    /// Emits an event and takes its acknowledgement, which must be the only one. Everything else that came is given too.
    pub fn call(&mut self, peer: Peer, name: &str, payload: &Value) -> (Value, Vec<Packet>) {
        self.send_packet(peer, &format!("427[{name:?},{payload}]"));
        let (acks, rest): (Vec<_>, Vec<_>) = self.take(peer).into_iter().partition(|p| matches!(p, Packet::Ack(..)));
        match acks.as_slice() {
            [Packet::Ack(7, args)] if args.len() == 1 => (args[0].clone(), rest),
            other => panic!("not one acknowledgement of one argument: {other:?}"),
        }
    }

    /// The peer is gone.
    pub fn drop_peer(&mut self, peer: Peer) {
        self.shards[peer.shard].ended(peer.key, crate::shard::Ended::Reset, self.now);
        self.settle();
    }

    /// Whether the server closed the connection.
    pub fn is_closed(&self, peer: Peer) -> bool {
        self.wires[peer.shard].closed.contains(&peer.key)
    }

    /// Whether the last thing that came is a close frame.
    pub fn took_close(&mut self, peer: Peer) -> bool {
        let bytes = self.wires[peer.shard].written.remove(&peer.key).unwrap_or_default();
        matches!(bytes.as_slice(), [.., 0x88, 2, _, _])
    }

    /// The bytes that came since the last call.
    pub fn take_bytes(&mut self, peer: Peer) -> Vec<u8> {
        self.wires[peer.shard].written.remove(&peer.key).unwrap_or_default()
    }

    /// The texts of WebSocket messages that came since the last call.
    pub fn take_texts(&mut self, peer: Peer) -> Vec<String> {
        let bytes = self.wires[peer.shard].written.remove(&peer.key).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut texts = Vec::new();
        while let [first, short, after @ ..] = rest {
            let (len, after) = match short {
                126 => (u16::from_be_bytes([after[0], after[1]]) as usize, &after[2..]),
                127 => (u64::from_be_bytes(after[..8].try_into().expect("8 bytes")) as usize, &after[8..]),
                short => (*short as usize, after),
            };
            if *first == 0x81 {
                texts.push(String::from_utf8(after[..len].to_vec()).expect("UTF-8"));
            }
            rest = &after[len..];
        }
        texts
    }

    /// The Socket.IO packets that came since the last call.
    pub fn take(&mut self, peer: Peer) -> Vec<Packet> {
        let texts = self.take_texts(peer);
        texts.iter().filter_map(|text| text.strip_prefix('4')).map(Packet::parse).collect()
    }

    /// The events that came since the last call: name and first argument.
    pub fn events(&mut self, peer: Peer) -> Vec<(String, Value)> {
        let events = self.take(peer).into_iter().map(|packet| match packet {
            Packet::Event(name, mut args) => (name, args.drain(..).next().unwrap_or_default()),
            other => panic!("not an event: {other:?}"),
        });
        events.collect()
    }

    /// The names of the events that came since the last call.
    pub fn names(&mut self, peer: Peer) -> Vec<String> {
        self.events(peer).into_iter().map(|(name, _)| name).collect()
    }
}

impl Packet {
    fn parse(text: &str) -> Self {
        let json = |text: &str| serde_json::from_str::<Vec<Value>>(text).expect("a JSON array");
        match text.split_at(1) {
            ("2", data) => {
                let mut args = json(data);
                let name = args.remove(0).as_str().expect("a name").to_owned();
                Self::Event(name, args)
            }
            ("3", data) => {
                let at = data.find('[').expect("an array");
                Self::Ack(data[..at].parse().expect("an id"), json(&data[at..]))
            }
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// A client's frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn engine_settings(shard: usize, shards: usize) -> Settings {
    Settings {
        ping_interval_ms: 3_600_000,
        max_payload: 1 << 20,
        stall_timeout_ms: 60_000,
        max_connections: 1_000,
        ..settings(&Config::default(), shard, shards, Shared::default())
    }
}
