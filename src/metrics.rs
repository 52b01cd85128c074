//! What happened on a shard, in numbers: plain counters, read through snapshots that the driver takes.

mod series;

pub use series::{Kind, Series};

use crate::engine::CloseReason;
use crate::wire::websocket::Violation;

/// Limits that end or refuse something when they strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// A request that took too long.
    SlowRequest,
    /// More waited for a reader than it may.
    SlowReader,
    /// Much waited for a reader that took nothing of it.
    StalledReader,
    /// A request head with too many bytes or lines.
    RequestHead,
    /// A message, payload or body that was too large.
    MessageSize,
    /// A message in too many frames.
    Fragments,
    /// A packet with too many attachments.
    Attachments,
    /// Requests ahead of their answers.
    Pipelining,
    /// An upgrade that took too long.
    SlowUpgrade,
    /// No pong.
    PingTimeout,
    /// No Socket.IO CONNECT.
    ConnectTimeout,
    /// A connection of an address that has as many as it may.
    AddressConnections,
    /// A connection of an address that opens them too fast.
    AddressRate,
    /// A TLS handshake or PROXY header that took too long.
    SlowHandshake,
    /// What is not TLS where TLS has to be, or breaks its rules.
    BadTls,
    /// No PROXY header where one has to be.
    BadProxyHeader,
}

impl CutOff {
    /// Each limit with its name.
    const ALL: [(Self, &'static str); 16] = [
        (Self::SlowRequest, "slow request"),
        (Self::SlowReader, "slow reader"),
        (Self::StalledReader, "stalled reader"),
        (Self::RequestHead, "request head"),
        (Self::MessageSize, "message size"),
        (Self::Fragments, "fragments"),
        (Self::Attachments, "attachments"),
        (Self::Pipelining, "pipelining"),
        (Self::SlowUpgrade, "slow upgrade"),
        (Self::PingTimeout, "ping timeout"),
        (Self::ConnectTimeout, "connect timeout"),
        (Self::AddressConnections, "address connections"),
        (Self::AddressRate, "address rate"),
        (Self::SlowHandshake, "slow handshake"),
        (Self::BadTls, "bad tls"),
        (Self::BadProxyHeader, "bad proxy header"),
    ];
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// In order, whichever side began.
    Finished,
    /// It was reset or lost, or its session is over.
    Broken,
    /// It was to end and did not in time.
    TimedOut,
    /// More waited for it than may.
    SlowReader,
    /// It sent more than may wait for an answer.
    Flood,
    /// It was not let in, by what its PROXY header says or lacks.
    Refused,
}

impl ConnectionEnd {
    /// Each end with its name.
    const ALL: [(Self, &'static str); 6] = [
        (Self::Finished, "finished"),
        (Self::Broken, "broken"),
        (Self::TimedOut, "timed out"),
        (Self::SlowReader, "slow reader"),
        (Self::Flood, "flood"),
        (Self::Refused, "refused"),
    ];
}

/// What the bounds on the state of rooms did on one shard since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounters {
    /// Rooms with state, now.
    pub rooms: u64,
    /// Bytes of messages kept, now.
    pub history_bytes: u64,
    /// Empty rooms dropped for others.
    pub dropped: u64,
    /// Rooms that could not come into being.
    pub refused: u64,
    /// Messages dropped because their room kept too many bytes.
    pub trimmed_by_room_bytes: u64,
    /// Messages dropped because all rooms together kept too many bytes.
    pub trimmed_by_history_bytes: u64,
}

/// Counters of one shard since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections taken up.
    pub connections_opened: u64,
    /// Connections refused at the limit.
    pub connections_refused: u64,
    /// Connections that went to another shard.
    pub connections_moved: u64,
    /// Connections that came from another shard.
    pub connections_adopted: u64,
    /// Sessions begun.
    pub sessions_opened: u64,
    /// Sessions that went to another shard.
    pub sessions_moved: u64,
    /// Connections switched to WebSocket.
    pub websockets_opened: u64,
    /// Sessions that left polling for a WebSocket.
    pub upgrades: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// Those of them that resumed an earlier session.
    pub tls_resumed: u64,
    /// Answers to HTTP requests.
    pub http_responses: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Writes to connections.
    pub writes: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Broadcast frames queued, one per member.
    pub deliveries: u64,
    /// Sockets refused for want of access.
    pub sockets_refused: u64,
    /// Volatile events not sent to a reader that was behind, one per reader.
    pub volatile_dropped: u64,
    /// The server's own log lines that were dropped before a shard took them.
    pub log_lines_missed: u64,
    /// Calls refused because too many waited.
    pub calls_refused: u64,
    /// Calls answered as the first call with their idempotency key was.
    pub calls_repeated: u64,
    /// Messages' own ids forgotten early.
    pub message_ids_forgotten: u64,
    /// Idempotency keys forgotten early.
    pub keys_forgotten: u64,
    /// Sockets that came back and missed nothing.
    pub recovered: u64,
    /// The state of rooms.
    pub rooms: RoomCounters,
    /// Messages that were complete because no agent said anything in time.
    pub completions_timed_out: u64,
    /// Messages that were complete at once because too many wait already.
    pub completions_not_awaited: u64,
    /// Messages that the demo agent did not answer because too many wait for it.
    pub demo_unanswered: u64,
    /// Agents that there was no place to note as live.
    pub agents_unnoted: u64,
    /// World-states that had no place for everything.
    pub world_states_cut: u64,
    /// World-states refused because their reader or the shard was behind.
    pub world_states_refused: u64,
    sessions_closed: [u64; CloseReason::ALL.len()],
    connections_closed: [u64; ConnectionEnd::ALL.len()],
    cut_off: [u64; CutOff::ALL.len()],
}

impl Counters {
    /// A session ended.
    pub fn session_closed(&mut self, reason: CloseReason) {
        count(&mut self.sessions_closed, reason as usize);
    }

    /// A connection ended.
    pub fn connection_closed(&mut self, end: ConnectionEnd) {
        count(&mut self.connections_closed, end as usize);
    }

    /// A limit struck.
    pub fn cut_off(&mut self, limit: CutOff) {
        count(&mut self.cut_off, limit as usize);
    }

    /// A WebSocket broke a rule; counted if it is a limit.
    pub fn violation(&mut self, violation: &Violation) {
        match *violation {
            Violation::TOO_BIG => self.cut_off(CutOff::MessageSize),
            Violation::TOO_MANY_FRAGMENTS => self.cut_off(CutOff::Fragments),
            _ => {}
        }
    }

    /// Connections ended, however that came about.
    pub fn connections_closed(&self) -> u64 {
        self.connections_closed.iter().sum()
    }

    /// Times a limit struck, whichever it was.
    pub fn cut_offs(&self) -> u64 {
        self.cut_off.iter().sum()
    }
}

fn count(counts: &mut [u64], index: usize) {
    if let Some(n) = counts.get_mut(index) {
        *n += 1;
    }
}

/// What a shard has at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Connections open.
    pub connections: usize,
    /// Sessions open.
    pub sessions: usize,
    /// Rooms with members on the shard.
    pub rooms: usize,
    /// Bytes that wait for readers.
    pub queue_bytes: usize,
}

/// What a shard has done so far and has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Since its start.
    pub counters: Counters,
    /// At this moment.
    pub gauges: Gauges,
}
