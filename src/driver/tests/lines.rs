//! A core for tests: lines of text, each a command.
//!
//! `echo X` answers `X` · `where` the shard · `blast N` N bytes of `#` · `pause MS` reads nothing for that long, then
//! answers `resumed` · `fin` half-closes · `close`, `abort` once all is written · `quit`, `kill` the same at
//! once · `move N` goes to shard N with what follows · `mail N X` sends
//! X through shard N and back · `flood N K` the same K times · `slow N K` also, a millisecond each · `count` the connections · `die` panics.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::time::Duration;

use slab::Slab;

use crate::shard::seam::{ConnectionKey, Core, Ended, Handover, Now, Pending, Security, Snapshot, Wire};

/// Longest write offered at once.
const CHUNK: usize = 64 * 1024;

struct Connection {
    generation: u32,
    peer: IpAddr,
    input: Vec<u8>,
    output: VecDeque<u8>,
    blocked: bool,
    ended: bool,
    last: Option<Last>,
    resume_at_ms: Option<u64>,
}

/// What is done once everything is written.
enum Last {
    Fin,
    Close,
    Abort,
    Move(usize),
}

#[derive(Debug)]
pub enum Mail {
    Ask(ConnectionKey, String),
    Answer(ConnectionKey, String),
}

pub struct Lines {
    index: usize,
    connections: Slab<Connection>,
    generation: u32,
    dirty: Vec<ConnectionKey>,
    pauses: Vec<ConnectionKey>,
    outbox: Vec<(usize, Mail)>,
    asked: usize,
    draining: bool,
}

impl Lines {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            connections: Slab::new(),
            generation: 0,
            dirty: Vec::new(),
            pauses: Vec::new(),
            outbox: Vec::new(),
            asked: 0,
            draining: false,
        }
    }

    fn open(&mut self, peer: IpAddr, input: Vec<u8>, now: Now) -> Option<ConnectionKey> {
        if self.draining {
            return None;
        }
        self.generation += 1;
        let generation = self.generation;
        let connection = Connection {
            generation,
            peer,
            input,
            output: VecDeque::new(),
            blocked: false,
            ended: false,
            last: None,
            resume_at_ms: None,
        };
        let slot = u32::try_from(self.connections.insert(connection)).unwrap();
        let key = ConnectionKey { slot, generation };
        self.obey(key, now);
        Some(key)
    }

    /// The connection; a key the driver made up fails the test.
    fn get(&mut self, key: ConnectionKey) -> &mut Connection {
        let connection = self.connections.get_mut(key.slot as usize).expect("a key of no connection");
        assert_eq!(connection.generation, key.generation, "a stale key");
        connection
    }

    fn obey(&mut self, key: ConnectionKey, now: Now) {
        self.dirty.push(key);
        while self.get(key).last.is_none() {
            let input = &mut self.get(key).input;
            let Some(end) = input.iter().position(|&b| b == b'\n') else {
                break;
            };
            let line = String::from_utf8(input.drain(..=end).collect()).unwrap();
            self.command(key, line.trim_end(), now);
        }
    }

    fn say(&mut self, key: ConnectionKey, text: &str) {
        let output = &mut self.get(key).output;
        output.extend(text.as_bytes());
        output.push_back(b'\n');
    }

    fn command(&mut self, key: ConnectionKey, line: &str, now: Now) {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "echo" => self.say(key, line.split_once(' ').unwrap().1),
            "where" => self.say(key, &self.index.to_string()),
            "count" => self.say(key, &self.connections.len().to_string()),
            "blast" => self.get(key).output.extend(std::iter::repeat_n(b'#', number(1))),
            "pause" => {
                self.get(key).resume_at_ms = Some(now.mono_ms + number(1) as u64);
                self.pauses.push(key);
            }
            "fin" => self.get(key).last = Some(Last::Fin),
            "close" => self.get(key).last = Some(Last::Close),
            "abort" => self.get(key).last = Some(Last::Abort),
            "quit" | "kill" => {
                let connection = self.get(key);
                connection.output.clear();
                connection.last = Some(if words[0] == "quit" { Last::Close } else { Last::Abort });
            }
            "move" if number(1) == self.index => {}
            "move" => self.get(key).last = Some(Last::Move(number(1))),
            "mail" => self.ask(key, number(1), words[2].to_owned()),
            "flood" => (0..number(2)).for_each(|n| self.ask(key, number(1), n.to_string())),
            "slow" => (0..number(2)).for_each(|_| self.ask(key, number(1), "slow".to_owned())),
            "die" => panic!("told to die"),
            other => panic!("no command: {other}"),
        }
    }

    fn ask(&mut self, key: ConnectionKey, to: usize, text: String) {
        self.asked += 1;
        self.outbox.push((to, Mail::Ask(key, text)));
    }

    fn write<W: Wire<Mail>>(&mut self, key: ConnectionKey, wire: &mut W) {
        let Some(connection) = self.connections.get_mut(key.slot as usize) else {
            return;
        };
        if connection.generation != key.generation {
            return;
        }
        while !connection.blocked && !connection.output.is_empty() {
            let (front, back) = connection.output.as_slices();
            let front = &front[..front.len().min(CHUNK)];
            let back = &back[..back.len().min(CHUNK)];
            match wire.send(key, &[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(sent) => {
                    connection.blocked = sent < front.len() + back.len();
                    connection.output.drain(..sent);
                }
                Err(_) => {
                    connection.output.clear();
                    connection.last = Some(Last::Close);
                }
            }
        }
        if !connection.output.is_empty() {
            return;
        }
        if connection.ended && connection.last.is_none() {
            connection.last = Some(Last::Close);
        }
        match connection.last {
            None => return,
            Some(Last::Fin) => {
                wire.shutdown(key);
                connection.last = None;
                return;
            }
            Some(Last::Close) => wire.close(key, false),
            Some(Last::Abort) => wire.close(key, true),
            Some(Last::Move(to)) => {
                let unread = std::mem::take(&mut connection.input);
                wire.hand_over(key, to, Handover { unread, ..Handover::fresh(connection.peer, Security::Plain) });
            }
        }
        self.connections.remove(key.slot as usize);
        self.pauses.retain(|&paused| paused != key);
    }
}

impl Core for Lines {
    type Mail = Mail;

    fn accepted(&mut self, peer: IpAddr, _: Security, now: Now) -> Option<ConnectionKey> {
        self.open(peer, Vec::new(), now)
    }

    fn adopted(&mut self, handover: Handover, now: Now) -> Option<ConnectionKey> {
        self.open(handover.peer, handover.unread, now)
    }

    fn received(&mut self, key: ConnectionKey, bytes: &mut [u8], now: Now) {
        assert!(!bytes.is_empty());
        assert!(!self.get(key).ended, "bytes after the end");
        self.get(key).input.extend_from_slice(bytes);
        self.obey(key, now);
        bytes.fill(0);
    }

    fn writable(&mut self, key: ConnectionKey, _: Now) {
        assert!(self.get(key).blocked, "writable, though not blocked");
        self.get(key).blocked = false;
        self.dirty.push(key);
    }

    fn ended(&mut self, key: ConnectionKey, how: Ended, _: Now) {
        let connection = self.get(key);
        assert!(!connection.ended, "ended twice");
        connection.ended = true;
        if how == Ended::Reset {
            connection.output.clear();
        }
        self.dirty.push(key);
    }

    fn mail(&mut self, from: usize, mail: Mail, _: Now) {
        match mail {
            Mail::Ask(key, text) => {
                if text == "slow" {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.outbox.push((from, Mail::Answer(key, text)));
            }
            Mail::Answer(key, text) => {
                self.asked -= 1;
                self.say(key, &format!("{text} by {from}"));
                self.dirty.push(key);
            }
        }
    }

    fn tick(&mut self, now: Now) {
        let (over, paused) = std::mem::take(&mut self.pauses)
            .into_iter()
            .partition(|&key| self.get(key).resume_at_ms.is_some_and(|at| at <= now.mono_ms));
        self.pauses = paused;
        let over: Vec<_> = over;
        for key in over {
            self.get(key).resume_at_ms = None;
            self.say(key, "resumed");
            self.dirty.push(key);
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.pauses.iter().filter_map(|key| self.connections[key.slot as usize].resume_at_ms).min()
    }

    fn pending(&self) -> Pending {
        Pending { bytes: 0, mail: self.outbox.len(), mail_bytes: 0 }
    }

    fn flush<W: Wire<Mail>>(&mut self, wire: &mut W, _: Now) {
        for key in std::mem::take(&mut self.dirty) {
            if let Some(connection) = self.connections.get(key.slot as usize) {
                wire.set_reading(key, connection.resume_at_ms.is_none());
            }
            self.write(key, wire);
        }
        for (to, mail) in self.outbox.drain(..) {
            wire.post(to, mail);
        }
    }

    fn drain(&mut self, _: Now) {
        assert!(!self.draining, "drained twice");
        self.draining = true;
        for (slot, connection) in &mut self.connections {
            connection.output.extend(b"bye\n");
            connection.last = Some(Last::Close);
            self.dirty.push(ConnectionKey { slot: slot as u32, generation: connection.generation });
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    fn shrink(&mut self, _: Now) {}

    fn is_drained(&self) -> bool {
        self.connections.is_empty() && self.asked == 0
    }
}
