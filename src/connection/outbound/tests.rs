use super::*;

/// A sink with `count` ranges of `len` bytes each, no two of them next to one another, and the bytes.
fn scattered(count: usize, len: usize) -> (Outbound, SinkKey, Vec<u8>) {
    let mut out = Outbound::default();
    let sink = out.open(Owner::Connection(0));
    let batches = [out.open_batch(), out.open_batch()];
    let mut expected = Vec::new();
    for n in 0..count {
        let bytes = vec![n as u8; len];
        let batch = batches[n % 2];
        let range = out.append(batch, |out| out.extend_from_slice(&bytes));
        out.push(sink, batch, range);
        expected.extend_from_slice(&bytes);
    }
    (out, sink, expected)
}

/// Flushes into a socket that takes `room` bytes each time; returns what it took.
fn flush(out: &mut Outbound, sink: SinkKey, room: usize) -> (Flushed, Vec<u8>) {
    let mut taken = Vec::new();
    let flushed = out.flush(sink, &mut |slices| {
        assert!(slices.len() <= SLICES_MAX);
        let before = taken.len();
        for slice in slices {
            let left = room - (taken.len() - before);
            taken.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        Ok(taken.len() - before)
    });
    (flushed, taken)
}

#[test]
fn more_ranges_than_one_write_takes_are_written_in_several() {
    for count in [1, 2, SLICES_MAX, SLICES_MAX + 1, 3 * SLICES_MAX + 7] {
        let (mut out, sink, expected) = scattered(count, 100);
        assert_eq!(flush(&mut out, sink, usize::MAX), (Flushed::All, expected), "{count} ranges");
        assert!(out.is_idle(sink));
    }
}

#[test]
fn what_a_crowd_needed_is_given_back_and_nothing_that_waits() {
    let mut out = Outbound::default();
    for _ in 0..100 {
        out.open_batch();
    }
    out.end_turn();
    let crowd: Vec<_> = (0..10_000).map(|n| out.open(Owner::Connection(n))).collect();
    let shared = out.open_batch();
    for &sink in &crowd {
        let range = out.append(shared, |out| out.extend_from_slice(&[7; 20]));
        out.push(sink, shared, range);
        out.put(sink, |out| out.extend_from_slice(&[8; 20]));
    }
    crowd[1..].iter().for_each(|&sink| out.close(sink));
    out.shrink();
    assert!(out.batches.len() == 2 && out.sinks.capacity() < 10_000);
    assert_eq!(flush(&mut out, crowd[0], usize::MAX), (Flushed::All, [[7; 20], [8; 20]].concat()));
    out.end_turn();
    out.shrink();
    let bytes = out.batches.iter().map(|batch| batch.capacity()).sum::<usize>();
    assert!(bytes <= 16 * 1024 && out.batches.len() == 1, "{bytes} bytes");
    assert!(out.entries.capacity() < 10_000 && out.dirty.capacity() < 10_000);
}

#[test]
fn what_a_socket_does_not_take_waits_for_it_and_outlives_the_turn() {
    const ROOM: usize = 12_345;
    let (mut out, sink, expected) = scattered(3 * SLICES_MAX, 100);
    let (mut flushed, mut taken) = flush(&mut out, sink, ROOM);
    while flushed != Flushed::All {
        assert_eq!(flushed, Flushed::Blocked(expected.len() - taken.len()));
        out.end_turn();
        let (next, more) = flush(&mut out, sink, ROOM);
        (flushed, taken) = (next, [taken, more].concat());
    }
    assert!(taken == expected && out.is_idle(sink));
}
