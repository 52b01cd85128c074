//! A bounded queue from one thread to another (single producer, single consumer), without locks.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count on a cache line of its own, so that the two ends do not slow one another.
#[repr(align(128))]
struct Count(AtomicUsize);

struct Shared<T> {
    /// A power of two of them. Those numbered `popped..pushed` (modulo their number) hold a value.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Items ever pushed; written by the producer only.
    pushed: Count,
    /// Items ever popped; written by the consumer only.
    popped: Count,
}

// SAFETY: the slots are the only part that is not `Sync` by itself. The counts give each slot one owner at a time: the
// producer before it stores `pushed`, the consumer after it has loaded that and until it stores `popped`. A value is
// moved from one thread to another, which needs `T: Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, number: usize) -> *mut MaybeUninit<T> {
        self.slots[number & (self.slots.len() - 1)].get()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (popped, pushed) = (*self.popped.0.get_mut(), *self.pushed.0.get_mut());
        let mut number = popped;
        while number != pushed {
            // SAFETY: both ends are gone, so this thread owns every slot, and `popped..pushed` hold a value.
            unsafe { (*self.slot(number)).assume_init_drop() };
            number = number.wrapping_add(1);
        }
    }
}

/// The sending end.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// The producer's own copy of `shared.pushed`.
    pushed: usize,
    /// `shared.popped` when last looked at; the truth can only be higher.
    popped: usize,
}

/// The receiving end.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The consumer's own copy of `shared.popped`.
    popped: usize,
    /// `shared.pushed` when last looked at; the truth can only be higher.
    pushed: usize,
}

/// A ring of `capacity` items, which is a power of two.
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two(), "a capacity of {capacity} is no power of two");
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        pushed: Count(AtomicUsize::new(0)),
        popped: Count(AtomicUsize::new(0)),
    });
    let producer = Producer { shared: Arc::clone(&shared), pushed: 0, popped: 0 };
    (producer, Consumer { shared, popped: 0, pushed: 0 })
}

impl<T> Producer<T> {
    /// Appends `item`, or gives it back: the ring is full, or holds `most` already.
    pub fn push(&mut self, item: T, most: usize) -> Result<(), T> {
        let most = most.min(self.shared.slots.len());
        if self.pushed.wrapping_sub(self.popped) >= most {
            self.popped = self.shared.popped.0.load(Ordering::Acquire);
            if self.pushed.wrapping_sub(self.popped) >= most {
                return Err(item);
            }
        }
        // SAFETY: fewer than `slots.len()` items lie between `popped` and `pushed`, so the consumer has given this slot
        // back (the load above acquired that) and will not look at it before `pushed` is stored below. There is one
        // producer and it is borrowed mutably, so nobody else writes.
        unsafe { (*self.shared.slot(self.pushed)).write(item) };
        self.pushed = self.pushed.wrapping_add(1);
        self.shared.pushed.0.store(self.pushed, Ordering::Release);
        Ok(())
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        if self.popped == self.pushed {
            self.pushed = self.shared.pushed.0.load(Ordering::Acquire);
            if self.popped == self.pushed {
                return None;
            }
        }
        // SAFETY: `popped != pushed`, so the producer has filled this slot (the load above acquired that) and will not
        // touch it before `popped` is stored below. There is one consumer and it is borrowed mutably, so the value is
        // read once.
        let item = unsafe { (*self.shared.slot(self.popped)).assume_init_read() };
        self.popped = self.popped.wrapping_add(1);
        self.shared.popped.0.store(self.popped, Ordering::Release);
        Some(item)
    }

    /// Items the ring can hold.
    pub fn slots(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether there is nothing to take now.
    pub fn is_empty(&self) -> bool {
        self.popped == self.shared.pushed.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn items_come_out_in_order_and_a_full_ring_gives_them_back() {
        let (mut producer, mut consumer) = ring(4);
        for round in 0..5 {
            for item in 0..4 {
                assert_eq!(producer.push(round * 4 + item, 4), Ok(()));
            }
            assert_eq!(producer.push(99, usize::MAX), Err(99));
            assert!(!consumer.is_empty());
            for item in 0..4 {
                assert_eq!(consumer.pop(), Some(round * 4 + item));
            }
            assert!(consumer.pop().is_none() && consumer.is_empty());
        }
    }

    #[test]
    fn what_is_left_is_dropped_once() {
        let item = Arc::new(());
        let (mut producer, mut consumer) = ring(8);
        for _ in 0..6 {
            producer.push(Arc::clone(&item), 8).unwrap();
        }
        drop(consumer.pop());
        assert_eq!(Arc::strong_count(&item), 6);
        drop((producer, consumer));
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn two_threads_lose_double_and_reorder_nothing() {
        let count: u64 = if cfg!(miri) { 500 } else { 1_000_000 };
        let (mut producer, mut consumer) = ring(16);
        let sender = thread::spawn(move || {
            for number in 0..count {
                // Boxed, so that a value read twice or torn is a crash and not a number.
                let mut item = Box::new(number);
                while let Err(back) = producer.push(item, 16) {
                    item = back;
                    thread::yield_now();
                }
            }
        });
        for expected in 0..count {
            let item = loop {
                match consumer.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*item, expected);
        }
        sender.join().unwrap();
        assert!(consumer.pop().is_none());
    }
}
