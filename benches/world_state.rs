//! What the state of rooms costs: the time of a `world-state`, and the memory of a room.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::app::Stamp;
use sockeye::app::broadcast::Draft;
use sockeye::app::events::{Form, Message};
use sockeye::app::history::Item;
use sockeye::app::world::{Bounds, World};
use sockeye::app::world_state::{RoomState, put};
use sockeye::rooms::RoomId;
use std::hint::black_box;
use uuid::Uuid;

const HISTORY: u64 = 50;
const MEMBERS: u64 = 10;
const TEXT: &str = "How are you today? I have been thinking about what you said.";

fn room(n: u64) -> RoomId {
    RoomId::Uuid(Uuid::from_u128(u128::from(n) << 64))
}

/// A world of rooms that each have had `HISTORY` messages of `MEMBERS` people.
fn world(rooms: u64) -> World {
    let bounds =
        Bounds { rooms: 1_000_000, history_len: HISTORY as usize, room_bytes: usize::MAX, history_bytes: usize::MAX };
    let mut world = World::new(bounds, Uuid::nil());
    for n in 0..rooms {
        for created_at in 1..=HISTORY {
            let sender = Uuid::from_u128(u128::from(created_at % MEMBERS));
            let stamp = Stamp { id: Uuid::from_u128(u128::from(n * HISTORY + created_at)), created_at };
            let message = Message {
                room: room(n),
                server: Uuid::nil(),
                sender,
                name: "Ada",
                text: TEXT,
                source: "socketio_client",
                thought: "",
                actions: None,
                attachments: None,
                message_id: None,
                dm: None,
                form: Form::Flat,
            };
            let opened = world.open(&room(n), created_at, |room| {
                room.seen(sender, created_at).name = "Ada".into();
                room.ordered(stamp);
                room.slot()
            });
            let slot = opened.expect("there is a place for every room");
            let broadcast = Draft::new(&message).finish(stamp);
            world.store(slot, Item { stamp, sender, object: broadcast.object(), extra: None });
        }
    }
    world
}

fn told(world: &mut World, rooms: u64, out: &mut Vec<u8>) {
    let states: Vec<RoomState> =
        (0..rooms).filter_map(|n| world.read(&room(n)).map(|room| RoomState::of(room, usize::MAX, |_| true))).collect();
    put(out, &states, None, 0);
}

fn world_state(c: &mut Criterion) {
    let mut group = c.benchmark_group("world-state");
    for rooms in [1, 10] {
        let mut world = world(rooms);
        let mut out = Vec::new();
        told(&mut world, rooms, &mut out);
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(BenchmarkId::new("full rooms", rooms), |b| {
            b.iter(|| {
                out.clear();
                told(&mut world, black_box(rooms), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

/// Prints what rooms add to the resident memory of the process.
fn memory(_: &mut Criterion) {
    const ROOMS: u64 = 1_000;
    let before = resident_bytes();
    let world = world(ROOMS);
    let each = resident_bytes().saturating_sub(before) / ROOMS;
    let history = world.counters().history_bytes / ROOMS;
    println!("memory: {ROOMS} rooms of {HISTORY} messages: {each} bytes a room, {history} of them counted as history");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    1024 * line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number of kB")
}

criterion_group!(benches, memory, world_state);
criterion_main!(benches);
