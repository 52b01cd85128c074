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
/// Bytes after which it reads no further socket while shards cannot take what they post to one another. A turn takes no more
/// mail than a ring holds; if it read more than that, all mail would wait behind a growing queue.
const BEHIND_BYTES: usize = 64 * 1024;
/// Time for what earlier turns left unread, however long the rest took.
const REST_TIME: Duration = Duration::from_millis(2);
/// Bytes between two looks at the clock.
const CLOCK_BYTES: usize = 16 * 1024;
/// Bytes that a read counts for besides those it took: a few may be costly to take, those of a TLS handshake for example.
const READ_BYTES: usize = 2 * 1024;

/// What the present turn has read.
pub struct Budget {
    end: Instant,
    bytes: usize,
    /// Bytes after which no further socket is read.
    most: usize,
    /// Bytes and reads since the last look at the clock, in bytes.
    unseen: usize,
    /// The last turn ran out of time.
    hurried: bool,
    ran_out: bool,
}

impl Budget {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self { end: Instant::now() + TURN_TIME, bytes: 0, most: usize::MAX, unseen: 0, hurried: false, ran_out: false }
    }

    /// A turn begins. `is_behind`: shards cannot take what they post to one another.
    pub fn begin(&mut self, is_behind: bool) {
        let most = if is_behind { BEHIND_BYTES } else { usize::MAX };
        *self = Self { most, hurried: self.ran_out || is_behind, ..Self::new() };
    }

    /// What is left of the turn is for what earlier turns left unread.
    pub fn begin_rest(&mut self) {
        if self.is_out_of_time() || self.is_read() {
            self.end = Instant::now() + REST_TIME;
            (self.bytes, self.unseen) = (0, 0);
        }
    }

    /// What one read may take while so many sockets are ready.
    pub fn share(&self, ready: usize) -> usize {
        let most = if self.hurried { READ_MIN_BYTES } else { SCRATCH_BYTES };
        (TURN_BYTES / ready.max(1)).clamp(READ_MIN_BYTES, most)
    }

    /// So many bytes were read at once.
    pub fn spend(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.unseen += bytes + READ_BYTES;
    }

    /// Whether no further batch is to be read.
    pub fn is_read(&self) -> bool {
        self.bytes >= TURN_BYTES.min(self.most)
    }

    /// Whether no further socket is to be read.
    pub fn is_over(&mut self) -> bool {
        self.bytes >= self.most || (self.unseen >= CLOCK_BYTES && self.is_out_of_time())
    }

    fn is_out_of_time(&mut self) -> bool {
        self.unseen = 0;
        let is_out = Instant::now() >= self.end;
        self.ran_out |= is_out;
        is_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_a_few_bytes_run_out_of_time_as_well_and_leave_some_for_the_rest() {
        let mut budget = Budget::new();
        std::thread::sleep(TURN_TIME);
        let reads = (1..).find(|_| {
            budget.spend(300);
            budget.is_over()
        });
        assert!(reads.is_some_and(|reads| reads <= 8), "{reads:?}");
        budget.begin_rest();
        assert!(!budget.is_over() && !budget.is_read());
        budget.begin(false);
        assert_eq!(budget.share(1), READ_MIN_BYTES, "the next turn hurries");
        budget.begin(true);
        budget.spend(BEHIND_BYTES);
        assert!(budget.is_over() && budget.is_read());
        budget.begin_rest();
        assert!(!budget.is_over() && !budget.is_read());
    }
}
