//! The clients' ends of connections: HTTP with its pools, WebSockets, slow and frozen readers.

use crate::client::{Crowd, What};
use crate::network::{LinkId, Segment};
use crate::streams::{Frames, Response, Responses, chunked};
use std::collections::VecDeque;

/// How a pool uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A connection per request, closed by the client.
    Never,
    /// A connection per request, of which the server is told.
    Announced,
    /// Keep-alive.
    Always,
}

/// Connections that one client uses, or several as behind a proxy.
#[derive(Debug)]
pub struct Pool {
    pub reuse: Reuse,
    pub shared: bool,
    /// Unused connections, and since when.
    pub idle: Vec<(LinkId, u64)>,
}

/// A request that awaits its answer.
#[derive(Debug)]
pub struct Ask {
    pub client: usize,
    pub epoch: u32,
    pub what: What,
    pub head_only: bool,
}

/// What a connection is to the clients.
#[derive(Debug)]
pub enum Role {
    Http {
        pool: usize,
        asks: VecDeque<Ask>,
        responses: Responses,
        closing: bool,
    },
    WebSocket {
        client: usize,
        epoch: u32,
        frames: Frames,
    },
    /// Nobody cares any more; whatever comes is read past.
    Over,
}

/// A connection's end.
#[derive(Debug)]
pub struct End {
    pub role: Role,
    /// Nothing is read from it.
    pub frozen: bool,
    /// Bytes read at once, and the pause after it in microseconds.
    pub pace: Option<(usize, u64)>,
    /// A timer is running that goes on reading.
    pub paused: bool,
}

/// Idle connections are not used after this time, well before the server closes them.
const IDLE_US: u64 = 30_000_000;
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl Crowd {
    fn open(&mut self, client: usize, role: Role) -> LinkId {
        let user = &self.clients[client];
        let (window, pace) = (user.window, user.pace);
        let shared = matches!(&role, Role::Http { pool, .. } if self.pools[*pool].shared);
        let link = self.cluster.world.connect(if shared { 1 << 20 } else { window });
        let pace = if shared { None } else { pace };
        self.trace(client, || format!("opens link {link}"));
        self.ends.push(End { role, frozen: false, pace, paused: false });
        assert_eq!(self.ends.len(), link + 1);
        link
    }

    /// Sends a request on a connection of the client's pool.
    pub fn request(&mut self, client: usize, what: What, head: &str, body: Option<&[u8]>) -> LinkId {
        let pool = self.clients[client].pool;
        let now_us = self.cluster.world.now_us;
        let reuse = self.pools[pool].reuse;
        let ends = &self.ends;
        self.pools[pool].idle.retain(|&(link, since_us)| {
            since_us + IDLE_US > now_us && matches!(ends[link].role, Role::Http { .. }) && !ends[link].frozen
        });
        let link = match self.pools[pool].idle.pop() {
            Some((link, _)) => link,
            None => {
                let (asks, responses) = (VecDeque::new(), Responses::default());
                self.open(client, Role::Http { pool, asks, responses, closing: false })
            }
        };
        let mut bytes = Vec::new();
        let strays = if self.random.chance(30) { 1 + self.random.below(2) } else { 0 };
        for _ in 0..strays {
            let (head, head_only) = self.random.pick(&[
                ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", false),
                ("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n", true),
                ("OPTIONS /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n", false),
                ("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", false),
                ("POST /call HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false),
            ]);
            bytes.extend_from_slice(head.as_bytes());
            self.expect(link, Ask { client, epoch: 0, what: What::Stray, head_only });
        }
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(b"Host: a\r\n");
        if reuse == Reuse::Announced {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        if let Some(body) = body {
            if self.random.chance(100) {
                bytes.extend_from_slice(b"Expect: 100-continue\r\n");
            }
            if self.random.chance(100) {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                bytes.extend_from_slice(&chunked(&mut self.random, body));
            } else {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        let epoch = self.clients[client].epoch;
        self.expect(link, Ask { client, epoch, what, head_only: false });
        self.write(link, &bytes);
        link
    }

    /// Opens a WebSocket; `query` as it is to be in the target.
    pub fn open_websocket(&mut self, client: usize, what: What, target: &str) -> LinkId {
        let (pool, mut asks) = (self.clients[client].pool, VecDeque::new());
        let mut bytes = Vec::new();
        if self.random.chance(50) {
            bytes.extend_from_slice(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
            asks.push_back(Ask { client, epoch: 0, what: What::Stray, head_only: false });
        }
        bytes.extend_from_slice(
            format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
            )
            .as_bytes(),
        );
        asks.push_back(Ask { client, epoch: self.clients[client].epoch, what, head_only: false });
        let link = self.open(client, Role::Http { pool, asks, responses: Responses::default(), closing: true });
        self.write(link, &bytes);
        link
    }

    fn expect(&mut self, link: LinkId, ask: Ask) {
        if let Role::Http { asks, .. } = &mut self.ends[link].role {
            asks.push_back(ask);
        }
    }

    /// Writes, perhaps in pieces.
    pub fn write(&mut self, link: LinkId, bytes: &[u8]) {
        let world = &mut self.cluster.world;
        if self.random.chance(100) {
            let (head, tail) = bytes.split_at(self.random.below(bytes.len() + 1));
            world.write(link, head);
            world.write(link, tail);
        } else {
            world.write(link, bytes);
        }
    }

    /// The client closes a connection.
    pub fn drop_link(&mut self, link: LinkId, reset: bool) {
        self.ends[link].role = Role::Over;
        self.cluster.world.abandon(link, reset);
    }

    /// Something arrived, or a pause is over.
    pub fn readable(&mut self, link: LinkId) {
        while !self.ends[link].frozen && !self.ends[link].paused {
            let pace = self.ends[link].pace;
            let Some(segment) = self.cluster.world.read(link, pace.map_or(usize::MAX, |(bytes, _)| bytes)) else {
                return;
            };
            match segment {
                Segment::Bytes(bytes) => self.take_bytes(link, &bytes),
                Segment::Fin => self.ended(link, false),
                Segment::Reset => self.ended(link, true),
            }
            if let Some((_, pause_us)) = pace {
                self.ends[link].paused = true;
                self.set_timer(pause_us, crate::client::Alarm::Read(link));
            }
        }
    }

    /// A pause is over, or the connection thaws.
    pub fn resume(&mut self, link: LinkId) {
        self.ends[link].paused = false;
        if self.cluster.world.is_readable(link) {
            self.readable(link);
        }
    }

    fn take_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        match &mut self.ends[link].role {
            Role::Over => {}
            Role::Http { responses, .. } => {
                responses.push(bytes);
                self.take_responses(link);
            }
            Role::WebSocket { frames, .. } => {
                frames.push(bytes);
                self.take_frames(link);
            }
        }
    }

    fn take_responses(&mut self, link: LinkId) {
        while let Role::Http { pool, asks, responses, closing } = &mut self.ends[link].role {
            let Some(head_only) = asks.front().map(|a| a.head_only) else {
                assert!(responses.is_empty(), "link {link}: an answer to nothing: {responses:?}");
                return;
            };
            let Some(response) = responses.next(head_only) else { return };
            let ask = asks.pop_front().expect("there is one");
            if response.status == 101 {
                let (responses, asks) = (std::mem::take(responses), asks.len());
                assert_eq!((ask.what.is_upgrade(), asks), (true, 0), "a switch that nobody asked for");
                self.switch(link, &ask, responses.into_rest());
                return;
            }
            *closing |= response.close;
            let (pool, free, closing) = (*pool, asks.is_empty(), *closing);
            if free && !closing {
                match self.pools[pool].reuse {
                    Reuse::Always => {
                        let now_us = self.cluster.world.now_us;
                        self.pools[pool].idle.push((link, now_us));
                    }
                    _ => self.drop_link(link, false),
                }
            }
            self.answered(link, &ask, response);
        }
    }

    fn switch(&mut self, link: LinkId, ask: &Ask, rest: Vec<u8>) {
        let mut frames = Frames::default();
        frames.push(&rest);
        self.ends[link].role = Role::WebSocket { client: ask.client, epoch: ask.epoch, frames };
        if self.is_current(ask) {
            self.websocket_open(ask.client, link, ask.what);
        } else {
            self.drop_link(link, true);
        }
        self.take_frames(link);
    }

    fn take_frames(&mut self, link: LinkId) {
        while let Role::WebSocket { client, epoch, frames } = &mut self.ends[link].role {
            let (client, epoch) = (*client, *epoch);
            let Some(frame) = frames.next() else { return };
            if self.clients[client].epoch == epoch {
                self.frame(client, link, frame);
            }
        }
    }

    pub fn is_current(&self, ask: &Ask) -> bool {
        self.clients[ask.client].epoch == ask.epoch
    }

    fn answered(&mut self, _: LinkId, ask: &Ask, response: Response) {
        match ask.what {
            What::Stray => {
                assert!(matches!(response.status, 200 | 204 | 404 | 503), "a stray is answered {}", response.status)
            }
            _ if self.is_current(ask) => self.response(ask.client, ask.what, response),
            _ => {}
        }
    }

    /// The server closed or reset.
    fn ended(&mut self, link: LinkId, reset: bool) {
        match std::mem::replace(&mut self.ends[link].role, Role::Over) {
            Role::Over => {}
            Role::Http { asks, responses, .. } => {
                assert!(reset || responses.is_empty(), "an answer in part: {responses:?}");
                for ask in asks.iter().filter(|a| a.what != What::Stray) {
                    if self.is_current(ask) {
                        self.unanswered(ask.client, ask.what);
                    }
                }
            }
            Role::WebSocket { client, epoch, frames } => {
                assert!(reset || frames.is_empty(), "a frame in part");
                if self.clients[client].epoch == epoch {
                    self.websocket_gone(client, link);
                }
            }
        }
        self.cluster.world.abandon(link, false);
    }
}
