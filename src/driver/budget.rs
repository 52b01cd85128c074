//! What a turn may read, and take of other shards' mail, before it lets others have theirs.

use std::time::{Duration, Instant};

use crate::shard::seam::Pending;

/// Bytes of the one buffer that everything is read into, and the most one read takes.
pub const SCRATCH_BYTES: usize = 64 * 1024;
/// What a read takes at least, however many sockets are ready.
const READ_MIN_BYTES: usize = 4 * 1024;
/// What the first read of a visit takes at most after a turn that ran out of time, since a few bytes may cost much and what
/// was read must be taken; twice as much after each turn that did not.
const GLANCE_BYTES: usize = 256;
/// Bytes after which a visit that began so is over if the connection has just become ready.
const HURRIED_BYTES: usize = 2 * 1024;
/// Time after which it is over if earlier turns left something: what is there is to be read up sometime.
const VISIT_TIME: Duration = Duration::from_micros(500);
/// Bytes after which a turn reads no further batch of sockets; each batch shares them among its sockets.
const TURN_BYTES: usize = 1024 * 1024;
/// Time after which it reads no further socket: what costs much to take must not delay for long what others wait for.
const TURN_TIME: Duration = Duration::from_millis(5);
/// Time for what earlier turns left unread, however long the rest took.
const REST_TIME: Duration = Duration::from_millis(2);
/// Time for mail, however long reading took.
const MAIL_TIME: Duration = Duration::from_millis(5);
/// Bytes between two looks at the clock.
const CLOCK_BYTES: usize = 16 * 1024;
/// Bytes that a read counts for besides those it took: a few may be costly to take, those of a TLS handshake for example.
const READ_BYTES: usize = 2 * 1024;
/// Envelopes between two looks at the clock.
const CLOCK_MAIL: u32 = 4;
/// Bytes queued for clients, each recipient's counted, after which no further socket is read and no further mail is taken.
/// They are written at the end of the turn: a few bytes for a room of thousands cost nothing to take, and tens of
/// milliseconds then.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// The same for reading while there is mail, which would wait for as long again otherwise.
const QUEUED_SHARE_BYTES: usize = QUEUED_BYTES / 2;
/// What may be queued for what earlier turns left unread, and for mail, however much the rest has queued.
const QUEUED_REST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes queued, here or at last by those who take its mail, after which a visit is over.
const QUEUED_VISIT_BYTES: usize = QUEUED_BYTES / 128;

/// What the present turn has read and taken.
pub struct Budget {
    end: Instant,
    bytes: usize,
    /// Bytes and reads since the last look at the clock, in bytes.
    unseen: usize,
    /// Envelopes taken.
    taken: u32,
    /// Once this much is pending, there is to be no more.
    most: Pending,
    /// Bytes that may be pending when the turn ends.
    full: usize,
    /// Envelopes that others take in two turns. Reading posts at most half of them in a turn, one visit half of that, and what
    /// earlier turns left unread may always post an eighth.
    window: usize,
    /// The most the first read of a visit takes.
    first_bytes: usize,
    ran_out: bool,
}

impl Budget {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self {
            end: Instant::now() + TURN_TIME,
            bytes: 0,
            unseen: 0,
            taken: 0,
            most: Pending { bytes: QUEUED_BYTES, mail: usize::MAX, mail_bytes: usize::MAX },
            full: QUEUED_BYTES,
            window: usize::MAX,
            first_bytes: SCRATCH_BYTES,
            ran_out: false,
        }
    }

    /// A turn begins. `window`: envelopes that others take in two turns; `hurries`: shards have more for one another than
    /// they take; `has_mail`: some waits for this shard.
    pub fn begin(&mut self, window: usize, hurries: bool, has_mail: bool, pending: Pending) {
        let first_bytes =
            if self.ran_out || hurries { GLANCE_BYTES } else { (2 * self.first_bytes).min(SCRATCH_BYTES) };
        let bytes = pending.bytes + if has_mail { QUEUED_SHARE_BYTES } else { QUEUED_BYTES };
        let most = Pending { bytes, mail: pending.mail.saturating_add(window / 2), mail_bytes: usize::MAX };
        *self = Self { most, full: pending.bytes + QUEUED_BYTES, window, first_bytes, ..Self::new() };
    }

    /// What is left of the turn's reading is for what earlier turns left unread.
    pub fn begin_rest(&mut self, pending: Pending) {
        if self.is_out_of_time() || self.is_read() {
            self.end = Instant::now() + REST_TIME;
            (self.bytes, self.unseen) = (0, 0);
        }
        self.most.bytes = self.most.bytes.max(pending.bytes + QUEUED_REST_BYTES);
        self.most.mail = self.most.mail.max(pending.mail.saturating_add((self.window / 8).max(1)));
    }

    /// What one connection may be read now while so many are. `is_rest`: of what earlier turns left.
    pub fn visit(&self, connections: usize, is_rest: bool, pending: Pending) -> Visit {
        let share = (TURN_BYTES / connections.max(1)).clamp(READ_MIN_BYTES, SCRATCH_BYTES);
        let (left, end) = match (self.first_bytes < SCRATCH_BYTES, is_rest) {
            (false, _) => (share, None),
            (true, false) => (HURRIED_BYTES, None),
            (true, true) => (SCRATCH_BYTES, Some(Instant::now() + VISIT_TIME)),
        };
        Visit {
            left,
            next: self.first_bytes.min(left),
            end,
            most: Pending {
                bytes: pending.bytes + QUEUED_VISIT_BYTES,
                mail: pending.mail.saturating_add((self.window / 4).max(1)),
                mail_bytes: pending.mail_bytes + QUEUED_VISIT_BYTES,
            },
        }
    }

    /// So many bytes were read at once.
    pub fn spend(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.unseen += bytes + READ_BYTES;
    }

    /// Whether no further batch is to be read.
    pub fn is_read(&self) -> bool {
        self.bytes >= TURN_BYTES
    }

    /// Whether no further socket is to be read.
    pub fn is_over(&mut self, pending: Pending) -> bool {
        let is_full = pending.reaches(self.most);
        self.ran_out |= is_full;
        is_full || (self.unseen >= CLOCK_BYTES && self.is_out_of_time())
    }

    /// An envelope was taken. Returns whether there is time for another one.
    pub fn has_time_for_mail(&mut self, pending: Pending) -> bool {
        if self.taken == 0 {
            self.end = Instant::now() + MAIL_TIME;
            self.most.bytes = self.full.max(pending.bytes + QUEUED_REST_BYTES);
        }
        self.taken += 1;
        let is_full = pending.bytes >= self.most.bytes;
        self.ran_out |= is_full;
        !is_full && (!self.taken.is_multiple_of(CLOCK_MAIL) || !self.is_out_of_time())
    }

    /// Whether so much is pending that it is to be flushed without further delay.
    pub fn is_full(pending: Pending) -> bool {
        pending.bytes >= QUEUED_BYTES
    }

    fn is_out_of_time(&mut self) -> bool {
        self.unseen = 0;
        let is_out = Instant::now() >= self.end;
        self.ran_out |= is_out;
        is_out
    }
}

/// One connection's part of a turn. It is one read as long as turns have time for everything. Else it goes on, read after
/// read, until it has cost its share: whoever sends to a large room is read less than others, and whoever sends what costs
/// little catches up at once.
pub struct Visit {
    left: usize,
    next: usize,
    end: Option<Instant>,
    most: Pending,
}

impl Visit {
    /// Bytes that the next read may take; 0: the visit is over.
    pub fn next(&self) -> usize {
        self.next
    }

    /// So many bytes were read and taken.
    pub fn spend(&mut self, bytes: usize, pending: Pending) {
        self.left = self.left.saturating_sub(bytes);
        let is_over = pending.reaches(self.most) || self.end.is_some_and(|end| Instant::now() >= end);
        self.next = if is_over { 0 } else { (2 * self.next).min(self.left) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Pending = Pending { bytes: 0, mail: 0, mail_bytes: 0 };

    fn first(budget: &Budget) -> usize {
        budget.visit(1, false, NOTHING).next()
    }

    #[test]
    fn reads_of_a_few_bytes_run_out_of_time_as_well_and_leave_some_for_the_rest() {
        let mut budget = Budget::new();
        std::thread::sleep(TURN_TIME);
        let reads = (1..).find(|_| {
            budget.spend(300);
            budget.is_over(NOTHING)
        });
        assert!(reads.is_some_and(|reads| reads <= 8), "{reads:?}");
        budget.begin_rest(NOTHING);
        assert!(!budget.is_over(NOTHING) && !budget.is_read());
        budget.begin(usize::MAX, false, false, NOTHING);
        assert_eq!(first(&budget), GLANCE_BYTES, "the next turn hurries");
        budget.begin(usize::MAX, false, false, NOTHING);
        assert_eq!(first(&budget), 2 * GLANCE_BYTES, "the one after it less");
        budget.begin(usize::MAX, true, false, NOTHING);
        assert_eq!(first(&budget), GLANCE_BYTES);
    }

    #[test]
    fn a_visit_is_one_read_or_ends_with_what_it_has_cost() {
        let reads = |mut visit: Visit, pending: Pending| {
            let mut reads = Vec::new();
            while visit.next() > 0 {
                reads.push(visit.next());
                visit.spend(visit.next(), pending);
            }
            reads
        };
        let mut budget = Budget::new();
        budget.begin(256, false, false, NOTHING);
        assert_eq!(reads(budget.visit(1, true, NOTHING), NOTHING), [SCRATCH_BYTES]);
        budget.begin(256, true, false, NOTHING);
        let rest = |end: Duration| {
            let visit = budget.visit(1, true, NOTHING);
            Visit { end: visit.end.map(|_| Instant::now() + end), ..visit }
        };
        let long = Duration::from_secs(9);
        let cheap = Pending { bytes: 1_000, mail: 1, mail_bytes: 1_000 };
        assert_eq!(reads(budget.visit(1, false, NOTHING), cheap).iter().sum::<usize>(), HURRIED_BYTES);
        assert_eq!(reads(rest(long), cheap).iter().sum::<usize>(), SCRATCH_BYTES);
        assert_eq!(reads(rest(Duration::ZERO), cheap), [GLANCE_BYTES]);
        for costly in [
            Pending { bytes: QUEUED_VISIT_BYTES, ..NOTHING },
            Pending { mail: 64, ..NOTHING },
            Pending { mail_bytes: QUEUED_VISIT_BYTES, ..NOTHING },
        ] {
            assert_eq!(reads(rest(long), costly), [GLANCE_BYTES]);
            assert_eq!(reads(budget.visit(1, false, NOTHING), costly), [GLANCE_BYTES]);
        }
    }

    #[test]
    fn what_is_to_be_written_and_posted_ends_a_turn_as_well() {
        let mut budget = Budget::new();
        let full = Pending { bytes: QUEUED_BYTES, ..NOTHING };
        for (pending, is_over) in [(NOTHING, false), (Pending { mail: 8, ..NOTHING }, true), (full, true)] {
            budget.begin(16, false, false, NOTHING);
            assert_eq!(budget.is_over(pending), is_over, "{pending:?}");
        }
        // Each part of the turn gets its own.
        budget.begin_rest(full);
        assert!(!budget.is_over(Pending { mail: 1, ..full }) && budget.is_over(Pending { mail: 8, ..full }));
        budget.begin_rest(Pending { mail: 8, ..NOTHING });
        assert!(!budget.is_over(Pending { mail: 9, ..NOTHING }) && budget.is_over(Pending { mail: 10, ..NOTHING }));
        assert!(!budget.is_over(full) && budget.has_time_for_mail(full));
        assert!(!budget.has_time_for_mail(Pending { bytes: 2 * QUEUED_BYTES, ..NOTHING }));
    }

    #[test]
    fn reading_leaves_half_of_a_turn_to_mail_that_waits() {
        let mut budget = Budget::new();
        budget.begin(usize::MAX, false, true, NOTHING);
        let half = Pending { bytes: QUEUED_SHARE_BYTES, ..NOTHING };
        assert!(budget.is_over(half) && budget.has_time_for_mail(half));
        assert!(!budget.has_time_for_mail(Pending { bytes: QUEUED_BYTES, ..NOTHING }));
    }

    #[test]
    fn mail_runs_out_of_time() {
        let mut budget = Budget::new();
        assert!(budget.has_time_for_mail(NOTHING));
        std::thread::sleep(MAIL_TIME);
        let more = (1..).find(|_| !budget.has_time_for_mail(NOTHING));
        assert!(more.is_some_and(|more| more <= CLOCK_MAIL), "{more:?}");
        budget.begin(usize::MAX, false, false, NOTHING);
        assert_eq!(first(&budget), GLANCE_BYTES, "the next turn hurries");
    }
}
