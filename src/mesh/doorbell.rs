//! How a sleeping shard is woken: an eventfd behind a flag, so that an awake shard costs its senders no system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// One shard's doorbell. Any thread may ring it; only the shard itself sleeps.
#[derive(Debug)]
pub struct Doorbell {
    event: OwnedFd,
    asleep: AtomicBool,
}

impl Doorbell {
    /// A doorbell of a shard that is awake.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the shard if it sleeps. The caller has put what is to be seen in place, with a `SeqCst` fence after it.
    pub fn ring_if_asleep(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Wakes the shard, whatever it does.
    pub fn ring(&self) {
        // The one error possible, EAGAIN, says that the counter is full: the shard will wake.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// From here on [`Self::ring_if_asleep`] rings.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
    }

    /// The shard is awake: nobody needs to ring.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Makes the doorbell's descriptor unreadable again.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
