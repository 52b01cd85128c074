//! Sockets that lost their session and may come back.

use super::{Hub, Socket, SocketKey};
use crate::engine::wheel::{Timer, TimerKind};
use crate::engine::{Engine, SessionKey};
use crate::rooms::members::Member;
use crate::socket::App;
use crate::socket::recovery::Claim;
use slab::Slab;

/// The slot that no session has.
const AWAY: u32 = u32::MAX;

/// The one timer that watches who is away.
const RECOVERY_TIMER: Timer = Timer { kind: TimerKind::Recovery, slot: 0, generation: 0 };

impl<A: App> Hub<A> {
    /// Whether a socket is away.
    pub(in crate::socket) fn is_away(&self, key: SocketKey) -> bool {
        self.session(key).is_some_and(|session| session.slot == AWAY)
    }

    /// Takes a socket that is about to lose its session out of everything but what it needs to come back.
    pub(in crate::socket) fn park(&mut self, engine: &mut Engine, key: SocketKey) {
        self.unlink(engine, key);
        let rooms = self.get_mut(key).map(|s| std::mem::take(&mut s.rooms)).unwrap_or_default();
        for &membership in &rooms {
            let sockets = &mut self.sockets;
            self.members.park(membership, |slot| sockets.get_mut(slot as usize).map(|s| &mut s.rooms));
        }
        let (number, until_ms, surplus) = self.recovery.park(key, engine.now.mono_ms, is_away(&self.sockets));
        let Some(socket) = self.get_mut(key) else { return };
        socket.rooms = rooms;
        socket.session = SessionKey { slot: AWAY, generation: number };
        if let Some(until_ms) = until_ms {
            engine.wheel.arm(until_ms, RECOVERY_TIMER);
        }
        if let Some(surplus) = surplus {
            self.give_up(surplus);
        }
    }

    /// Brings a socket that is away back, if nothing it missed is lost: tells it so and sends what it missed.
    pub(in crate::socket) fn recover(
        &mut self,
        engine: &mut Engine,
        session: SessionKey,
        key: SocketKey,
        claim: &Claim<'_>,
    ) -> Option<SocketKey> {
        let sink = engine.session(session)?.sink();
        let socket = self.sockets.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)?;
        let offset = claim.offset.as_deref();
        let from = self.recovery.missing_from(socket.start, socket.trimmed, offset, &socket.rooms, &self.members)?;
        self.recovery.unpark();
        socket.session = session;
        socket.next = std::mem::replace(&mut engine.session_mut(session)?.upper, key.slot);
        for membership in &mut socket.rooms {
            self.members.unpark(membership, Member { socket: key.slot, sink });
        }
        self.tell_connected(engine, key);
        let socket = self.get(key)?;
        self.recovery.replay(from, key, &socket.rooms, &self.members, &mut engine.out, sink);
        engine.counters.recovered += 1;
        Some(key)
    }

    /// Ends the wait for sockets that stayed away too long.
    pub(in crate::socket) fn expire(&mut self, engine: &mut Engine) {
        let next_ms = loop {
            match self.recovery.next_expired(engine.now.mono_ms, is_away(&self.sockets)) {
                Ok(key) => self.give_up(key),
                Err(next_ms) => break next_ms,
            }
        };
        if let Some(next_ms) = next_ms {
            engine.wheel.arm(next_ms, RECOVERY_TIMER);
        }
    }

    /// Forgets a socket that is away.
    pub(in crate::socket) fn give_up(&mut self, key: SocketKey) {
        if !self.is_away(key) {
            return;
        }
        self.recovery.unpark();
        let Some(socket) = self.sockets.try_remove(key.slot as usize) else { return };
        for membership in socket.rooms {
            if let Some(room) = self.members.id(membership.room()).cloned() {
                let change = self.members.give_up(membership);
                self.announce(&room, change, false);
            }
        }
    }

    /// The turn ends: what those who are away missed in it is kept.
    pub(in crate::socket) fn end_turn(&mut self, engine: &mut Engine) {
        let here = self.sockets.len() - self.recovery.away();
        let sockets = &mut self.sockets;
        let trim = |key: SocketKey, offset: u64| {
            if let Some(socket) = sockets.get_mut(key.slot as usize).filter(|s| s.generation == key.generation) {
                socket.trimmed = offset;
            }
        };
        self.recovery.end_turn(&engine.out, &mut self.members, engine.now.mono_ms, here, trim);
    }
}

/// Whether a socket is away since the departure of this number.
fn is_away<D>(sockets: &Slab<Socket<D>>) -> impl Fn(SocketKey, u32) -> bool {
    |key, number| {
        let socket = sockets.get(key.slot as usize).filter(|s| s.generation == key.generation);
        socket.is_some_and(|s| s.session == SessionKey { slot: AWAY, generation: number })
    }
}
