//! The connections of a shard: their writing and their end.

use super::tls;
use super::wheel::{Timer, TimerKind};
use super::{CloseReason, ConnectionKey, Effect, Engine, LINGER_MS, SessionKey};
use crate::connection::outbound::{Flushed, Owner, SinkKey};
use crate::connection::{Awaiting, Connection, Finish, Http, Purpose, Stage};
use crate::metrics::{ConnectionEnd, CutOff};
use crate::wire::http::Response;
use std::io::{self, IoSlice};

const NO_DEADLINE: u64 = u64::MAX;

impl Engine {
    /// The connection, if it is still that one.
    pub fn connection(&self, key: ConnectionKey) -> Option<&Connection> {
        let connection = self.connections.get(key.slot as usize)?;
        (connection.generation == key.generation && !matches!(connection.stage, Stage::Dead)).then_some(connection)
    }

    /// The connection, to be changed.
    pub fn connection_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(key.slot as usize)?;
        (connection.generation == key.generation && !matches!(connection.stage, Stage::Dead)).then_some(connection)
    }

    pub(super) fn connection_key(&self, slot: u32) -> Option<ConnectionKey> {
        let connection = self.connections.get(slot as usize)?;
        Some(ConnectionKey { slot, generation: connection.generation })
    }

    /// The HTTP state of the connection, unless it speaks something else.
    pub fn http_mut(&mut self, key: ConnectionKey) -> Option<&mut Http> {
        match &mut self.connection_mut(key)?.stage {
            Stage::Http(http) => Some(http),
            _ => None,
        }
    }

    /// Sets when an HTTP connection has taken too long.
    pub fn set_deadline(&mut self, key: ConnectionKey, deadline_ms: u64) {
        let Some(http) = self.http_mut(key) else { return };
        http.deadline_ms = deadline_ms;
        if deadline_ms < http.armed_ms {
            http.armed_ms = deadline_ms;
            let (slot, generation) = (key.slot, key.generation);
            self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot, generation });
        }
    }

    /// Suspends the deadline while the server owes the answer.
    pub fn await_server(&mut self, key: ConnectionKey, awaiting: Awaiting) {
        if let Some(http) = self.http_mut(key) {
            http.awaiting = awaiting;
            http.deadline_ms = NO_DEADLINE;
        }
    }

    /// Answers the present request of an HTTP connection with JSON.
    pub fn answer(&mut self, key: ConnectionKey, status: u16, json: &str) {
        self.answer_with(key, status, "application/json", json.as_bytes(), "");
    }

    /// Answers the present request of an HTTP connection; `extra`: further header lines, each ending in CRLF.
    pub fn answer_with(&mut self, key: ConnectionKey, status: u16, content_type: &str, body: &[u8], extra: &str) {
        if self.http_mut(key).is_none() {
            return;
        }
        self.put_response(key, status, content_type, body, extra);
        self.finish_request(key);
    }

    /// Queues the answer to the present request, of which the body may still be on its way.
    pub fn put_response(&mut self, key: ConnectionKey, status: u16, content_type: &str, body: &[u8], extra: &str) {
        let Some(Connection { stage: Stage::Http(http), sink, .. }) = self.connection(key) else { return };
        let (close, head_only) = (http.close, http.head_only);
        let extra = [self.settings.cors.headers(http.origin), extra].concat();
        self.out.put(*sink, |out| {
            Response { status, content_type, body, extra: &extra, close, head_only }.put(out);
        });
        self.counters.http_responses += 1;
    }

    /// The present request is answered and read to its end: the next one may come.
    pub fn finish_request(&mut self, key: ConnectionKey) {
        let Some(http) = self.http_mut(key) else { return };
        http.decoder.finish();
        http.awaiting = Awaiting::Head;
        if http.close {
            self.end_connection(key, Finish::Linger);
        } else {
            self.set_deadline(key, self.now.mono_ms + self.settings.idle_timeout_ms);
            self.resume(key);
        }
    }

    /// An HTTP connection that holds more than the answered request goes on with it in a later turn, and is not read until
    /// then: what it sends at once must neither take a turn for itself nor wait in memory as so many answers.
    pub fn resume(&mut self, key: ConnectionKey) {
        // Who is owed much goes on when it has caught up.
        let is_owed = self.stalled.contains_key(&key);
        let Some(http) = self.http_mut(key).filter(|http| !is_owed && http.decoder.buffered() > 0) else { return };
        if !std::mem::replace(&mut http.resumes, true) {
            self.resumed.push_back(key);
            self.set_reading(key, false);
        }
    }

    /// The next connection that goes on.
    pub fn take_resumed(&mut self) -> Option<ConnectionKey> {
        while let Some(key) = self.resumed.pop_front() {
            if let Some(http) = self.http_mut(key) {
                http.resumes = false;
                if !self.stalled.contains_key(&key) {
                    return Some(key);
                }
            }
        }
        None
    }

    /// Connections that go on.
    pub fn resumed_count(&self) -> usize {
        self.resumed.len()
    }

    /// Reads a connection that neither has a further request already nor is owed much.
    pub fn read_on(&mut self, key: ConnectionKey) {
        if self.connection(key).is_none_or(|connection| connection.reading) {
            return;
        }
        let waits = self.http_mut(key).is_some_and(|http| http.resumes) || self.stalled.contains_key(&key);
        if !waits {
            self.set_reading(key, true);
        }
    }

    /// Ends a connection once what is queued for it is written.
    pub fn end_connection(&mut self, key: ConnectionKey, finish: Finish) {
        let deadline_ms = self.now.mono_ms + self.settings.close_timeout_ms;
        let Some(connection) = self.connection_mut(key) else { return };
        let paused = !std::mem::replace(&mut connection.reading, true);
        let (decoder, is_armed) = match &mut connection.stage {
            Stage::WebSocket(ws) => (std::mem::take(&mut ws.decoder), false),
            Stage::Ending { decoder, deadline_ms: armed_ms, .. } => (std::mem::take(decoder), *armed_ms == deadline_ms),
            Stage::Http(_) | Stage::Moving(_) | Stage::Dead => Default::default(),
        };
        connection.stage = Stage::Ending { finish, deadline_ms, decoder };
        if paused && finish != Finish::Close {
            self.effects.push((key, Effect::Reading(true)));
        }
        if !is_armed {
            let (slot, generation) = (key.slot, key.generation);
            self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot, generation });
        }
        self.ending.push(key);
    }

    /// Lets all HTTP connections go on with what they hold.
    pub fn resume_http(&mut self) {
        let keys = self.connection_keys();
        keys.into_iter().for_each(|key| self.resume(key));
    }

    /// Ends an HTTP connection of which no further request is wanted: at once when it is between two, else after the answer
    /// to the present one.
    pub fn end_idle(&mut self, key: ConnectionKey) {
        let Some(http) = self.http_mut(key) else { return };
        http.close = true;
        match http.awaiting {
            Awaiting::Packets { .. } | Awaiting::Answer => {}
            _ => self.end_connection(key, Finish::Linger),
        }
    }

    /// Ends a connection at once, whatever is queued for it; with a reset unless it is finished. The slot is free after the next flush.
    pub fn kill_connection(&mut self, key: ConnectionKey, end: ConnectionEnd) {
        let Some(connection) = self.connection_mut(key) else { return };
        let stage = std::mem::replace(&mut connection.stage, Stage::Dead);
        self.forget_stall(key);
        self.effects.push((key, Effect::Close(end != ConnectionEnd::Finished)));
        self.counters.connection_closed(end);
        self.leave_stage(key, stage, CloseReason::TransportError);
    }

    /// What the end of a connection's stage means for its session or call.
    fn leave_stage(&mut self, key: ConnectionKey, stage: Stage, reason: CloseReason) {
        match stage {
            Stage::WebSocket(ws) if ws.probing => self.probe_ended(ws.session, key),
            Stage::WebSocket(ws) => {
                self.drop_session(SessionKey { slot: ws.session.0, generation: ws.session.1 }, reason)
            }
            Stage::Http(http) => match http.awaiting {
                Awaiting::Packets { slot, generation } | Awaiting::Body(Purpose::Payload(slot, generation)) => {
                    self.drop_session(SessionKey { slot, generation }, reason);
                }
                _ => {}
            },
            Stage::Moving(_) | Stage::Ending { .. } | Stage::Dead => {}
        }
    }

    /// The peer sends nothing more. What is queued for it is still written.
    pub fn ended(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection_mut(key) else { return };
        if let Stage::Ending { finish: Finish::Lingering | Finish::CloseFrame, .. } = connection.stage {
            return self.end_connection(key, Finish::Close);
        }
        self.break_off(key, CloseReason::TransportClose, Finish::Close);
    }

    /// Ends a connection once what is queued for it is written, and its session or call at once.
    pub(super) fn break_off(&mut self, key: ConnectionKey, reason: CloseReason, finish: Finish) {
        let ending = Stage::Ending { finish, deadline_ms: NO_DEADLINE, decoder: Default::default() };
        let Some(connection) = self.connection_mut(key) else { return };
        let stage = std::mem::replace(&mut connection.stage, ending);
        self.leave_stage(key, stage, reason);
        self.end_connection(key, finish);
    }

    /// A connection's timer fired.
    pub(super) fn connection_timeout(&mut self, key: ConnectionKey) {
        self.stall_timeout(key);
        let now_ms = self.now.mono_ms;
        let Some(connection) = self.connection_mut(key) else { return };
        match &mut connection.stage {
            Stage::Http(http) => {
                http.armed_ms = NO_DEADLINE;
                let deadline_ms = http.deadline_ms;
                if deadline_ms > now_ms {
                    if deadline_ms != NO_DEADLINE {
                        self.set_deadline(key, deadline_ms);
                    }
                    return;
                }
                self.request_timeout(key);
            }
            Stage::Ending { deadline_ms, .. } if *deadline_ms <= now_ms => {
                self.kill_connection(key, ConnectionEnd::TimedOut);
            }
            Stage::Moving(moving) if moving.deadline_ms <= now_ms => self.kill_connection(key, ConnectionEnd::TimedOut),
            Stage::Ending { .. } | Stage::WebSocket(_) | Stage::Moving(_) | Stage::Dead => {}
        }
    }

    /// A request took too long to arrive, or none came.
    fn request_timeout(&mut self, key: ConnectionKey) {
        if self.front_mut(key).is_some_and(|front| front.is_beginning()) {
            self.counters.cut_off(CutOff::SlowHandshake);
            return self.kill_connection(key, ConnectionEnd::TimedOut);
        }
        let Some(http) = self.http_mut(key) else { return };
        let (began, awaiting) = (http.decoder.in_request(), http.awaiting);
        if !began && awaiting == Awaiting::Head {
            return self.end_connection(key, Finish::Close);
        }
        http.close = true;
        self.counters.cut_off(CutOff::SlowRequest);
        if awaiting == Awaiting::Body(Purpose::Discard) {
            return self.end_connection(key, Finish::Linger);
        }
        self.answer(key, 408, r#"{"error":"The request took too long to arrive."}"#);
        if let Awaiting::Body(Purpose::Payload(slot, generation)) = awaiting {
            self.drop_session(SessionKey { slot, generation }, CloseReason::TransportError);
        }
    }

    /// Writes every dirty sink once; afterwards decides about connections that end. `send` is told whether a connection ends
    /// right behind these bytes.
    pub fn flush(&mut self, send: &mut impl FnMut(ConnectionKey, &[IoSlice<'_>], bool) -> io::Result<usize>) {
        loop {
            while let Some(sink) = self.out.next_dirty() {
                match self.out.owner(sink) {
                    Some(Owner::Connection(slot)) => self.flush_connection(slot, sink, send),
                    Some(Owner::Session(slot)) => self.answer_poll(slot),
                    None => {}
                }
            }
            if self.ending.is_empty() {
                return;
            }
            let mut ending = std::mem::take(&mut self.ending);
            for key in ending.drain(..) {
                self.advance_end(key);
            }
            ending.append(&mut self.ending);
            self.ending = ending;
        }
    }

    fn flush_connection(
        &mut self,
        slot: u32,
        sink: SinkKey,
        send: &mut impl FnMut(ConnectionKey, &[IoSlice<'_>], bool) -> io::Result<usize>,
    ) {
        let Some(connection) = self.connections.get_mut(slot as usize).filter(|c| !matches!(c.stage, Stage::Dead))
        else {
            return;
        };
        let key = ConnectionKey { slot, generation: connection.generation };
        let is_last = matches!(connection.stage, Stage::Ending { finish: Finish::Close | Finish::Linger, .. });
        let mut written = 0;
        let mut write = |slices: &[IoSlice<'_>]| {
            let sent = send(key, slices, is_last)?;
            written += sent;
            Ok(sent)
        };
        let flushed = match connection.front.as_mut().and_then(|front| front.tls.as_mut()) {
            None => self.out.flush(sink, &mut write),
            Some(tls) => tls::flush(&mut self.out, sink, tls, &mut self.scratch, &mut write),
        };
        self.counters.bytes_sent += written as u64;
        self.counters.writes += 1;
        match flushed {
            Flushed::Broken => self.kill_connection(key, ConnectionEnd::Broken),
            Flushed::Blocked(left) => self.left_behind(key, written, left),
            Flushed::All => {
                self.caught_up(key);
                let takes_a_step = self.connection(key).is_some_and(|connection| match &connection.stage {
                    Stage::Ending { .. } | Stage::Moving(_) => true,
                    Stage::Http(http) => matches!(http.awaiting, Awaiting::Move(_)),
                    Stage::WebSocket(_) | Stage::Dead => false,
                });
                if takes_a_step {
                    self.ending.push(key);
                }
            }
        }
    }

    pub(super) fn cut_off_reader(&mut self, key: ConnectionKey) {
        if let Some(Connection { stage: Stage::WebSocket(ws), .. }) = self.connection(key)
            && !ws.probing
        {
            let session = SessionKey { slot: ws.session.0, generation: ws.session.1 };
            self.drop_session(session, CloseReason::SlowReader);
        }
        self.kill_connection(key, ConnectionEnd::SlowReader);
    }

    pub(super) fn set_reading(&mut self, key: ConnectionKey, on: bool) {
        let Some(connection) = self.connection_mut(key) else { return };
        if connection.reading != on {
            connection.reading = on;
            self.effects.push((key, Effect::Reading(on)));
        }
    }

    /// Takes the next step of a connection that ends or moves, if its sink is empty.
    fn advance_end(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if !self.out.is_idle(connection.sink) || self.ends_tls(key) {
            return;
        }
        let Some(connection) = self.connection(key) else { return };
        match &connection.stage {
            Stage::Ending { finish: Finish::Close, .. } => self.kill_connection(key, ConnectionEnd::Finished),
            Stage::Ending { finish: Finish::Linger, .. } => {
                self.effects.push((key, Effect::Shutdown));
                let deadline_ms = self.now.mono_ms + LINGER_MS;
                if let Some(connection) = self.connection_mut(key) {
                    let decoder = Default::default();
                    connection.stage = Stage::Ending { finish: Finish::Lingering, deadline_ms, decoder };
                }
                let (slot, generation) = (key.slot, key.generation);
                self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot, generation });
            }
            Stage::Http(http) => {
                if let Awaiting::Move(_) = http.awaiting {
                    self.depart(key);
                }
            }
            Stage::Moving(_) => self.depart(key),
            _ => {}
        }
    }

    /// Sends an HTTP connection to another shard once everything before is written.
    pub fn move_connection(&mut self, key: ConnectionKey, to: usize) {
        self.await_server(key, Awaiting::Move(to));
        self.set_deadline(key, self.now.mono_ms + self.settings.close_timeout_ms);
        self.ending.push(key);
    }

    /// Gives what is asked of the driver, oldest first, and frees the slots of connections that are gone.
    pub fn take_effects(&mut self, mut give: impl FnMut(ConnectionKey, Effect)) {
        for (key, effect) in self.effects.drain(..) {
            let gone = matches!(effect, Effect::Close(_) | Effect::Move(..));
            let known = self.connections.get(key.slot as usize).is_some_and(|c| c.generation == key.generation);
            if known {
                give(key, effect);
                if gone && let Some(connection) = self.connections.try_remove(key.slot as usize) {
                    self.out.close(connection.sink);
                }
            }
        }
    }
}
