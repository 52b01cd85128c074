//! The driver that needs nothing but epoll: one blocking wait a turn.
//!
//! There is no runtime in it. A shard has one thing to wait for, and its deadline is the wait's time-out; a tokio runtime
//! would put a second epoll set around the first and cost two more system calls a turn.

use std::io;

use super::connections::Watcher;
use super::pump::Pump;
use super::{Counters, Seat};
use crate::shard::seam::Core;

/// Runs a shard until it is drained.
pub fn run<C: Core>(core: C, seat: Seat<C::Mail>, ready: impl FnOnce()) -> io::Result<Counters> {
    let mut pump = Pump::new(core, seat, Watcher::Set)?;
    ready();
    loop {
        let sleep_ms = pump.sleep_ms();
        pump.collect(sleep_ms)?;
        if !pump.turn()? {
            return Ok(pump.finish());
        }
    }
}
