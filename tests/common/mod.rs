//! What the black-box tests share: a server process and clients that can also misbehave.
//!
//! Every rule is one test and runs over a matrix of drivers and worker counts ([`matrix`]). The variables
//! `SOCKEYE_TEST_IO=uring|epoll` and `SOCKEYE_TEST_WORKERS=1,2` narrow it, `SOCKEYE_TEST_URL=http://…` points the tests of
//! the echo app ([`ECHO`]) at a server that is already running (another implementation, say), and
//! `SOCKEYE_TEST_URL_CALM` and `SOCKEYE_TEST_URL_ROOMS` those of [`ECHO_CALM`] and [`ROOMS`].
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]

pub mod engine;
pub mod front;
pub mod http;
pub mod json;
pub mod matrix;
pub mod random;
pub mod rooms;
pub mod scripts;
pub mod server;
pub mod socket;
pub mod tls;
pub mod websocket;

use std::time::{Duration, Instant};

pub use engine::{Packet, Polling, Via};
pub use http::{Http, Response};
pub use matrix::{each_cell, each_driver, each_worker_count};
pub use server::Server;
pub use socket::Client;
pub use websocket::{Frame, WebSocket};

/// No wait of a test is longer than this unless it says so.
pub const LIMIT: Duration = Duration::from_secs(8);

/// How long "nothing comes" is watched for.
pub const QUIET: Duration = Duration::from_millis(120);

/// Flags of the protocol test app as the contract names them.
pub const ECHO: &[&str] = &[
    "--app",
    "echo",
    "--ping-interval",
    "300ms",
    "--ping-timeout",
    "200ms",
    "--max-payload",
    "1000000",
    "--connect-timeout",
    "1s",
    "--recovery-window",
    "0",
];

/// The same app with a heartbeat that stays out of the way of tests that speak raw bytes.
pub const ECHO_CALM: &[&str] = &["--app", "echo", "--max-payload", "1000000", "--recovery-window", "0"];

/// [`ECHO_CALM`] with pings that come soon, and may be answered late: a client may have to wait for a processor.
pub const ECHO_PINGING: &[&str] =
    &["--app", "echo", "--max-payload", "1000000", "--recovery-window", "0", "--ping-interval", "300ms"];

/// The rooms application with its defaults.
pub const ROOMS: &[&str] = &[];

/// Sleeps until `since` is `ms` milliseconds ago.
pub fn sleep_until(since: Instant, ms: u64) {
    let due = since + Duration::from_millis(ms);
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Waits until `ready` says so.
pub fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
