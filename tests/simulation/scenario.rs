//! One run: who takes part, what they do, how it ends.

use crate::app::Rooms;
use crate::client::{Alarm, Carrier, Client, Crowd, Session, room_name};
use crate::cluster::{Cluster, Signal};
use crate::links::{Pool, Reuse, Role};
use crate::model::History;
use crate::network::Weather;
use crate::random::Random;
use crate::streams::{Packet, put_frame};
use sockeye::config::Config;
use sockeye::engine::Settings;
use sockeye::server::{self, Shared};
use sockeye::shard::seam::Core as _;
use sockeye::shard::{Routes, Shard};
use sockeye::socket::{Sockets, recovery};

pub type Core = Shard<Sockets<Rooms>>;

/// What is the same for all of a run.
#[derive(Clone, Debug)]
pub struct Conditions {
    pub shards: usize,
    pub rooms: usize,
    pub recovery_window_ms: u64,
    /// Too few bytes are kept for everybody to come back.
    pub small_recovery: bool,
    /// Readers are cut off soon.
    pub small_queue: bool,
    pub ping_timeout_ms: u64,
    /// Permille of actions that are faults.
    pub faults: u64,
    /// How long the clients act.
    pub acting_us: u64,
    /// Between two actions of a client, at most.
    pub pause_us: u64,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server drains while the clients act.
    DrainBusy,
    /// It drains when all is quiet.
    Drain,
    /// The clients leave.
    Leave,
}

/// Nobody needs more steps.
const STEPS_MAX: usize = 2_000_000;
/// Time in which everything said is heard.
const SETTLE_US: u64 = 15_000_000;
/// Time in which a drain is over, whatever the clients do.
const DRAIN_US: u64 = 15_000_000;

/// Time in which an upgrade that the client completed reaches the server.
const UPGRADE_US: u64 = 2_000_000;

/// The settings of one shard.
pub fn settings(shard: usize, shards: usize, ping_timeout_ms: u64, max_queue: usize) -> Settings {
    Settings {
        ping_interval_ms: 5_000,
        ping_timeout_ms,
        max_payload: 100_000,
        connect_timeout_ms: 10_000,
        max_connections: 10_000,
        max_queue,
        ..server::settings(&Config::default(), shard, shards, Shared::default())
    }
}

pub fn routes(bare: Option<&str>) -> Routes {
    Routes { socket_io: "/socket.io/".to_owned(), bare: bare.map(str::to_owned), call_body_max: 10_000 }
}

fn build(random: &mut Random) -> (Cluster<Core>, Conditions) {
    let conditions = Conditions {
        shards: random.range(1, 4) as usize,
        rooms: random.range(1, 5) as usize,
        recovery_window_ms: random.pick(&[0, 6_000, 60_000]),
        small_recovery: random.chance(150),
        small_queue: random.chance(150),
        ping_timeout_ms: random.pick(&[4_000, 20_000]),
        faults: random.pick(&[0, 30, 100, 300]),
        acting_us: random.range(1, 8) * 1_000_000,
        pause_us: random.pick(&[20_000, 100_000, 500_000]),
        ending: random.pick(&[Ending::DrainBusy, Ending::Drain, Ending::Leave]),
    };
    let Conditions { shards, recovery_window_ms, small_recovery, small_queue, ping_timeout_ms, .. } = conditions;
    let max_queue = if small_queue { 2_000 } else { 4 << 20 };
    let recovery =
        recovery::Settings { window_ms: recovery_window_ms, max_bytes: if small_recovery { 1_500 } else { 64 << 20 } };
    let cores = (0..shards).map(|shard| {
        let settings = settings(shard, shards, ping_timeout_ms, max_queue);
        let sockets = Sockets::new(Rooms::default(), shard, shards, settings.max_payload, recovery);
        let mut random = Random::new(random.next());
        let entropy = Box::new(move |bytes: &mut [u8]| bytes.iter_mut().for_each(|b| *b = random.next() as u8));
        Shard::new(settings, routes(None), sockets, entropy, 1_000)
    });
    let cores = cores.collect();
    let weather = Weather::random(random);
    (Cluster::new(cores, Random::new(random.next()), weather), conditions)
}

fn populate(crowd: &mut Crowd) {
    let shared_len = crowd.random.below(3);
    let reuse = crowd.random.pick(&[Reuse::Always, Reuse::Never, Reuse::Announced]);
    crowd.pools.push(Pool { reuse, shared: true, idle: Vec::new() });
    for client in 0..crowd.random.range(2, 8) as usize {
        let shared = client < shared_len;
        let reuse = crowd.random.pick(&[Reuse::Always, Reuse::Always, Reuse::Never, Reuse::Announced]);
        if !shared {
            crowd.pools.push(Pool { reuse, shared, idle: Vec::new() });
        }
        let pool = if shared { 0 } else { crowd.pools.len() - 1 };
        let slow = !shared && crowd.random.chance(150);
        let pace = slow.then(|| (crowd.random.range(1, 300) as usize, crowd.random.range(1_000, 200_000)));
        let window = if slow { crowd.random.range(50, 5_000) as usize } else { 1 << 20 };
        crowd.clients.push(Client::new(pool, window, pace));
        let pause_us = crowd.random.range(0, 1_000_000);
        crowd.set_timer(pause_us, Alarm::Begin(client, 0));
        crowd.set_timer(pause_us, Alarm::Act(client));
    }
}

/// What a run, or several, did.
#[derive(Default)]
pub struct Tally {
    /// Messages that were numbered.
    pub messages: u64,
    /// Sockets that came back.
    pub recovered: u64,
    /// Envelopes that found a ring full.
    pub spilled: u64,
}

/// Runs a seed to its end.
pub fn run(seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let (cluster, conditions) = build(&mut random);
    let acting_us = conditions.acting_us;
    let mut crowd = Crowd {
        cluster,
        conditions,
        random,
        clients: Vec::new(),
        pools: Vec::new(),
        ends: Vec::new(),
        history: History::default(),
        alarms: Vec::new(),
        tags: 0,
        closing: false,
        recovered: 0,
        drained_us: u64::MAX,
        trace: std::env::var_os("TRACE").is_some(),
    };
    populate(&mut crowd);
    crowd.set_timer(acting_us, Alarm::Phase);
    let mut phases = crowd.phases();
    let mut steps = 0;
    while let Some(signal) = crowd.cluster.step() {
        steps += 1;
        assert!(steps < STEPS_MAX, "it does not come to rest");
        match signal {
            Signal::Down(link) => crowd.readable(link),
            Signal::Timer(number) => match crowd.alarms[number as usize] {
                Alarm::Phase => {
                    let phase = phases.pop().expect("as many alarms as phases");
                    crowd.enter(phase);
                }
                alarm => crowd.alarm(alarm),
            },
        }
    }
    crowd.check_end();
    let messages = (0..crowd.conditions.rooms).map(|room| crowd.history.latest(room)).sum();
    Tally { messages, recovered: crowd.recovered, spilled: crowd.cluster.world.spilled() }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nobody does anything new.
    Settle,
    /// All that was said must have been heard.
    Check,
    Drain,
    Leave,
    /// The drain must be over.
    Drained,
}

impl Crowd {
    /// The phases to come, the last one first.
    fn phases(&self) -> Vec<Phase> {
        match self.conditions.ending {
            Ending::DrainBusy => vec![Phase::Drained, Phase::Drain],
            Ending::Drain => vec![Phase::Drained, Phase::Drain, Phase::Check, Phase::Settle],
            Ending::Leave => vec![Phase::Leave, Phase::Check, Phase::Settle],
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.trace(usize::MAX, || format!("{phase:?}"));
        match phase {
            Phase::Settle => {
                self.closing = true;
                for client in 0..self.clients.len() {
                    self.thaw(client);
                }
                self.set_timer(SETTLE_US, Alarm::Phase);
            }
            Phase::Check => {
                for client in 0..self.clients.len() {
                    let Some(session) = self.clients[client].session.as_ref() else { continue };
                    if self.is_blameless(client) {
                        let view = &self.clients[client].view;
                        assert!(session.connected, "client {client} is not connected");
                        assert!(!view.is_waiting(), "client {client}: an acknowledgement is missing: {view:?}");
                        assert!(session.binary.is_empty(), "client {client}: binary is missing");
                        view.check_whole(|room| self.history.latest(room));
                    }
                }
                self.set_timer(1, Alarm::Phase);
            }
            Phase::Drain => {
                self.closing = true;
                self.cluster.drain();
                self.drained_us = self.now_us();
                self.set_timer(DRAIN_US, Alarm::Phase);
            }
            Phase::Leave => {
                for client in 0..self.clients.len() {
                    self.fault(client);
                }
            }
            Phase::Drained => {
                for (shard, core) in self.cluster.cores.iter().enumerate() {
                    let engine = core.engine();
                    let left: Vec<_> = engine.connection_keys().into_iter().map(|k| engine.connection(k)).collect();
                    assert!(core.is_drained(), "shard {shard} is not drained: {left:?}");
                }
            }
        }
    }

    fn alarm(&mut self, alarm: Alarm) {
        let current = |client: usize, epoch: u32| self.clients[client].epoch == epoch;
        match alarm {
            Alarm::Act(client) if !self.closing => {
                self.act(client);
                let pause_us = self.random.range(1, self.conditions.pause_us);
                self.set_timer(pause_us, Alarm::Act(client));
            }
            Alarm::Begin(client, epoch) if current(client, epoch) => self.begin(client),
            Alarm::Poll(client, epoch) if current(client, epoch) => self.poll(client),
            Alarm::Upgrade(client, epoch) if current(client, epoch) => self.upgrade(client),
            Alarm::Thaw(client, epoch) if current(client, epoch) => self.thaw(client),
            Alarm::Read(link) => self.resume(link),
            _ => {}
        }
    }

    fn act(&mut self, client: usize) {
        let Some(session) = self.clients[client].session.as_ref() else { return };
        if session.frozen {
            return;
        }
        if self.random.chance(self.conditions.faults) {
            return self.fault(client);
        }
        if !self.clients[client].session.as_ref().is_some_and(|s| s.connected) {
            return;
        }
        let room = self.random.below(self.conditions.rooms);
        let name = room_name(room);
        let view = &mut self.clients[client].view;
        let text = match self.random.below(20) {
            0..5 => view.join(room).map(|id| format!(r#"42{id}["join","{name}"]"#)),
            5..7 => view.leave(room).map(|id| format!(r#"42{id}["leave","{name}"]"#)),
            7 | 8 => {
                let (id, k) = view.whisper();
                Some(format!(r#"42{id}["whisper",{k}]"#))
            }
            9 => {
                let len = self.random.below(300);
                let bytes: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
                let Some(session) = self.session(client) else { return };
                session.binary.push_back(bytes.clone());
                session.outbox.push(Packet::Text(r#"451-["binary",{"_placeholder":true,"num":0}]"#.to_owned()));
                session.outbox.push(Packet::Binary(bytes));
                return self.flush(client);
            }
            _ => {
                let tag = view.tag;
                for _ in 0..self.random.below(3) {
                    let view = &mut self.clients[client].view;
                    let (id, k) = view.publish(room);
                    let text = format!(r#"42{id}["publish","{name}",[{tag},{k}]]"#);
                    let Some(session) = self.session(client) else { return };
                    session.outbox.push(Packet::Text(text));
                }
                return self.flush(client);
            }
        };
        if let Some(text) = text {
            self.send(client, Packet::Text(text));
        }
    }

    /// The client, or its network, does something bad.
    fn fault(&mut self, client: usize) {
        let own_pool = !self.pools[self.clients[client].pool].shared;
        let epoch = self.clients[client].epoch;
        let Some(session) = self.clients[client].session.as_mut() else { return };
        let links = session.links.clone();
        match self.random.below(if self.closing { 5 } else { 9 }) {
            0 | 1 => {
                let reset = self.random.chance(700);
                self.cut(client, &links, reset);
                self.part(client, true);
            }
            2 => {
                for &link in &links {
                    let frozen = match self.ends[link].role {
                        Role::Http { .. } => own_pool,
                        Role::WebSocket { .. } | Role::Over => true,
                    };
                    self.freeze(link, frozen);
                }
                self.part(client, true);
            }
            3 => {
                let Carrier::WebSocket(link) = session.carrier else { return self.end_session(client, &links) };
                let mut bytes = Vec::new();
                put_frame(&mut bytes, &mut self.random, 0x88, &1000u16.to_be_bytes());
                self.write(link, &bytes);
                self.part(client, false);
                self.clients[client].claim = None;
            }
            4 => self.end_session(client, &links),
            5 => {
                session.blameless &= !self.closing;
                let short_us = self.conditions.ping_timeout_ms * 1000 / 4;
                let long = self.random.chance(300);
                session.blameless &= !long;
                session.slept_long |= long;
                session.frozen = own_pool;
                session.thawed_us = if own_pool { u64::MAX } else { session.thawed_us };
                for &link in links.iter().filter(|_| own_pool) {
                    self.freeze(link, true);
                }
                let pause_us = self.random.range(1, if long { 8 * short_us } else { short_us });
                self.set_timer(pause_us, Alarm::Thaw(client, epoch));
            }
            6 if session.connected => {
                (session.connected, session.giving_up) = (false, true);
                session.binary.clear();
                self.send(client, Packet::Text("41".to_owned()));
                // Sometimes it asks for what it has just given up.
                if self.random.chance(500) {
                    self.clients[client].claim = None;
                }
                let claim = self.clients[client].claim.as_mut();
                claim.into_iter().for_each(|claim| claim.dead = true);
                self.clients[client].view.broken();
                self.connect(client);
            }
            7 if session.connected => {
                // What it sends until it knows is against the protocol.
                session.blameless = false;
                self.clients[client].claim = None;
                self.send(client, Packet::Text(r#"42["kick"]"#.to_owned()));
            }
            8 => {
                session.answers_pings = false;
                session.blameless = false;
            }
            _ => {}
        }
    }

    /// The client says good-bye.
    fn end_session(&mut self, client: usize, links: &[usize]) {
        self.send(client, Packet::Text("1".to_owned()));
        for &link in links {
            if matches!(self.ends[link].role, Role::WebSocket { .. }) && self.random.chance(500) {
                self.drop_link(link, false);
            }
        }
        self.part(client, false);
        self.clients[client].claim = None;
    }

    /// The network cuts the session's connections.
    fn cut(&mut self, client: usize, links: &[usize], reset: bool) {
        for &link in links {
            let busy = match &self.ends[link].role {
                Role::Http { asks, .. } => asks.iter().any(|a| a.client == client),
                Role::WebSocket { .. } => true,
                Role::Over => false,
            };
            if busy {
                self.drop_link(link, reset);
            }
        }
    }

    fn freeze(&mut self, link: usize, on: bool) {
        self.ends[link].frozen = on;
    }

    fn thaw(&mut self, client: usize) {
        let now_us = self.now_us();
        let Some(session) = self.session(client) else { return };
        session.frozen = false;
        session.thawed_us = now_us;
        for link in session.links.clone() {
            self.freeze(link, false);
            self.resume(link);
        }
        self.flush(client);
    }

    /// Whether a client hears of things well before it is given up.
    fn is_prompt(&self) -> bool {
        let weather = &self.cluster.world.weather;
        weather.delay_us <= 30_000 && weather.stall_us <= 100_000
    }

    fn check_end(&self) {
        let draining = self.cluster.world.draining;
        assert!(self.cluster.world.is_mesh_empty(), "mail was not taken");
        for (shard, core) in self.cluster.cores.iter().enumerate() {
            let engine = core.engine();
            let hub = core.protocol().hub();
            assert_eq!(engine.connection_count(), 0, "connections of shard {shard}");
            assert_eq!(engine.session_count(), 0, "sessions of shard {shard}");
            assert_eq!(engine.out.len(), 0, "sinks of shard {shard}");
            assert_eq!(hub.len(), 0, "sockets of shard {shard}");
            assert_eq!(hub.rooms(), (0, 0), "rooms of shard {shard}");
            assert_eq!(hub.recovery().away(), 0, "sockets of shard {shard} that may come back");
            assert!(engine.wheel.is_empty(), "timers of shard {shard}");
            assert_eq!(core.is_drained(), draining, "shard {shard}");
        }
        if !draining {
            return;
        }
        for (number, client) in self.clients.iter().enumerate() {
            // Whoever polls on new connections cannot be reached, nor who is about to upgrade, nor who does not read, nor who
            // polls slower than packets wait for it.
            let keeps_up = |s: &Session| s.full_us.is_none_or(|full_us| full_us < self.drained_us);
            let polls_on = self.pools[client.pool].reuse == Reuse::Always;
            let reached = |s: &&Session| match s.carrier {
                // A server that goes completes no upgrade.
                Carrier::WebSocket(_) => s.upgraded_us == 0 || s.upgraded_us + UPGRADE_US < self.drained_us,
                Carrier::Polling => {
                    polls_on && s.probe.is_none() && self.is_prompt() && s.thawed_us < self.drained_us && keeps_up(s)
                }
                Carrier::Opening => false,
            };
            if let Some(session) = client.session.as_ref().filter(|s| s.blameless && s.connected).filter(reached) {
                assert!(session.told, "client {number} was not told");
                client.view.check_whole(|room| self.history.acked.get(&room).copied().unwrap_or_default());
            }
        }
    }
}
