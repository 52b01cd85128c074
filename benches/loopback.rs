//! End to end over real sockets: a running server with one shard, and clients that wait for every delivery in turn. What is
//! measured is the time of both sides together; `sockeye bench` and `benches/compare.sh` tell them apart.

#[path = "../tests/common/mod.rs"]
mod common;

use common::Server;
use common::websocket::{Frame, upgrade_request};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::wire::websocket::split_server_frame;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The flags of the server: one shard, not pinned to the core the clients are on, no heartbeat in between.
const FLAGS: &[&str] = &["--workers", "1", "--pin", "off", "--ping-interval", "1h"];
const ROOM: &str = "0a0a0a0a-0000-4000-8000-000000000001";
const TEXT: &str = "How are you today? I have been thinking about what you said.";
const BROADCAST: &[u8] = b"42[\"messageBroadcast\"";

/// A client that has joined a room.
struct Member {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` received and not yet looked at.
    filled: usize,
}

impl Member {
    fn join(server: &Server, room: &str) -> Self {
        let stream = TcpStream::connect(server.addr()).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut member = Self { stream, buffer: vec![0; 64 * 1024], filled: 0 };
        member.write(format!("{}\r\n", upgrade_request("/socket.io/?EIO=4&transport=websocket")).as_bytes());
        member.skip_head();
        member.wait_for(b"0{");
        member.send("40");
        member.wait_for(b"40{");
        member.send(&format!(r#"420["join",{{"roomId":"{room}"}}]"#));
        member.wait_for(b"430[{\"ok\":true");
        member
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    fn send(&mut self, packet: &str) {
        self.write(&Frame::text(packet).masked());
    }

    fn receive(&mut self) {
        let received = self.stream.read(&mut self.buffer[self.filled..]).expect("the connection stays");
        assert!(received > 0, "the server closed the connection, or a frame is longer than the buffer");
        self.filled += received;
    }

    fn skip_head(&mut self) {
        loop {
            self.receive();
            let received = &self.buffer[..self.filled];
            if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                self.buffer.copy_within(end + 4..self.filled, 0);
                self.filled -= end + 4;
                return;
            }
        }
    }

    /// Reads packets up to one that starts with `start`.
    fn wait_for(&mut self, start: &[u8]) {
        loop {
            while let Some((frame, rest)) = split_server_frame(&self.buffer[..self.filled]) {
                let (found, rest) = (frame.payload.starts_with(start), rest.len());
                self.buffer.copy_within(self.filled - rest..self.filled, 0);
                self.filled = rest;
                if found {
                    return;
                }
            }
            self.receive();
        }
    }
}

fn loopback(c: &mut Criterion) {
    let server = Server::start(FLAGS);
    let message = format!(r#"42["message",{{"text":"{TEXT}","roomId":"{ROOM}","userId":"{ROOM}","name":"Ada"}}]"#);
    let mut members = Vec::new();
    let mut group = c.benchmark_group("loopback");
    for size in [1, 10, 100, 1_000] {
        members.resize_with(size, || Member::join(&server, ROOM));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("a message to every member", size), |b| {
            b.iter(|| {
                members[0].send(&message);
                members.iter_mut().for_each(|member| member.wait_for(BROADCAST));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
