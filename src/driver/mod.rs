//! The only place that names tokio, tokio-uring and sockets: feeds a [`Core`] with what the kernel has, and does what
//! it asks for.
//!
//! Both drivers run the same turn (`pump`) over the same epoll set and differ in how a shard sleeps: `epoll` blocks in
//! the set itself, `uring` in a tokio-uring runtime whose ring watches the rest.

pub mod accept;
mod budget;
mod chores;
mod clock;
mod connections;
mod epoll;
mod gate;
mod loads;
mod memory;
mod pump;
#[cfg(test)]
pub mod tests;
mod uring;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use clock::now;
pub use loads::Loads;
pub use memory::Allocator;
pub use uring::{Refusal, probe as probe_uring};

use crate::mesh::{Doorbell, Envelope, MAX_SHARDS, Port, mesh, ring_slots};
use crate::metrics::Series;
use crate::shard::seam::{Core, Security, Snapshot};

/// How a shard asks the kernel for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Uring,
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections of all shards together.
    pub max_connections: u32,
    /// New connections go from a clearly fuller shard to the least loaded.
    pub balance_least: bool,
    /// Delay of a flush, to merge more into it.
    pub flush_window_ms: u64,
    /// Time from [`Control::drain`] to the end, whatever is left.
    pub drain_limit_ms: u64,
    /// Shards report while they run, not only at their end.
    pub reports: bool,
}

/// What all shards and their starter share.
#[derive(Debug)]
pub struct Control {
    loads: Arc<Loads>,
    doorbells: Arc<[Doorbell]>,
    draining: AtomicBool,
    /// One bit for each shard that is drained.
    drained: AtomicU64,
    reports: Box<[Mutex<Report>]>,
}

impl Control {
    /// Begins the orderly end of all shards.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    /// Connections of all shards.
    pub fn connections(&self) -> u32 {
        self.loads.total()
    }

    /// The last report of each shard, at most a second old if the shard did anything since.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.iter().map(|report| lock(report).clone()).collect()
    }

    fn report(&self, shard: usize, report: Report) {
        *lock(&self.reports[shard]) = report;
    }

    /// Whether the orderly end has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Notes whether `shard` is drained. Returns whether all are; they are woken to see it.
    fn set_drained(&self, shard: usize, drained: bool) -> bool {
        let bit = 1 << shard;
        let all = u64::MAX >> (MAX_SHARDS - self.doorbells.len());
        let before = if drained {
            self.drained.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.drained.fetch_and(!bit, Ordering::AcqRel)
        };
        if drained && before | bit == all {
            if before != all {
                self.doorbells.iter().for_each(Doorbell::ring);
            }
            return true;
        }
        false
    }
}

/// Where a shard accepts connections.
#[derive(Debug)]
pub struct Listener {
    pub socket: OwnedFd,
    /// What its connections are.
    pub security: Security,
}

/// What a shard's thread is given.
pub struct Seat<M> {
    port: Port<Envelope<M>>,
    listeners: Vec<Listener>,
    control: Arc<Control>,
    options: Options,
}

impl<M> Seat<M> {
    /// Index of the shard.
    pub fn index(&self) -> usize {
        self.port.index()
    }
}

/// A seat for each element of `listeners`, which are those of one shard; all are connected; and what controls them.
pub fn seats<M>(listeners: Vec<Vec<Listener>>, options: Options) -> io::Result<(Vec<Seat<M>>, Arc<Control>)> {
    let ports = mesh(listeners.len(), ring_slots(listeners.len()))?;
    let control = Arc::new(Control {
        loads: Arc::new(Loads::new(listeners.len(), options.max_connections)),
        doorbells: Arc::clone(ports[0].doorbells()),
        draining: AtomicBool::new(false),
        drained: AtomicU64::new(0),
        reports: (0..listeners.len()).map(|_| Mutex::default()).collect(),
    });
    let seats = ports
        .into_iter()
        .zip(listeners)
        .map(|(port, listeners)| Seat { port, listeners, control: Arc::clone(&control), options })
        .collect();
    Ok((seats, control))
}

/// What a shard's driver did, from start to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Passes of the loop.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections passed on by the balance right after their accept.
    pub balanced: u64,
    /// Connections taken over from other shards.
    pub adopted: u64,
    /// Connections closed at once: a limit was reached.
    pub refused: u64,
    /// Times the system had no room for another connection.
    pub accept_rests: u64,
    /// Envelopes that did not fit a ring and waited.
    pub spilled: u64,
}

impl Counters {
    fn series(&self) -> Vec<Series> {
        let Self { turns, accepted, balanced, adopted, refused, accept_rests, spilled } = *self;
        vec![
            Series::counter("turns_total", "Passes of the loop.", turns),
            Series::counter("accepted_total", "Connections accepted.", accepted),
            Series::counter("balanced_total", "Connections passed on by the balance.", balanced),
            Series::counter("taken_over_total", "Connections taken over from other shards.", adopted),
            Series::counter("refused_total", "Connections reset at once: a limit was reached.", refused),
            Series::counter("accept_rests_total", "Times the system had no room for a connection.", accept_rests),
            Series::counter("spilled_total", "Envelopes that did not fit a ring and waited.", spilled),
        ]
    }
}

/// What a shard and its driver did and have.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub driver: Counters,
    pub shard: Snapshot,
}

impl Report {
    /// All values, in one order for all shards.
    pub fn series(&self) -> Vec<Series> {
        let mut all = self.shard.series();
        all.extend(self.driver.series());
        all
    }
}

/// A report is whole whatever became of its writer.
fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a shard on this thread until all shards are drained. `ready` is called when all is set up, before the first turn.
///
/// # Errors
/// The driver cannot be set up (before anything is accepted), or the kernel fails it in a way that cannot be survived.
pub fn run<C: Core>(driver: Driver, core: C, seat: Seat<C::Mail>, ready: impl FnOnce()) -> io::Result<Counters> {
    match driver {
        Driver::Epoll => epoll::run(core, seat, ready),
        Driver::Uring => uring::run(core, seat, ready),
    }
}
