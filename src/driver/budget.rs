//! What a turn may read before it lets others have theirs.

use std::time::{Duration, Instant};

/// Bytes of the one buffer that everything is read into, and the most one read takes.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// The least a read takes however many sockets are ready, and the most while turns run out of time.
const READ_MIN_BYTES: usize = 4 * 1024;
/// Bytes after which a turn reads no further batch of sockets; each batch shares them among its sockets.
const TURN_BYTES: usize = 1024 * 1024;
/// Time after which it reads no further socket: what costs much to take must not delay for long what others wait for.
const TURN_TIME: Duration = Duration::from_millis(5);
/// Bytes between two looks at the clock.
const CLOCK_BYTES: usize = 16 * 1024;

/// What the present turn has read.
pub struct Budget {
    start: Instant,
    bytes: usize,
    looked_at: usize,
    /// The last turn ran out of time.
    hurried: bool,
    ran_out: bool,
}

impl Budget {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), bytes: 0, looked_at: 0, hurried: false, ran_out: false }
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        *self = Self { hurried: self.ran_out, ..Self::new() };
    }

    /// What one read may take while so many sockets are ready.
    pub fn share(&self, ready: usize) -> usize {
        let most = if self.hurried { READ_MIN_BYTES } else { SCRATCH_BYTES };
        (TURN_BYTES / ready.max(1)).clamp(READ_MIN_BYTES, most)
    }

    /// So many bytes were read.
    pub fn spend(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether no further batch is to be read.
    pub fn is_read(&self) -> bool {
        self.bytes >= TURN_BYTES
    }

    /// Whether no further socket is to be read.
    pub fn is_over(&mut self) -> bool {
        if self.bytes - self.looked_at >= CLOCK_BYTES {
            self.looked_at = self.bytes;
            self.ran_out = self.start.elapsed() >= TURN_TIME;
        }
        self.ran_out
    }
}
