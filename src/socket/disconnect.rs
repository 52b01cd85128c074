//! Why sockets go.

use crate::engine::CloseReason;
use std::fmt;

/// Why a socket went (Socket.IO, "Events", `disconnect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespace,
    /// The server put it out of the namespace.
    ServerNamespace,
    /// Its session ended.
    Session(CloseReason),
}

impl DisconnectReason {
    /// Whether the socket may come back.
    pub(super) fn is_recoverable(self) -> bool {
        use CloseReason::{ParseError, ServerShuttingDown};
        matches!(self, Self::Session(reason) if !matches!(reason, ParseError | ServerShuttingDown))
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientNamespace => f.write_str("client namespace disconnect"),
            Self::ServerNamespace => f.write_str("server namespace disconnect"),
            Self::Session(reason) => reason.fmt(f),
        }
    }
}
