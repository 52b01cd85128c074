//! One Engine.IO session, whichever transport carries it.

use super::wheel::{Timer, TimerKind};
use super::{CloseReason, ConnectionKey, Engine, Settings};
use crate::connection::outbound::{Owner, SinkKey};
use crate::connection::{Credential, Finish, Stage};
use crate::metrics::ConnectionEnd;
use crate::wire::prepared::{put_binary, put_text};
use crate::wire::sid::Sid;
use crate::wire::{engine as codec, websocket};

/// Names a session of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Index into the slab of sessions.
    pub slot: u32,
    /// Differs for every use of the slot.
    pub generation: u32,
}

/// What is served at the path a session came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Socket.IO.
    SocketIo,
    /// Engine.IO alone, for conformance suites.
    Bare,
}

/// An Engine.IO session.
#[derive(Debug)]
pub struct Session {
    pub(super) generation: u32,
    pub(super) sink: SinkKey,
    pub(super) sid: Sid,
    pub(super) mount: Mount,
    pub(super) transport: Transport,
    pub(super) awaiting_pong: bool,
    /// Its CONNECT is looked for when the heartbeat's timer fires first: hardly any session has none by then.
    pub(super) connect_unwatched: bool,
    /// When the next ping is due, or the patience for a pong ends.
    pub(super) heartbeat_ms: u64,
    /// When the timer that watches the heartbeat fires.
    pub(super) armed_ms: u64,
    /// Free for the layer above.
    pub upper: u32,
    /// What the headers of the handshake carried to give access; for the layer above.
    pub credential: Option<Box<Credential>>,
}

const _: () = assert!(size_of::<Session>() <= 72);

/// What carries a session now.
#[derive(Debug)]
pub(super) enum Transport {
    /// The connection in this slot; it and the session end together.
    WebSocket(u32),
    Polling(Box<Polling>),
    /// It goes on on this shard; what is here is a signpost.
    Moved(u8),
}

/// A session that polls.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// The connection whose GET is unanswered.
    pub(super) poll: Option<ConnectionKey>,
    /// The connection whose POST is on its way.
    pub(super) post: Option<ConnectionKey>,
    /// The WebSocket that probes.
    pub(super) probe: Option<ConnectionKey>,
    /// Whether the probe was answered: from here on no poll is kept waiting.
    pub(super) upgrading: bool,
    /// The connection of a POST that ends the session, unanswered while a poll that it has overtaken is waited for.
    pub(super) leaving: Option<ConnectionKey>,
    /// Whether the session ended and only waits for its last poll.
    pub(super) closing: bool,
    /// Whether a ping waits for the next poll. It goes ahead of what else does: that may take more polls than there is time.
    pub(super) pinging: bool,
}

/// The value of [`Session::upper`] that means nothing.
pub const NO_UPPER: u32 = u32::MAX;

impl Engine {
    /// The session, if it is still that one, is not closing and has not moved.
    pub fn session(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key.slot as usize).filter(|s| s.generation == key.generation && s.is_live())
    }

    /// The session, to be changed.
    pub fn session_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key.slot as usize).filter(|s| s.generation == key.generation && s.is_live())
    }

    /// The key of a sid's session on this shard.
    pub fn find_session(&self, sid: &Sid) -> Option<SessionKey> {
        if let Some(&guest) = self.guests.get(sid) {
            return Some(guest);
        }
        let (shard, slot) = self.layout.place(sid);
        let session = self.sessions.get(slot as usize).filter(|s| shard == self.settings.shard && s.sid == *sid)?;
        Some(SessionKey { slot, generation: session.generation })
    }

    /// Begins a session and queues its open packet. `websocket`: the connection that carries it; `None`: polling.
    /// Returns `None` when the shard can name no more sessions.
    pub(super) fn open_session(&mut self, mount: Mount, websocket: Option<ConnectionKey>) -> Option<SessionKey> {
        let slot = u32::try_from(self.sessions.vacant_key()).ok().filter(|&s| (s as usize) < self.layout.slots())?;
        let sid = self.new_sid(slot);
        let (sink, transport) = match websocket {
            Some(connection) => (self.connection(connection)?.sink, Transport::WebSocket(connection.slot)),
            None => (self.out.open(Owner::Session(slot)), Transport::Polling(Box::default())),
        };
        let key = self.insert_session(mount, sink, sid, transport)?;
        let s = &self.settings;
        let (interval_ms, timeout_ms, max_payload) = (s.ping_interval_ms, s.ping_timeout_ms, s.max_payload);
        let (text, upgrades) = (sid.text(), websocket.is_none());
        self.out.put(sink, |out| {
            put_text(out, |out| {
                codec::put_open_packet(out, text.as_str(), upgrades, interval_ms, timeout_ms, max_payload);
            });
        });
        self.counters.sessions_opened += 1;
        Some(key)
    }

    /// Inserts a session and arms its timers.
    pub(super) fn insert_session(
        &mut self,
        mount: Mount,
        sink: SinkKey,
        sid: Sid,
        transport: Transport,
    ) -> Option<SessionKey> {
        let slot = u32::try_from(self.sessions.vacant_key()).ok()?;
        let generation = self.next_generation();
        let Settings { ping_interval_ms, connect_timeout_ms, .. } = self.settings;
        let heartbeat_ms = self.now.mono_ms + ping_interval_ms;
        let awaits_connect = mount == Mount::SocketIo;
        let is_near = connect_timeout_ms <= ping_interval_ms;
        self.sessions.insert(Session {
            generation,
            sink,
            sid,
            mount,
            transport,
            awaiting_pong: false,
            connect_unwatched: awaits_connect && !is_near,
            heartbeat_ms,
            armed_ms: heartbeat_ms,
            upper: NO_UPPER,
            credential: None,
        });
        self.wheel.arm(heartbeat_ms, Timer { kind: TimerKind::Heartbeat, slot, generation });
        if awaits_connect && is_near {
            let at_ms = self.now.mono_ms + connect_timeout_ms;
            self.wheel.arm(at_ms, Timer { kind: TimerKind::Connect, slot, generation });
        }
        Some(SessionKey { slot, generation })
    }

    /// Queues a text message: the payload `write` appends, behind the packet type.
    pub fn send_text(&mut self, key: SessionKey, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(session) = self.session(key) else { return };
        self.out.put(session.sink, |out| {
            put_text(out, |out| {
                out.push(b'4');
                write(out);
            });
        });
    }

    /// Queues a binary message.
    pub fn send_binary(&mut self, key: SessionKey, bytes: &[u8]) {
        let Some(session) = self.session(key) else { return };
        self.out.put(session.sink, |out| put_binary(out, bytes));
    }

    /// Queues a packet without data: a ping, a noop.
    pub(super) fn send_bare(&mut self, sink: SinkKey, packet: u8) {
        self.out.put(sink, |out| put_text(out, |out| out.push(packet)));
    }

    /// Ends a session behind everything queued for it. Reported through [`Engine::take_closed`].
    pub fn close_session(&mut self, key: SessionKey, reason: CloseReason) {
        self.close_session_with(key, reason, 1000);
    }

    /// As [`Engine::close_session`], with the close code a WebSocket is told.
    pub fn close_session_with(&mut self, key: SessionKey, reason: CloseReason, code: u16) {
        let Some(session) = self.session(key) else { return };
        let sink = session.sink;
        match &session.transport {
            Transport::WebSocket(slot) => {
                let slot = *slot;
                self.out.put(sink, |out| websocket::put_close(out, code, ""));
                self.forget_session(key, reason);
                if let Some(connection) = self.connection_key(slot) {
                    let finish = if code == 1000 { Finish::CloseFrame } else { Finish::Linger };
                    self.end_connection(connection, finish);
                }
            }
            Transport::Polling(polling) => {
                let (polled, probe) = (polling.poll.is_some(), polling.probe);
                // A client that closed knows; its poll only has to end. One that broke the rules gets nothing more.
                let by_client = reason == CloseReason::TransportClose;
                let in_order = matches!(reason, CloseReason::ForcedClose | CloseReason::ServerShuttingDown);
                let waits = polled || (in_order && !self.out.is_idle(sink));
                self.send_bare(sink, if by_client { b'6' } else { b'1' });
                self.drop_probe(probe);
                self.report_closed(key, reason);
                if !waits {
                    self.remove_session(key);
                }
            }
            Transport::Moved(_) => {}
        }
    }

    /// Ends a session of which nothing more can be sent: its connection is gone or its rules were broken.
    pub(super) fn drop_session(&mut self, key: SessionKey, reason: CloseReason) {
        let Some(session) = self.session(key) else { return };
        if let Transport::Polling(polling) = &session.transport {
            let (poll, probe) = (polling.poll, polling.probe);
            self.drop_probe(probe);
            self.report_closed(key, reason);
            if poll.is_none_or(|c| self.connection(c).is_none()) {
                self.remove_session(key);
            } else {
                let sink = self.sessions.get(key.slot as usize).map(|s| s.sink);
                if let Some(sink) = sink {
                    self.send_bare(sink, b'1');
                }
            }
            return;
        }
        self.forget_session(key, reason);
    }

    fn drop_probe(&mut self, probe: Option<ConnectionKey>) {
        if let Some(probe) = probe {
            self.close_websocket(probe, 1000);
        }
    }

    /// Reports the end of a WebSocket session and removes it; the sink stays with the connection.
    fn forget_session(&mut self, key: SessionKey, reason: CloseReason) {
        self.report_closed(key, reason);
        if let Some(session) = self.sessions.try_remove(key.slot as usize) {
            self.guest_left(&session);
        }
    }

    /// Ends a session whose client has come back on another one, and its connection.
    pub fn abandon_session(&mut self, key: SessionKey) {
        let Some(session) = self.session(key) else { return };
        match &session.transport {
            Transport::WebSocket(slot) => {
                if let Some(connection) = self.connection_key(*slot) {
                    self.kill_connection(connection, ConnectionEnd::Broken);
                }
            }
            _ => self.close_session(key, CloseReason::TransportClose),
        }
    }

    fn report_closed(&mut self, key: SessionKey, reason: CloseReason) {
        // A closing session has as long to be polled a last time as a live one has to answer a ping.
        let at_ms = self.now.mono_ms + self.settings.ping_timeout_ms;
        let Some(session) = self.session_mut(key) else { return };
        let upper = std::mem::replace(&mut session.upper, NO_UPPER);
        let mut leaving = None;
        if let Transport::Polling(polling) = &mut session.transport {
            polling.closing = true;
            polling.probe = None;
            leaving = polling.leaving.take();
            let timer = Timer { kind: TimerKind::Heartbeat, slot: key.slot, generation: key.generation };
            session.heartbeat_ms = at_ms;
            session.armed_ms = at_ms;
            self.wheel.arm(at_ms, timer);
        }
        if let Some(post) = leaving {
            self.answer_post(post);
        }
        self.counters.session_closed(reason);
        self.closed.push((key, upper, reason));
    }

    /// Frees a polling session and its sink.
    pub fn remove_session(&mut self, key: SessionKey) {
        let owned = self.sessions.get(key.slot as usize).is_some_and(|s| s.generation == key.generation);
        if owned && let Some(session) = self.sessions.try_remove(key.slot as usize) {
            // A signpost has no sink: the one it had may be somebody else's.
            if !matches!(session.transport, Transport::Moved(_)) {
                self.out.close(session.sink);
            }
            self.guest_left(&session);
        }
    }

    /// Replaces a WebSocket connection's stage by its end.
    pub(super) fn close_websocket(&mut self, key: ConnectionKey, code: u16) {
        let Some(connection) = self.connection(key) else { return };
        if !matches!(connection.stage, Stage::WebSocket(_)) {
            return;
        }
        let sink = connection.sink;
        self.out.put(sink, |out| websocket::put_close(out, code, ""));
        self.end_connection(key, if code == 1000 { Finish::CloseFrame } else { Finish::Linger });
    }
}

impl Session {
    /// Where its frames are queued.
    pub fn sink(&self) -> SinkKey {
        self.sink
    }

    /// Its id.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// What is served to it.
    pub fn mount(&self) -> Mount {
        self.mount
    }

    fn is_live(&self) -> bool {
        !self.is_closing() && !matches!(self.transport, Transport::Moved(_))
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(&self.transport, Transport::Polling(p) if p.closing)
    }
}
