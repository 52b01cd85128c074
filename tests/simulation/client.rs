//! The clients: Engine.IO and Socket.IO as an unmodified client speaks them.

use crate::cluster::Cluster;
use crate::links::{End, Pool};
use crate::model::{History, View};
use crate::network::LinkId;
use crate::random::Random;
use crate::scenario::{Conditions, Core};
use crate::streams::{Frame, Packet, Response, packets, payload, put_frame, put_message};
use std::collections::VecDeque;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Handshake,
    Poll,
    Post,
    /// Something that has nothing to do with a session.
    Stray,
    /// A WebSocket that carries its session from the start.
    Direct,
    Probe,
}

impl What {
    pub fn is_upgrade(self) -> bool {
        matches!(self, Self::Direct | Self::Probe)
    }
}

/// Timers; those of a session name its epoch.
#[derive(Clone, Copy, Debug)]
pub enum Alarm {
    Act(usize),
    Begin(usize, u32),
    Poll(usize, u32),
    Upgrade(usize, u32),
    Thaw(usize, u32),
    Read(LinkId),
    Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Opening,
    Polling,
    WebSocket(LinkId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Opening,
    Asked,
    /// It was answered: requests in flight are waited for, no others are sent.
    Pausing,
}

/// An Engine.IO session.
#[derive(Debug)]
pub struct Session {
    pub sid: String,
    pub carrier: Carrier,
    pub probe: Option<(LinkId, Probe)>,
    /// Completes the upgrade without waiting for the pending poll.
    pub hasty: bool,
    pub polling: bool,
    pub posting: bool,
    pub outbox: Vec<Packet>,
    /// What arrived on the WebSocket while the last poll is not answered.
    held: Vec<Packet>,
    /// The socket is connected.
    pub connected: bool,
    /// The client gave its socket up and asked for another: what still comes for the old one is passed over.
    pub giving_up: bool,
    /// Nothing was done for which a server may end it.
    pub blameless: bool,
    /// It was frozen for longer than the server may wait for a pong.
    pub slept_long: bool,
    pub answers_pings: bool,
    pub frozen: bool,
    /// When it was last frozen, and thawed; `u64::MAX` while it is.
    pub thawed_us: u64,
    /// When an answer to a poll last held as many packets as one may: more wait, and the client may fall behind.
    pub full_us: Option<u64>,
    /// When it left polling.
    pub upgraded_us: u64,
    /// The server said that it goes.
    pub told: bool,
    /// Binary messages that are to come back.
    pub binary: VecDeque<Vec<u8>>,
    attachment_due: bool,
    pings: usize,
    pub links: Vec<LinkId>,
}

/// What a client needs to have its socket again.
#[derive(Clone, Debug)]
pub struct Claim {
    pub pid: String,
    pub offset: Option<String>,
    pub sid: String,
    /// Until when the server must give it back, if it is known to be recoverable.
    pub until_us: Option<u64>,
    /// It was given up: the server must not give it back.
    pub dead: bool,
}

pub struct Client {
    pub epoch: u32,
    pub pool: usize,
    pub window: usize,
    pub pace: Option<(usize, u64)>,
    pub session: Option<Session>,
    pub view: View,
    pub claim: Option<Claim>,
    /// The last offset it saw, of whatever socket.
    offset: Option<String>,
    /// Until when an earlier session of its own may still arrive with the same claim and take the socket from a later one.
    contested_until_us: u64,
}

/// Time in which a claim reaches the socket's shard or is given up: a WebSocket that moves has 10 s to be read empty.
const CONTEST_US: u64 = 12_000_000;
/// Time in which what was sent before a connection broke would have arrived.
const TRANSIT_US: u64 = 2_000_000;
/// Packets in an answer to a poll, at most.
const PACKETS_MAX: usize = 16;

/// All clients, and the server they speak to.
pub struct Crowd {
    pub cluster: Cluster<Core>,
    pub conditions: Conditions,
    pub random: Random,
    pub clients: Vec<Client>,
    pub pools: Vec<Pool>,
    pub ends: Vec<End>,
    pub history: History,
    pub alarms: Vec<Alarm>,
    pub tags: u64,
    /// No client begins anything any more.
    pub closing: bool,
    pub recovered: u64,
    /// When the drain began.
    pub drained_us: u64,
    /// Whether to tell what the clients see.
    pub trace: bool,
}

pub fn room_name(room: usize) -> String {
    if room.is_multiple_of(2) { format!("room-{room}") } else { format!("00000000-0000-0000-0000-{room:012}") }
}

fn room_number(name: &str) -> usize {
    name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("a room, not {name:?}"))
}

impl Client {
    pub fn new(pool: usize, window: usize, pace: Option<(usize, u64)>) -> Self {
        let view = View::default();
        Self { epoch: 0, pool, window, pace, session: None, view, claim: None, offset: None, contested_until_us: 0 }
    }
}

impl Crowd {
    pub fn set_timer(&mut self, delay_us: u64, alarm: Alarm) {
        self.alarms.push(alarm);
        self.cluster.world.set_timer(delay_us, self.alarms.len() as u64 - 1);
    }

    pub fn trace(&self, client: usize, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9} client {client}: {}", self.now_us(), what());
        }
    }

    pub fn now_us(&self) -> u64 {
        self.cluster.world.now_us
    }

    fn target(&self, client: usize, transport: &str) -> String {
        let sid = self.clients[client].session.as_ref().map_or("", |s| &s.sid);
        let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
        format!("/socket.io/?EIO=4&transport={transport}{sid}")
    }

    /// Begins a session.
    pub fn begin(&mut self, client: usize) {
        if self.closing || self.cluster.world.draining {
            return;
        }
        let direct = self.random.chance(400);
        self.trace(client, || format!("begins, claims {:?}", self.clients[client].claim));
        let blameless = self.clients[client].pace.is_none() && !self.conditions.small_queue;
        let user = &mut self.clients[client];
        user.epoch += 1;
        user.session = Some(Session {
            sid: String::new(),
            carrier: Carrier::Opening,
            probe: None,
            hasty: self.random.chance(300),
            polling: false,
            posting: false,
            outbox: Vec::new(),
            held: Vec::new(),
            connected: false,
            giving_up: false,
            blameless,
            slept_long: false,
            answers_pings: true,
            frozen: false,
            thawed_us: 0,
            full_us: None,
            upgraded_us: 0,
            told: false,
            binary: VecDeque::new(),
            attachment_due: false,
            pings: 0,
            links: Vec::new(),
        });
        if direct {
            let plain = self.random.chance(300);
            let target = if plain { "/websocket".to_owned() } else { self.target(client, "websocket") };
            let link = self.open_websocket(client, What::Direct, &target);
            self.own(client, link);
        } else {
            self.ask(client, What::Handshake, "GET", None);
        }
    }

    pub fn session(&mut self, client: usize) -> Option<&mut Session> {
        self.clients[client].session.as_mut()
    }

    fn own(&mut self, client: usize, link: LinkId) {
        if let Some(session) = self.session(client) {
            session.links.push(link);
        }
    }

    fn ask(&mut self, client: usize, what: What, method: &str, body: Option<&[u8]>) {
        let head = format!("{method} {} HTTP/1.1\r\n", self.target(client, "polling"));
        let link = self.request(client, what, &head, body);
        self.own(client, link);
    }

    pub fn poll(&mut self, client: usize) {
        let Some(session) = self.session(client) else { return };
        let pausing = matches!(session.probe, Some((_, Probe::Pausing)));
        if session.carrier == Carrier::Polling && !session.polling && !pausing {
            session.polling = true;
            self.ask(client, What::Poll, "GET", None);
        }
    }

    pub fn send(&mut self, client: usize, packet: Packet) {
        self.trace(client, || format!("sends {packet:?}"));
        if let Some(session) = self.session(client) {
            session.outbox.push(packet);
            self.flush(client);
        }
    }

    pub fn flush(&mut self, client: usize) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        if session.outbox.is_empty() || session.frozen {
            return;
        }
        match session.carrier {
            Carrier::WebSocket(link) => {
                let mut bytes = Vec::new();
                for packet in session.outbox.drain(..) {
                    session.pings += match packet {
                        Packet::Text(text) => put_message(&mut bytes, &mut self.random, 1, text.as_bytes()),
                        Packet::Binary(data) => put_message(&mut bytes, &mut self.random, 2, &data),
                    };
                }
                self.write(link, &bytes);
            }
            Carrier::Polling if !session.posting && !matches!(session.probe, Some((_, Probe::Pausing))) => {
                session.posting = true;
                let body = payload(&std::mem::take(&mut session.outbox));
                self.ask(client, What::Post, "POST", Some(&body));
            }
            Carrier::Polling | Carrier::Opening => {}
        }
    }

    /// A WebSocket was switched to.
    pub fn websocket_open(&mut self, client: usize, link: LinkId, what: What) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        if what == What::Direct {
            session.carrier = Carrier::WebSocket(link);
        } else {
            session.probe = Some((link, Probe::Asked));
            let mut bytes = Vec::new();
            put_frame(&mut bytes, &mut self.random, 0x81, b"2probe");
            self.write(link, &bytes);
        }
    }

    /// Begins the upgrade to a WebSocket.
    pub fn upgrade(&mut self, client: usize) {
        self.trace(client, || "upgrades".to_owned());
        let Some(session) = self.session(client) else { return };
        if session.carrier == Carrier::Polling && session.probe.is_none() && !session.frozen {
            let target = self.target(client, "websocket");
            let link = self.open_websocket(client, What::Probe, &target);
            self.own(client, link);
            if let Some(session) = self.session(client) {
                session.probe = Some((link, Probe::Opening));
            }
        }
    }

    fn complete_upgrade(&mut self, client: usize) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        let Some((link, Probe::Pausing)) = session.probe else { return };
        if session.posting || session.polling && !session.hasty {
            return;
        }
        session.probe = None;
        session.carrier = Carrier::WebSocket(link);
        session.upgraded_us = self.cluster.world.now_us;
        let mut bytes = Vec::new();
        put_frame(&mut bytes, &mut self.random, 0x81, b"5");
        self.write(link, &bytes);
        self.flush(client);
    }

    pub fn response(&mut self, client: usize, what: What, response: Response) {
        self.trace(client, || format!("{what:?} is answered {}", response.status));
        let Some(session) = self.clients[client].session.as_mut() else { return };
        if what == What::Poll {
            session.polling = false;
        }
        if response.status != 200 {
            let left = what == What::Poll && session.carrier != Carrier::Polling;
            if !left {
                return self.lost(client, &format!("{what:?} is answered {response:?}"));
            }
        } else if what == What::Post {
            assert_eq!(response.body, b"ok");
            session.posting = false;
        } else {
            if what == What::Handshake {
                session.carrier = Carrier::Polling;
            }
            let packets = packets(&response.body);
            if packets.len() == PACKETS_MAX {
                session.full_us = Some(self.cluster.world.now_us);
            }
            let epoch = self.clients[client].epoch;
            for packet in packets {
                if self.clients[client].epoch == epoch {
                    self.packet(client, packet);
                }
            }
        }
        let Some(session) = self.clients[client].session.as_mut() else { return };
        let held = if session.polling { Vec::new() } else { std::mem::take(&mut session.held) };
        for packet in held {
            self.packet(client, packet);
        }
        self.complete_upgrade(client);
        self.flush(client);
        let pause_us = if self.random.chance(800) { 0 } else { self.random.range(1, 60_000) };
        self.set_timer(pause_us, Alarm::Poll(client, self.clients[client].epoch));
    }

    /// A connection ended in front of an answer.
    pub fn unanswered(&mut self, client: usize, what: What) {
        let draining = self.cluster.world.draining;
        let Some(session) = self.session(client) else { return };
        if what == What::Poll && session.carrier != Carrier::Polling {
            session.polling = false;
            return;
        }
        // A server that goes closes a connection between two requests, perhaps while one is on its way (RFC 9112 §9.5).
        session.blameless &= !(draining && what == What::Post);
        self.lost(client, &format!("{what:?} is not answered"));
    }

    pub fn frame(&mut self, client: usize, link: LinkId, frame: Frame) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        let carries = session.carrier == Carrier::WebSocket(link);
        match frame {
            Frame::Pong(payload) => {
                assert_eq!(payload, b"ping");
                session.pings = session.pings.checked_sub(1).expect("a pong for each ping");
            }
            Frame::Close(code) => {
                session.told |= code == 1001 && self.cluster.world.draining;
                let mut bytes = Vec::new();
                put_frame(&mut bytes, &mut self.random, 0x88, &code.to_be_bytes());
                self.write(link, &bytes);
                self.cluster.world.finish(link);
                self.websocket_gone(client, link);
            }
            Frame::Text(text) if carries => self.carried(client, Packet::Text(text)),
            Frame::Binary(bytes) if carries => self.carried(client, Packet::Binary(bytes)),
            Frame::Text(text) => {
                assert_eq!((text.as_str(), session.probe), ("3probe", Some((link, Probe::Asked))));
                session.probe = Some((link, Probe::Pausing));
                self.complete_upgrade(client);
            }
            Frame::Binary(bytes) => panic!("binary on a probe: {bytes:?}"),
        }
    }

    fn carried(&mut self, client: usize, packet: Packet) {
        match self.session(client) {
            Some(session) if session.polling => session.held.push(packet),
            _ => self.packet(client, packet),
        }
    }

    /// A WebSocket was closed, or is about to be.
    pub fn websocket_gone(&mut self, client: usize, link: LinkId) {
        let draining = self.cluster.world.draining;
        let Some(session) = self.session(client) else { return };
        if session.carrier == Carrier::WebSocket(link) {
            self.lost(client, "the WebSocket is closed");
        } else if session.probe.is_some_and(|(probe, _)| probe == link) {
            session.probe = None;
            assert!(!self.is_blameless(client) || draining, "client {client}: the probe is closed");
            self.flush(client);
            self.poll(client);
        }
    }

    /// The session is over, though the client did not want it so.
    fn lost(&mut self, client: usize, why: &str) {
        self.trace(client, || format!("is lost: {why}"));
        let draining = self.cluster.world.draining;
        assert!(!self.is_blameless(client) || draining, "client {client}: {why}");
        if draining {
            // What it was told is looked at in the end.
            if let Some(session) = self.session(client) {
                session.frozen = true;
            }
            self.clients[client].epoch += 1;
            return;
        }
        self.part(client, true);
    }

    /// Whether the server has no reason to end the client's session, or to leave it without an answer.
    pub fn is_blameless(&self, client: usize) -> bool {
        let user = &self.clients[client];
        let Some(session) = &user.session else { return false };
        let contested = self.now_us() < user.contested_until_us;
        session.blameless && !contested && !self.is_behind(session)
    }

    /// Whether the client polls slower than packets come, so that a ping may reach it too late.
    fn is_behind(&self, session: &Session) -> bool {
        let patience_us = self.conditions.ping_timeout_ms * 1000 + TRANSIT_US;
        session.full_us.is_some_and(|full_us| self.now_us() < full_us + patience_us)
    }

    /// The session is over. `broken`: the server takes it for an accident, so that the socket may come back.
    pub fn part(&mut self, client: usize, broken: bool) {
        self.trace(client, || format!("parts, broken: {broken}"));
        let (now_us, window_us) = (self.now_us(), self.conditions.recovery_window_ms * 1000);
        let Some(session) = self.clients[client].session.take() else { return };
        // What a slow reader has not read may be too old to be kept.
        let prompt = self.clients[client].pace.is_none() && !session.slept_long && !self.is_behind(&session);
        let certain = broken && !self.conditions.small_recovery && prompt;
        let user = &mut self.clients[client];
        if !session.connected && user.claim.is_some() {
            user.contested_until_us = now_us + CONTEST_US;
        }
        user.epoch += 1;
        user.view.broken();
        if session.giving_up {
            // The server may have heard of it, or not.
            user.claim = None;
        }
        if let Some(claim) = &mut user.claim {
            if !certain {
                claim.until_us = None;
            } else if session.connected {
                // Events are kept for the window from when they are sent. The first one missed may have waited behind an
                // answer that was on its way for long, and have been on its way itself.
                claim.until_us = (now_us + window_us).checked_sub(2 * TRANSIT_US);
            }
        }
        let pause_us = if self.random.chance(300) { 0 } else { self.random.range(1, 4_000_000) };
        self.set_timer(pause_us, Alarm::Begin(client, self.clients[client].epoch));
    }

    fn packet(&mut self, client: usize, packet: Packet) {
        self.trace(client, || format!("receives {packet:?}"));
        let Some(session) = self.clients[client].session.as_mut() else { return };
        let text = match packet {
            Packet::Binary(_) if session.giving_up => {
                session.attachment_due = false;
                return;
            }
            Packet::Binary(bytes) => {
                assert!(std::mem::take(&mut session.attachment_due), "an attachment of nothing");
                assert_eq!(session.binary.pop_front().as_ref(), Some(&bytes), "binary comes back as it was sent");
                return;
            }
            Packet::Text(text) => text,
        };
        assert!(!session.attachment_due, "{text:?} in place of an attachment");
        let (kind, rest) = text.split_at(1);
        match kind {
            "0" => self.opened(client, rest),
            "1" => {
                session.told |= self.cluster.world.draining;
                self.lost(client, "the server closed the session");
            }
            "2" if session.answers_pings => self.send(client, Packet::Text("3".to_owned())),
            "2" | "6" => {}
            "4" => self.message(client, rest),
            _ => panic!("client {client}: packet {text:?}"),
        }
    }

    fn opened(&mut self, client: usize, json: &str) {
        let open: serde_json::Value = serde_json::from_str(json).expect("an open packet is JSON");
        let Some(session) = self.clients[client].session.as_mut() else { return };
        session.sid = open["sid"].as_str().expect("a sid").to_owned();
        self.connect(client);
        let epoch = self.clients[client].epoch;
        self.set_timer(0, Alarm::Poll(client, epoch));
        if self.random.chance(700) {
            let pause_us = if self.random.chance(500) { 0 } else { self.random.range(1, 3_000_000) };
            self.set_timer(pause_us, Alarm::Upgrade(client, epoch));
        }
    }

    /// Sends the CONNECT of Socket.IO.
    pub fn connect(&mut self, client: usize) {
        let mut text = "40".to_owned();
        if let Some(claim) = &self.clients[client].claim {
            let offset = claim.offset.as_ref().map_or(String::new(), |o| format!(r#","offset":"{o}""#));
            text += &format!(r#"{{"pid":"{}"{offset}}}"#, claim.pid);
        }
        self.send(client, Packet::Text(text));
    }

    /// A packet of Socket.IO.
    fn message(&mut self, client: usize, text: &str) {
        let json_at = text.find(['[', '{']).unwrap_or(text.len());
        let (head, json) = text.split_at(json_at);
        let value =
            || -> serde_json::Value { serde_json::from_str(json).unwrap_or_else(|_| panic!("JSON, not {json}")) };
        let user = &mut self.clients[client];
        let session = user.session.as_mut().expect("checked by the caller");
        match head.as_bytes() {
            b"0" => self.connected(client, &value()),
            b"51-" => session.attachment_due = true,
            _ if session.giving_up => {}
            b"1" => {
                session.connected = false;
                session.told |= self.cluster.world.draining;
                user.claim.iter_mut().for_each(|claim| claim.dead = true);
                user.view.broken();
                if !self.cluster.world.draining {
                    self.connect(client);
                }
            }
            b"2" => self.event(client, &value()),
            [b'3', ..] => {
                assert!(session.connected, "an acknowledgement while it is not connected");
                let ack_id = head[1..].parse().expect("an id");
                let number = value()[0].as_u64().expect("a number");
                user.view.ack(&mut self.history, ack_id, number);
            }
            _ => panic!("client {client}: {text:?}"),
        }
    }

    fn connected(&mut self, client: usize, answer: &serde_json::Value) {
        let now_us = self.now_us();
        let draining = self.cluster.world.draining;
        let user = &mut self.clients[client];
        let session = user.session.as_mut().expect("it was answered");
        assert!(!session.connected, "connected twice");
        (session.connected, session.giving_up) = (true, false);
        let sid = answer["sid"].as_str().expect("a socket id").to_owned();
        if let Some(claim) = &mut user.claim {
            let recovered = claim.sid == sid;
            assert!(!(recovered && claim.dead), "client {client}: a socket that was given up is back");
            if recovered {
                assert_eq!(answer["pid"].as_str(), Some(claim.pid.as_str()));
                claim.until_us = None;
                self.recovered += 1;
                return;
            }
            let due = claim.until_us.is_some_and(|until_us| now_us < until_us) && !claim.dead && !draining;
            assert!(!due, "client {client}: socket {} is not recovered", user.view.tag);
        }
        self.tags += 1;
        user.view = View::new(self.tags);
        let pid = answer["pid"].as_str();
        assert_eq!(pid.is_some(), self.conditions.recovery_window_ms > 0);
        let offset = user.offset.clone();
        user.claim = pid.map(|pid| Claim { pid: pid.to_owned(), offset, sid, until_us: None, dead: false });
    }

    fn event(&mut self, client: usize, event: &serde_json::Value) {
        let user = &mut self.clients[client];
        let session = user.session.as_ref().expect("checked by the caller");
        assert!(session.connected, "client {client}: {event} while it is not connected");
        let number = |at: usize| event[at].as_u64().expect("a number");
        match event[0].as_str().expect("a name") {
            "message" => {
                let room = room_number(event[1].as_str().expect("a room"));
                let own = event[3].as_bool().expect("a flag");
                let (sender, k) = (event[4][0].as_u64().expect("a tag"), event[4][1].as_u64().expect("a number"));
                user.view.message(&mut self.history, room, number(2), own, sender, k);
            }
            "whisper" => user.view.whisper_seen(number(1)),
            name => panic!("client {client}: event {name}"),
        }
        let offset = event.as_array().and_then(|a| a.last()).and_then(|o| o.as_str());
        assert_eq!(offset.is_some(), self.conditions.recovery_window_ms > 0, "{event}");
        if let Some(claim) = &mut user.claim {
            user.offset = offset.map(str::to_owned);
            claim.offset.clone_from(&user.offset);
        }
    }
}
