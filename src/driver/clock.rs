//! The clocks, and how long a shard sleeps.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::shard::seam::Now;

/// The longest sleep, for clocks that jump.
pub const SLEEP_MAX_MS: u64 = 60_000;

/// Reads both clocks.
pub fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono_ms: mono_ms(), unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX) }
}

/// Reads the monotonic clock, in milliseconds.
pub fn mono_ms() -> u64 {
    let mono = clock_gettime(ClockId::Monotonic);
    mono.tv_sec.unsigned_abs() * 1000 + mono.tv_nsec.unsigned_abs() / 1_000_000
}

/// A sleep of `ms` milliseconds, [`SLEEP_MAX_MS`] at most.
pub fn timespec(ms: u64) -> Timespec {
    let ms = i64::try_from(ms.min(SLEEP_MAX_MS)).unwrap_or(i64::MAX);
    Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
}
