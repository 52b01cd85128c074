//! Whatever bytes arrive: no panic, and the same result for any split.
//!
//! A mutation engine without instrumentation ([`mutation`]): what an input makes a target do is summed up in a number, and
//! an input that does what none did before is mutated further. Each target runs for two seconds:
//!
//! ```text
//! cargo test --test fuzz                                            the two seconds, from the same seed on
//! FUZZ_SECONDS=3600 cargo test --release --test fuzz http           an hour of one target, other inputs every time
//! SEED=7 cargo test --test fuzz http                                what a failure said would replay it
//! ```
//!
//! Targets: HTTP requests, WebSocket frames, Engine.IO payloads, Socket.IO packets, PROXY headers
//! ([`codecs`]), TLS records ([`tls`]), and a whole shard with the rooms application, HTTP calls included ([`shard`]).

mod codecs;
#[path = "../codecs/drive.rs"]
mod drive;
mod mutation;
mod shard;
mod tls;
