//! Order, spilling and waking between ports.

use super::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::thread;

fn rings(doorbell: &Doorbell) -> bool {
    let mut fds = [PollFd::new(doorbell, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn two() -> (Port<u64>, Port<u64>) {
    let mut ports = mesh(2, RING_SLOTS).unwrap();
    let second = ports.pop().unwrap();
    (ports.pop().unwrap(), second)
}

/// As [`two`], with a window as after much cheap mail: the ring takes all it has room for.
fn two_open() -> (Port<u64>, Port<u64>) {
    let (a, b) = two();
    b.inlets[0].as_ref().unwrap().flow.window.store(RING_SLOTS, Ordering::Relaxed);
    (a, b)
}

#[test]
fn rings_of_many_shards_are_smaller() {
    let slots = [1, 2, 8, 16, 32, MAX_SHARDS].map(ring_slots);
    assert_eq!(slots, [1024, 1024, 1024, 512, 256, 256]);
}

#[test]
fn a_full_ring_spills_and_keeps_the_order() {
    let (mut a, mut b) = two_open();
    let count = RING_SLOTS as u64 * 3;
    for number in 0..count {
        a.post(1, number);
    }
    a.flush();
    assert_eq!(a.spilled(), RING_SLOTS * 2);
    assert_eq!(a.spilled_total(), count - RING_SLOTS as u64);
    let mut got = Vec::new();
    while got.len() < count as usize {
        b.drain(|from, number| {
            assert_eq!(from, 0);
            got.push(number);
            true
        });
        b.flush();
        a.flush();
    }
    assert!(got.iter().copied().eq(0..count));
    assert_eq!(a.spilled(), 0);
}

#[test]
fn only_a_sleeping_shard_is_woken_and_only_once_a_turn() {
    let (mut a, mut b) = two();
    a.post(1, 1);
    a.flush();
    assert!(!rings(b.doorbell()), "an awake shard was woken");
    assert!(!b.prepare_sleep(), "a shard with mail must not sleep");
    b.drain(|_, _| true);
    assert!(b.prepare_sleep());
    a.post(1, 2);
    a.post(1, 3);
    assert!(!rings(b.doorbell()), "woken before the end of the turn");
    a.flush();
    assert!(rings(b.doorbell()));
    b.doorbell().silence();
    a.post(1, 4);
    a.flush();
    assert!(!rings(b.doorbell()), "woken twice");
}

#[test]
fn a_sender_asleep_on_a_spill_is_woken_by_room() {
    let (mut a, mut b) = two_open();
    for number in 0..=RING_SLOTS as u64 {
        a.post(1, number);
    }
    a.flush();
    assert!(a.prepare_sleep(), "nothing can move yet");
    b.drain(|_, _| true);
    b.flush();
    assert!(rings(a.doorbell()));
    a.flush();
    let mut last = None;
    b.drain(|_, number| {
        last = Some(number);
        true
    });
    assert_eq!((a.spilled(), last), (0, Some(RING_SLOTS as u64)));
}

#[test]
fn a_shard_reads_less_while_anything_is_spilled_and_nothing_with_a_window_of_it() {
    let (mut a, mut b) = two();
    for number in 0..2 * WINDOW_START {
        assert_eq!((a.is_congested(), a.is_jammed()), (number > WINDOW_START, false));
        a.post(1, number as u64);
    }
    a.flush();
    assert!(a.is_congested() && a.is_jammed() && b.is_behind());
    b.drain(|_, _| true);
    a.flush();
    assert!(!a.is_congested() && !a.is_jammed() && !b.is_behind());
}

#[test]
fn what_may_wait_is_what_two_turns_take() {
    let (mut a, mut b) = two_open();
    let fill = |a: &mut Port<u64>| {
        (0..RING_SLOTS as u64).for_each(|number| a.post(1, number));
        a.flush();
    };
    let take = |b: &mut Port<u64>, most: usize| {
        let mut taken = 0;
        b.drain(|_, _| {
            taken += 1;
            taken < most
        });
        taken
    };
    fill(&mut a);
    for (most, window) in [(100, 200), (1, WINDOW_MIN), (100, 200)] {
        assert_eq!((take(&mut b, most), a.window()), (most, window));
    }
    // No more goes in until fewer wait.
    let spilled = a.spilled();
    (0..3).for_each(|_| fill(&mut a));
    assert!(a.spilled() > spilled + 2 * RING_SLOTS);
    for window in [400, 800, RING_SLOTS] {
        take(&mut b, usize::MAX);
        assert_eq!(a.window(), window);
        a.flush();
    }
    // With little mail it is as at first.
    while !b.is_empty() || a.spilled() > 0 {
        take(&mut b, usize::MAX);
        a.flush();
    }
    for _ in 0..6 {
        a.post(1, 0);
        take(&mut b, usize::MAX);
    }
    assert_eq!(a.window(), WINDOW_START);
}

#[test]
fn a_turn_that_stops_leaves_the_next_one_to_the_next_sender() {
    let mut ports = mesh(3, RING_SLOTS).unwrap();
    for from in [0, 1] {
        (0..3).for_each(|number| ports[from].post(2, number));
        ports[from].flush();
    }
    let mut taken = Vec::new();
    for _ in 0..6 {
        ports[2].drain(|from, number| {
            taken.push((from, number));
            false
        });
    }
    assert_eq!(taken, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
}

#[test]
fn a_turn_takes_a_bounded_number_per_sender() {
    let (mut a, mut b) = two_open();
    let (mut taken, mut posted) = (0, 0);
    // A sender that refills while the receiver drains is what the budget is for.
    let mut top_up = |a: &mut Port<u64>| {
        for _ in 0..RING_SLOTS {
            a.post(1, posted);
            posted += 1;
        }
        a.flush();
    };
    top_up(&mut a);
    b.drain(|_, _| {
        taken += 1;
        if taken % RING_SLOTS == 0 {
            top_up(&mut a);
        }
        true
    });
    assert_eq!(taken, DRAIN_BUDGET);
    assert!(!b.is_empty());
}

/// Three threads, every pair busy both ways, all sleeping whenever they can: a lost wake-up hangs this test.
#[test]
fn no_wake_up_is_lost() {
    const COUNT: u64 = 20_000;
    let threads: Vec<_> =
        mesh::<u64>(3, RING_SLOTS).unwrap().into_iter().map(|port| thread::spawn(move || chat(port, COUNT))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn chat(mut port: Port<u64>, count: u64) {
    let (own, shards) = (port.index(), port.shards());
    let mut expected = vec![0; shards];
    let mut sent = 0;
    let done = |expected: &[u64]| expected.iter().enumerate().all(|(from, &n)| from == own || n == count);
    while sent < count || !done(&expected) || port.spilled() > 0 {
        for _ in 0..(sent % 700).min(count - sent).max(u64::from(sent < count)) {
            for to in (0..shards).filter(|&to| to != own) {
                port.post(to, sent);
            }
            sent += 1;
        }
        port.drain(|from, number| {
            assert_eq!(number, expected[from]);
            expected[from] += 1;
            true
        });
        port.flush();
        if sent == count && !(done(&expected) && port.spilled() == 0) && port.prepare_sleep() {
            let mut fds = [PollFd::new(port.doorbell(), PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap(), 1, "never woken");
            port.doorbell().awake();
            port.doorbell().silence();
        }
    }
}
