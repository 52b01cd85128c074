//! The sans-IO composition of one core: `fn(now, input) -> effects`.
//!
//! A [`Shard`] is an [`Engine`] and the [`Protocol`] its sessions carry. `receive` takes bytes to requests and packets,
//! `router` decides what a request is for, `drain` ends it all in order.

mod drain;
mod front;
mod receive;
mod router;
pub mod seam;

pub use router::Routes;
pub use seam::{ConnectionKey, Core, Ended, Handover, Now, Pending, Security, Wire};

use crate::connection::{Emigrant, Load, Moving};
use crate::engine::wheel::{Timer, TimerKind};
use crate::engine::{Effect, Engine, Entropy, Protocol, SessionKey, Settings};
use crate::metrics::{ConnectionEnd, Gauges, Snapshot};
use crate::shrink::Shrink;
use crate::wire::sid::Sid;
use drain::Drain;
use std::net::IpAddr;

/// One core's share of the server.
pub struct Shard<P: Protocol> {
    engine: Engine,
    protocol: P,
    routes: Routes,
    drain: Drain,
    due: Vec<Timer>,
    /// What TLS decrypts, one connection at a time.
    decrypted: Vec<u8>,
    /// Connections whose client said with TLS that it sends no more; they end once what it sent is answered.
    closed_by_client: Vec<ConnectionKey>,
}

/// What shards send one another.
#[derive(Debug)]
pub enum Mail<M> {
    /// The protocol's.
    Protocol(M),
    /// A polling session that moves to this shard.
    Session(Emigrant),
    /// A polling session that moved away from this shard ended.
    SessionLeft(Sid),
    /// The sender has posted everything of this round of the drain.
    DrainMark(u8),
}

/// Connections that a turn lets go on with what they sent behind an answered request.
const RESUMED_MAX: usize = 16;

impl<P: Protocol> Shard<P> {
    /// A shard without connections. `now_ms`: `mono_ms` at the start.
    pub fn new(settings: Settings, routes: Routes, protocol: P, entropy: Entropy, now_ms: u64) -> Self {
        Self {
            drain: Drain::new(settings.shards),
            engine: Engine::new(settings, entropy, now_ms),
            protocol,
            routes,
            due: Vec::new(),
            decrypted: Vec::new(),
            closed_by_client: Vec::new(),
        }
    }

    /// The engine, for counters and assertions.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The protocol, for assertions.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// Both, for tests that call the protocol as the engine does.
    #[cfg(test)]
    pub fn parts(&mut self) -> (&mut Engine, &mut P) {
        (&mut self.engine, &mut self.protocol)
    }

    /// Tells the protocol what ended. Nothing else may happen in between: a slot or sink must not be used again while the
    /// protocol still counts on its former owner.
    fn settle(&mut self) {
        while let Some((session, upper, reason)) = self.engine.take_closed() {
            self.protocol.closed(&mut self.engine, session, upper, reason);
        }
    }
}

impl<P: Protocol> Shard<P> {
    /// Posts this turn's mail; before its connections go, so that a session is there before its requests.
    fn post_all<W: Wire<Mail<P::Mail>>>(&mut self, wire: &mut W) {
        for (to, mail) in self.protocol.outgoing().drain(..) {
            wire.post(to, Mail::Protocol(mail));
        }
        for (to, emigrant) in self.engine.take_emigrants() {
            wire.post(to, Mail::Session(emigrant));
        }
        for sid in self.engine.take_left() {
            let (home, _) = self.engine.place(&sid);
            wire.post(home, Mail::SessionLeft(sid));
        }
    }

    /// A WebSocket arrives.
    fn arrive(&mut self, key: ConnectionKey, moving: Moving) {
        match moving.load {
            Load::Session(emigrant) => {
                if let Some(session) = self.engine.immigrate_websocket(key, moving.decoder, &emigrant) {
                    self.take_packets(session, emigrant);
                }
            }
            Load::Probe { sid, upgrading } => self.engine.immigrate_probe(key, moving.decoder, &sid, upgrading),
        }
    }

    fn take_packets(&mut self, session: SessionKey, emigrant: Emigrant) {
        for mut packet in emigrant.packets {
            self.protocol.text(&mut self.engine, session, &mut packet);
            self.settle();
        }
    }

    /// Lets connections go on with the requests behind those that were answered in earlier turns, a few in each turn.
    fn go_on(&mut self) {
        for _ in 0..self.engine.resumed_count().min(RESUMED_MAX) {
            let Some(key) = self.engine.take_resumed() else { return };
            self.advance_http(key);
            self.settle();
            self.engine.read_on(key);
        }
    }
}

impl<P: Protocol> Core for Shard<P> {
    type Mail = Mail<P::Mail>;

    fn accepted(&mut self, peer: IpAddr, security: Security, now: Now) -> Option<ConnectionKey> {
        self.engine.now = now;
        if self.drain.has_begun() {
            return None;
        }
        self.engine.accept(peer, security)
    }

    fn adopted(&mut self, mut handover: Handover, now: Now) -> Option<ConnectionKey> {
        self.engine.now = now;
        // Requests may still have to reach the shard of their session.
        let goes_on = !handover.unread.is_empty() && handover.moving.is_none() && !self.drain.is_over();
        if self.drain.has_begun() && !goes_on {
            return None;
        }
        let key = match handover.fresh {
            Some(security) => self.engine.accept(handover.peer, security)?,
            None => self.engine.adopt(handover.peer, handover.front)?,
        };
        match handover.moving {
            Some(moving) => self.arrive(key, *moving),
            None => self.engine.counters.connections_adopted += 1,
        }
        self.receive(key, &mut handover.unread);
        if self.has_ended(key) {
            self.closed_by_client.push(key);
        }
        self.settle();
        Some(key)
    }

    fn received(&mut self, key: ConnectionKey, bytes: &mut [u8], now: Now) {
        self.engine.now = now;
        if self.engine.connection(key).is_some_and(|connection| connection.front.is_some()) {
            self.receive_front(key, bytes);
        } else {
            self.receive(key, bytes);
        }
        self.settle();
    }

    fn writable(&mut self, key: ConnectionKey, now: Now) {
        self.engine.now = now;
        if let Some(sink) = self.engine.connection(key).map(|c| c.sink) {
            self.engine.out.touch(sink);
        }
    }

    fn ended(&mut self, key: ConnectionKey, how: Ended, now: Now) {
        self.engine.now = now;
        match how {
            Ended::Eof => self.engine.ended(key),
            Ended::Reset => self.engine.kill_connection(key, ConnectionEnd::Broken),
        }
        self.settle();
    }

    fn mail(&mut self, from: usize, mail: Self::Mail, now: Now) {
        self.engine.now = now;
        match mail {
            Mail::Protocol(mail) => self.protocol.mail(&mut self.engine, from, mail),
            Mail::Session(emigrant) => {
                if let Some(session) = self.engine.immigrate_polling(&emigrant) {
                    self.take_packets(session, emigrant);
                }
            }
            Mail::SessionLeft(sid) => self.engine.remove_signpost(&sid),
            Mail::DrainMark(round) => self.drain.marked(round),
        }
        self.settle();
    }

    fn tick(&mut self, now: Now) {
        self.engine.now = now;
        let mut due = std::mem::take(&mut self.due);
        self.engine.wheel.advance(now.mono_ms, &mut due);
        for timer in due.drain(..) {
            let Timer { kind, slot, generation } = timer;
            match kind {
                TimerKind::Connect => {
                    self.protocol.connect_timeout(&mut self.engine, SessionKey { slot, generation });
                }
                TimerKind::App | TimerKind::Socket | TimerKind::Recovery => {
                    self.protocol.timeout(&mut self.engine, timer)
                }
                _ => self.engine.fire(timer),
            }
            self.settle();
        }
        self.due = due;
    }

    fn deadline_ms(&self) -> Option<u64> {
        if self.engine.resumed_count() > 0 { Some(0) } else { self.engine.wheel.deadline_ms() }
    }

    fn pending(&self) -> Pending {
        let Self { engine, protocol, .. } = self;
        Pending { bytes: engine.out.queued(), mail: protocol.outgoing_count(), mail_bytes: protocol.outgoing_bytes() }
    }

    fn flush<W: Wire<Self::Mail>>(&mut self, wire: &mut W, now: Now) {
        self.engine.now = now;
        self.advance_drain(wire);
        self.go_on();
        loop {
            self.settle();
            self.engine.flush(&mut |key, slices, is_last| {
                if is_last { wire.send_last(key, slices) } else { wire.send(key, slices) }
            });
            let ended = self.end_closed();
            if self.engine.is_settled() && !ended {
                break;
            }
        }
        self.post_all(wire);
        self.engine.take_effects(|key, effect| match effect {
            Effect::Reading(on) => wire.set_reading(key, on),
            Effect::Shutdown => wire.shutdown(key),
            Effect::Close(abort) => wire.close(key, abort),
            Effect::Move(to, handover) => wire.hand_over(key, to, handover),
        });
        self.protocol.end_turn(&mut self.engine);
        self.engine.out.end_turn();
    }

    fn drain(&mut self, now: Now) {
        self.engine.now = now;
        self.drain.begin();
    }

    fn snapshot(&self) -> Snapshot {
        let gauges = Gauges {
            connections: self.engine.connection_count(),
            sessions: self.engine.session_count(),
            rooms: self.protocol.room_count(),
            queue_bytes: self.engine.out.backlog_total(),
        };
        Snapshot { counters: self.engine.counters.clone(), gauges }
    }

    fn shrink(&mut self, now: Now) {
        self.engine.shrink();
        self.protocol.shrink(now);
        self.due.shrink();
        self.closed_by_client.shrink();
    }

    fn is_drained(&self) -> bool {
        self.drain.is_over() && self.engine.connection_count() == 0
    }
}
