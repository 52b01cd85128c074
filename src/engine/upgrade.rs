//! From long-polling to a WebSocket (Engine.IO v4, "Upgrade"), and sessions that begin on one.

use super::polling::NO_STORE;
use super::session::Transport;
use super::wheel::{Timer, TimerKind};
use super::{ConnectionKey, Engine, Mount, Refusal, SessionKey};
use crate::connection::outbound::Owner;
use crate::connection::{Stage, WebSocket, websocket};
use crate::metrics::CutOff;
use crate::wire::http::put_switching_protocols;
use crate::wire::prepared::put_text;
use crate::wire::websocket::accept_key;

impl Engine {
    /// Switches a connection to WebSocket and begins a session on it.
    pub fn open_websocket(
        &mut self,
        mount: Mount,
        connection: ConnectionKey,
        key: &[u8],
    ) -> Result<SessionKey, Refusal> {
        self.switch(connection, key, (u32::MAX, 0), false);
        let session = self.open_session(mount, Some(connection)).ok_or(Refusal::Forbidden)?;
        if let Some(Stage::WebSocket(ws)) = self.connection_mut(connection).map(|c| &mut c.stage) {
            ws.session = (session.slot, session.generation);
        }
        Ok(session)
    }

    /// Switches a connection to WebSocket to probe for a polling session. One that cannot be upgraded (any more) keeps its
    /// transport, and the new WebSocket is closed.
    pub fn probe_websocket(&mut self, connection: ConnectionKey, session: SessionKey, key: &[u8]) {
        self.switch(connection, key, (session.slot, session.generation), true);
        self.register_probe(connection, session);
    }

    pub(super) fn register_probe(&mut self, connection: ConnectionKey, session: SessionKey) {
        match self.polling_mut(session) {
            Some(polling) if polling.probe.is_none() && !polling.closing && polling.leaving.is_none() => {
                polling.probe = Some(connection);
                let at_ms = self.now.mono_ms + self.settings.upgrade_timeout_ms;
                let (slot, generation) = (connection.slot, connection.generation);
                self.wheel.arm(at_ms, Timer { kind: TimerKind::Upgrade, slot, generation });
            }
            _ => self.close_websocket(connection, 1000),
        }
    }

    fn switch(&mut self, key: ConnectionKey, websocket_key: &[u8], session: (u32, u32), probing: bool) {
        let origin = self.http_mut(key).and_then(|http| http.origin);
        let Some(connection) = self.connection_mut(key) else { return };
        let decoder = websocket::Decoder::new();
        connection.stage = Stage::WebSocket(WebSocket { decoder, session, probing });
        let sink = connection.sink;
        let (accept, extra) = (accept_key(websocket_key), self.settings.cors.headers(origin));
        self.out.put(sink, |out| put_switching_protocols(out, &accept, extra));
        self.counters.websockets_opened += 1;
    }

    /// A text message of a WebSocket that probes.
    pub fn probe_packet(&mut self, connection: ConnectionKey, session: SessionKey, text: &[u8]) {
        let upgrading = self.polling_mut(session).is_some_and(|p| p.upgrading);
        match text {
            b"2probe" => self.answer_probe(connection, session),
            b"5" if upgrading => self.complete_upgrade(connection, session),
            _ => self.end_probe(connection, 1000),
        }
    }

    /// Closes a WebSocket that probes; the session goes on polling.
    pub fn end_probe(&mut self, connection: ConnectionKey, code: u16) {
        if let Some(Stage::WebSocket(ws)) = self.connection(connection).map(|c| &c.stage) {
            let session = ws.session;
            self.probe_ended(session, connection);
            self.close_websocket(connection, code);
        }
    }

    /// From here on the client lets its poll end and sends nothing by POST; so the pending poll must end.
    fn answer_probe(&mut self, connection: ConnectionKey, session: SessionKey) {
        if let Some(sink) = self.connection(connection).map(|c| c.sink) {
            self.out.put(sink, |out| put_text(out, |out| out.extend_from_slice(b"3probe")));
        }
        let Some(polling) = self.polling_mut(session) else { return };
        polling.upgrading = true;
        if let Some(sink) = self.session(session).map(|s| s.sink) {
            self.out.touch(sink);
        }
    }

    fn complete_upgrade(&mut self, connection: ConnectionKey, session: SessionKey) {
        let Some(polling) = self.polling_mut(session) else { return };
        if let Some(poll) = polling.poll.take() {
            self.answer_with(poll, 200, "text/plain; charset=UTF-8", b"6", NO_STORE);
        }
        self.queue_ping(session);
        let Some(sink) = self.session(session).map(|s| s.sink) else { return };
        let Some(upgraded) = self.connection_mut(connection) else { return };
        let before = std::mem::replace(&mut upgraded.sink, sink);
        if let Stage::WebSocket(ws) = &mut upgraded.stage {
            ws.probing = false;
        }
        self.out.retarget(sink, Owner::Connection(connection.slot), before);
        if let Some(session) = self.session_mut(session) {
            session.transport = Transport::WebSocket(connection.slot);
        }
        self.counters.upgrades += 1;
    }

    /// The WebSocket that probed is gone; the session goes on polling.
    pub(super) fn probe_ended(&mut self, session: (u32, u32), connection: ConnectionKey) {
        let key = SessionKey { slot: session.0, generation: session.1 };
        if let Some(polling) = self.polling_mut(key)
            && polling.probe == Some(connection)
        {
            polling.probe = None;
            polling.upgrading = false;
        }
    }

    /// The time for an upgrade is over.
    pub(super) fn upgrade_timeout(&mut self, connection: ConnectionKey) {
        if let Some(Stage::WebSocket(ws)) = self.connection(connection).map(|c| &c.stage)
            && ws.probing
        {
            self.counters.cut_off(CutOff::SlowUpgrade);
            self.end_probe(connection, 1000);
        }
    }
}
