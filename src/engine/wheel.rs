//! Timers of a shard: a hierarchical wheel, armed lazily and never cancelled.
//!
//! Whoever arms a timer checks, when it fires, whether it is still wanted; so arming is O(1), nothing is kept in the owner,
//! and hearing from a peer only moves a number.

use crate::shrink::Shrink;
use slab::Slab;

/// One tick in milliseconds: as fine as the deadlines, since conformance suites look a millisecond after one.
pub const TICK_MS: u64 = 1;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 5;

/// What a timer is about. `slot` and `generation` name the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Which deadline of the owner.
    pub kind: TimerKind,
    /// The owner's slot.
    pub slot: u32,
    /// The owner's generation.
    pub generation: u32,
}

/// The deadlines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// A connection's: a request, a response or a close that takes too long.
    Connection,
    /// A session's heartbeat.
    Heartbeat,
    /// A session's upgrade.
    Upgrade,
    /// A session's first Socket.IO CONNECT.
    Connect,
    /// A socket's that is away.
    Recovery,
    /// The drain's.
    Drain,
    /// What the application has to look after with a socket.
    Socket,
    /// The application's own.
    App,
}

/// A timer with the low bits of its tick, which is less than 2^30 ticks ahead, and the next one in its slot of the wheel.
/// Every session has one to three of them.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tick: u32,
    next: u32,
    timer: Timer,
}

// With what the slab needs, 24 bytes.
const _: () = assert!(size_of::<Entry>() == 20);

const NONE: u32 = u32::MAX;

/// The timers of a slot of the wheel, oldest first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

/// The wheel: `LEVELS` rings of 64 slots; a slot of ring `l` spans 64^l ticks. Reach: 64^5 ticks, about 12 days.
#[derive(Debug)]
pub struct Wheel {
    tick: u64,
    occupied: [u64; LEVELS],
    slots: [[List; SLOTS]; LEVELS],
    entries: Slab<Entry>,
}

impl Wheel {
    /// An empty wheel that stands at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { tick: now_ms / TICK_MS, occupied: [0; LEVELS], slots: [[EMPTY; SLOTS]; LEVELS], entries: Slab::new() }
    }

    /// Timers armed and not yet fired.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Arms `timer` to fire at `at_ms` or up to one tick later; never earlier.
    pub fn arm(&mut self, at_ms: u64, timer: Timer) {
        let reach = (1u64 << (BITS * LEVELS as u32)) - 1;
        let tick = at_ms.div_ceil(TICK_MS).clamp(self.tick + 1, self.tick + reach);
        let entry = self.entries.insert(Entry { tick: tick as u32, next: NONE, timer });
        self.place(tick, entry as u32);
    }

    /// Gives back what timers needed that have fired.
    pub fn shrink(&mut self) {
        self.entries.shrink();
    }

    /// An entry belongs to the ring of the highest digit in which its tick differs from the present one.
    fn place(&mut self, tick: u64, entry: u32) {
        let differing = tick ^ self.tick;
        let level = ((63 - (differing | 1).leading_zeros()) / BITS).min(LEVELS as u32 - 1) as usize;
        let slot = (tick >> (BITS * level as u32)) as usize % SLOTS;
        let (Some(occupied), Some(slots)) = (self.occupied.get_mut(level), self.slots.get_mut(level)) else { return };
        let Some(list) = slots.get_mut(slot) else { return };
        *occupied |= 1 << slot;
        match self.entries.get_mut(list.last as usize) {
            Some(last) => last.next = entry,
            None => list.first = entry,
        }
        list.last = entry;
    }

    /// Moves on to `now_ms` and appends every timer due to `due`, in order of ticks.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<Timer>) {
        let target = now_ms / TICK_MS;
        while self.tick < target {
            let Some(next) = self.next_tick().filter(|&t| t <= target) else {
                self.tick = target;
                return;
            };
            self.tick = next;
            self.cascade(due);
        }
    }

    /// Empties the slots that the present tick opens, highest ring first.
    fn cascade(&mut self, due: &mut Vec<Timer>) {
        for level in (0..LEVELS).rev() {
            let slot = (self.tick >> (BITS * level as u32)) as usize % SLOTS;
            let (Some(occupied), Some(slots)) = (self.occupied.get_mut(level), self.slots.get_mut(level)) else {
                return;
            };
            *occupied &= !(1 << slot);
            let list = slots.get_mut(slot).map(|list| std::mem::replace(list, EMPTY));
            let mut at = list.unwrap_or(EMPTY).first;
            while let Some(entry) = self.entries.get_mut(at as usize) {
                let (this, ahead) = (at, u64::from(entry.tick.wrapping_sub(self.tick as u32)));
                at = std::mem::replace(&mut entry.next, NONE);
                if ahead == 0 {
                    due.push(entry.timer);
                    self.entries.try_remove(this as usize);
                } else {
                    self.place(self.tick + ahead, this);
                }
            }
        }
    }

    /// When [`Wheel::advance`] has something to do next, in milliseconds; `None` when nothing is armed.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.next_tick().map(|t| t * TICK_MS)
    }

    /// The next tick at which a slot of some ring opens.
    fn next_tick(&self) -> Option<u64> {
        let mut next: Option<u64> = None;
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let here = (self.tick >> shift) % SLOTS as u64;
            // The slot of the present digit is empty but for entries a whole turn of the ring ahead.
            let ahead = u64::from(occupied.rotate_right(here as u32 + 1).trailing_zeros()) + 1;
            let tick = ((self.tick >> shift) + ahead) << shift;
            next = Some(next.map_or(tick, |n: u64| n.min(tick)));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(slot: u32) -> Timer {
        Timer { kind: TimerKind::App, slot, generation: 0 }
    }

    #[test]
    fn fires_never_early_and_at_most_one_tick_late() {
        let mut state = 0x9e37_79b9_u64;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        // The low bits of a tick begin anew on the way.
        let mut now = (1 << 32) - 100_000;
        let mut wheel = Wheel::new(now);
        let mut deadlines = Vec::new();
        let mut fired = 0;
        for round in 0..20_000 {
            for _ in 0..random(3) {
                let span = [10, 300, 5_000, 70_000, 2_000_000][random(5) as usize];
                let at = now + random(span);
                wheel.arm(at, timer(deadlines.len() as u32));
                deadlines.push(Some(at));
            }
            if round % 10 == 0 {
                wheel.shrink();
            }
            let before = now;
            now = match wheel.deadline_ms() {
                Some(at) if round % 2 == 0 => at.max(now),
                _ => now + random(40),
            };
            let mut due = Vec::new();
            wheel.advance(now, &mut due);
            for timer in due {
                let at = deadlines[timer.slot as usize].take().expect("fires once");
                assert!(at <= now, "early: {at} at {now}");
                assert!(at + 2 * TICK_MS > before, "late: {at} was due before {before}");
                fired += 1;
            }
        }
        assert!(fired > 5_000 && now > 1 << 32);
        assert_eq!(wheel.len(), deadlines.iter().flatten().count());
    }

    #[test]
    fn deadline_is_none_when_nothing_is_armed() {
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.deadline_ms(), None);
        wheel.arm(5, timer(1));
        assert_eq!(wheel.deadline_ms(), Some(5));
        let mut due = Vec::new();
        wheel.advance(5, &mut due);
        assert_eq!(due, [timer(1)]);
        assert!(wheel.is_empty());
    }
}
