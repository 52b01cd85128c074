//! What a message costs a shard in all, without the kernel: frames in, one turn, frames out.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::app::{Agents, AgentsSettings};
use sockeye::config::Config;
use sockeye::driver::Allocator;
use sockeye::engine::{Now, Settings};
use sockeye::server::{Shared, settings};
use sockeye::shard::{ConnectionKey, Core, Handover, Routes, Security, Shard, Wire};
use sockeye::socket::{Sockets, recovery};
use sockeye::wire::websocket::unmask;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const MASK: [u8; 4] = [1, 2, 3, 4];
const UPGRADE: &[u8] =
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Takes everything, and counts it.
#[derive(Default)]
struct Sink {
    bytes: usize,
}

impl<M> Wire<M> for Sink {
    fn send(&mut self, _: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = black_box(slices).iter().map(|slice| slice.len()).sum();
        self.bytes += taken;
        Ok(taken)
    }
    fn set_reading(&mut self, _: ConnectionKey, _: bool) {}
    fn shutdown(&mut self, _: ConnectionKey) {}
    fn close(&mut self, _: ConnectionKey, _: bool) {}
    fn hand_over(&mut self, _: ConnectionKey, _: usize, _: Handover) {}
    fn post(&mut self, _: usize, _: M) {}
}

/// A shard with its connected clients.
struct Loaded {
    shard: Shard<Sockets<Agents>>,
    now: Now,
    clients: Vec<ConnectionKey>,
}

impl Loaded {
    fn new(rooms: u32, members: u32) -> Self {
        let now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 };
        let settings = Settings {
            // No client answers pings here.
            ping_interval_ms: u64::from(u32::MAX),
            ..settings(&Config::default(), 0, 1, Shared::default())
        };
        let routes = Routes { socket_io: "/socket.io/".into(), bare: None, call_body_max: 1 << 20 };
        let mut seed = 1_u8;
        let entropy = Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                seed = seed.wrapping_mul(101).wrapping_add(37);
                *byte = seed;
            }
        });
        // Small, so that what is measured is the steady state.
        let recovery = recovery::Settings { window_ms: 120_000, max_bytes: 1 << 17 };
        let sockets = Sockets::new(Agents::new(AgentsSettings::default(), 1), 0, 1, 1_000_000, recovery);
        let shard = Shard::new(settings, routes, sockets, entropy, now.mono_ms);
        let mut loaded = Self { shard, now, clients: Vec::new() };
        for room in 0..rooms {
            for _ in 0..members {
                loaded.connect(room);
            }
        }
        loaded
    }

    fn accept(&mut self) -> ConnectionKey {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.shard.accepted(address, Security::Plain, self.now).expect("a place for the connection")
    }

    fn connect(&mut self, room: u32) {
        let key = self.accept();
        self.shard.received(key, &mut UPGRADE.to_vec(), self.now);
        self.shard.received(key, &mut frame("40"), self.now);
        self.shard.received(key, &mut frame(&format!(r#"42["join",{{"roomId":"{}"}}]"#, room_id(room))), self.now);
        self.shard.flush(&mut Sink::default(), self.now);
        self.clients.push(key);
    }

    /// One turn: every `step`-th client sends its frame. Returns the bytes sent.
    fn turn(&mut self, frames: &[Vec<u8>], scratch: &mut [u8], step: usize) -> usize {
        self.now.mono_ms += 1;
        self.now.unix_ms += 1;
        for (&client, frame) in self.clients.iter().zip(frames).step_by(step) {
            let scratch = &mut scratch[..frame.len()];
            scratch.copy_from_slice(frame);
            self.shard.received(client, scratch, self.now);
        }
        self.shard.tick(self.now);
        let mut sink = Sink::default();
        self.shard.flush(&mut sink, self.now);
        sink.bytes
    }
}

fn room_id(room: u32) -> String {
    format!("0a0a0a0a-0000-4000-8000-{room:012}")
}

/// A masked text frame.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = match text.len() {
        len @ 0..126 => vec![0x81, 0x80 | len as u8],
        len => [&[0x81, 0x80 | 126], &(len as u16).to_be_bytes()[..]].concat(),
    };
    frame.extend_from_slice(&MASK);
    let mut payload = text.as_bytes().to_vec();
    unmask(&mut payload, MASK);
    frame.extend_from_slice(&payload);
    frame
}

/// One message to each of 100 rooms in a turn, with an acknowledgement, a broadcast and a completion.
fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    const ROOMS: u32 = 100;
    for members in [1, 10, 100] {
        let mut loaded = Loaded::new(ROOMS, members);
        let text = |n: u32| {
            format!(
                r#"420["message",{{"text":"How are you today? I have been thinking.","roomId":"{}","userId":"{}","name":"Ada"}}]"#,
                room_id(n / members),
                room_id(n)
            )
        };
        let frames: Vec<_> = (0..ROOMS * members).map(|n| frame(&text(n))).collect();
        let mut scratch = vec![0; 1024];
        let sent = loaded.turn(&frames, &mut scratch, members as usize);
        assert!(sent > (ROOMS * members * 450) as usize, "every member gets a broadcast");
        group.throughput(Throughput::Elements(ROOMS.into()));
        group.bench_function(BenchmarkId::new("members of the room", members), |b| {
            b.iter(|| loaded.turn(&frames, &mut scratch, members as usize));
        });
        assert_eq!(loaded.turn(&frames, &mut scratch, members as usize), sent, "to the end");
    }
    group.finish();
}

/// One `request-world-state` in a turn, of a room with ten members and all the history that is kept.
fn world_state(c: &mut Criterion) {
    const MEMBERS: u32 = 10;
    const HISTORY: u32 = 50;
    let mut loaded = Loaded::new(1, MEMBERS);
    let text = |n: u32| {
        format!(
            r#"42["message",{{"text":"How are you today? I have been thinking about what you said.","roomId":"{}","userId":"{}","name":"Ada"}}]"#,
            room_id(0),
            room_id(n)
        )
    };
    let messages: Vec<_> = (0..MEMBERS).map(|n| frame(&text(n))).collect();
    let mut scratch = vec![0; 1024];
    for _ in 0..HISTORY / MEMBERS {
        loaded.turn(&messages, &mut scratch, 1);
    }
    let asked = [frame(&format!(r#"42["request-world-state",{{"roomId":"{}"}}]"#, room_id(0)))];
    let sent = loaded.turn(&asked, &mut scratch, 1);
    assert!(sent > (HISTORY * 400) as usize, "{sent} bytes are not the whole history");
    let mut group = c.benchmark_group("request-world-state");
    group.throughput(Throughput::Bytes(sent as u64));
    group.bench_function("full room", |b| b.iter(|| loaded.turn(&asked, &mut scratch, 1)));
    assert_eq!(loaded.turn(&asked, &mut scratch, 1), sent, "to the end");
    group.finish();
}

/// A client that connects, joins, sends a message, receives it and closes: a turn for each.
fn cycle(c: &mut Criterion) {
    let mut loaded = Loaded::new(0, 0);
    let join = format!(r#"420["join",{{"roomId":"{}"}}]"#, room_id(0));
    let message = format!(
        r#"42["message",{{"text":"How are you today? I have been thinking.","roomId":"{}","userId":"{}","name":"Ada"}}]"#,
        room_id(0),
        room_id(1)
    );
    let close = vec![0x88, 0x80, 1, 2, 3, 4];
    let steps = [UPGRADE.to_vec(), frame("40"), frame(&join), frame(&message), close];
    let mut scratch = vec![0; 1024];
    let mut cycle = || {
        loaded.clients = vec![loaded.accept()];
        let sent: usize = steps
            .iter()
            .map(|step| loaded.turn(std::slice::from_ref(step), &mut scratch, 1))
            .filter(|&n| n > 0)
            .count();
        assert_eq!((sent, loaded.shard.engine().connection_count()), (steps.len(), 0), "a step is not answered");
    };
    c.bench_function("cycle", |b| b.iter(&mut cycle));
}

criterion_group!(benches, message, world_state, cycle);
criterion_main!(benches);
