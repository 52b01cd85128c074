//! What happened on a shard, in numbers: plain counters, summed when read.

use crate::engine::CloseReason;

/// Limits that end or refuse something when they strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// A request that took too long.
    SlowRequest,
    /// More waited for a reader than it may.
    SlowReader,
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
}

impl CutOff {
    const COUNT: usize = 7;
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
    /// Connections ended.
    pub connections_closed: u64,
    /// Sessions begun.
    pub sessions_opened: u64,
    /// Sessions that went to another shard.
    pub sessions_moved: u64,
    /// Connections switched to WebSocket.
    pub websockets_opened: u64,
    /// Sessions that left polling for a WebSocket.
    pub upgrades: u64,
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
    /// Agents that there was no place to note as live.
    pub agents_unnoted: u64,
    /// World-states that had no place for everything.
    pub world_states_cut: u64,
    /// World-states refused because their reader or the shard was behind.
    pub world_states_refused: u64,
    closed: [u64; CloseReason::COUNT],
    cut_off: [u64; CutOff::COUNT],
}

impl Counters {
    /// A session ended.
    pub fn session_closed(&mut self, reason: CloseReason) {
        if let Some(n) = self.closed.get_mut(reason as usize) {
            *n += 1;
        }
    }

    /// Sessions that ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason as usize).copied().unwrap_or_default()
    }

    /// A limit struck.
    pub fn cut_off(&mut self, limit: CutOff) {
        if let Some(n) = self.cut_off.get_mut(limit as usize) {
            *n += 1;
        }
    }

    /// How often `limit` struck.
    pub fn cut_offs(&self, limit: CutOff) -> u64 {
        self.cut_off.get(limit as usize).copied().unwrap_or_default()
    }
}
