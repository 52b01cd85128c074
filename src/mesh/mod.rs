//! Shard to shard: a bounded ring per ordered pair of shards, and a doorbell per shard.
//!
//! What one shard posts to another arrives in the order it was posted. A [`Port`] is one shard's end of all its rings.
//! Nothing here blocks: what a full ring does not take waits in a queue of the sender (*spill*), in order, and goes out
//! as the receiver makes room. The spill has no hard bound, since losing mail would break a room's order; its policy is
//! back-pressure: while anything is spilled the drivers of both shards read next to nothing but what is new, and
//! with a window's worth spilled the sender's reads and accepts nothing, so that it produces only what is needed to answer the
//! mail it has. The receiver's must hold back as well: its own clients make work for the sender that comes back as mail.
//!
//! Mail waits behind all mail before it, and an envelope may cost its receiver a microsecond or a millisecond. So a ring
//! is full with its *window*: what the receiver takes in two turns, as it has turned out. It begins small, since what is
//! coming may be costly, and becomes small again when there is little.

pub mod doorbell;
pub mod envelope;
pub mod ring;

use crate::shrink::Shrink;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

pub use doorbell::Doorbell;
pub use envelope::Envelope;
use ring::{Consumer, Producer, ring};

/// Shards of a process at most; a turn's recipients are bits of a `u64`.
pub const MAX_SHARDS: usize = 64;

/// Envelopes a ring holds in a server of up to eight shards: several turns' worth.
pub const RING_SLOTS: usize = 1024;

/// Envelopes a ring holds in a server of `shards`: with many, each ring gets less, and all together are to stay small.
pub fn ring_slots(shards: usize) -> usize {
    const LEAST: usize = 256;
    (8 * RING_SLOTS / shards.max(1)).next_power_of_two().clamp(LEAST, RING_SLOTS)
}

/// Envelopes taken per sender and turn.
const DRAIN_BUDGET: usize = 1024;

/// The smallest window.
const WINDOW_MIN: usize = 8;

/// The window at first, and again after a while with little mail.
const WINDOW_START: usize = 64;

/// What both ends of a ring know besides its contents.
struct Flow {
    /// The sender has more than the ring takes.
    starved: AtomicBool,
    /// Envelopes that may wait in the ring; the receiver's to change.
    window: AtomicUsize,
}

struct Outlet<T> {
    ring: Producer<T>,
    spill: VecDeque<T>,
    flow: Arc<Flow>,
}

struct Inlet<T> {
    ring: Consumer<T>,
    flow: Arc<Flow>,
}

/// One shard's end of the mesh.
pub struct Port<T> {
    index: usize,
    outlets: Vec<Option<Outlet<T>>>,
    inlets: Vec<Option<Inlet<T>>>,
    doorbells: Arc<[Doorbell]>,
    /// Shards to be woken at the end of the turn, one bit each.
    to_wake: u64,
    /// Whose envelopes are taken first.
    first: usize,
    /// Envelopes in all spills.
    spilled: usize,
    /// Envelopes that went through a spill since the start.
    spilled_total: u64,
}

/// The ports of `shards` shards (1 to [`MAX_SHARDS`]), each connected with every other. `ring_slots`: envelopes a ring holds,
/// a power of two.
pub fn mesh<T>(shards: usize, ring_slots: usize) -> io::Result<Vec<Port<T>>> {
    assert!((1..=MAX_SHARDS).contains(&shards), "1 to {MAX_SHARDS} shards");
    let doorbells = (0..shards).map(|_| Doorbell::new()).collect::<io::Result<Arc<[_]>>>()?;
    let mut ports: Vec<_> = (0..shards)
        .map(|index| Port {
            index,
            outlets: (0..shards).map(|_| None).collect(),
            inlets: (0..shards).map(|_| None).collect(),
            doorbells: Arc::clone(&doorbells),
            to_wake: 0,
            first: 0,
            spilled: 0,
            spilled_total: 0,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (producer, consumer) = ring(ring_slots);
            let flow = Arc::new(Flow { starved: AtomicBool::new(false), window: AtomicUsize::new(WINDOW_START) });
            let spill = VecDeque::new();
            ports[from].outlets[to] = Some(Outlet { ring: producer, spill, flow: Arc::clone(&flow) });
            ports[to].inlets[from] = Some(Inlet { ring: consumer, flow });
        }
    }
    Ok(ports)
}

impl<T> Inlet<T> {
    /// A turn has taken so many, and `had_time` for more: a smaller window, or a larger one if that was too small.
    fn adapt(&self, taken: usize, had_time: bool) {
        let window = self.flow.window.load(Ordering::Relaxed);
        let window = match had_time {
            false => (2 * taken).max(WINDOW_MIN),
            true if self.flow.starved.load(Ordering::Relaxed) => 2 * window,
            true if taken < window / 8 => (window / 2).max(window.min(WINDOW_START)),
            true => return,
        };
        self.flow.window.store(window.min(self.ring.slots()), Ordering::Relaxed);
    }
}

impl<T> Port<T> {
    /// Index of the shard.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.outlets.len()
    }

    /// The shard's own doorbell.
    pub fn doorbell(&self) -> &Doorbell {
        &self.doorbells[self.index]
    }

    /// The doorbells of all shards.
    pub fn doorbells(&self) -> &Arc<[Doorbell]> {
        &self.doorbells
    }

    /// Sends to shard `to`, which is another one.
    pub fn post(&mut self, to: usize, item: T) {
        let Some(outlet) = self.outlets.get_mut(to).and_then(Option::as_mut) else {
            unreachable!("shard {} posts to {to}, which is itself or no shard", self.index);
        };
        self.to_wake |= 1 << to;
        let item = if outlet.spill.is_empty() {
            match outlet.ring.push(item, outlet.flow.window.load(Ordering::Relaxed)) {
                Ok(()) => return,
                Err(item) => item,
            }
        } else {
            item
        };
        outlet.spill.push_back(item);
        self.spilled += 1;
        self.spilled_total += 1;
    }

    /// The end of a turn: refills the rings from the spills, then wakes each recipient that sleeps, once.
    pub fn flush(&mut self) {
        self.refill();
        let mut to_wake = std::mem::take(&mut self.to_wake);
        if to_wake != 0 {
            // Orders the pushes before the look at the sleeping flags; the pair is in `prepare_sleep`.
            fence(Ordering::SeqCst);
        }
        while to_wake != 0 {
            let to = to_wake.trailing_zeros() as usize;
            to_wake &= to_wake - 1;
            self.doorbells[to].ring_if_asleep();
        }
    }

    /// Moves what the rings take out of the spills. Returns whether anything moved.
    fn refill(&mut self) -> bool {
        if self.spilled == 0 {
            return false;
        }
        let mut moved = false;
        for (to, outlet) in self.outlets.iter_mut().enumerate() {
            let Some(outlet) = outlet else { continue };
            if outlet.spill.is_empty() {
                continue;
            }
            // Said before the try, so that a receiver that makes room after it sees it and wakes this shard.
            outlet.flow.starved.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let window = outlet.flow.window.load(Ordering::Relaxed);
            while let Some(item) = outlet.spill.pop_front() {
                if let Err(item) = outlet.ring.push(item, window) {
                    outlet.spill.push_front(item);
                    break;
                }
                self.spilled -= 1;
                self.to_wake |= 1 << to;
                moved = true;
            }
            if outlet.spill.is_empty() {
                outlet.flow.starved.store(false, Ordering::Relaxed);
            }
        }
        moved
    }

    /// Takes what has arrived, at most a budget per sender. `each` gets the sender and the item, per sender in order, and
    /// says whether to go on; after a stop it is the next sender's turn.
    pub fn drain(&mut self, mut each: impl FnMut(usize, T) -> bool) {
        let shards = self.inlets.len();
        let (mut goes_on, start) = (true, self.first);
        for from in (0..shards).map(|nth| (start + nth) % shards) {
            let Some(inlet) = self.inlets.get_mut(from).and_then(Option::as_mut) else { continue };
            let mut taken = 0;
            while goes_on && taken < DRAIN_BUDGET {
                let Some(item) = inlet.ring.pop() else { break };
                taken += 1;
                goes_on = each(from, item);
            }
            if taken > 0 {
                inlet.adapt(taken, goes_on);
                // Orders the pops and the window before the look at the flag; the pair is in `refill`.
                fence(Ordering::SeqCst);
                if inlet.flow.starved.load(Ordering::Relaxed) {
                    self.to_wake |= 1 << from;
                }
            }
            if !goes_on {
                self.first = (from + 1) % shards;
                return;
            }
        }
    }

    /// Whether others have more for this shard than its rings take, and it has not taken what these hold.
    pub fn is_behind(&self) -> bool {
        let is_starved = |inlet: &Inlet<T>| inlet.flow.starved.load(Ordering::Relaxed);
        self.inlets.iter().flatten().any(|inlet| is_starved(inlet) && !inlet.ring.is_empty())
    }

    /// Whether others have more to take from this shard than its rings hold: it must read next to nothing on where it
    /// stopped.
    pub fn is_congested(&self) -> bool {
        self.spilled > 0
    }

    /// Whether the shard must take no new work at all until others have taken what it posted.
    pub fn is_jammed(&self) -> bool {
        let is_full = |outlet: &Outlet<T>| outlet.spill.len() >= outlet.flow.window.load(Ordering::Relaxed);
        self.spilled > 0 && self.outlets.iter().flatten().any(is_full)
    }

    /// The smallest window of those to whom the shard posts.
    pub fn window(&self) -> usize {
        self.outlets
            .iter()
            .flatten()
            .map(|outlet| outlet.flow.window.load(Ordering::Relaxed))
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Gives back what spills needed.
    pub fn shrink(&mut self) {
        self.outlets.iter_mut().flatten().for_each(|outlet| outlet.spill.shrink());
    }

    /// Envelopes in this shard's spills.
    pub fn spilled(&self) -> usize {
        self.spilled
    }

    /// Envelopes that went through a spill since the start.
    pub fn spilled_total(&self) -> u64 {
        self.spilled_total
    }

    /// Whether nothing has arrived that was not taken.
    pub fn is_empty(&self) -> bool {
        self.inlets.iter().flatten().all(|inlet| inlet.ring.is_empty())
    }

    /// To be called before the shard blocks. `false`: there is something to do, do not block. `true`: whoever posts
    /// from here on rings the doorbell.
    pub fn prepare_sleep(&mut self) -> bool {
        self.doorbell().fall_asleep();
        // Orders the flag before the look at the rings; the pair is in `flush`.
        fence(Ordering::SeqCst);
        if self.is_empty() && !self.refill() {
            return true;
        }
        self.doorbell().awake();
        self.flush();
        false
    }
}

#[cfg(test)]
mod tests;
