//! Several shards in one thread with their mesh, on a driver, a network and a time that are virtual.

use crate::network::{Link, LinkId, Place, Segment, Weather};
use crate::random::Random;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sockeye::mesh::{Port, mesh};
use sockeye::shard::seam::{ConnectionKey, Core, Ended, Handover, Now, Security, Wire};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What the wall clock shows when the virtual one begins.
const UNIX_MS: u64 = 1_700_000_000_000;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Turn(usize),
    Up(LinkId),
    Down(LinkId),
    Timer(u64),
}

/// What is for the clients to deal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something arrived on a connection.
    Down(LinkId),
    /// A timer of theirs, by the number they gave it.
    Timer(u64),
}

enum Envelope<M> {
    Mail(M),
    Connection(LinkId, Handover),
}

/// When the last envelope arrives, and all of them.
type Transit<M> = (u64, VecDeque<(u64, Envelope<M>)>);

/// What a driver keeps for one shard.
#[derive(Default)]
struct Seat {
    /// Slot to generation and connection.
    keys: BTreeMap<u32, (u32, LinkId)>,
    accepts: Vec<LinkId>,
    readable: Vec<LinkId>,
    writable: Vec<LinkId>,
    wake_us: Option<u64>,
    busy_until_us: u64,
    /// It blocks until somebody rings, or something wakes it.
    asleep: bool,
}

/// The shards, and everything around them.
pub struct Cluster<C: Core> {
    pub cores: Vec<C>,
    pub world: World<C::Mail>,
}

/// Everything around the shards.
pub struct World<M> {
    pub now_us: u64,
    pub random: Random,
    pub weather: Weather,
    pub links: Vec<Link>,
    seats: Vec<Seat>,
    /// The shards' ends of the mesh.
    ports: Vec<Port<Envelope<M>>>,
    /// Of each ordered pair of shards, `from * shards + to`: what the port gave and the shard is yet to be given. So what
    /// different shards send arrives in any order.
    transit: Vec<Transit<M>>,
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    pub draining: bool,
}

impl<M> World<M> {
    pub fn shards(&self) -> usize {
        self.seats.len()
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.agenda.push(Reverse((at_us.max(self.now_us), self.scheduled, event)));
    }

    /// Lets [`Cluster::step`] give `number` in `delay_us`.
    pub fn set_timer(&mut self, delay_us: u64, number: u64) {
        self.schedule(self.now_us + delay_us, Event::Timer(number));
    }

    fn wake(&mut self, shard: usize, at_us: u64) {
        let at_us = at_us.max(self.seats[shard].busy_until_us).max(self.now_us);
        if self.seats[shard].wake_us.is_none_or(|earlier| at_us < earlier) {
            self.seats[shard].wake_us = Some(at_us);
            self.schedule(at_us, Event::Turn(shard));
        }
    }

    /// A new connection; which shard accepts it is chance.
    pub fn connect(&mut self, window: usize) -> LinkId {
        let link = self.links.len();
        self.links.push(Link::new(window));
        let shard = self.random.below(self.shards());
        self.seats[shard].accepts.push(link);
        self.wake(shard, self.now_us);
        link
    }

    /// The client sends bytes.
    pub fn write(&mut self, link: LinkId, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.send_up(link, Segment::Bytes(bytes.to_vec()));
        }
    }

    /// The client half-closes.
    pub fn finish(&mut self, link: LinkId) {
        self.send_up(link, Segment::Fin);
    }

    /// The client closes, and reads no more; `reset`: the other side learns it by a reset.
    pub fn abandon(&mut self, link: LinkId, reset: bool) {
        if !self.links[link].abandoned {
            self.send_up(link, if reset { Segment::Reset } else { Segment::Fin });
            self.links[link].abandoned = true;
            self.links[link].window = usize::MAX;
            self.unblock(link);
        }
    }

    fn send_up(&mut self, link: LinkId, segment: Segment) {
        let delay_us = self.weather.delay(&mut self.random);
        let at_us = self.links[link].up.send(self.now_us, delay_us, segment);
        self.schedule(at_us, Event::Up(link));
    }

    /// The client reads at most `max` bytes of what has arrived.
    pub fn read(&mut self, link: LinkId, max: usize) -> Option<Segment> {
        let segment = self.links[link].down.read(self.now_us, max);
        self.unblock(link);
        segment
    }

    /// Whether there is something for the client to read.
    pub fn is_readable(&self, link: LinkId) -> bool {
        self.links[link].down.is_readable(self.now_us)
    }

    fn unblock(&mut self, link: LinkId) {
        let Link { place: Place::At(shard, _), blocked: true, ref down, window, .. } = self.links[link] else { return };
        if down.bytes < window {
            self.seats[shard].writable.push(link);
            let delay_us = self.weather.delay(&mut self.random);
            self.wake(shard, self.now_us + delay_us);
        }
    }

    fn note_readable(&mut self, link: LinkId) {
        let Link { place: Place::At(shard, _), reading: true, ended: false, ref up, .. } = self.links[link] else {
            return;
        };
        if up.is_readable(self.now_us) {
            self.seats[shard].readable.push(link);
            self.wake(shard, self.now_us);
        }
    }

    fn post(&mut self, from: usize, to: usize, envelope: Envelope<M>) {
        assert!(to < self.shards() && from != to, "mail from {from} to {to}");
        self.ports[from].post(to, envelope);
    }

    /// Takes what the mesh has for a shard, to be given to it now or later.
    fn collect(&mut self, shard: usize) {
        let (now_us, shards) = (self.now_us, self.shards());
        let Self { ports, transit, weather, random, .. } = self;
        ports[shard].drain(|from, envelope| {
            let (last_us, envelopes) = &mut transit[from * shards + shard];
            *last_us = (*last_us).max(now_us + weather.mesh_delay(random));
            envelopes.push_back((*last_us, envelope));
            true
        });
    }

    /// The end of a turn: the shard blocks, unless there is more to do, and those it rang wake up.
    fn sleep(&mut self, shard: usize) {
        self.ports[shard].flush();
        self.seats[shard].asleep = self.ports[shard].prepare_sleep();
        if !self.seats[shard].asleep {
            self.wake(shard, self.now_us + 1);
        }
        for other in 0..self.shards() {
            if self.seats[other].asleep && rings(&self.ports[other]) {
                self.seats[other].asleep = false;
                self.wake(other, self.now_us + 1);
            }
        }
    }

    /// The beginning of a turn.
    fn wake_up(&mut self, shard: usize) {
        self.seats[shard].asleep = false;
        let doorbell = self.ports[shard].doorbell();
        doorbell.awake();
        doorbell.silence();
    }

    /// Envelopes that found a ring full.
    pub fn spilled(&self) -> u64 {
        self.ports.iter().map(Port::spilled_total).sum()
    }

    /// Whether nothing is between shards.
    pub fn is_mesh_empty(&self) -> bool {
        self.ports.iter().all(|port| port.is_empty() && port.spilled() == 0)
            && self.transit.iter().all(|(_, t)| t.is_empty())
    }

    /// The connection of a key, which must be valid.
    fn link(&self, shard: usize, key: ConnectionKey) -> LinkId {
        let found = self.seats[shard].keys.get(&key.slot);
        let &(generation, link) = found.unwrap_or_else(|| panic!("{key:?} of shard {shard} is unknown"));
        assert_eq!(generation, key.generation, "{key:?} is of an earlier connection");
        link
    }

    fn seat(&mut self, shard: usize, key: ConnectionKey, link: LinkId) {
        let before = self.seats[shard].keys.insert(key.slot, (key.generation, link));
        assert!(before.is_none(), "{key:?} is taken");
        let state = &mut self.links[link];
        (state.place, state.reading) = (Place::At(shard, key.slot), true);
        if !state.ended {
            self.note_readable(link);
        }
    }

    /// The driver closes a connection. With unread bytes, or with a reset wanted, the client is reset.
    fn close(&mut self, link: LinkId, abort: bool) {
        let (now_us, delay_us) = (self.now_us, self.weather.delay(&mut self.random));
        let state = &mut self.links[link];
        state.place = Place::Closed;
        let reset = abort || state.up.bytes > 0;
        if reset && abort {
            state.down.lose(now_us);
        }
        let at_us = state.down.send(now_us, delay_us, if reset { Segment::Reset } else { Segment::Fin });
        self.schedule(at_us, Event::Down(link));
    }
}

/// Whether the doorbell of a port's shard was rung.
fn rings<T>(port: &Port<T>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(port.doorbell(), PollFlags::IN)], Some(&at_once)).expect("an open descriptor") == 1
}

impl<C: Core> Cluster<C> {
    pub fn new(cores: Vec<C>, random: Random, weather: Weather) -> Self {
        let shards = cores.len();
        let ports = mesh(shards, weather.ring_slots).expect("descriptors for doorbells");
        let mut world = World {
            now_us: 1_000_000,
            random,
            weather,
            links: Vec::new(),
            seats: (0..shards).map(|_| Seat::default()).collect(),
            ports,
            transit: (0..shards * shards).map(|_| (0, VecDeque::new())).collect(),
            agenda: BinaryHeap::new(),
            scheduled: 0,
            draining: false,
        };
        // Nobody rings for a shard that has not slept yet.
        (0..shards).for_each(|shard| world.wake(shard, world.now_us));
        Self { cores, world }
    }

    pub fn now(&self) -> Now {
        let mono_ms = self.world.now_us / 1000;
        Now { mono_ms, unix_ms: UNIX_MS + mono_ms }
    }

    /// Begins the drain; each shard hears of it in a turn of its own.
    pub fn drain(&mut self) {
        self.world.draining = true;
        let now = self.now();
        for shard in 0..self.cores.len() {
            self.cores[shard].drain(now);
            self.world.wake(shard, self.world.now_us);
        }
    }

    /// Goes on to the next thing the clients have to deal with; `None`: nothing will ever happen again.
    pub fn step(&mut self) -> Option<Signal> {
        while let Some(Reverse((at_us, _, event))) = self.world.agenda.pop() {
            self.world.now_us = at_us;
            match event {
                Event::Turn(shard) if self.world.seats[shard].wake_us == Some(at_us) => self.turn(shard),
                Event::Turn(_) => {}
                Event::Up(link) => self.world.note_readable(link),
                Event::Down(link) => return Some(Signal::Down(link)),
                Event::Timer(number) => return Some(Signal::Timer(number)),
            }
        }
        None
    }

    /// One turn, in the order of a real driver: connections, bytes, mail, timers, flush.
    fn turn(&mut self, shard: usize) {
        let (now, world) = (self.now(), &mut self.world);
        world.seats[shard].wake_us = None;
        world.wake_up(shard);
        world.seats[shard].busy_until_us = world.now_us + world.random.range(1, world.weather.turn_us);
        self.accept(shard, now);
        self.read(shard, now);
        for link in std::mem::take(&mut self.world.seats[shard].writable) {
            let state = &mut self.world.links[link];
            if let Place::At(at, slot) = state.place
                && at == shard
                && std::mem::take(&mut state.blocked)
            {
                let generation = self.world.seats[shard].keys[&slot].0;
                self.cores[shard].writable(ConnectionKey { slot, generation }, now);
            }
        }
        self.take_mail(shard, now);
        self.cores[shard].tick(now);
        let world = &mut self.world;
        if world.random.chance(10) {
            self.cores[shard].shrink(now);
        }
        if world.random.chance(world.weather.late_flushes) {
            return world.wake(shard, world.now_us + 1);
        }
        self.cores[shard].flush(&mut Hands { shard, world }, now);
        self.world.sleep(shard);
        if let Some(deadline_ms) = self.cores[shard].deadline_ms() {
            let is_left = deadline_ms > 0 && deadline_ms <= now.mono_ms;
            assert!(!is_left, "a timer of {deadline_ms} is left after the tick of {}", now.mono_ms);
            self.world.wake(shard, (deadline_ms * 1000).max(self.world.now_us + 1));
        }
    }

    fn accept(&mut self, shard: usize, now: Now) {
        for link in std::mem::take(&mut self.world.seats[shard].accepts) {
            let world = &mut self.world;
            if world.shards() > 1 && world.random.chance(world.weather.balanced) {
                let to = (shard + 1 + world.random.below(world.shards() - 1)) % world.shards();
                world.post(shard, to, Envelope::Connection(link, Handover::fresh(PEER, Security::Plain)));
                continue;
            }
            match self.cores[shard].accepted(PEER, Security::Plain, now) {
                Some(key) => world.seat(shard, key, link),
                None => world.close(link, true),
            }
        }
    }

    /// Gives the shard some of what has arrived, from the connections in any order, in pieces of any size.
    fn read(&mut self, shard: usize, now: Now) {
        let mut ready = std::mem::take(&mut self.world.seats[shard].readable);
        while !ready.is_empty() {
            let world = &mut self.world;
            let link = ready.swap_remove(world.random.below(ready.len()));
            let short = world.random.chance(world.weather.short_reads);
            let max = if short { world.random.range(1, 40) as usize } else { usize::MAX };
            let state = &mut world.links[link];
            let Place::At(at, slot) = state.place else { continue };
            if at != shard || !state.reading || state.ended {
                continue;
            }
            let key = ConnectionKey { slot, generation: world.seats[shard].keys[&slot].0 };
            match state.up.read(world.now_us, max) {
                None => continue,
                Some(Segment::Bytes(mut bytes)) => self.cores[shard].received(key, &mut bytes, now),
                Some(Segment::Fin) => {
                    state.ended = true;
                    self.cores[shard].ended(key, Ended::Eof, now);
                }
                Some(Segment::Reset) => {
                    state.ended = true;
                    self.cores[shard].ended(key, Ended::Reset, now);
                }
            }
            // What is left is read in this turn or a later one.
            if self.world.random.chance(500) {
                ready.push(link);
            } else {
                self.world.note_readable(link);
            }
        }
    }

    fn take_mail(&mut self, shard: usize, now: Now) {
        self.world.collect(shard);
        let shards = self.world.shards();
        let start = self.world.random.below(shards);
        for from in (0..shards).map(|i| (start + i) % shards) {
            while let Some((at_us, _)) = self.world.transit[from * shards + shard].1.front() {
                if *at_us > self.world.now_us {
                    let at_us = *at_us;
                    self.world.wake(shard, at_us);
                    break;
                }
                match self.world.transit[from * shards + shard].1.pop_front() {
                    Some((_, Envelope::Mail(mail))) => self.cores[shard].mail(from, mail, now),
                    Some((_, Envelope::Connection(link, handover))) => match self.cores[shard].adopted(handover, now) {
                        Some(key) => self.world.seat(shard, key, link),
                        None => self.world.close(link, true),
                    },
                    None => {}
                }
            }
        }
    }
}

/// What a shard has of its driver during a flush.
struct Hands<'a, M> {
    shard: usize,
    world: &'a mut World<M>,
}

impl<M> Hands<'_, M> {
    fn link(&self, key: ConnectionKey) -> LinkId {
        self.world.link(self.shard, key)
    }

    fn leave(&mut self, key: ConnectionKey) -> LinkId {
        let link = self.link(key);
        self.world.seats[self.shard].keys.remove(&key.slot);
        link
    }
}

impl<M> Wire<M> for Hands<'_, M> {
    fn send(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (link, world) = (self.link(key), &mut *self.world);
        let mut bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        assert!(!bytes.is_empty(), "{key:?} is written nothing");
        let state = &mut world.links[link];
        assert!(!state.shut, "{key:?} is written to after its shutdown");
        if state.up.is_reset(world.now_us) && !state.ended {
            state.ended = true;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut room = state.window.saturating_sub(state.down.bytes);
        if world.random.chance(world.weather.short_writes) {
            room = room.min(world.random.below(200));
        }
        state.blocked = room < bytes.len();
        bytes.truncate(room);
        let (sent, delay_us) = (bytes.len(), world.weather.delay(&mut world.random));
        if sent > 0 {
            let at_us = state.down.send(world.now_us, delay_us, Segment::Bytes(bytes));
            world.schedule(at_us, Event::Down(link));
        }
        world.unblock(link);
        Ok(sent)
    }

    fn set_reading(&mut self, key: ConnectionKey, on: bool) {
        let link = self.link(key);
        self.world.links[link].reading = on;
        self.world.note_readable(link);
    }

    fn shutdown(&mut self, key: ConnectionKey) {
        let (link, now_us) = (self.link(key), self.world.now_us);
        let delay_us = self.world.weather.delay(&mut self.world.random);
        assert!(!self.world.links[link].shut, "{key:?} is shut down twice");
        self.world.links[link].shut = true;
        let at_us = self.world.links[link].down.send(now_us, delay_us, Segment::Fin);
        self.world.schedule(at_us, Event::Down(link));
    }

    fn close(&mut self, key: ConnectionKey, abort: bool) {
        let link = self.leave(key);
        self.world.close(link, abort);
    }

    fn hand_over(&mut self, key: ConnectionKey, to: usize, handover: Handover) {
        let link = self.leave(key);
        let state = &mut self.world.links[link];
        assert!(!state.blocked, "{key:?} is handed over with a write pending");
        state.place = Place::Travelling;
        self.world.post(self.shard, to, Envelope::Connection(link, handover));
    }

    fn post(&mut self, to: usize, mail: M) {
        self.world.post(self.shard, to, Envelope::Mail(mail));
    }
}
