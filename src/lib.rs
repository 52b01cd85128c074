//! sockeye: a Socket.IO v4 edge server for rooms in which people and AI agents talk.
//!
//! One process, one pinned thread per core (a *shard*), nothing shared between shards but messages. The protocol is a pure
//! state machine; I/O is a thin pump around it.
//!
//! ```text
//!            bytes                      requests, packets            events
//!  driver ─────────▶ shard ─▶ connection ─▶ engine ─▶ socket ─▶ app ─▶ rooms
//!    ▲   one turn:    │        HTTP, WebSocket  Engine.IO   Socket.IO      │
//!    │   read all,    │                                                    │ publish
//!    │   apply,       ▼                                                    ▼
//!    └── write once ◀─ outbound ◀────────────── deliver ◀── a room's home (any shard, by mail)
//! ```
//!
//! # Words
//! *shard* pinned thread with its listener, sessions, rooms · *connection* one TCP or TLS stream · *transport* polling or
//! WebSocket · *session* Engine.IO session, named by its *sid* · *socket* a session in a Socket.IO namespace · *packet* a
//! unit of Engine.IO or Socket.IO · *payload* a polling body · *frame* a WebSocket frame · *prepared frame* a broadcast
//! encoded once · *envelope* what goes between shards · *home* the shard that owns a room · *turn* one pass of a shard's
//! loop · *sink* the outgoing queue of one connection or polling session · *batch* the bytes a turn queued for many.
//!
//! # Invariants
//! 1. **A session and all its transports live on one shard, and the sid names it** ([`wire::sid`]). A request that lands
//!    elsewhere moves with its socket, at a request boundary with nothing in flight. The one exception is a session whose
//!    client comes back as a socket of another shard: it moves there whole and leaves a signpost ([`engine::migration`]).
//! 2. **A room's order and state live on its home**, `hash(room) % shards` ([`rooms::RoomId::home`]). The home applies an
//!    operation, stamps it, serialises once ([`wire::prepared`]) and delivers to the shards that have members
//!    ([`rooms::home`]). Each shard walks its local members ([`rooms::members`]).
//! 3. **Mail between two shards is first in, first out** ([`mesh`]). With 1 and 2 this gives one order per room for all
//!    members, and a join precedes the same shard's later publishes.
//!
//! # The way of one message
//! The driver reads everything that is ready ([`driver`]) and gives it to [`shard::seam::Core`]. Frames are unmasked in
//! place; [`socket`] takes the packet's prefix apart and leaves the JSON text to [`app`], which parses it once. The
//! operation goes to the room's home, also when that is the same shard. The delivery appends the frame to the room's batch
//! of this turn, once per shard, and notes a range of it for every member's sink ([`connection::outbound`]): consecutive
//! frames of a room are one range, so a member's turn is usually one `send()` of contiguous bytes. An idle connection owns
//! no buffer, no task and no timer object.
//!
//! TLS ([`connection::tls`]) is a transformer of bytes in front of all this, with the connections of a listener of its own:
//! what arrives is decrypted before it is looked at, what a turn queued is encrypted as it is written. Nothing above knows
//! of it, and its state moves with its connection.
//!
//! # Where to start reading
//! [`shard::seam`] for inputs and effects, [`shard`] for the turn, [`engine`] and [`socket`] for the protocols, [`app`] for
//! what the events mean, [`server`] for start-up. Every flag stands in [`config`] and is explained in `tuning.md`.

pub mod app;
pub mod bench;
pub mod config;
pub mod connection;
pub mod driver;
pub mod engine;
pub mod mesh;
pub mod metrics;
pub mod rooms;
pub mod server;
pub mod shard;
pub mod shrink;
pub mod socket;
pub mod wire;
