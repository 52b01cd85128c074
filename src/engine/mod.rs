//! Engine.IO v4: sessions over long-polling and WebSocket, the upgrade between them, heartbeats.
//!
//! [`Engine`] owns the connections and sessions of a shard and everything queued for them. What its sessions carry is the
//! business of a [`Protocol`], to which it speaks through return values and the list of ended sessions.

pub mod admission;
pub mod connections;
pub mod cors;
pub mod error;
pub mod heartbeat;
pub mod migration;
pub mod polling;
mod proxied;
pub mod session;
pub mod stall;
mod tls;
pub mod upgrade;
pub mod wheel;

pub use cors::Cors;
pub use error::{CloseReason, Refusal};
pub use session::{Mount, Session, SessionKey};

pub use crate::connection::Credential;
pub use crate::connection::rate::Bucket;

use crate::connection::addresses::Addresses;
use crate::connection::outbound::Outbound;
use crate::connection::proxies::Proxies;
use crate::connection::tls::{Certificates, Scratch};
use crate::connection::websocket::Limits;
use crate::connection::{Connection, Emigrant, Handover};
use crate::shrink::Shrink;
use crate::wire::http::Head;
use crate::wire::sid::{Layout, Sid};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use wheel::{Timer, Wheel};

/// The time of a turn, read once by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock; its zero is of no meaning, but is the same for all shards.
    pub mono_ms: u64,
    /// Milliseconds since 1970 UTC.
    pub unix_ms: u64,
}

/// Names a connection of a shard. The generation tells a slot's present owner from its earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Index into the shard's slab of connections; small and dense, fit to index a driver's own table.
    pub slot: u32,
    /// Differs for every use of the slot.
    pub generation: u32,
}

/// A source of random bytes good enough for secrets.
pub type Entropy = Box<dyn FnMut(&mut [u8])>;

/// What operators set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This shard, from 0.
    pub shard: usize,
    /// How many shards there are.
    pub shards: usize,
    /// From one pong (or the handshake) to the next ping.
    pub ping_interval_ms: u64,
    /// From a ping to the end of patience for its pong.
    pub ping_timeout_ms: u64,
    /// Bytes of one polling body or WebSocket message.
    pub max_payload: usize,
    /// How long a handshake may stay without a Socket.IO CONNECT.
    pub connect_timeout_ms: u64,
    /// How long a WebSocket may take to complete an upgrade.
    pub upgrade_timeout_ms: u64,
    /// From a request's first byte (or the connection's start) to its last.
    pub request_timeout_ms: u64,
    /// How long a connection may wait between two requests.
    pub idle_timeout_ms: u64,
    /// How long a connection that ends may take, until the peer has read what is queued and closed its side.
    pub close_timeout_ms: u64,
    /// How long a reader for whom half of `max_queue` waits may take nothing of it.
    pub stall_timeout_ms: u64,
    /// Frames of one WebSocket message.
    pub max_fragments: u32,
    /// Connections of this shard.
    pub max_connections: usize,
    /// Bytes that may wait for one reader.
    pub max_queue: usize,
    /// Which origins may use the server.
    pub cors: Cors,
    /// The connections of each address, of all shards, if they are limited.
    pub addresses: Option<Arc<Addresses>>,
    /// Proxies in front that are trusted to name their clients.
    pub proxies: Proxies,
    /// The certificate of connections with TLS, if there are any.
    pub certificates: Option<Arc<Certificates>>,
    /// From the start of a connection with TLS or a PROXY header to the end of its handshake or of that.
    pub handshake_timeout_ms: u64,
}

/// A connection that was sent a FIN, until the peer closes its side.
pub const LINGER_MS: u64 = 1_000;

/// What the sessions of an [`Engine`] carry. Every method may send, close and arm timers through `engine`.
pub trait Protocol {
    /// What shards send one another.
    type Mail: Send + 'static;

    /// A session began; `head` is the request that made it.
    fn opened(&mut self, engine: &mut Engine, session: SessionKey, head: &Head<'_>);

    /// A text message arrived; it is valid UTF-8 and may be scribbled over.
    fn text(&mut self, engine: &mut Engine, session: SessionKey, text: &mut [u8]);

    /// A binary message arrived.
    fn binary(&mut self, engine: &mut Engine, session: SessionKey, bytes: &[u8]);

    /// Bytes kept of messages of the session that are of use only with others to come.
    fn held(&self, session: SessionKey) -> usize;

    /// A session ended; it exists no more, `upper` is what was kept in it.
    fn closed(&mut self, engine: &mut Engine, session: SessionKey, upper: u32, reason: CloseReason);

    /// No Socket.IO CONNECT came in time.
    fn connect_timeout(&mut self, engine: &mut Engine, session: SessionKey);

    /// A timer of the protocol's own fired.
    fn timeout(&mut self, engine: &mut Engine, timer: Timer);

    /// Mail from another shard.
    fn mail(&mut self, engine: &mut Engine, from: usize, mail: Self::Mail);

    /// Mail to other shards since the last call, oldest first.
    fn outgoing(&mut self) -> &mut Vec<(usize, Self::Mail)>;

    /// How much of it there is.
    fn outgoing_count(&self) -> usize;

    /// Bytes that it will have queued for clients in the end, each recipient's counted, as far as this shard can tell.
    fn outgoing_bytes(&self) -> usize;

    /// Rooms with members on this shard.
    fn room_count(&self) -> usize;

    /// Whether an HTTP path is the protocol's own.
    fn serves(&self, path: &str) -> bool;

    /// An HTTP call with its whole body.
    fn call(&mut self, engine: &mut Engine, from: ConnectionKey, head: &Head<'_>, body: &mut [u8]) -> Answer;

    /// The JSON text of an answer to a call that is refused before the protocol sees it.
    fn refusal(&self, status: u16, message: &str) -> String;

    /// Calls that still have to be answered by [`Engine::answer`].
    fn calls_open(&self) -> usize;

    /// Answers them all, as the server shuts down.
    fn give_up_calls(&mut self, engine: &mut Engine);

    /// The turn ends: what it queued is written, its batches are about to be forgotten.
    fn end_turn(&mut self, engine: &mut Engine);

    /// Gives back what tables needed once and need no more.
    fn shrink(&mut self, now: Now);

    /// Everybody is to be told that the server goes; the engine closes the sessions afterwards.
    fn drain(&mut self, engine: &mut Engine);
}

/// What an HTTP call is answered.
#[derive(Debug)]
pub enum Answer {
    /// At once.
    Json {
        status: u16,
        /// Further header lines, each ending in CRLF.
        headers: &'static str,
        json: String,
    },
    /// By [`Engine::answer`], later.
    Later,
}

/// The sessions and connections of a shard.
pub struct Engine {
    /// What operators set.
    pub settings: Settings,
    /// The time of this turn.
    pub now: Now,
    /// What is queued for sending.
    pub out: Outbound,
    /// Timers.
    pub wheel: Wheel,
    /// What happened, in numbers.
    pub counters: crate::metrics::Counters,
    connections: Slab<Connection>,
    sessions: Slab<Session>,
    layout: Layout,
    limits: Limits,
    generation: u32,
    entropy: Entropy,
    closed: Vec<(SessionKey, u32, CloseReason)>,
    resumed: VecDeque<ConnectionKey>,
    ending: Vec<ConnectionKey>,
    scratch: Scratch,
    effects: Vec<(ConnectionKey, Effect)>,
    /// Readers for whom much waits, and when they last took something of it.
    stalled: HashMap<ConnectionKey, u64>,
    /// Polling sessions on their way to another shard.
    emigrants: Vec<(usize, Emigrant)>,
    /// Polling sessions whose sid names another shard.
    guests: HashMap<Sid, SessionKey, foldhash::fast::RandomState>,
    /// Guests that ended.
    left: Vec<Sid>,
}

/// What the engine asks of the driver, besides writing.
#[derive(Debug)]
pub enum Effect {
    /// Read the connection, or not.
    Reading(bool),
    /// Send a FIN.
    Shutdown,
    /// Close the connection; with a reset when `true`.
    Close(bool),
    /// Carry the connection to another shard.
    Move(usize, Handover),
}

impl Engine {
    /// An engine without sessions. `now_ms`: `mono_ms` at the start.
    pub fn new(settings: Settings, entropy: Entropy, now_ms: u64) -> Self {
        Self {
            layout: Layout::new(settings.shards),
            limits: Limits { max_payload: settings.max_payload, max_fragments: settings.max_fragments },
            now: Now { mono_ms: now_ms, unix_ms: 0 },
            out: Outbound::default(),
            wheel: Wheel::new(now_ms),
            counters: crate::metrics::Counters::default(),
            connections: Slab::new(),
            sessions: Slab::new(),
            generation: 0,
            entropy,
            closed: Vec::new(),
            resumed: VecDeque::new(),
            ending: Vec::new(),
            scratch: Scratch::default(),
            effects: Vec::new(),
            stalled: HashMap::new(),
            emigrants: Vec::new(),
            guests: HashMap::default(),
            left: Vec::new(),
            settings,
        }
    }

    /// Fills `bytes` with random ones.
    pub fn random(&mut self, bytes: &mut [u8]) {
        (self.entropy)(bytes);
    }

    /// A new id for what lives in `slot` of this shard.
    pub fn new_sid(&mut self, slot: u32) -> Sid {
        let mut random = [0; 12];
        self.random(&mut random);
        self.layout.sid(self.settings.shard, slot, random)
    }

    /// The shard and slot an id names; the shard may not exist.
    pub fn place(&self, sid: &Sid) -> (usize, u32) {
        self.layout.place(sid)
    }

    /// Bounds on WebSocket messages.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Keys of the sessions open now.
    pub fn session_keys(&self) -> Vec<SessionKey> {
        let keys = self.sessions.iter();
        keys.map(|(slot, s)| SessionKey { slot: slot as u32, generation: s.generation }).collect()
    }

    /// Keys of the connections open now.
    pub fn connection_keys(&self) -> Vec<ConnectionKey> {
        let keys = self.connections.iter();
        keys.map(|(slot, c)| ConnectionKey { slot: slot as u32, generation: c.generation }).collect()
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self) {
        self.out.shrink();
        self.wheel.shrink();
        self.connections.shrink();
        self.sessions.shrink();
        self.closed.shrink();
        self.resumed.shrink();
        self.ending.shrink();
        self.effects.shrink();
        self.stalled.shrink();
        self.guests.shrink();
    }

    /// Whether the engine waits for nothing but the driver and timers.
    pub fn is_settled(&self) -> bool {
        self.closed.is_empty()
    }

    /// Sessions open now.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Connections open now.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// A generation no present owner of a slot has.
    pub fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Sessions that ended and are not yet reported, with what was kept in them.
    pub fn take_closed(&mut self) -> Option<(SessionKey, u32, CloseReason)> {
        self.closed.pop()
    }
}
