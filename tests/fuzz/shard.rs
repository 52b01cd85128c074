//! A whole shard with the rooms application: an input is a program of operations on it.
//!
//! A byte names an operation and the connection it is for, the bytes up to the next newline are what it is about: a request
//! as it is, the payload of a frame, a call of the HTTP API. So mutations of an input are other clients, other splits and
//! another order.

use std::net::{IpAddr, Ipv4Addr};

use sockeye::app::{Agents, AgentsSettings};
use sockeye::engine::Now;
use sockeye::shard::{ConnectionKey, Core, Ended, Security, Shard};
use sockeye::socket::Sockets;

use crate::drive::put_client_frame;
use crate::json::ROOM;
use crate::mutation::{fuzz, outcome};
use crate::peers::{CONNECTIONS_MAX, Peers, START, UPGRADE, assert_nothing_is_left, shard};

const MAX_PAYLOAD: usize = 2_000;
const MAX_QUEUE: usize = 8_000;

/// The shard, its peers, and the time.
struct Run {
    shard: Shard<Sockets<Agents>>,
    peers: Peers,
    keys: Vec<ConnectionKey>,
    now: Now,
}

impl Run {
    fn key(&self, n: u8) -> Option<ConnectionKey> {
        self.keys.get(usize::from(n) % self.keys.len().max(1)).copied().filter(|key| self.peers.open.contains_key(key))
    }

    fn receive(&mut self, n: u8, bytes: &[u8]) {
        let Some(key) = self.key(n).filter(|key| self.peers.open[key]) else { return };
        self.shard.received(key, &mut bytes.to_vec(), self.now);
    }

    fn step(&mut self, operation: u8, text: &[u8]) {
        let n = operation >> 4;
        match operation & 15 {
            0 | 1 => {
                let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
                if let Some(key) = self.shard.accepted(peer, Security::Plain, self.now) {
                    assert_eq!(self.peers.open.insert(key, true), None);
                    self.keys.push(key);
                }
            }
            2 => self.receive(n, text),
            3 => self.receive(n, &[&request(text)[..], b"\r\n\r\n"].concat()),
            4 => self.receive(n, UPGRADE),
            5 => {
                let head =
                    format!("POST /api/messaging/submit HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", text.len());
                self.receive(n, &[head.as_bytes(), text].concat());
            }
            first @ 6..=10 => {
                let mut frame = Vec::new();
                let first = [0x81, 0x01, 0x00, 0x80, 0x82][usize::from(first) - 6];
                put_client_frame(&mut frame, first, text, [1, 2, 3, 4]);
                self.receive(n, &frame);
            }
            11 => {
                if let Some(key) = self.key(n) {
                    self.shard.ended(key, [Ended::Eof, Ended::Reset][text.len() % 2], self.now);
                }
            }
            12 => self.peers.room = text.len() * 50,
            13 => self.advance(text.len() as u64 * 500),
            14 => self.turn(),
            _ => self.shard.shrink(self.now),
        }
    }

    /// The end of a turn; whoever waits for room is told that there is some.
    fn turn(&mut self) {
        self.shard.tick(self.now);
        self.shard.flush(&mut self.peers, self.now);
        let waiting = self.shard.snapshot().gauges.queue_bytes;
        // One message comes on top before it is looked at; a broadcast to all in a turn as well.
        assert!(waiting <= CONNECTIONS_MAX * 2 * (MAX_QUEUE + 64 * 1024), "{waiting} bytes wait");
        self.peers.keys().into_iter().for_each(|key| self.shard.writable(key, self.now));
    }

    fn advance(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
        self.turn();
    }
}

/// Bars stand for line breaks, since those end a step.
fn request(text: &[u8]) -> Vec<u8> {
    text.split(|&byte| byte == b'|').collect::<Vec<_>>().join(&b"\r\n"[..])
}

#[test]
fn any_operations_on_a_shard() {
    let join = format!(r#"421["join",{{"roomId":"{ROOM}","agentId":"{ROOM}"}}]"#);
    let say = format!(
        r#"422["message",{{"text":"hi","roomId":"{ROOM}","userId":"{ROOM}","metadata":{{"a":[1]}},"messageId":"m"}}]"#
    );
    let submit = format!(
        r#"{{"channel_id":"{ROOM}","server_id":"{ROOM}","author_id":"{ROOM}","content":"x","raw_message":{{"text":"x"}}}}"#
    );
    let program = |steps: &[(u8, &str)]| {
        let lines = steps.iter().map(|(operation, text)| [&[*operation], text.as_bytes()].concat());
        lines.collect::<Vec<_>>().join(&b'\n')
    };
    let much = "x".repeat(100);
    let corpus = [
        program(&[
            (12, &much),
            (0, ""),
            (4, ""),
            (6, "40"),
            (6, &join),
            (6, &say),
            (14, ""),
            (13, &much),
            (6, "3"),
            (11, ""),
        ]),
        program(&[
            (12, &much),
            (0, ""),
            (3, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1|Host: a"),
            (14, ""),
            (2, "GET / HT"),
            (13, &much),
        ]),
        program(&[
            (0, ""),
            (4, ""),
            (6, "40"),
            (6, &join),
            (0, ""),
            (20, ""),
            (22, "40"),
            (22, &join),
            (22, &say),
            (15, ""),
            (14, ""),
            (13, &much),
            (15, ""),
        ]),
        program(&[(12, &much), (0, ""), (5, &submit), (14, ""), (5, "{}"), (14, "")]),
        program(&[
            (0, ""),
            (4, ""),
            (6, "40"),
            (6, r#"452-["join",{"_placeholder":true,"num":0}]"#),
            (10, "abc"),
            (10, "def"),
            (14, ""),
        ]),
        program(&[
            (0, ""),
            (4, ""),
            (7, "4"),
            (8, "2["),
            (9, r#""request-world-state"]"#),
            (14, ""),
            (6, "1"),
            (14, ""),
        ]),
    ];
    let words: Vec<&[u8]> = vec![
        b"\n",
        b"\x00",
        b"\x04",
        b"\x14",
        b"\x06",
        b"\x16",
        b"\x0b",
        b"\x1b",
        b"\x0c",
        b"\x0d",
        b"\x0e",
        b"\n\x0e\n",
        b"40",
        b"41",
        b"__proto__",
        b"null",
        b"\"1\"",
        b"{\"type\":2,\"payload\":",
        b"leave",
        b"messageComplete",
        b"subscribe_logs",
        b"\\ud800",
    ];
    fuzz(&corpus, &words, |input, _| {
        let shard = shard(MAX_PAYLOAD, MAX_QUEUE, AgentsSettings::default());
        let mut run = Run { shard, peers: Peers::default(), keys: Vec::new(), now: START };
        for step in input.split(|&byte| byte == b'\n').take(64) {
            if let Some((&operation, text)) = step.split_first() {
                run.step(operation, text);
            }
        }
        run.turn();
        let did = outcome((run.peers.open.len(), run.peers.sent.checked_ilog2(), run.shard.engine().session_count()));
        // All clients go, all windows pass: nothing is left.
        run.peers.keys().into_iter().for_each(|key| run.shard.ended(key, Ended::Reset, run.now));
        (0..3).for_each(|_| run.advance(120_000));
        assert_nothing_is_left(&run.shard, &run.peers);
        did
    });
}
