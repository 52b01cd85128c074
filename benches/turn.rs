//! What a turn consists of, one group per question: take apart what arrived, encode a broadcast once, queue it for every
//! member and write each member once, keep the time.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::connection::outbound::{Outbound, Owner};
use sockeye::connection::websocket::{Decoder, Limits};
use sockeye::engine::wheel::{Timer, TimerKind, Wheel};
use sockeye::rooms::RoomId;
use sockeye::rooms::members::{Member, Members, Memberships};
use sockeye::wire::prepared::Prepared;
use sockeye::wire::{http, socket, websocket};
use std::hint::black_box;

/// A message as clients send it.
const MESSAGE: &str = r#"42["message",{"text":"How are you today? I have been thinking about what you said.","roomId":"0a0a0a0a-0000-4000-8000-000000000001","userId":"0b0b0b0b-0000-4000-8000-000000000001","name":"Ada"}]"#;
/// A broadcast as members receive it.
const BROADCAST: &str = r#"["messageBroadcast",{"senderId":"0b0b0b0b-0000-4000-8000-000000000001","senderName":"Ada","text":"How are you today? I have been thinking about what you said.","roomId":"0a0a0a0a-0000-4000-8000-000000000001","serverId":"00000000-0000-0000-0000-000000000000","createdAt":1700000000000,"source":"socketio_client","id":"018bcfe5-6800-7000-8000-000000000001","thought":"","actions":[],"attachments":[],"channelId":"0a0a0a0a-0000-4000-8000-000000000001","messageServerId":"00000000-0000-0000-0000-000000000000"}]"#;
const REQUEST: &str = "GET /socket.io/?EIO=4&transport=polling&sid=KRZiqRZiZTLblX0YXXG3 HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: node\r\nAccept: */*\r\nOrigin: https://example.org\r\nConnection: keep-alive\r\n\r\n";

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("http head", |b| b.iter(|| http::parse_head(black_box(REQUEST.as_bytes())).is_ok()));
    let mut frame = vec![0x81, 0xfe];
    frame.extend_from_slice(&(MESSAGE.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[1, 2, 3, 4]);
    let mut payload = MESSAGE.as_bytes().to_vec();
    websocket::unmask(&mut payload, [1, 2, 3, 4]);
    frame.extend_from_slice(&payload);
    let limits = Limits { max_payload: 1_000_000, max_fragments: 1000 };
    let mut input = frame.clone();
    group.bench_function("websocket frame", |b| {
        b.iter(|| {
            input.copy_from_slice(&frame);
            let mut decoder = Decoder::new();
            decoder.next(black_box(&mut input), &limits).is_ok_and(|(message, _)| message.is_some())
        });
    });
    let mut text = MESSAGE.as_bytes()[1..].to_vec();
    group.bench_function("socket.io packet", |b| b.iter(|| socket::decode(black_box(&mut text)).is_ok()));
    group.finish();
}

fn prepare(c: &mut Criterion) {
    let mut group = c.benchmark_group("prepare");
    group.throughput(Throughput::Bytes(BROADCAST.len() as u64));
    group.bench_function("broadcast", |b| {
        b.iter(|| Prepared::event(|out| out.extend_from_slice(black_box(BROADCAST.as_bytes()))));
    });
    group.finish();
}

fn fanout(c: &mut Criterion) {
    let mut group = c.benchmark_group("fanout");
    let frame = Prepared::event(|out| out.extend_from_slice(BROADCAST.as_bytes()));
    for size in [1_u32, 10, 1_000, 10_000] {
        let mut out = Outbound::default();
        let mut members = Members::default();
        let id = RoomId::Name("room".into());
        let mut places: Vec<Memberships> = Vec::new();
        for slot in 0..size {
            let member = Member { socket: slot, sink: out.open(Owner::Connection(slot)) };
            let mut place = Memberships::new();
            members.join(&id, member, 0, &mut place);
            places.push(place);
        }
        let room = members.find(&id).expect("joined");
        for frames in [1, 32] {
            group.throughput(Throughput::Elements(u64::from(size) * frames));
            group.bench_function(BenchmarkId::new(format!("{frames} frames a turn"), size), |b| {
                b.iter(|| {
                    for _ in 0..frames {
                        members.deliver(room, &mut out, None, |bytes| frame.put(bytes));
                    }
                    let mut written = 0;
                    while let Some(sink) = out.next_dirty() {
                        out.flush(sink, &mut |slices| {
                            let bytes = slices.iter().map(|s| s.len()).sum();
                            written += bytes;
                            Ok(bytes)
                        });
                    }
                    out.end_turn();
                    written
                });
            });
        }
    }
    group.finish();
}

fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("10,000 heartbeats armed and fired", |b| {
        b.iter(|| {
            let mut wheel = Wheel::new(0);
            for slot in 0..10_000 {
                wheel.arm(25_000 + u64::from(slot % 100), Timer { kind: TimerKind::Heartbeat, slot, generation: 0 });
            }
            let mut due = Vec::new();
            wheel.advance(30_000, &mut due);
            due.len()
        });
    });
    group.finish();
}

criterion_group!(benches, decode, prepare, fanout, wheel);
criterion_main!(benches);
