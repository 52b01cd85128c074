//! What it costs to pass mail from one shard to another: one end posts a turn's worth and flushes, the other drains.
//! Both ends are on one thread, so these are the instructions; on two cores the cache lines' way and, when the receiver
//! sleeps, its waking come on top.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::mesh::{Port, RING_SLOTS, mesh};
use std::hint::black_box;
use std::sync::Arc;

/// Mail of a turn: one envelope, what a ring holds, and more than that, so that some of it spills.
const PER_TURN: [u64; 4] = [1, 32, 256, 1_024];

fn post_and_drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("mesh");
    let frame: Arc<[u8]> = vec![b'x'; 475].into();
    for per_turn in PER_TURN {
        group.throughput(Throughput::Elements(per_turn));
        group.bench_function(BenchmarkId::new("post, flush, drain", per_turn), |b| {
            let mut ports: Vec<Port<Arc<[u8]>>> = mesh(2, RING_SLOTS).expect("two doorbells");
            let mut receiver = ports.pop().expect("the second of two");
            let mut sender = ports.pop().expect("the first of two");
            b.iter(|| {
                for _ in 0..per_turn {
                    sender.post(1, Arc::clone(&frame));
                }
                let mut received = 0;
                // A spill goes out as the receiver makes room.
                while received < per_turn {
                    sender.flush();
                    receiver.drain(|from, frame| {
                        black_box((from, frame));
                        received += 1;
                        true
                    });
                    receiver.flush();
                }
                received
            });
        });
    }
    group.finish();
}

criterion_group!(benches, post_and_drain);
criterion_main!(benches);
