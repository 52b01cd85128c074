//! A room in use beside whatever else happens: 20 messages a second to a WebSocket member and a polling member.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::rooms::{join, member, message, uuid};
use crate::common::{Client, Packet, Server, Via};

const PERIOD: Duration = Duration::from_millis(50);
const LAST: &str = "last";
/// Far above what is promised (100 ms, 250 ms under floods), since tests share their cores with others; far below what
/// a shard that is held up would show.
const P99_MS: u128 = 1_000;

/// Runs `attack` while the room is in use. Nothing may be lost, doubled, reordered or late.
pub fn beside<R>(server: &Server, attack: impl FnOnce() -> R) -> R {
    let (room, over) = (uuid(), AtomicBool::new(false));
    let (room, over, start) = (room.as_str(), &over, Instant::now());
    thread::scope(|scope| {
        let readers = [Via::WebSocket, Via::Polling].map(|via| {
            let reader = member(server, via, room);
            (via, scope.spawn(move || read(reader, start)))
        });
        let sender = scope.spawn(move || send(server, room, over, start));
        let result = attack();
        over.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender of the room");
        for (via, reader) in readers {
            let mut latencies = reader.join().expect("a reader of the room");
            assert_eq!(latencies.len(), sent, "{via:?}");
            latencies.sort_unstable();
            let p99 = latencies[latencies.len() * 99 / 100];
            eprintln!("{via:?}: {sent} messages, p99 {p99} ms ({})", server.label);
            assert!(p99 <= P99_MS, "{via:?}: p99 is {p99} ms");
        }
        result
    })
}

/// Sends until told to stop. Returns how many messages.
fn send(server: &Server, room: &str, over: &AtomicBool, start: Instant) -> usize {
    let mut sender = Client::connect(server, Via::WebSocket);
    join(&mut sender, room);
    let user = uuid();
    for n in 0.. {
        let is_last = over.load(Ordering::Relaxed) && n > 10;
        let text = if is_last { LAST.to_owned() } else { format!("{n} {}", start.elapsed().as_millis()) };
        sender.emit("message", message(room, &user, &text));
        if is_last {
            return n;
        }
        let next = Instant::now() + PERIOD;
        while sender.session.recv_within(next.saturating_duration_since(Instant::now())).is_some() {}
    }
    unreachable!("the loop ends with the last message")
}

/// Reads up to the last message. Returns how long each took, in milliseconds.
fn read(mut reader: Client, start: Instant) -> Vec<u128> {
    let mut latencies = Vec::new();
    loop {
        let packet = reader.session.recv();
        let Packet::Text(packet) = packet else { panic!("unexpected {packet:?}") };
        let Some((_, after)) = packet.split_once(r#"["messageBroadcast","#) else { continue };
        let (_, text) = after.split_once(r#""text":""#).expect("a text");
        let text = text.split('"').next().unwrap_or("");
        if text == LAST {
            return latencies;
        }
        let (n, sent_ms) = text.split_once(' ').expect("a number and a time");
        assert_eq!(n.parse(), Ok(latencies.len()), "lost, doubled or reordered");
        let sent_ms: u128 = sent_ms.parse().expect("a time");
        latencies.push(start.elapsed().as_millis().saturating_sub(sent_ms));
    }
}
