//! The turn, which both drivers share: one clock reading, then accept and read everything that is ready, take the mail
//! of other shards, let timers fire, and write each connection once.
//!
//! Reading everything before the first write is what merges the frames of many messages into one write per connection.

mod read;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::budget::{Budget, SCRATCH_BYTES};
use super::chores::Chores;
use super::clock::{SLEEP_MAX_MS, mono_ms, now, timespec};
use super::connections::{Connections, NO_SLOT, Watcher, reset};
use super::gate::Gate;
use super::{Control, Counters, Options, Report, Seat, memory};
use crate::mesh::{Doorbell, Envelope};
use crate::shard::seam::{ConnectionKey, Core, Ended, Handover, Now, Security};
use crate::shrink::Shrink;

/// Sockets asked for at once.
const BATCH: usize = 256;
/// Connections a turn accepts.
const ACCEPTS_MAX: u32 = 256;

/// What events of the doorbell carry.
const DOORBELL: u64 = NO_SLOT as u64;

/// One shard and all its I/O.
pub struct Pump<C: Core> {
    core: C,
    connections: Connections<C::Mail>,
    gates: Vec<Gate>,
    control: Arc<Control>,
    options: Options,
    counters: Counters,
    scratch: Box<[u8]>,
    events: Vec<Event>,
    /// Events that were handled; those behind are the next turn's.
    handled: usize,
    /// Connections that may have more to read than was read of them: the set will not report those again.
    unread: VecDeque<ConnectionKey>,
    /// A connection that is read now may have been read since the last flush.
    reads_again: bool,
    /// Connections that can be written, from the ring.
    writable: Vec<ConnectionKey>,
    /// Connections from other shards, between the mail of a turn and the table; empty between turns.
    arrived: Vec<(Option<ConnectionKey>, OwnedFd)>,
    /// The ring says that a listener is ready.
    acceptable: bool,
    /// More is ready than the last turn read.
    more: bool,
    budget: Budget,
    /// With a flush window: when to flush.
    flush_at_ms: Option<u64>,
    /// Once draining: when to give up.
    drain_until_ms: Option<u64>,
    chores: Chores,
}

impl<C: Core> Pump<C> {
    /// `watcher`: who watches the listener, the doorbell and blocked connections.
    pub fn new(core: C, seat: Seat<C::Mail>, watcher: Watcher) -> io::Result<Self> {
        let Seat { port, listeners, control, options } = seat;
        port.doorbell().awake();
        let mut connections = Connections::new(port, Arc::clone(&control.loads), watcher)?;
        let set = (watcher == Watcher::Set).then(|| Rc::clone(connections.set()));
        if let Some(set) = &set {
            epoll::add(&**set, connections.port().doorbell(), EventData::new_u64(DOORBELL), EventFlags::IN)?;
        }
        let gate = |(index, listener)| Gate::new(listener, index, set.clone());
        let gates = listeners.into_iter().enumerate().map(gate).collect::<Result<_, _>>()?;
        Ok(Self {
            core,
            connections,
            gates,
            control,
            options,
            counters: Counters::default(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            events: Vec::with_capacity(BATCH),
            handled: 0,
            unread: VecDeque::new(),
            reads_again: false,
            writable: Vec::new(),
            arrived: Vec::new(),
            acceptable: false,
            more: false,
            budget: Budget::new(),
            flush_at_ms: None,
            drain_until_ms: None,
            chores: Chores::default(),
        })
    }

    /// Reports for the last time. Returns what was done.
    pub fn finish(&mut self) -> Counters {
        self.report();
        self.counters()
    }

    fn counters(&mut self) -> Counters {
        Counters {
            spilled: self.connections.port().spilled_total(),
            accept_rests: self.gates.iter().map(Gate::rests).sum(),
            ..self.counters
        }
    }

    fn report(&mut self) {
        let report = Report { driver: self.counters(), shard: self.core.snapshot() };
        self.control.report(self.connections.port().index(), report);
    }

    fn do_chores(&mut self, now: Now) {
        if self.chores.are_due(now.mono_ms) {
            self.shrink(now);
            memory::give_back(self.chores.are_over());
            if self.options.reports {
                self.report();
            }
        }
    }

    fn shrink(&mut self, now: Now) {
        self.core.shrink(now);
        self.connections.shrink();
        self.unread.shrink();
        self.arrived.shrink();
    }

    /// The epoll set.
    pub fn set(&self) -> &Rc<OwnedFd> {
        self.connections.set()
    }

    /// The shard's doorbell.
    pub fn doorbell(&mut self) -> &Doorbell {
        self.connections.port().doorbell()
    }

    /// The shard's listeners, each while it is to be watched.
    pub fn listeners(&self) -> impl Iterator<Item = Option<&OwnedFd>> {
        self.gates.iter().map(Gate::open)
    }

    /// The next turn accepts.
    pub fn set_acceptable(&mut self) {
        self.acceptable = true;
    }

    /// Connections that became blocked, to be watched by the ring.
    pub fn take_blocked(&mut self) -> Vec<ConnectionKey> {
        self.connections.take_blocked()
    }

    /// The socket of a connection, to be watched by the ring.
    pub fn socket(&mut self, key: ConnectionKey) -> Option<&OwnedFd> {
        self.connections.socket(key)
    }

    /// The ring's watch of a blocked connection is over; the next turn tells the shard, if the connection is still there.
    pub fn watched(&mut self, key: ConnectionKey) {
        self.connections.polled(key);
        self.writable.push(key);
    }

    /// How long the shard may sleep, in milliseconds; 0: not at all. Before a sleep this must be called, after it
    /// [`Self::collect`].
    pub fn sleep_ms(&mut self) -> u64 {
        let port = self.connections.port();
        let reads_on = (self.more && !port.is_jammed()) || (!self.unread.is_empty() && !port.is_congested());
        if reads_on || self.connections.has_broken() || !self.connections.port().prepare_sleep() {
            return 0;
        }
        let own = [self.flush_at_ms, self.drain_until_ms, self.chores.deadline_ms()];
        let gates = self.gates.iter().map(Gate::deadline_ms);
        let next = gates.chain(own).chain([self.core.deadline_ms()]).flatten().min();
        next.map_or(SLEEP_MAX_MS, |ms| ms.saturating_sub(mono_ms()).min(SLEEP_MAX_MS))
    }

    /// Whether only the doorbell is to be listened to: other shards must first take what this one posted.
    pub fn is_jammed(&mut self) -> bool {
        self.connections.port().is_jammed()
    }

    /// Collects what is ready, waiting at most `sleep_ms` for it; nothing while the last turn left something, or while the
    /// shard is jammed.
    pub fn collect(&mut self, sleep_ms: u64) -> io::Result<()> {
        let timeout = timespec(sleep_ms);
        let result = if self.is_jammed() {
            let doorbell = self.connections.port().doorbell();
            let result = poll(&mut [PollFd::new(doorbell, PollFlags::IN)], Some(&timeout));
            doorbell.silence();
            result
        } else if self.handled < self.events.len() {
            return Ok(());
        } else {
            self.events.clear();
            self.handled = 0;
            let set = self.connections.set().clone();
            epoll::wait(&*set, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout))
        };
        self.connections.port().doorbell().awake();
        match result {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// One turn with what [`Self::collect`] found. Returns whether there will be another one.
    pub fn turn(&mut self) -> io::Result<bool> {
        let now = now();
        self.counters.turns += 1;
        self.gates.iter_mut().for_each(|gate| gate.reopen(now.mono_ms));
        if std::mem::take(&mut self.acceptable) {
            self.accept_all(now);
        }
        self.read_all(now)?;
        for key in std::mem::take(&mut self.writable) {
            self.write_again(key, now);
        }
        while let Some(key) = self.connections.pop_broken() {
            self.end(key, Ended::Reset, now);
        }
        self.begin_drain(now);
        self.take_mail(now);
        self.core.tick(now);
        if self.flush_is_due(now) {
            self.core.flush(&mut self.connections, now);
            self.connections.port().flush();
        }
        self.do_chores(now);
        Ok(!self.is_over(now))
    }

    fn end(&mut self, key: ConnectionKey, how: Ended, now: Now) {
        if self.connections.end(key) {
            self.core.ended(key, how, now);
        }
    }

    fn write_again(&mut self, key: ConnectionKey, now: Now) {
        if self.connections.unblock(key) {
            self.core.writable(key, now);
        }
    }

    fn accept_all(&mut self, now: Now) {
        (0..self.gates.len()).for_each(|index| self.accept_from(index, now));
    }

    fn accept_from(&mut self, index: usize, now: Now) {
        let mut tries = ACCEPTS_MAX;
        while let Some((socket, peer)) = self.gates[index].accept(&mut tries, now.mono_ms) {
            self.admit(socket, peer, self.gates[index].security(), now);
        }
    }

    /// A new connection: refused, kept, or passed on to the shard that has the fewest.
    fn admit(&mut self, socket: OwnedFd, peer: IpAddr, security: Security, now: Now) {
        let own = self.connections.port().index();
        let to = if self.options.balance_least { self.control.loads.least(own) } else { own };
        if !self.control.loads.opened(to) {
            self.counters.refused += 1;
            reset(&socket);
            return;
        }
        self.counters.accepted += 1;
        if to == own {
            let key = self.core.accepted(peer, security, now);
            self.keep(key, socket);
        } else {
            self.counters.balanced += 1;
            let handover = Handover::fresh(peer, security);
            self.connections.port().post(to, Envelope::Connection { socket, handover });
        }
    }

    /// Takes a connection in that is counted already, unless the shard refused it.
    fn keep(&mut self, key: Option<ConnectionKey>, socket: OwnedFd) {
        match key {
            Some(key) => self.connections.insert(key, socket),
            None => {
                self.counters.refused += 1;
                reset(&socket);
                self.control.loads.closed(self.connections.port().index());
            }
        }
    }

    fn take_mail(&mut self, now: Now) {
        let mut arrived = std::mem::take(&mut self.arrived);
        let Self { core, counters, budget, .. } = self;
        self.connections.port().drain(|from, envelope| {
            match envelope {
                Envelope::Mail(mail) => core.mail(from, mail, now),
                Envelope::Connection { socket, handover } => {
                    counters.adopted += 1;
                    arrived.push((core.adopted(handover, now), socket));
                }
            }
            budget.has_time_for_mail(core.pending())
        });
        for (key, socket) in arrived.drain(..) {
            self.keep(key, socket);
        }
        self.arrived = arrived;
    }

    /// Whether this turn ends with a flush. A flush window puts it off, from the first turn after the last flush on.
    fn flush_is_due(&mut self, now: Now) -> bool {
        let window = self.options.flush_window_ms;
        let at = *self.flush_at_ms.get_or_insert(now.mono_ms + window);
        if now.mono_ms < at && !Budget::is_full(self.core.pending()) {
            return false;
        }
        self.flush_at_ms = None;
        true
    }

    fn begin_drain(&mut self, now: Now) {
        if self.drain_until_ms.is_some() || !self.control.is_draining() {
            return;
        }
        self.drain_until_ms = Some(now.mono_ms + self.options.drain_limit_ms);
        // Those whom the kernel has let in already are told as well, not reset.
        self.accept_all(now);
        self.gates.iter_mut().for_each(Gate::close);
        self.core.drain(now);
    }

    /// Whether all shards are drained, or the time for it is up.
    fn is_over(&mut self, now: Now) -> bool {
        let Some(until) = self.drain_until_ms else { return false };
        let drained = self.core.is_drained();
        let port = self.connections.port();
        let all = self.control.set_drained(port.index(), drained && port.spilled() == 0 && port.is_empty());
        all || now.mono_ms >= until
    }
}
