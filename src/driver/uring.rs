//! The driver on io_uring: a tokio-uring runtime per shard.
//!
//! Reading goes through the shard's own epoll set, watched as one descriptor of the runtime: an idle connection then
//! costs no task and no buffer, and the set hands over everything that is ready at once. Writing is a plain nonblocking
//! `send`, which measures the same as a send by the ring. The ring does the waiting for all else: for connections to
//! accept, for other shards' doorbells, and for room in blocked connections, one operation in flight for each.
//!
//! These are polls (`IORING_OP_POLL_ADD`), not accepts, reads or writes. tokio-uring cannot cancel an operation, dropping
//! it only loses its result: an accept in flight when a limit strikes takes a connection that nobody serves, a dropped
//! write sends bytes twice or never. A poll takes nothing, so nothing can be lost, and may be dropped at any time. What
//! it does hold is the open file: see `Connections::part` for the close of a connection with a poll in flight.
//!
//! tokio-uring gives operations to the kernel only when the runtime parks. So a shard that always finds something ready
//! awaits a no-op after [`TURNS_MAX`] turns, which parks, and accepts unasked.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::connections::Watcher;
use super::pump::Pump;
use super::{Counters, Seat};
use crate::shard::seam::{ConnectionKey, Core};

/// Entries of the submission queue. Fuller than that, it is given to the kernel at once.
const ENTRIES: u32 = 4096;

/// Turns without a park, while there is always something ready.
const TURNS_MAX: u32 = 4;

/// Oldest kernel that tokio-uring supports.
const KERNEL_MIN: (u32, u32) = (5, 11);

/// Why io_uring cannot be used here.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tries whether the kernel lets this process use io_uring.
pub fn probe() -> Result<(), Refusal> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if version(&release).is_none_or(|version| version < KERNEL_MIN) {
        let (major, minor) = KERNEL_MIN;
        return Err(Refusal(format!("kernel {release} is older than {major}.{minor}")));
    }
    let tried = ring_builder().and_then(|builder| {
        let ring = builder.build(ENTRIES)?;
        // The other call the ring needs; a sandbox may refuse it alone.
        ring.submit().map(|_| ())
    });
    tried.map_err(|error| {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
        explain(&error, disabled.trim())
    })
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn explain(error: &io::Error, disabled: &str) -> Refusal {
    let why = match (error.raw_os_error().map(rustix::io::Errno::from_raw_os_error), disabled) {
        (Some(rustix::io::Errno::PERM), "1" | "2") => {
            format!("kernel.io_uring_disabled is {disabled}")
        }
        (Some(rustix::io::Errno::PERM), _) => "a sandbox (seccomp) forbids it".to_owned(),
        (Some(rustix::io::Errno::NOSYS), _) => "the kernel lacks it, or a sandbox (seccomp) hides it".to_owned(),
        (Some(rustix::io::Errno::NOMEM), _) => "the locked-memory limit (ulimit -l) is too low".to_owned(),
        _ => "it cannot be set up".to_owned(),
    };
    Refusal(format!("{why}: {error}"))
}

/// The best set-up this kernel knows: only this thread submits (6.0), completions do not interrupt it (5.19).
fn ring_builder() -> io::Result<io_uring::Builder> {
    let plain = tokio_uring::uring_builder();
    let mut coop = plain.clone();
    coop.setup_coop_taskrun();
    let mut single = coop.clone();
    single.setup_single_issuer();
    for builder in [single, coop] {
        match builder.build(2) {
            Ok(_) => return Ok(builder),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Ok(plain)
}

/// Runs a shard until it is drained.
pub fn run<C: Core>(core: C, seat: Seat<C::Mail>, ready: impl FnOnce()) -> io::Result<Counters> {
    let mut pump = Pump::new(core, seat, Watcher::Ring)?;
    let mut builder = tokio_uring::builder();
    builder.entries(ENTRIES).uring_builder(&ring_builder()?);
    // `Builder::start` would panic where this fails.
    let runtime = tokio_uring::Runtime::new(&builder)?;
    ready();
    runtime.block_on(drive(&mut pump))?;
    Ok(pump.finish())
}

async fn drive<C: Core>(pump: &mut Pump<C>) -> io::Result<()> {
    let mut sleeper = Sleeper::new(pump)?;
    let mut turns = 0;
    loop {
        let sleep_ms = pump.sleep_ms();
        if sleep_ms > 0 {
            sleeper.sleep(pump, sleep_ms).await?;
            turns = 0;
        } else if turns == TURNS_MAX {
            tokio_uring::no_op().await?;
            // Whether a listener is ready is looked at in a sleep only.
            pump.set_acceptable();
            turns = 0;
        }
        turns += 1;
        sleeper.gather(pump);
        pump.collect(0)?;
        if !pump.turn()? {
            return Ok(());
        }
        sleeper.watch_blocked(pump);
    }
}

/// A poll by the ring, of which only the end matters: whoever waited tries again, and sees any error itself.
struct Ready;

impl OneshotOutputTransform for Ready {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _: cqueue::Entry) {}
}

type RingPoll = InFlightOneshot<(), Ready>;

/// Asks the ring to say when `fd` is ready. The descriptor must stay open until it does.
fn ring_poll(fd: impl AsFd, events: PollFlags) -> RingPoll {
    let fd = types::Fd(fd.as_fd().as_raw_fd());
    let entry = opcode::PollAdd::new(fd, u32::from(events.bits())).build();
    UnsubmittedOneshot::new((), Ready, entry).submit()
}

/// Blocked connections for which the ring has found room.
#[derive(Default)]
struct Room {
    keys: Vec<ConnectionKey>,
    sleeper: Option<Waker>,
}

/// All that can end a shard's sleep.
struct Sleeper {
    set: AsyncFd<Rc<OwnedFd>>,
    timer: Pin<Box<Sleep>>,
    /// A poll of each listener.
    accepts: Vec<Option<RingPoll>>,
    doorbell: Option<RingPoll>,
    room: Rc<RefCell<Room>>,
    /// The ring says that there is something to accept.
    acceptable: bool,
    /// The ring says that the doorbell rang.
    rang: bool,
}

impl Sleeper {
    fn new<C: Core>(pump: &Pump<C>) -> io::Result<Self> {
        Ok(Self {
            // SAFETY: the set stays open, under the same number, as long as there is an `Rc` of it, and the `AsyncFd`
            // holds one.
            set: unsafe { AsyncFd::register_with_interest(Rc::clone(pump.set()), Interest::READABLE) }
                .map_err(|error| error.into_parts().1)?,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            accepts: pump.listeners().map(|_| None).collect(),
            doorbell: None,
            room: Rc::default(),
            acceptable: false,
            rang: false,
        })
    }

    /// Sleeps until something is ready, at most `sleep_ms`.
    async fn sleep<C: Core>(&mut self, pump: &mut Pump<C>, sleep_ms: u64) -> io::Result<()> {
        let jammed = pump.is_jammed();
        self.doorbell.get_or_insert_with(|| ring_poll(pump.doorbell(), PollFlags::IN));
        for (listener, accept) in pump.listeners().zip(&mut self.accepts) {
            if let (Some(listener), None) = (listener, &accept) {
                *accept = Some(ring_poll(listener, PollFlags::IN));
            }
        }
        let deadline = Instant::now() + Duration::from_millis(sleep_ms);
        // A timer that is due earlier stays: it costs one needless turn at most, resetting it costs every turn.
        if self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        poll_fn(|context| self.poll(context, jammed)).await
    }

    /// A jammed shard is woken by its doorbell and its timers only.
    fn poll(&mut self, context: &mut Context<'_>, jammed: bool) -> Poll<io::Result<()>> {
        self.rang |= is_over(&mut self.doorbell, context);
        for accept in &mut self.accepts {
            self.acceptable |= is_over(accept, context);
        }
        let mut awake = self.rang | self.timer.as_mut().poll(context).is_ready();
        if !jammed {
            let mut room = self.room.borrow_mut();
            room.sleeper = Some(context.waker().clone());
            awake |= self.acceptable || !room.keys.is_empty();
            if let Poll::Ready(guard) = self.set.poll_read_ready(context) {
                // Before the set is asked, so that whatever becomes ready after that counts again.
                guard?.clear_ready();
                awake = true;
            }
        }
        if awake { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Gives the pump what the ring has found.
    fn gather<C: Core>(&mut self, pump: &mut Pump<C>) {
        if std::mem::take(&mut self.rang) {
            pump.doorbell().silence();
        }
        if std::mem::take(&mut self.acceptable) {
            pump.set_acceptable();
        }
        for key in self.room.borrow_mut().keys.drain(..) {
            pump.watched(key);
        }
    }

    /// Has the ring watch the connections that blocked in this turn.
    fn watch_blocked<C: Core>(&mut self, pump: &mut Pump<C>) {
        for key in pump.take_blocked() {
            let Some(socket) = pump.socket(key) else {
                continue;
            };
            let poll = ring_poll(socket, PollFlags::OUT);
            let room = Rc::clone(&self.room);
            tokio_uring::spawn(async move {
                poll.await;
                let mut room = room.borrow_mut();
                room.keys.push(key);
                if let Some(sleeper) = room.sleeper.take() {
                    sleeper.wake();
                }
            });
        }
    }
}

/// Whether the poll has ended; it is gone then.
fn is_over(poll: &mut Option<RingPoll>, context: &mut Context<'_>) -> bool {
    let over = poll.as_mut().is_some_and(|poll| Pin::new(poll).poll(context).is_ready());
    if over {
        *poll = None;
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_refusal_says_why() {
        for (errno, disabled, expected) in [
            (Errno::PERM, "2", "kernel.io_uring_disabled is 2"),
            (Errno::PERM, "0", "seccomp"),
            (Errno::NOSYS, "", "the kernel lacks it"),
            (Errno::NOMEM, "0", "ulimit -l"),
            (Errno::MFILE, "0", "cannot be set up"),
        ] {
            let Refusal(text) = explain(&errno.into(), disabled);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn kernels_are_compared_by_number() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.4.0"), Some((5, 4)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert!(version("5.4.0") < Some(KERNEL_MIN) && version("5.11.0-rc1") >= Some(KERNEL_MIN));
        assert_eq!(version("weird"), None);
    }
}
