//! Sessions that move to another shard: their client comes back as a socket that lives there.
//!
//! A WebSocket session moves with its connection. A polling session moves as it is, followed by the WebSocket that probes
//! for it, if there is one, and leaves a signpost: its sid still names the shard it began on, which hands every further
//! request on. The signpost goes when the session ends.

use super::session::{NO_UPPER, Transport};
use super::wheel::{Timer, TimerKind};
use super::{ConnectionKey, Effect, Engine, Mount, Session, SessionKey};
use crate::connection::outbound::Owner;
use crate::connection::{Emigrant, Handover, Load, Moving, Stage, WebSocket, websocket};
use crate::wire::sid::Sid;

impl Engine {
    /// Sends a session to shard `to`, where `packet` will be taken. `false`: it cannot move, since it has sockets here.
    pub fn emigrate(&mut self, key: SessionKey, to: usize, packet: Vec<u8>) -> bool {
        let Some(session) = self.session(key).filter(|s| s.upper == NO_UPPER) else { return false };
        let (sid, credential) = (session.sid, session.credential.clone());
        let emigrant = Emigrant { sid, credential, packets: vec![packet], frames: Vec::new() };
        match &session.transport {
            Transport::WebSocket(slot) => {
                let Some(connection) = self.connection_key(*slot) else { return false };
                self.sessions.try_remove(key.slot as usize);
                self.move_websocket(connection, to, Load::Session(emigrant));
            }
            Transport::Polling(polling) => {
                let (probe, upgrading) = (polling.probe, polling.upgrading);
                self.move_polling(key, to, emigrant);
                if let Some(probe) = probe {
                    self.move_websocket(probe, to, Load::Probe { sid, upgrading });
                }
            }
            Transport::Moved(_) => return false,
        }
        self.counters.sessions_moved += 1;
        true
    }

    fn move_websocket(&mut self, key: ConnectionKey, to: usize, load: Load) {
        let deadline_ms = self.now.mono_ms + self.settings.close_timeout_ms;
        let Some(connection) = self.connection_mut(key) else { return };
        let decoder = match &mut connection.stage {
            Stage::WebSocket(ws) => std::mem::take(&mut ws.decoder),
            _ => Default::default(),
        };
        connection.stage = Stage::Moving(Box::new(Moving { to, load, deadline_ms, decoder, unread: Vec::new() }));
        self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot: key.slot, generation: key.generation });
        self.ending.push(key);
    }

    /// The poll is answered with what waits for the session, or else with a noop; the client will poll again.
    fn move_polling(&mut self, key: SessionKey, to: usize, mut emigrant: Emigrant) {
        let Some(sink) = self.session(key).map(|s| s.sink) else { return };
        if self.polling_mut(key).is_some_and(|p| p.poll.is_some()) {
            if self.out.is_idle(sink) {
                self.send_bare(sink, b'6');
            }
            self.answer_poll(key.slot);
        }
        self.queue_ping(key);
        self.out.consume(sink, |bytes| {
            emigrant.frames.extend_from_slice(bytes);
            bytes.len()
        });
        self.out.close(sink);
        let Ok(shard) = u8::try_from(to) else { return };
        if let Some(session) = self.session_mut(key) {
            session.transport = Transport::Moved(shard);
        }
        self.emigrants.push((to, emigrant));
    }

    /// A packet of a session that moves in this turn, behind those it takes along. `false`: it does not.
    pub fn forward(&mut self, key: SessionKey, packet: &[u8]) -> bool {
        let Some(sid) = self.moved(key).map(|(_, sid)| sid) else { return false };
        let emigrant = self.emigrants.iter_mut().rev().find(|(_, e)| e.sid == sid);
        if let Some((_, emigrant)) = emigrant {
            emigrant.packets.push(packet.to_vec());
            return true;
        }
        false
    }

    /// Where a session went that began here.
    pub fn moved(&self, key: SessionKey) -> Option<(usize, Sid)> {
        let session = self.sessions.get(key.slot as usize).filter(|s| s.generation == key.generation)?;
        match session.transport {
            Transport::Moved(shard) => Some((usize::from(shard), session.sid)),
            _ => None,
        }
    }

    /// Polling sessions that moved in this turn.
    pub fn take_emigrants(&mut self) -> Vec<(usize, Emigrant)> {
        std::mem::take(&mut self.emigrants)
    }

    /// A polling session arrives from the shard its sid names.
    pub fn immigrate_polling(&mut self, emigrant: &Emigrant) -> Option<SessionKey> {
        let slot = self.sessions.vacant_key();
        let sink = self.out.open(Owner::Session(u32::try_from(slot).ok()?));
        let key = self.insert_session(Mount::SocketIo, sink, emigrant.sid, Transport::Polling(Box::default()))?;
        self.out.put(sink, |out| out.extend_from_slice(&emigrant.frames));
        self.settle_in(key, emigrant);
        self.guests.insert(emigrant.sid, key);
        Some(key)
    }

    /// A session arrives with the WebSocket that carries it.
    pub fn immigrate_websocket(
        &mut self,
        connection: ConnectionKey,
        decoder: websocket::Decoder,
        emigrant: &Emigrant,
    ) -> Option<SessionKey> {
        let sink = self.connection(connection)?.sink;
        let transport = Transport::WebSocket(connection.slot);
        let key = self.insert_session(Mount::SocketIo, sink, emigrant.sid, transport)?;
        self.settle_in(key, emigrant);
        let session = (key.slot, key.generation);
        self.connection_mut(connection)?.stage = Stage::WebSocket(WebSocket { decoder, session, probing: false });
        Some(key)
    }

    /// A WebSocket that probes arrives, behind its session.
    pub fn immigrate_probe(
        &mut self,
        connection: ConnectionKey,
        decoder: websocket::Decoder,
        sid: &Sid,
        upgrading: bool,
    ) {
        let session = self.find_session(sid).unwrap_or(SessionKey { slot: u32::MAX, generation: 0 });
        let Some(arrived) = self.connection_mut(connection) else { return };
        let named = (session.slot, session.generation);
        arrived.stage = Stage::WebSocket(WebSocket { decoder, session: named, probing: true });
        self.register_probe(connection, session);
        if let Some(polling) = self.polling_mut(session).filter(|p| p.probe == Some(connection)) {
            polling.upgrading = upgrading;
            if let Some(sink) = self.session(session).map(|s| s.sink) {
                self.out.touch(sink);
            }
        }
    }

    fn settle_in(&mut self, key: SessionKey, emigrant: &Emigrant) {
        if let Some(session) = self.session_mut(key) {
            session.credential.clone_from(&emigrant.credential);
        }
    }

    /// A guest session ended: the shard its sid names must know.
    pub(super) fn guest_left(&mut self, session: &Session) {
        if self.guests.remove(&session.sid).is_some() {
            self.left.push(session.sid);
        }
    }

    /// Guests that ended in this turn.
    pub fn take_left(&mut self) -> Vec<Sid> {
        std::mem::take(&mut self.left)
    }

    /// The session of which a signpost was left here ended.
    pub fn remove_signpost(&mut self, sid: &Sid) {
        let (_, slot) = self.place(sid);
        let is_signpost = |s: &Session| s.sid == *sid && matches!(s.transport, Transport::Moved(_));
        if self.sessions.get(slot as usize).is_some_and(is_signpost) {
            self.sessions.try_remove(slot as usize);
        }
    }

    pub(super) fn depart(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection_mut(key) else { return };
        let (peer, front) = (connection.peer, connection.front.take());
        let handover = Handover { peer, unread: Vec::new(), moving: None, front, fresh: None };
        match std::mem::replace(&mut connection.stage, Stage::Dead) {
            Stage::Http(http) => {
                if let crate::connection::Awaiting::Move(to) = http.awaiting {
                    let unread = http.decoder.into_unread();
                    self.effects.push((key, Effect::Move(to, Handover { unread, ..handover })));
                }
            }
            Stage::Moving(mut moving) => {
                let (to, unread) = (moving.to, std::mem::take(&mut moving.unread));
                self.effects.push((key, Effect::Move(to, Handover { unread, moving: Some(moving), ..handover })));
            }
            _ => {}
        }
        self.counters.connections_moved += 1;
    }
}
