//! Whatever bytes arrive: no panic, and the same result for any split.
//!
//! A mutation engine without instrumentation ([`mutation`]): what an input makes a target do is summed up in a number, and
//! an input that does what none did before is mutated further. Each target runs for two seconds:
//!
//! ```text
//! cargo test --test fuzz                                                        the two seconds, from the same seed on
//! FUZZ_SECONDS=3600 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --test fuzz        an hour of each, two at a time on two cores
//! FUZZ_SECONDS=3600 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --test fuzz http   an hour of one, other inputs every time
//! SEED=7 cargo test --test fuzz http                                            what a failure said would replay it
//! ```
//!
//! A long run is built so, not in the release profile: that one does not look for arithmetic that overflows.
//!
//! Targets: HTTP requests, WebSocket frames, Engine.IO payloads, Socket.IO packets, PROXY headers ([`codecs`]), TLS records
//! ([`tls`]), the arguments of events ([`events`]), the calls of agents and backends ([`api`]), and a whole shard with
//! the rooms application ([`shard`]).

mod api;
mod codecs;
#[path = "../codecs/drive.rs"]
mod drive;
mod events;
mod json;
mod mutation;
mod peers;
#[path = "../common/random.rs"]
mod random;
mod rooms;
mod shard;
mod tls;
