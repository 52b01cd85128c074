//! The long-polling transport (Engine.IO v4, "HTTP long-polling").

use super::session::{Polling, Transport};
use super::{CloseReason, ConnectionKey, Engine, Mount, Refusal, SessionKey};
use crate::connection::Awaiting;
use crate::connection::outbound::SinkKey;
use crate::metrics::CutOff;
use crate::wire::engine::put_payload_packet;
use crate::wire::websocket::split_server_frame;

/// Packets in one answer to a poll; python-socketio refuses more.
pub const MAX_PACKETS: usize = 16;
/// How long a posted close packet waits for a poll that was sent before it and is on its way from another shard.
const OVERTAKEN_MS: u64 = 20;
/// Answers of a session are nobody else's.
pub const NO_STORE: &str = "Cache-Control: no-store\r\n";

impl Engine {
    /// Begins a polling session with the GET on `connection`, which is answered with the open packet.
    pub fn open_polling(&mut self, mount: Mount, connection: ConnectionKey) -> Result<SessionKey, Refusal> {
        let session = self.open_session(mount, None).ok_or(Refusal::Forbidden)?;
        self.poll(connection, session)?;
        Ok(session)
    }

    /// A GET: it is answered once packets wait for the session. A second one while the first is unanswered ends the session.
    pub fn poll(&mut self, connection: ConnectionKey, session: SessionKey) -> Result<(), Refusal> {
        let polling = self.polling_mut(session).ok_or(Refusal::BadRequest)?;
        if polling.poll.is_some() {
            self.drop_session(session, CloseReason::TransportError);
            return Err(Refusal::BadRequest);
        }
        polling.poll = Some(connection);
        let leaving = polling.leaving.is_some();
        self.await_server(connection, Awaiting::Packets { slot: session.slot, generation: session.generation });
        if leaving {
            self.close_session(session, CloseReason::TransportClose);
        }
        let Some(sink) = self.sessions.get(session.slot as usize).map(|s| s.sink) else { return Ok(()) };
        self.out.touch(sink);
        Ok(())
    }

    /// The head of a POST arrived. A second one while the first is on its way ends the session.
    pub fn begin_post(&mut self, connection: ConnectionKey, session: SessionKey) -> Result<(), Refusal> {
        let goes_on = |p: &&mut Polling| !p.closing && p.leaving.is_none();
        let polling = self.polling_mut(session).filter(goes_on).ok_or(Refusal::BadRequest)?;
        if polling.post.is_some() {
            self.drop_session(session, CloseReason::TransportError);
            return Err(Refusal::BadRequest);
        }
        polling.post = Some(connection);
        Ok(())
    }

    /// The body of a POST arrived. An error: the session is gone, or no longer polls.
    pub fn end_post(&mut self, session: SessionKey) -> Result<(), Refusal> {
        let polling = self.polling_mut(session).filter(|p| !p.closing).ok_or(Refusal::BadRequest)?;
        polling.post = None;
        Ok(())
    }

    /// The client ends its session with the POST on `post`. `true`: the POST is answered later. With several shards a poll
    /// that the client sent before it may arrive behind it, and is to end with a noop.
    pub fn leave(&mut self, session: SessionKey, post: ConnectionKey) -> bool {
        let several = self.settings.shards > 1;
        let at_ms = self.now.mono_ms + OVERTAKEN_MS;
        let Some(polling) = self.polling_mut(session).filter(|p| !p.closing) else { return false };
        let waits = several && polling.poll.is_none() && polling.probe.is_none();
        if waits {
            polling.leaving = Some(post);
            self.await_server(post, Awaiting::Answer);
            self.move_heartbeat(session, at_ms);
        } else {
            self.close_session(session, CloseReason::TransportClose);
        }
        waits
    }

    /// Answers a POST.
    pub(super) fn answer_post(&mut self, connection: ConnectionKey) {
        self.answer_with(connection, 200, "text/html", b"ok", NO_STORE);
    }

    /// Whether a session polls (its last time, perhaps).
    pub fn is_polling(&mut self, session: SessionKey) -> bool {
        self.polling_mut(session).is_some()
    }

    /// Ends a session for a transport error, a broken rule of polling among them.
    pub fn refuse_session(&mut self, session: SessionKey) {
        self.drop_session(session, CloseReason::TransportError);
    }

    pub(super) fn polling_mut(&mut self, key: SessionKey) -> Option<&mut Polling> {
        let session = self.sessions.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)?;
        match &mut session.transport {
            Transport::Polling(polling) => Some(polling),
            Transport::WebSocket(_) | Transport::Moved(_) => None,
        }
    }

    /// Answers the pending poll of the session in `slot` with what waits for it, if there are both.
    pub(super) fn answer_poll(&mut self, slot: u32) {
        let Some(session) = self.sessions.get(slot as usize) else { return };
        let key = SessionKey { slot, generation: session.generation };
        let (sink, closing) = (session.sink, session.is_closing());
        self.out.absorb(sink);
        let Some(connection) = self.polling_mut(key).and_then(|p| p.poll) else {
            if self.out.backlog_bytes(sink) > self.settings.max_queue {
                self.counters.cut_off(CutOff::SlowReader);
                self.drop_session(key, CloseReason::SlowReader);
                self.remove_session(key);
            }
            return;
        };
        let mut body = self.take_payload(key, sink);
        let Some(polling) = self.polling_mut(key) else { return };
        if body.is_empty() {
            // While the session upgrades no poll is kept waiting.
            if !polling.upgrading {
                return;
            }
            body.push(b'6');
        }
        polling.poll = None;
        self.answer_with(connection, 200, "text/plain; charset=UTF-8", &body, NO_STORE);
        if closing && self.out.is_idle(sink) {
            self.remove_session(key);
        }
    }

    /// Frees a session that has ended. A poll that has just come is answered first: nobody else would.
    pub fn end_polling(&mut self, key: SessionKey) {
        if self.is_polling(key) {
            self.answer_poll(key.slot);
        }
        self.remove_session(key);
    }

    /// A session polls here no more: a ping that waits for a poll goes behind what else waits.
    pub(super) fn queue_ping(&mut self, key: SessionKey) {
        if self.polling_mut(key).is_some_and(|polling| std::mem::take(&mut polling.pinging))
            && let Some(sink) = self.session(key).map(|s| s.sink)
        {
            self.send_bare(sink, b'2');
        }
    }

    /// The next packets of a session as a payload: a ping first, though not between a packet and its attachments.
    fn take_payload(&mut self, key: SessionKey, sink: SinkKey) -> Vec<u8> {
        let mut body = Vec::new();
        let mut packets = 0;
        let mut pinging = self.polling_mut(key).is_some_and(|polling| polling.pinging);
        self.out.consume(sink, |slice| {
            let mut rest = slice;
            while packets < MAX_PACKETS
                && let Some((frame, after)) = split_server_frame(rest)
            {
                if pinging && !frame.binary {
                    put_payload_packet(&mut body, packets == 0, false, b"2");
                    pinging = false;
                } else {
                    put_payload_packet(&mut body, packets == 0, frame.binary, frame.payload);
                    rest = after;
                }
                packets += 1;
            }
            slice.len() - rest.len()
        });
        if pinging && packets < MAX_PACKETS {
            put_payload_packet(&mut body, packets == 0, false, b"2");
            pinging = false;
        }
        if let Some(polling) = self.polling_mut(key) {
            polling.pinging = pinging;
        }
        body
    }
}
