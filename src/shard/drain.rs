//! The orderly end of a shard: nothing that was confirmed is missing at a member that reads.
//!
//! Input waits or is ignored from the beginning on. What is in flight between shards is let through by rounds of marks, sent
//! on the same first-in-first-out ways as all mail: after the first, every operation has reached its room's home; after the
//! second, every delivery has reached its members. Then everybody is told, flushed and closed; but a client between two
//! polls can be told only when it polls again, on a connection of any shard, so HTTP goes on for a while. With its mark of
//! the third round a shard says that all of its sessions know and all calls are answered, or that it waits no longer; after it, all is closed.

use super::seam::Wire;
use super::{Mail, Shard};
use crate::connection::{Finish, Stage};
use crate::engine::wheel::{Timer, TimerKind};
use crate::engine::{CloseReason, Protocol};

const ROUNDS: u8 = 3;
/// The round after which everybody is told.
const TELLING: u8 = 1;
/// How long a client between two polls is waited for.
const POLL_GRACE_MS: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Drain {
    shards: usize,
    begun: bool,
    /// Rounds whose marks this shard has posted.
    posted: u8,
    marks: [usize; ROUNDS as usize],
    told: bool,
    /// When clients that do not poll are given up, in `mono_ms`.
    grace_ms: u64,
    over: bool,
}

impl Drain {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, begun: false, posted: 0, marks: [0; ROUNDS as usize], told: false, grace_ms: 0, over: false }
    }

    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether input is not to be looked at (yet).
    pub(super) fn holds(&self) -> bool {
        self.begun && !self.told
    }

    /// Whether everybody was told and HTTP goes on for those who poll.
    pub(super) fn has_told(&self) -> bool {
        self.told
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn marked(&mut self, round: u8) {
        if let Some(marks) = self.marks.get_mut(round as usize) {
            *marks += 1;
        }
    }

    /// Whether all marks of `round` are here.
    fn is_complete(&self, round: u8) -> bool {
        self.marks.get(round as usize).is_some_and(|&m| m + 1 >= self.shards)
    }
}

impl<P: Protocol> Shard<P> {
    /// Takes the steps of the drain that are due. Called with the turn's own mail not yet posted: a mark must follow it.
    pub(super) fn advance_drain<W: Wire<Mail<P::Mail>>>(&mut self, wire: &mut W) {
        while self.drain.begun && self.is_round_due() {
            self.post_all(wire);
            let round = self.drain.posted;
            for to in (0..self.drain.shards).filter(|&s| s != self.engine.settings.shard) {
                wire.post(to, Mail::DrainMark(round));
            }
            self.drain.posted += 1;
        }
        if !self.drain.told && self.drain.posted > TELLING && self.drain.is_complete(TELLING) {
            self.drain.told = true;
            self.tell();
        }
        if !self.drain.over && self.drain.posted == ROUNDS && self.drain.is_complete(ROUNDS - 1) {
            self.drain.over = true;
            self.end();
        }
    }

    fn is_round_due(&self) -> bool {
        match self.drain.posted {
            0 => true,
            ROUNDS => false,
            round if round <= TELLING => self.drain.is_complete(round - 1),
            _ => {
                let all_know = self.engine.session_count() == 0 && self.protocol.calls_open() == 0;
                self.drain.told && (all_know || self.engine.now.mono_ms >= self.drain.grace_ms)
            }
        }
    }

    fn tell(&mut self) {
        self.protocol.drain(&mut self.engine);
        for session in self.engine.session_keys() {
            self.engine.close_session_with(session, CloseReason::ServerShuttingDown, 1001);
        }
        self.settle();
        self.drain.grace_ms = self.engine.now.mono_ms + POLL_GRACE_MS;
        self.engine.wheel.arm(self.drain.grace_ms, Timer { kind: TimerKind::Drain, slot: 0, generation: 0 });
        self.engine.resume_http();
        for connection in self.engine.connection_keys() {
            if matches!(self.engine.connection(connection).map(|c| &c.stage), Some(Stage::WebSocket(_))) {
                self.engine.end_connection(connection, Finish::Linger);
            }
        }
    }

    /// Gives up who has not polled and what is not answered, and closes what is left.
    fn end(&mut self) {
        self.protocol.give_up_calls(&mut self.engine);
        for session in self.engine.session_keys() {
            self.engine.close_session_with(session, CloseReason::ServerShuttingDown, 1001);
            self.engine.end_polling(session);
        }
        self.settle();
        for connection in self.engine.connection_keys() {
            if matches!(self.engine.connection(connection).map(|c| &c.stage), Some(Stage::Http(_))) {
                self.engine.end_idle(connection);
            }
        }
    }
}
