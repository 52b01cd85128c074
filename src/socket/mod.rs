//! Socket.IO v5: namespaces, events, acknowledgements, attachments, over Engine.IO sessions.
//!
//! [`Sockets`] is the [`Protocol`] that sessions carry in production; what its events mean is an [`App`]'s business.

mod app;
pub mod attachments;
pub mod context;
mod disconnect;
pub mod hub;
mod kept;
pub mod recovery;
mod volatile;

pub use app::{App, ConnectError, Event};
pub use context::Context;
pub use disconnect::DisconnectReason;
pub use hub::{Hub, SocketKey};

use crate::engine::session::NO_UPPER;
use crate::engine::wheel::{Timer, TimerKind};
use crate::engine::{Answer, CloseReason, ConnectionKey, Engine, Mount, Now, Protocol, SessionKey};
use crate::metrics::CutOff;
use crate::rooms::RoomId;
use crate::wire::http::Head;
use crate::wire::sid::Sid;
use crate::wire::socket::{self as codec, DecodeError, Packet, PacketType};
use attachments::{Assembled, Assembly};
use recovery::Claim;

/// What shards send one another.
#[derive(Debug)]
pub enum Mail<M, D> {
    /// The application's.
    App(M),
    /// To a room's home: the sender has its first member, or its last one left.
    Interest(RoomId, bool),
    /// From a room's home.
    Deliver(RoomId, D),
}

/// All sockets of a shard, and the application on them.
pub struct Sockets<A: App> {
    app: A,
    hub: Hub<A>,
    assembly: Assembly,
}

impl<A: App> Sockets<A> {
    /// No sockets yet. `shard` of `shards`; `max_payload`: bytes of a message with all of its attachments.
    pub fn new(app: A, shard: usize, shards: usize, max_payload: usize, recovery: recovery::Settings) -> Self {
        Self { app, hub: Hub::new(shard, shards, recovery), assembly: Assembly::new(max_payload) }
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The sockets.
    pub fn hub(&self) -> &Hub<A> {
        &self.hub
    }

    /// Calls the application; then does what it posted to this very shard.
    pub(crate) fn with_app<R>(
        &mut self,
        engine: &mut Engine,
        call: impl FnOnce(&mut A, &mut Context<'_, A>) -> R,
    ) -> R {
        let result = call(&mut self.app, &mut Context { engine, hub: &mut self.hub });
        while let Some(mail) = self.hub.next_local() {
            let shard = self.hub.shard();
            self.take_mail(engine, shard, mail);
        }
        result
    }

    fn take_mail(&mut self, engine: &mut Engine, from: usize, mail: Mail<A::Mail, A::Delivery>) {
        let cx = &mut Context { engine, hub: &mut self.hub };
        match mail {
            Mail::App(mail) => self.app.mail(cx, from, mail),
            Mail::Interest(room, on) => self.hub.set_interest(room, from, on),
            Mail::Deliver(room, delivery) => self.app.deliver(cx, &room, delivery),
        }
    }

    /// Ends a session that does not keep to the protocol.
    fn violate(&mut self, engine: &mut Engine, session: SessionKey) {
        engine.close_session_with(session, CloseReason::ParseError, 1002);
    }

    fn packet(&mut self, engine: &mut Engine, session: SessionKey, packet: Packet<'_>) -> Result<(), DecodeError> {
        let Packet { kind, attachments, namespace, ack_id, data } = packet;
        if kind == PacketType::Connect {
            return self.connect(engine, session, namespace, data);
        }
        let socket = self.hub.find(engine, session, namespace).ok_or(DecodeError::Type)?;
        match kind {
            PacketType::Event => {
                let event = Event { ack_id, json: data, attachments: &[] };
                self.with_app(engine, |app, cx| app.event(cx, socket, event))
            }
            PacketType::BinaryEvent | PacketType::BinaryAck => {
                let is_event = kind == PacketType::BinaryEvent;
                self.assembly.begin(session, socket, is_event, ack_id, data, attachments)
            }
            PacketType::Ack => {
                // No event of the server's asks for an acknowledgement, so none is waited for.
                codec::validate_ack_args(std::str::from_utf8(data).unwrap_or_default()).map(|_| ())
            }
            PacketType::Disconnect => {
                self.remove(engine, socket, DisconnectReason::ClientNamespace);
                Ok(())
            }
            PacketType::Connect | PacketType::ConnectError => Err(DecodeError::Type),
        }
    }

    fn connect(
        &mut self,
        engine: &mut Engine,
        session: SessionKey,
        namespace: &str,
        data: &[u8],
    ) -> Result<(), DecodeError> {
        let auth = auth_of(data)?;
        if self.hub.find(engine, session, namespace).is_some() {
            return Err(DecodeError::Type);
        }
        let known = A::NAMESPACES.iter().position(|&n| n == namespace).and_then(|n| u8::try_from(n).ok());
        let verdict = match known {
            None => Err(ConnectError { message: "Invalid namespace".to_owned() }),
            Some(namespace) => {
                let credential = engine.session(session).and_then(|s| s.credential.as_deref());
                let verdict = self.app.authorize(engine.now, auth, credential).map(|kept| (namespace, kept));
                engine.counters.sockets_refused += u64::from(verdict.is_err());
                verdict
            }
        };
        let name = namespace;
        let (namespace, kept) = match verdict {
            Ok(allowed) => allowed,
            Err(error) => {
                self.hub.refuse(engine, session, namespace, &error);
                return Ok(());
            }
        };
        let recovered = match auth.and_then(|auth| self.claimed(engine, name, auth)) {
            Some(Claimed::Elsewhere(shard)) if engine.emigrate(session, shard, connect_packet(name, data)) => {
                return Ok(());
            }
            Some(Claimed::Here(socket, claim)) if self.may_resume(socket, &kept) => {
                self.recover(engine, session, socket, &claim)
            }
            _ => None,
        };
        if let Some(socket) = recovered.or_else(|| self.hub.connect(engine, session, namespace, kept)) {
            self.with_app(engine, |app, cx| app.connected(cx, socket, auth, recovered.is_some()));
        }
        Ok(())
    }

    /// What a CONNECT claims to be.
    fn claimed<'a>(&self, engine: &Engine, namespace: &str, auth: &'a str) -> Option<Claimed<'a>> {
        if !self.hub.recovery.is_on() {
            return None;
        }
        let claim: Claim<'a> = serde_json::from_str(auth).ok()?;
        let pid = Sid::parse(&claim.pid)?;
        let (shard, _) = engine.place(&pid);
        if shard != self.hub.shard() {
            return (shard < self.hub.shards()).then_some(Claimed::Elsewhere(shard));
        }
        let socket = self.hub.find_pid(engine, &pid).filter(|&s| self.hub.namespace(s) == Some(namespace))?;
        Some(Claimed::Here(socket, claim))
    }

    fn may_resume(&mut self, socket: SocketKey, presented: &A::Data) -> bool {
        self.hub.data_mut(socket).is_some_and(|kept| self.app.resume(kept, presented))
    }

    /// Brings a socket back; one that is not yet known to have gone loses its session first.
    fn recover(
        &mut self,
        engine: &mut Engine,
        session: SessionKey,
        socket: SocketKey,
        claim: &Claim<'_>,
    ) -> Option<SocketKey> {
        if !self.hub.is_away(socket) {
            let stale = self.hub.session(socket)?;
            self.remove(engine, socket, DisconnectReason::Session(CloseReason::TransportClose));
            engine.abandon_session(stale);
        }
        let recovered = self.hub.recover(engine, session, socket, claim);
        if recovered.is_none() {
            self.hub.give_up(socket);
        }
        recovered
    }

    /// Takes a socket out of everything.
    fn remove(&mut self, engine: &mut Engine, socket: SocketKey, reason: DisconnectReason) {
        self.with_app(engine, |app, cx| app.disconnected(cx, socket, reason));
        self.with_app(engine, |_, cx| {
            if cx.hub.recovery.is_on() && reason.is_recoverable() {
                cx.hub.park(cx.engine, socket);
            } else {
                cx.hub.remove(cx.engine, socket);
            }
        });
    }
}

enum Claimed<'a> {
    Here(SocketKey, Claim<'a>),
    Elsewhere(usize),
}

impl<A: App> Protocol for Sockets<A> {
    type Mail = Mail<A::Mail, A::Delivery>;

    fn opened(&mut self, engine: &mut Engine, session: SessionKey, head: &Head<'_>) {
        let credential = self.app.credential(head);
        if let Some(session) = engine.session_mut(session) {
            session.credential = credential;
        }
    }

    fn text(&mut self, engine: &mut Engine, session: SessionKey, text: &mut [u8]) {
        match engine.session(session).map(|s| s.mount()) {
            None => return,
            Some(Mount::Bare) => return engine.send_text(session, |out| out.extend_from_slice(text)),
            Some(Mount::SocketIo) => {}
        }
        let outcome = if self.assembly.is_waiting(session) {
            Err(DecodeError::Type)
        } else {
            codec::decode(text).and_then(|packet| self.packet(engine, session, packet))
        };
        if let Err(error) = outcome {
            if error == DecodeError::TooManyAttachments {
                engine.counters.cut_off(CutOff::Attachments);
            }
            self.violate(engine, session);
        }
        self.disconnect_marked(engine);
    }

    fn binary(&mut self, engine: &mut Engine, session: SessionKey, bytes: &[u8]) {
        if engine.session(session).is_some_and(|s| s.mount() == Mount::Bare) {
            return engine.send_binary(session, bytes);
        }
        match self.assembly.add(session, bytes) {
            Ok(None) => {}
            Ok(Some(Assembled { socket, is_event, ack_id, mut json, attachments })) => {
                let outcome = std::str::from_utf8(&json)
                    .map_err(|_| DecodeError::Data)
                    .and_then(|text| codec::check_placeholders(text, attachments.len() as u32));
                let outcome = match outcome {
                    Ok(()) if is_event => {
                        let event = Event { ack_id, json: &mut json, attachments: &attachments };
                        self.with_app(engine, |app, cx| app.event(cx, socket, event))
                    }
                    other => other,
                };
                if outcome.is_err() {
                    self.violate(engine, session);
                }
            }
            Err(too_large) => {
                if too_large {
                    engine.counters.cut_off(CutOff::MessageSize);
                }
                let code = if too_large { 1009 } else { 1002 };
                engine.close_session_with(session, CloseReason::ParseError, code);
            }
        }
        self.disconnect_marked(engine);
    }

    fn held(&self, session: SessionKey) -> usize {
        self.assembly.held(session)
    }

    fn closed(&mut self, engine: &mut Engine, session: SessionKey, upper: u32, reason: CloseReason) {
        self.assembly.forget(session);
        let mut next = upper;
        while next != NO_UPPER
            && let Some((socket, after)) = self.hub.at(next)
        {
            next = after;
            self.remove(engine, socket, DisconnectReason::Session(reason));
        }
    }

    fn connect_timeout(&mut self, engine: &mut Engine, session: SessionKey) {
        if engine.session(session).is_some_and(|s| s.upper == NO_UPPER) {
            engine.counters.cut_off(CutOff::ConnectTimeout);
            engine.close_session(session, CloseReason::ForcedClose);
        }
    }

    fn timeout(&mut self, engine: &mut Engine, timer: Timer) {
        self.with_app(engine, |app, cx| match timer.kind {
            TimerKind::Recovery => cx.hub.expire(cx.engine),
            TimerKind::Socket => app.reminded(cx, SocketKey { slot: timer.slot, generation: timer.generation }),
            _ => app.timeout(cx, timer.slot, timer.generation),
        });
        self.disconnect_marked(engine);
    }

    fn mail(&mut self, engine: &mut Engine, from: usize, mail: Self::Mail) {
        self.take_mail(engine, from, mail);
        self.with_app(engine, |_, _| ());
        self.disconnect_marked(engine);
    }

    fn outgoing(&mut self) -> &mut Vec<(usize, Self::Mail)> {
        &mut self.hub.outgoing
    }

    fn outgoing_count(&self) -> usize {
        self.hub.outgoing.len()
    }

    fn outgoing_bytes(&self) -> usize {
        self.hub.outgoing_bytes
    }

    fn room_count(&self) -> usize {
        self.hub.rooms().0
    }

    fn serves(&self, path: &str) -> bool {
        self.app.serves(path)
    }

    fn call(&mut self, engine: &mut Engine, from: ConnectionKey, head: &Head<'_>, body: &mut [u8]) -> Answer {
        self.with_app(engine, |app, cx| app.call(cx, from, head, body))
    }

    fn refusal(&self, status: u16, message: &str) -> String {
        self.app.refusal(status, message)
    }

    fn calls_open(&self) -> usize {
        self.app.calls_open()
    }

    fn give_up_calls(&mut self, engine: &mut Engine) {
        self.with_app(engine, |app, cx| app.give_up_calls(cx));
    }

    fn end_turn(&mut self, engine: &mut Engine) {
        self.hub.outgoing_bytes = 0;
        self.hub.end_turn(engine);
    }

    fn shrink(&mut self, now: Now) {
        self.assembly.shrink();
        self.hub.shrink();
        self.app.shrink(now);
    }

    fn drain(&mut self, engine: &mut Engine) {
        self.hub.tell_all(engine);
    }
}

impl<A: App> Sockets<A> {
    /// Carries out the disconnections the application asked for.
    fn disconnect_marked(&mut self, engine: &mut Engine) {
        while let Some(socket) = self.hub.next_marked() {
            self.hub.tell_disconnected(engine, socket);
            self.remove(engine, socket, DisconnectReason::ServerNamespace);
        }
    }
}

/// A CONNECT as it came.
fn connect_packet(namespace: &str, data: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    codec::put_prefix(&mut packet, PacketType::Connect, 0, namespace, None);
    packet.extend_from_slice(data);
    packet
}

/// The auth payload of a CONNECT: a JSON object, or nothing.
fn auth_of(data: &[u8]) -> Result<Option<&str>, DecodeError> {
    if data.is_empty() {
        return Ok(None);
    }
    let raw: &serde_json::value::RawValue = serde_json::from_slice(data).map_err(|_| DecodeError::Data)?;
    Ok(Some(raw.get()))
}
