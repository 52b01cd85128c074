//! Connections that joined and then say nothing.

use super::BenchError;
use super::clients::Scenario;
use super::process::now_ns;
use super::report::IdleReport;
use super::run::{Run, snapshot};

/// Between the last join and the memory reading: what the server does behind the joins is done.
const SETTLE_NS: u64 = 500_000_000;

/// Spreads the clients over the rooms.
#[derive(Debug)]
struct Idle {
    rooms: u32,
}

impl Scenario for Idle {
    fn room(&self, client: u32) -> u32 {
        client % self.rooms
    }
}

/// Connects all clients, holds them, and compares the server before and after.
pub(super) fn measure(mut run: Run, rooms: u32, hold_ms: u64) -> Result<IdleReport, BenchError> {
    let server = run.server;
    let rss = || server.map(|server| server.rss_bytes()).transpose();
    let mut idle = Idle { rooms };
    let rss_before = rss()?;
    let begin_ns = now_ns();
    run.connect_all(&mut idle)?;
    let connect_ns = now_ns() - begin_ns;
    run.hold(&mut idle, now_ns() + SETTLE_NS)?;
    let rss_joined = rss()?;
    let first = snapshot(&run.clients, 0, server)?;
    run.hold(&mut idle, first.at_ns + hold_ms * 1_000_000)?;
    let last = snapshot(&run.clients, 0, server)?;
    Ok(IdleReport::new(&run, rooms, connect_ns, first, last, [rss_before, rss_joined, rss()?]))
}
