//! From bytes to requests and packets.

use super::router::{SHUTS_DOWN, Verdict};
use super::{ConnectionKey, Shard};
use crate::connection::http::{BodyError, HeadError};
use crate::connection::websocket::{Limits, Message};
use crate::connection::{Awaiting, Finish, Purpose, Stage};
use crate::engine::polling::NO_STORE;
use crate::engine::{Answer, CloseReason, Protocol, Refusal, SessionKey};
use crate::metrics::{ConnectionEnd, CutOff};
use crate::wire::engine::{Packet, PacketType, decode_base64, decode_type, split_payload};
use crate::wire::websocket::{Violation, put_pong};

/// Bytes of further requests a client may send while one is unanswered.
const PIPELINE_MAX: usize = 64 * 1024;

impl<P: Protocol> Shard<P> {
    pub(super) fn receive(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.engine.connection_mut(key) else { return };
        match &mut connection.stage {
            // A client that has sent the packet that upgrades it polls no more: it could not be told.
            Stage::WebSocket(ws) if self.drain.has_begun() && !ws.probing => {}
            Stage::WebSocket(_) => self.receive_frames(key, bytes),
            Stage::Ending { finish: Finish::CloseFrame, .. } => self.await_close_frame(key, bytes),
            Stage::Ending { .. } | Stage::Dead => {}
            Stage::Moving(moving) => {
                moving.unread.extend_from_slice(bytes);
                if moving.unread.len() > PIPELINE_MAX {
                    self.cut_off_flood(key);
                }
            }
            Stage::Http(http) => {
                let begins = http.awaiting == Awaiting::Head && !http.decoder.in_request();
                http.decoder.push(bytes);
                if http.is_flooded(PIPELINE_MAX, self.drain.holds()) {
                    return self.cut_off_flood(key);
                }
                if begins {
                    let deadline_ms = self.engine.now.mono_ms + self.engine.settings.request_timeout_ms;
                    self.engine.set_deadline(key, deadline_ms);
                }
                self.advance_http(key);
            }
        }
    }

    fn cut_off_flood(&mut self, key: ConnectionKey) {
        self.engine.counters.cut_off(CutOff::Pipelining);
        self.engine.kill_connection(key, ConnectionEnd::Flood);
    }

    /// Takes frames until the input is used up or the connection is a WebSocket no more.
    pub(super) fn receive_frames(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let mut rest = bytes;
        let Some(mut decoder) = self.websocket_mut(key).map(|ws| std::mem::take(&mut ws.decoder)) else { return };
        while !rest.is_empty() {
            let limits = self.frame_limits(key);
            let (message, after) = match decoder.next(rest, &limits) {
                Ok(next) => next,
                Err(violation) => return self.refuse_frame(key, violation),
            };
            rest = after;
            let Some(message) = message else { break };
            self.engine.counters.messages_received += 1;
            self.frame(key, message);
            decoder.release();
            if self.websocket_mut(key).is_none() {
                break;
            }
        }
        match self.engine.connection_mut(key).map(|c| &mut c.stage) {
            Some(Stage::WebSocket(ws)) => ws.decoder = decoder,
            Some(Stage::Ending { finish: Finish::CloseFrame, decoder: kept, .. }) => {
                *kept = decoder;
                self.await_close_frame(key, rest);
            }
            Some(Stage::Moving(moving)) => {
                moving.decoder = decoder;
                moving.unread.extend_from_slice(rest);
            }
            _ => {}
        }
    }

    /// What is kept of a packet that waits for attachments counts towards the next message.
    fn frame_limits(&mut self, key: ConnectionKey) -> Limits {
        let mut limits = self.engine.limits();
        if let Some(ws) = self.websocket_mut(key) {
            let session = SessionKey { slot: ws.session.0, generation: ws.session.1 };
            limits.max_payload = limits.max_payload.saturating_sub(self.protocol.held(session));
        }
        limits
    }

    fn refuse_frame(&mut self, key: ConnectionKey, violation: Violation) {
        self.engine.counters.violation(&violation);
        self.end_websocket(key, CloseReason::ParseError, violation.code);
    }

    fn frame(&mut self, key: ConnectionKey, message: Message<'_>) {
        let Some(ws) = self.websocket_mut(key) else { return };
        let (session, probing) = (SessionKey { slot: ws.session.0, generation: ws.session.1 }, ws.probing);
        match message {
            Message::Text(text) if probing => self.engine.probe_packet(key, session, text),
            Message::Binary(_) if probing => self.engine.probe_packet(key, session, b""),
            Message::Text(text) => self.packet(session, text),
            Message::Binary(bytes) => self.protocol.binary(&mut self.engine, session, bytes),
            Message::Ping(payload) => {
                if let Some(sink) = self.engine.connection(key).map(|c| c.sink) {
                    self.engine.out.put(sink, |out| put_pong(out, payload));
                }
            }
            Message::Pong => {}
            Message::Close(code) => {
                self.end_websocket(key, CloseReason::TransportClose, code.unwrap_or(1000));
                self.engine.end_connection(key, Finish::Close);
            }
        }
        self.settle();
    }

    /// A text packet of an established session, on either transport.
    fn packet(&mut self, session: SessionKey, text: &mut [u8]) {
        let Some((kind, data)) = text.split_first_mut() else {
            return self.engine.close_session_with(session, CloseReason::ParseError, 1002);
        };
        match decode_type(*kind) {
            Some(PacketType::Message) => self.protocol.text(&mut self.engine, session, data),
            Some(kind) => self.control(session, kind),
            None if *kind == b'b' => match decode_base64(data) {
                Some(bytes) => self.protocol.binary(&mut self.engine, session, bytes),
                None => self.engine.close_session_with(session, CloseReason::ParseError, 1002),
            },
            None => self.engine.close_session_with(session, CloseReason::ParseError, 1002),
        }
    }

    fn control(&mut self, session: SessionKey, kind: PacketType) {
        match kind {
            PacketType::Pong => self.engine.pong(session),
            PacketType::Close => self.engine.close_session(session, CloseReason::TransportClose),
            // In version 4 it is the server that pings.
            PacketType::Ping => self.engine.close_session_with(session, CloseReason::TransportError, 1002),
            PacketType::Message | PacketType::Open | PacketType::Upgrade | PacketType::Noop => {}
        }
    }

    fn end_websocket(&mut self, key: ConnectionKey, reason: CloseReason, code: u16) {
        let Some(ws) = self.websocket_mut(key) else { return };
        if ws.probing {
            self.engine.end_probe(key, code);
        } else {
            let session = SessionKey { slot: ws.session.0, generation: ws.session.1 };
            self.engine.close_session_with(session, reason, code);
        }
    }

    /// After our close frame only the peer's matters.
    fn await_close_frame(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let limits = self.engine.limits();
        let Some(Stage::Ending { decoder, .. }) = self.engine.connection_mut(key).map(|c| &mut c.stage) else { return };
        let mut rest = bytes;
        let closed = loop {
            match decoder.next(rest, &limits) {
                Ok((None, _)) => break false,
                Ok((Some(Message::Close(_)), _)) | Err(_) => break true,
                Ok((Some(_), after)) => rest = after,
            }
        };
        if closed {
            self.engine.end_connection(key, Finish::Close);
        }
    }

    fn websocket_mut(&mut self, key: ConnectionKey) -> Option<&mut crate::connection::WebSocket> {
        match &mut self.engine.connection_mut(key)?.stage {
            Stage::WebSocket(ws) => Some(ws),
            _ => None,
        }
    }

    /// Takes requests until one is incomplete or its answer is due.
    pub(super) fn advance_http(&mut self, key: ConnectionKey) {
        while !self.drain.holds()
            && let Some(http) = self.engine.http_mut(key)
            && !http.resumes
        {
            let goes_on = match http.awaiting {
                Awaiting::Head => self.take_head(key),
                Awaiting::Body(purpose) => self.take_body(key, purpose),
                Awaiting::Packets { .. } | Awaiting::Answer | Awaiting::Move(_) => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn take_head(&mut self, key: ConnectionKey) -> bool {
        let Some(http) = self.engine.http_mut(key) else { return false };
        let mut decoder = std::mem::take(&mut http.decoder);
        let verdict = match decoder.head() {
            Ok(None) => None,
            Ok(Some(head)) => {
                http.close = !head.keep_alive;
                Some(self.route(key, &head))
            }
            Err(error) => {
                http.close = true;
                http.head_only = false;
                if error == HeadError::TooLarge {
                    self.engine.counters.cut_off(CutOff::RequestHead);
                }
                Some(Verdict::refuse(error.status(), error.message()))
            }
        };
        if let Some(Verdict::Switched) = verdict {
            self.receive_frames(key, &mut decoder.into_after_head());
            return false;
        }
        let Some(http) = self.engine.http_mut(key) else { return false };
        http.decoder = decoder;
        match verdict {
            None | Some(Verdict::Switched) => false,
            Some(Verdict::Move(to)) => {
                self.engine.move_connection(key, to);
                false
            }
            Some(Verdict::Answer { status, json, extra }) => {
                let content_type = if json.is_empty() { "" } else { "application/json" };
                // What is left of the body must not be read as the next request.
                let whole = http.decoder.begin_body(PIPELINE_MAX).and_then(|()| http.decoder.poll_body());
                http.close |= whole.is_err();
                if whole == Ok(false) {
                    http.awaiting = Awaiting::Body(Purpose::Discard);
                    self.engine.put_response(key, status, content_type, json.as_bytes(), &extra);
                } else {
                    self.engine.answer_with(key, status, content_type, json.as_bytes(), &extra);
                }
                false
            }
            Some(Verdict::Body { purpose, limit, expect_continue }) => {
                http.awaiting = Awaiting::Body(purpose);
                if let Err(error) = http.decoder.begin_body(limit) {
                    self.refuse_body(key, purpose, error);
                    return false;
                }
                if expect_continue
                    && http.decoder.poll_body() == Ok(false)
                    && let Some(sink) = self.engine.connection(key).map(|c| c.sink)
                {
                    self.engine.out.put(sink, |out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
                }
                true
            }
        }
    }

    fn take_body(&mut self, key: ConnectionKey, purpose: Purpose) -> bool {
        let Some(http) = self.engine.http_mut(key) else { return false };
        match http.decoder.poll_body() {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                self.refuse_body(key, purpose, error);
                return false;
            }
        }
        if purpose == Purpose::Discard {
            self.engine.finish_request(key);
            return false;
        }
        let mut decoder = std::mem::take(&mut http.decoder);
        let outcome = match decoder.request() {
            Some((head, body)) => self.request(key, purpose, &head, body),
            None => Outcome::Refused(Refusal::BadRequest),
        };
        let Some(http) = self.engine.http_mut(key) else { return false };
        http.decoder = decoder;
        match outcome {
            Outcome::Waits if purpose == Purpose::Call && http.awaiting != Awaiting::Answer => {
                http.decoder.finish();
                self.engine.resume(key);
            }
            Outcome::Waits => {}
            Outcome::Refused(refusal) => self.engine.answer(key, 400, &refusal.json()),
            Outcome::Ok => self.engine.answer_with(key, 200, "text/html", b"ok", NO_STORE),
            Outcome::Json { status, headers, json } => {
                self.engine.answer_with(key, status, "application/json", json.as_bytes(), headers);
            }
        }
        false
    }

    /// A whole request.
    fn request(
        &mut self,
        key: ConnectionKey,
        purpose: Purpose,
        head: &crate::wire::http::Head<'_>,
        body: &mut [u8],
    ) -> Outcome {
        match purpose {
            Purpose::Discard => Outcome::Waits,
            Purpose::Poll(None) => match self.engine.open_polling(self.routes.mount(head.path), key) {
                Ok(session) => {
                    self.protocol.opened(&mut self.engine, session, head);
                    Outcome::Waits
                }
                Err(refusal) => Outcome::Refused(refusal),
            },
            Purpose::Poll(Some((slot, generation))) => match self.engine.poll(key, SessionKey { slot, generation }) {
                Ok(()) => Outcome::Waits,
                Err(refusal) => Outcome::Refused(refusal),
            },
            Purpose::Payload(slot, generation) => self.payload(key, SessionKey { slot, generation }, body),
            Purpose::Call if self.drain.has_told() => {
                let json = self.protocol.refusal(503, SHUTS_DOWN);
                Outcome::Json { status: 503, headers: "", json }
            }
            Purpose::Call => {
                // The answer may be given before `call` returns.
                self.engine.await_server(key, Awaiting::Answer);
                match self.protocol.call(&mut self.engine, key, head, body) {
                    Answer::Json { status, headers, json } => Outcome::Json { status, headers, json },
                    Answer::Later => Outcome::Waits,
                }
            }
        }
    }

    fn payload(&mut self, key: ConnectionKey, session: SessionKey, body: &mut [u8]) -> Outcome {
        if self.drain.has_told() {
            return Outcome::Ok;
        }
        if let Err(refusal) = self.engine.end_post(session) {
            return Outcome::Refused(refusal);
        }
        for packet in split_payload(body) {
            self.engine.counters.messages_received += 1;
            match packet {
                Ok(Packet::Text(PacketType::Message, data)) => {
                    if !self.engine.forward(session, data) {
                        self.protocol.text(&mut self.engine, session, data);
                    }
                }
                Ok(Packet::Text(PacketType::Close, _)) if self.engine.leave(session, key) => return Outcome::Waits,
                Ok(Packet::Text(PacketType::Close, _)) => {}
                Ok(Packet::Text(kind, _)) => self.control(session, kind),
                Ok(Packet::Binary(bytes)) => self.protocol.binary(&mut self.engine, session, bytes),
                Err(_) => {
                    self.engine.close_session(session, CloseReason::ParseError);
                    self.settle();
                    return Outcome::Refused(Refusal::BadRequest);
                }
            }
            self.settle();
            if self.engine.session(session).is_none() && self.engine.moved(session).is_none() {
                break;
            }
        }
        Outcome::Ok
    }

    fn refuse_body(&mut self, key: ConnectionKey, purpose: Purpose, error: BodyError) {
        let Some(http) = self.engine.http_mut(key) else { return };
        http.close = true;
        if purpose == Purpose::Discard {
            return self.engine.finish_request(key);
        }
        let (status, message) = match error {
            BodyError::TooLarge => {
                self.engine.counters.cut_off(CutOff::MessageSize);
                (413, "The body is too large.")
            }
            BodyError::Malformed(why) => (400, why),
        };
        if let Purpose::Payload(slot, generation) = purpose {
            let _ = self.engine.end_post(SessionKey { slot, generation });
        }
        let json = match purpose {
            Purpose::Call => self.protocol.refusal(status, message),
            _ => Verdict::error_json(message),
        };
        self.engine.answer(key, status, &json);
        self.settle();
    }
}

enum Outcome {
    /// The answer comes later.
    Waits,
    Ok,
    Json {
        status: u16,
        headers: &'static str,
        json: String,
    },
    Refused(Refusal),
}
