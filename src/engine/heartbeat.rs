//! Heartbeats (Engine.IO v4, "Heartbeat"): the server pings, the client answers in time or is gone. One timer a session,
//! re-armed lazily.

use super::session::{NO_UPPER, Session, Transport};
use super::wheel::{Timer, TimerKind};
use super::{CloseReason, ConnectionKey, Engine, SessionKey};
use crate::metrics::CutOff;

/// How late a timer may fire and its deadline still hold. Clients of a shard that was held up for longer have the whole
/// patience from the ping on, and what they sent meanwhile is read first.
const LATE_MS: u64 = 10;

impl Engine {
    /// A pong came: the next ping is due an interval from now.
    pub fn pong(&mut self, key: SessionKey) {
        let heartbeat_ms = self.now.mono_ms + self.settings.ping_interval_ms;
        let Some(session) = self.session_mut(key) else { return };
        session.awaiting_pong = false;
        self.move_heartbeat(key, heartbeat_ms);
    }

    /// Sets when the session is looked after next.
    pub(super) fn move_heartbeat(&mut self, key: SessionKey, at_ms: u64) {
        let Some(session) = self.session_mut(key) else { return };
        session.heartbeat_ms = at_ms;
        if at_ms < session.armed_ms {
            session.armed_ms = at_ms;
            self.wheel.arm(at_ms, heartbeat(key));
        }
    }

    /// Ends a session whose patience has just run out: its timer fires in this turn or the next, behind what is read.
    pub fn end_overdue(&mut self, key: SessionKey) {
        let now_ms = self.now.mono_ms;
        let is_overdue = |s: &Session| s.awaiting_pong && (s.heartbeat_ms..=s.heartbeat_ms + LATE_MS).contains(&now_ms);
        if self.session(key).is_some_and(is_overdue) {
            self.heartbeat_timeout(key);
        }
    }

    fn heartbeat_timeout(&mut self, key: SessionKey) {
        let now_ms = self.now.mono_ms;
        let timeout_ms = self.settings.ping_timeout_ms;
        let Some(session) = self.sessions.get_mut(key.slot as usize).filter(|s| s.generation == key.generation) else {
            return;
        };
        // A signpost has no sink: the one it had may be somebody else's.
        if matches!(session.transport, Transport::Moved(_)) {
            return;
        }
        if std::mem::take(&mut session.connect_unwatched) && session.upper == NO_UPPER && !session.is_closing() {
            let at_ms = now_ms + self.settings.connect_timeout_ms - self.settings.ping_interval_ms;
            let SessionKey { slot, generation } = key;
            self.wheel.arm(at_ms, Timer { kind: TimerKind::Connect, slot, generation });
        }
        if session.heartbeat_ms > now_ms {
            // An earlier deadline may have armed a timer of its own.
            if session.armed_ms <= now_ms {
                session.armed_ms = session.heartbeat_ms;
                let at_ms = session.heartbeat_ms;
                self.wheel.arm(at_ms, heartbeat(key));
            }
            return;
        }
        if session.is_closing() {
            return self.remove_session(key);
        }
        if matches!(&session.transport, Transport::Polling(polling) if polling.leaving.is_some()) {
            return self.close_session(key, CloseReason::TransportClose);
        }
        if session.awaiting_pong {
            self.counters.cut_off(CutOff::PingTimeout);
            return self.end_silent(key);
        }
        session.awaiting_pong = true;
        let late = now_ms - session.heartbeat_ms > LATE_MS;
        session.heartbeat_ms = timeout_ms + if late { now_ms } else { session.heartbeat_ms };
        session.armed_ms = session.heartbeat_ms;
        let (sink, at_ms) = (session.sink, session.heartbeat_ms);
        self.wheel.arm(at_ms, heartbeat(key));
        match self.polling_mut(key) {
            Some(polling) => {
                polling.pinging = true;
                self.out.touch(sink);
            }
            None => self.send_bare(sink, b'2'),
        }
    }

    /// A silent peer may be half-open: a close frame could wait for ever behind what it does not read.
    fn end_silent(&mut self, key: SessionKey) {
        match self.session(key).map(|s| &s.transport) {
            Some(Transport::WebSocket(_)) => self.close_session(key, CloseReason::PingTimeout),
            _ => self.drop_session(key, CloseReason::PingTimeout),
        }
    }

    /// A timer of the engine's own fired.
    pub fn fire(&mut self, timer: Timer) {
        let Timer { kind, slot, generation } = timer;
        match kind {
            TimerKind::Connection => self.connection_timeout(ConnectionKey { slot, generation }),
            TimerKind::Heartbeat => self.heartbeat_timeout(SessionKey { slot, generation }),
            TimerKind::Upgrade => self.upgrade_timeout(ConnectionKey { slot, generation }),
            TimerKind::Connect | TimerKind::Recovery | TimerKind::Drain | TimerKind::Socket | TimerKind::App => {}
        }
    }
}

fn heartbeat(key: SessionKey) -> Timer {
    Timer { kind: TimerKind::Heartbeat, slot: key.slot, generation: key.generation }
}
