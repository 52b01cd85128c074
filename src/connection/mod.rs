//! Bytes to requests and frames of one stream.

pub mod addresses;
pub mod http;
pub mod outbound;
pub mod proxies;
pub mod rate;
pub mod tls;
pub mod websocket;

use crate::connection::addresses::Ticket;
use crate::connection::outbound::SinkKey;
use crate::connection::tls::Tls;
use crate::wire::sid::Sid;
use std::fmt;
use std::net::IpAddr;

/// One TCP or TLS stream.
#[derive(Debug)]
pub struct Connection {
    /// Tells this owner of the slot from earlier ones.
    pub generation: u32,
    /// Where its bytes are queued. A WebSocket shares the sink of its session.
    pub sink: SinkKey,
    /// What it speaks now.
    pub stage: Stage,
    /// Address of the peer, or of the client that a trusted proxy names.
    pub peer: IpAddr,
    /// Whether the driver reads it.
    pub reading: bool,
    /// What is in front of HTTP; nothing for most.
    pub front: Option<Box<Front>>,
}

const _: () = assert!(size_of::<Connection>() <= 72);

/// What a connection has besides what it speaks: with TLS, from a trusted proxy, or where limits on addresses are set.
#[derive(Debug, Default)]
pub struct Front {
    /// Its place among those of its address.
    pub ticket: Option<Ticket>,
    /// Whether it came too fast after others of its address: it is told so when it asks for something, and ends.
    pub is_too_fast: bool,
    /// While a PROXY header is awaited: what has come of it.
    pub header: Option<Box<Vec<u8>>>,
    /// The trusted proxy that it comes from, whose requests say which client's they are.
    pub proxy: Option<IpAddr>,
    /// Its encryption.
    pub tls: Option<Box<Tls>>,
}

impl Front {
    /// Whether a PROXY header or a handshake is to be finished before HTTP begins.
    pub fn is_beginning(&self) -> bool {
        self.header.is_some() || self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
}

/// Whether the connections of a listener are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// They are not.
    Plain,
    /// They begin with a TLS handshake.
    Tls,
}

/// What a connection speaks.
#[derive(Debug)]
pub enum Stage {
    /// Requests and responses.
    Http(Box<Http>),
    /// Frames.
    WebSocket(WebSocket),
    /// Frames, but on another shard once everything before is written.
    Moving(Box<Moving>),
    /// Nothing more: it ends once its sink is empty, at the latest at `deadline_ms`.
    Ending {
        /// What is still to be done.
        finish: Finish,
        /// When patience ends, in `mono_ms`.
        deadline_ms: u64,
        /// Finds the peer's close frame among what still arrives.
        decoder: websocket::Decoder,
    },
    /// It is gone; the slot is free once the driver was told.
    Dead,
}

/// A connection on its way to another shard, with nothing left to send. Its socket travels beside it.
#[derive(Debug)]
pub struct Handover {
    /// Address of the peer.
    pub peer: IpAddr,
    /// Bytes received, decrypted and not yet consumed: of an HTTP connection the request that made it move, from its first
    /// byte on.
    pub unread: Vec<u8>,
    /// The WebSocket that it is, if it is one.
    pub moving: Option<Box<Moving>>,
    /// What it had on its last shard besides.
    pub front: Option<Box<Front>>,
    /// If no shard has taken it up before: what its listener is for.
    pub fresh: Option<Security>,
}

impl Handover {
    /// A connection that has only just begun.
    pub fn fresh(peer: IpAddr, security: Security) -> Self {
        Self { peer, unread: Vec::new(), moving: None, front: None, fresh: Some(security) }
    }
}

/// A WebSocket that moves, with what it is to its session.
#[derive(Debug)]
pub struct Moving {
    /// The shard it goes to.
    pub to: usize,
    /// What it carries.
    pub load: Load,
    /// When patience ends with a peer that does not read what is in front, in `mono_ms`.
    pub deadline_ms: u64,
    /// Frames received in part.
    pub decoder: websocket::Decoder,
    /// Bytes received since.
    pub unread: Vec<u8>,
}

/// What a WebSocket that moves carries.
#[derive(Debug)]
pub enum Load {
    /// Its session.
    Session(Emigrant),
    /// Nothing yet: it probes for the session of this id, which polls and has moved already.
    Probe {
        /// The session's id.
        sid: Sid,
        /// Whether the probe was answered.
        upgrading: bool,
    },
}

/// A session that moves.
#[derive(Debug)]
pub struct Emigrant {
    /// Its id, which goes on naming the shard it began on.
    pub sid: Sid,
    /// What the headers of its handshake carried to give access.
    pub credential: Option<Box<Credential>>,
    /// Messages it sent that are still to be taken, without the Engine.IO type.
    pub packets: Vec<Vec<u8>>,
    /// Server frames that wait for its next poll.
    pub frames: Vec<u8>,
}

/// What the headers of a request carry to give access. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The value of `X-API-KEY`.
    pub api_key: Option<Box<[u8]>>,
    /// The token of `Authorization: Bearer` (RFC 6750 §2.1).
    pub bearer: Option<Box<[u8]>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// The state of an HTTP connection.
#[derive(Debug, Default)]
pub struct Http {
    /// Bytes received.
    pub decoder: http::Decoder,
    /// What the present request waits for.
    pub awaiting: Awaiting,
    /// Whether the connection ends after the present response.
    pub close: bool,
    /// Whether the present request is a HEAD.
    pub head_only: bool,
    /// Which allowed origin the present request named; answers carry it.
    pub origin: Option<u16>,
    /// It goes on with a further request in a later turn.
    pub resumes: bool,
    /// When the request, or the pause between two, has taken too long, in `mono_ms`.
    pub deadline_ms: u64,
    /// When the timer that watches the deadline fires.
    pub armed_ms: u64,
}

impl Http {
    /// Whether it holds more than `max` bytes of requests that do not go on now. `is_held`: none does. Until the end of the
    /// turn in which that was decided it is read all the same, so there may be as much again.
    pub fn is_flooded(&self, max: usize, is_held: bool) -> bool {
        let max = match self.awaiting {
            Awaiting::Head | Awaiting::Body(_) if is_held => max,
            Awaiting::Head | Awaiting::Body(_) if !self.resumes => return false,
            Awaiting::Packets { .. } | Awaiting::Answer => max,
            Awaiting::Head | Awaiting::Body(_) | Awaiting::Move(_) => 2 * max,
        };
        self.decoder.buffered() > max
    }
}

/// What an HTTP connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Awaiting {
    /// A head.
    #[default]
    Head,
    /// The body of a request that was let in.
    Body(Purpose),
    /// Packets for a poll of the session in this slot and generation.
    Packets {
        /// The session's slot.
        slot: u32,
        /// The session's generation.
        generation: u32,
    },
    /// The application's answer.
    Answer,
    /// A way to another shard, once everything before is written.
    Move(usize),
}

/// What a request whose body is awaited is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing: its answer is given already, the body is only read past.
    Discard,
    /// A GET of Engine.IO's polling; `None`: a handshake.
    Poll(Option<(u32, u32)>),
    /// A POST of Engine.IO's polling to the session of this slot and generation.
    Payload(u32, u32),
    /// A call of the application's.
    Call,
}

/// The state of a WebSocket connection.
#[derive(Debug)]
pub struct WebSocket {
    /// Frames received.
    pub decoder: websocket::Decoder,
    /// Slot and generation of its session.
    pub session: (u32, u32),
    /// Whether it still probes, while the session polls.
    pub probing: bool,
}

/// How a connection ends once its sink is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// At once.
    Close,
    /// With a FIN; then what the peer still sends is read past for a while, so that what was sent reaches it.
    Linger,
    /// The FIN is sent.
    Lingering,
    /// A WebSocket close frame was sent; the peer's is awaited.
    CloseFrame,
}
