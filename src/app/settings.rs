//! What operators set of the rooms of people and agents.

use super::Access;
use super::logs::Feed;
use std::sync::Arc;
use uuid::Uuid;

/// Times in milliseconds, sizes in bytes; what is said of all shards is divided among them evenly.
#[derive(Clone, Debug)]
pub struct AgentsSettings {
    /// Longest `text` of a message.
    pub text_max: usize,
    /// Rooms one socket may be in.
    pub max_rooms_per_socket: usize,
    /// Rooms with state, all shards together.
    pub max_rooms: usize,
    /// Messages kept of a room.
    pub history: usize,
    /// Bytes of messages kept of a room.
    pub room_bytes: usize,
    /// Bytes of messages kept of all rooms, all shards together.
    pub history_bytes: usize,
    /// How long a message waits for a silent agent, in milliseconds; 0: for ever.
    pub complete_timeout_ms: u64,
    /// Server id of what names none.
    pub server_id: Uuid,
    /// Whether messages to rooms the socket has not joined are refused.
    pub require_join: bool,
    /// Within this time a repeated `messageId` or `Idempotency-Key` is the same message; 0: never.
    pub dedupe_window_ms: u64,
    /// Whether there is an agent to try things with.
    pub demo_agent: bool,
    /// Messages a second from one connection; 0: no limit.
    pub rate_messages: u32,
    /// Whether anybody may read the server's own log lines.
    pub public_logs: bool,
    /// Where those come from.
    pub log_feed: Arc<Feed>,
    /// Who may use the server.
    pub access: Access,
}

impl Default for AgentsSettings {
    /// The defaults of the flags.
    fn default() -> Self {
        Self {
            text_max: 64 * 1024,
            max_rooms_per_socket: 128,
            max_rooms: 100_000,
            history: 50,
            room_bytes: 512 * 1024,
            history_bytes: 256 * 1024 * 1024,
            complete_timeout_ms: 60_000,
            server_id: Uuid::nil(),
            require_join: false,
            dedupe_window_ms: 120_000,
            demo_agent: false,
            rate_messages: 0,
            public_logs: false,
            log_feed: Arc::default(),
            access: Access::default(),
        }
    }
}
