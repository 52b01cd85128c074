//! Why Engine.IO refuses a request or ends a session.

use std::fmt;

/// A refused request, answered with status 400 and `{"code":n,"message":…}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No known `transport`.
    TransportUnknown = 0,
    /// No session of that `sid`.
    SessionIdUnknown = 1,
    /// A handshake is a GET.
    BadHandshakeMethod = 2,
    /// Anything else the client did wrong.
    BadRequest = 3,
    /// The origin is not allowed, or the application refuses.
    Forbidden = 4,
    /// `EIO` is not 4.
    UnsupportedProtocolVersion = 5,
}

impl Refusal {
    /// The body of the answer.
    pub fn json(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self as u8, self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionIdUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        })
    }
}

/// Why a session ended; the text is the reason the reference server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it, or its connection ended.
    TransportClose,
    /// The connection broke, or the client broke the transport's rules.
    TransportError,
    /// A ping was not answered in time.
    PingTimeout,
    /// A packet could not be understood.
    ParseError,
    /// The layer above ended it.
    ForcedClose,
    /// It read too slowly: more than the queue limit waited for it.
    SlowReader,
    /// The server shuts down.
    ServerShuttingDown,
}

impl CloseReason {
    /// Each reason with its text.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::TransportClose, "transport close"),
        (Self::TransportError, "transport error"),
        (Self::PingTimeout, "ping timeout"),
        (Self::ParseError, "parse error"),
        (Self::ForcedClose, "forced close"),
        (Self::SlowReader, "slow reader"),
        (Self::ServerShuttingDown, "server shutting down"),
    ];
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Self::ALL.get(*self as usize).map_or("", |(_, text)| text);
        f.write_str(text)
    }
}
