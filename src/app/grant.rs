//! What a client may do (contract B2).

use crate::engine::Now;
use crate::rooms::RoomId;
use uuid::Uuid;

/// What a client may do, from what it presented.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// Nothing is asked for: whatever anybody may do.
    #[default]
    Anonymous,
    /// It has the token of the operator: everything.
    Operator,
    /// What its own token says.
    Claims(Box<Claims>),
}

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whom it was given to; always there for a user.
    pub subject: Option<Uuid>,
    /// What that is.
    pub role: Role,
    /// Where it may be.
    pub rooms: Rooms,
    /// Whether it may read the server's own log lines.
    pub reads_logs: bool,
    /// When the token ends, in milliseconds since 1970 UTC.
    pub expires_ms: u64,
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks for itself only.
    User,
    /// May be an agent, and speak for others.
    Agent,
    /// May be an agent, speak for others, and read all logs.
    Admin,
}

/// Rooms that somebody may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rooms {
    /// Every one.
    All,
    /// These, in order.
    Listed(Box<[RoomId]>),
}

impl Rooms {
    /// Whether a room is among them.
    pub fn have(&self, room: &RoomId) -> bool {
        match self {
            Self::All => true,
            Self::Listed(rooms) => rooms.binary_search(room).is_ok(),
        }
    }
}

impl Grant {
    fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Claims(claims) => Some(claims),
            Self::Anonymous | Self::Operator => None,
        }
    }

    /// Whether the client may join a room, send to it and ask about it.
    pub fn allows_room(&self, room: &RoomId) -> bool {
        self.claims().is_none_or(|claims| claims.rooms.have(room))
    }

    /// The rooms the client may be in.
    pub fn rooms(&self) -> Rooms {
        self.claims().map_or(Rooms::All, |claims| claims.rooms.clone())
    }

    /// Whether the client may speak for `user`.
    pub fn allows_sender(&self, user: Uuid) -> bool {
        self.claims().is_none_or(|claims| claims.role != Role::User || claims.subject == Some(user))
    }

    /// Whether the client may be an agent.
    pub fn allows_agent(&self) -> bool {
        self.claims().is_none_or(|claims| claims.role != Role::User)
    }

    /// Whether the client may read the server's own log lines.
    pub fn allows_server_logs(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Operator => true,
            Self::Claims(claims) => claims.reads_logs || claims.role == Role::Admin,
        }
    }

    /// For how long it still holds, in milliseconds; `None`: for ever.
    pub fn remaining_ms(&self, now: Now) -> Option<u64> {
        self.claims().map(|claims| claims.expires_ms.saturating_sub(now.unix_ms))
    }

    /// Takes over when `other` ends, if it is the same in all else.
    pub fn renew(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Claims(own), Self::Claims(other)) => {
                let same = **own == Claims { expires_ms: own.expires_ms, ..(**other).clone() };
                if same {
                    own.expires_ms = other.expires_ms;
                }
                same
            }
            (own, other) => own == other,
        }
    }
}
