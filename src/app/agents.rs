//! The rooms of people and agents: the documented API (contract A), and what published clients send (contract B).
//!
//! A socket's shard parses and checks what the socket sends and posts it to the room's home (`home`), also when that is the
//! same shard. The home answers the asker's shard, and sends what is for the room to every shard with members. Mail
//! between two shards keeps its order, so the answers and broadcasts of one room come in one order too.

use super::AgentsSettings;
use super::answers::{acknowledge, greet, refuse};
use super::api::{self, Api};
use super::broadcast::{Draft, put_room};
use super::client::{
    Client, bring, brings_into, brought, check_name, identity, parties, parties_max, speaker, take_away,
};
use super::completion::{self, Deadlines};
use super::dedupe::{self, Dedupe};
use super::demo::{self, Demo};
use super::events::{self, Event as Asked, Form, Join, Message, Refusal};
use super::fault::{Code, Fault};
use super::handshake::{Handshake, Identity};
use super::ids::Ids;
use super::json::{Args, ParseError, Parser};
use super::liveness::{self, Liveness};
use super::logs::{self, Logs};
use super::mail::{Asker, Delivery, JoinRoom, Joined, LeaveRoom, Mail, Parties, Party, Publish, Publisher, RejoinRoom};
use super::permission::{self, check_room, check_sender};
use super::questions::{self, Questions};
use super::world::{Bounds, World};
use crate::engine::{Answer, ConnectionKey, Credential, Now};
use crate::rooms::RoomId;
use crate::socket::{App, ConnectError, Context, DisconnectReason, Event, SocketKey};
use crate::wire::http::Head;
use crate::wire::put_decimal;
use crate::wire::socket::{DecodeError, validate_args};
use smallvec::SmallVec;
use std::sync::Arc;

/// The application on one shard.
pub struct Agents {
    pub(super) settings: AgentsSettings,
    pub(super) world: World,
    pub(super) dedupe: Dedupe,
    pub(super) ids: Ids,
    pub(super) questions: Questions,
    pub(super) logs: Logs,
    pub(super) liveness: Liveness,
    pub(super) deadlines: Deadlines,
    pub(super) demo: Demo,
    pub(super) api: Api,
    /// Boxed: it is taken out for every event.
    pub(super) parser: Option<Box<Parser>>,
}

impl Agents {
    /// The application on one of `shards` shards.
    pub fn new(settings: AgentsSettings, shards: usize) -> Self {
        let shards = shards.max(1);
        let bounds = Bounds {
            rooms: settings.max_rooms.div_ceil(shards),
            history_len: settings.history,
            room_bytes: settings.room_bytes,
            history_bytes: settings.history_bytes.div_ceil(shards),
        };
        Self {
            world: World::new(bounds, settings.server_id),
            dedupe: Dedupe::new(settings.dedupe_window_ms, dedupe::ENTRIES_MAX),
            ids: Ids::default(),
            questions: Questions::default(),
            logs: Logs::new(Arc::clone(&settings.log_feed)),
            liveness: Liveness::new(liveness::AGENTS_MAX, settings.demo_agent.then_some(demo::ID)),
            deadlines: Deadlines::new(settings.complete_timeout_ms),
            demo: Demo::default(),
            api: Api::new(settings.dedupe_window_ms),
            parser: None,
            settings,
        }
    }

    fn ask(&mut self, cx: &mut Context<'_, Self>, asker: Asker, args: &Args<'_>) {
        let name = args.name.as_str();
        let refused = match events::parse(name, args.payload, &self.settings) {
            Ok(Asked::Join(join)) => {
                let form = join.form;
                self.join(cx, Asker { form, ..asker }, join).map_err(|fault| Refusal::of(fault, form))
            }
            Ok(Asked::Leave(room)) => self.leave(cx, asker, &room),
            Ok(Asked::Message(message)) => {
                let form = message.form;
                self.message(cx, Asker { form, ..asker }, &message).map_err(|fault| Refusal::of(fault, form))
            }
            Ok(Asked::State(room)) => self.ask_state(cx, asker, room),
            Ok(Asked::Logs(request)) => self.ask_logs(cx, asker, request),
            Ok(Asked::Complete(said)) => self.say_complete(cx, asker, said),
            Ok(Asked::Stream(stream)) => self.pass_on(cx, asker, &stream),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = refused {
            refuse(cx, asker, name, &refusal);
        }
    }

    fn join(&mut self, cx: &mut Context<'_, Self>, asker: Asker, join: Join<'_>) -> Result<(), Fault> {
        let Join { room, server, agent: named_agent, entity, name, dm, form: _ } = join;
        check_room(cx, asker, &room)?;
        if let Some(user) = entity {
            check_sender(cx, asker, user)?;
        }
        let limit = self.settings.max_rooms_per_socket;
        if !cx.hub.is_in(asker.socket, &room) && cx.hub.room_count(asker.socket) >= limit {
            let fault = Fault::new(Code::TooManyRooms, format!("A socket may be in at most {limit} rooms."));
            return Err(Fault { limit: Some(limit as u64), ..fault });
        }
        let Identity { agent, entity: speaks_for } = identity(cx, asker.socket);
        let user = entity.or(speaks_for);
        let agents = [named_agent, agent].into_iter().flatten().map(Party::Agent);
        let mut parties: Parties = agents.chain(user.map(Party::User)).collect();
        let max = parties_max(&self.settings);
        parties.retain(|&mut party| bring(cx, asker.socket, &room, party, max));
        if let Some(agent) = named_agent
            && !brings_into(cx, asker.socket, &room, Party::Agent(agent))
        {
            let unit = "agents and users that one socket brings into its rooms";
            return Err(Fault::limit(Code::TooManyRooms, "agentId", max, unit));
        }
        let is_new = cx.join(asker.socket, &room);
        self.follow(cx, asker.socket, &parties);
        let named = user.zip(name.map(Box::from));
        let home = cx.home(&room);
        let join = JoinRoom { room, is_new, server, parties, named, dm, named_agent, asker };
        cx.post(home, Mail::Join(Box::new(join)));
        Ok(())
    }

    fn leave(&mut self, cx: &mut Context<'_, Self>, asker: Asker, room: &RoomId) -> Result<(), Refusal> {
        check_name(cx, asker.socket, room, "roomId")?;
        let was_in = cx.leave(asker.socket, room);
        let parties = take_away(cx, asker.socket, room);
        self.unfollow(cx, asker.socket, &parties);
        let home = cx.home(room);
        cx.post(home, Mail::Leave(Box::new(LeaveRoom { room: room.clone(), was_in, parties, asker: Some(asker) })));
        Ok(())
    }

    fn message(&mut self, cx: &mut Context<'_, Self>, asker: Asker, message: &Message<'_>) -> Result<(), Fault> {
        self.check_rate(cx, asker)?;
        let room = &message.room;
        check_room(cx, asker, room)?;
        check_sender(cx, asker, message.sender)?;
        self.check_joined(cx, asker, room)?;
        let speaker = speaker(cx, asker.socket, message.sender);
        let is_new =
            cx.hub.is_in(asker.socket, room) && bring(cx, asker.socket, room, speaker, parties_max(&self.settings));
        let publish = Publish {
            room: room.clone(),
            server: message.server,
            sender: message.sender,
            name: message.name.into(),
            message_id: message.message_id.map(Box::from),
            dm: message.dm,
            speaker,
            is_new,
            id: None,
            draft: Draft::new(message),
            extra: None,
        };
        let bytes = publish.draft.frame_len();
        cx.post_to_room(room, bytes, Mail::Publish(Publisher::Socket(asker), Box::new(publish)));
        Ok(())
    }

    pub(super) fn check_joined(&self, cx: &Context<'_, Self>, asker: Asker, room: &RoomId) -> Result<(), Fault> {
        if self.settings.require_join && !cx.hub.is_in(asker.socket, room) {
            return Err(Fault::new(Code::NotJoined, "Join the room before you send to it."));
        }
        Ok(())
    }

    pub(super) fn check_rate(&self, cx: &mut Context<'_, Self>, asker: Asker) -> Result<(), Fault> {
        let (limit, now_ms) = (self.settings.rate_messages, cx.now().mono_ms);
        let Some(client) = cx.hub.data_mut(asker.socket) else { return Ok(()) };
        if client.bucket.take(limit, now_ms) {
            return Ok(());
        }
        let fault = Fault::new(Code::RateLimited, format!("At most {limit} messages a second may be sent."));
        Err(Fault { limit: Some(limit.into()), ..fault })
    }

    /// A socket that was away is in its rooms again.
    fn rejoin(cx: &mut Context<'_, Self>, socket: SocketKey) {
        let rooms: Vec<RoomId> = cx.hub.rooms_of(socket).cloned().collect();
        for room in rooms {
            let (parties, home) = (parties(cx, socket, &room), cx.home(&room));
            cx.post(home, Mail::Rejoin(Box::new(RejoinRoom { room, parties })));
        }
    }

    fn joined(&mut self, cx: &mut Context<'_, Self>, joined: Joined) {
        let Joined { room, agent, asker, members } = joined;
        let members = match members {
            Ok(members) => members,
            Err(fault) => {
                cx.leave(asker.socket, &room);
                let parties = take_away(cx, asker.socket, &room);
                self.unfollow(cx, asker.socket, &parties);
                let event = if asker.form == Form::Flat { "join" } else { "message" };
                return refuse(cx, asker, event, &Refusal::of(fault, asker.form));
            }
        };
        if asker.form == Form::Legacy {
            self.confirm_join(cx, asker, &room, agent);
        }
        acknowledge(cx, asker, |out| {
            out.extend_from_slice(br#","roomId":"#);
            put_room(out, &room);
            out.extend_from_slice(br#","members":"#);
            put_decimal(out, members.into());
        });
    }
}

impl App for Agents {
    type Mail = Mail;
    type Delivery = Delivery;
    type Data = Client;

    const NAMESPACES: &'static [&'static str] = &["/"];

    fn credential(&self, head: &Head<'_>) -> Option<Box<Credential>> {
        self.settings.access.credential(head)
    }

    fn authorize(
        &mut self,
        now: Now,
        auth: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Client, ConnectError> {
        let handshake = Handshake::of(auth);
        let grant = self.settings.access.admit_socket(now, &handshake, credential)?;
        let Identity { agent, entity } = handshake.identity();
        let identity = Identity { agent: agent.filter(|_| grant.allows_agent()), entity };
        Ok(Client::new(identity, grant.into()))
    }

    fn resume(&mut self, kept: &mut Client, presented: &Client) -> bool {
        kept.permission.grant.renew(&presented.permission.grant)
    }

    fn connected(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, _: Option<&str>, recovered: bool) {
        permission::watch(cx, socket);
        let Identity { agent, entity } = identity(cx, socket);
        if let Some(agent) = agent {
            self.agent_connected(cx, agent);
        }
        if recovered {
            Self::rejoin(cx, socket);
            self.read_logs(cx, socket);
            self.follow(cx, socket, &brought(cx, socket).collect::<Vec<_>>());
        }
        if let Some(entity) = entity {
            greet(cx, socket, entity);
        }
        let Some(sid) = cx.hub.id(socket) else { return };
        cx.emit(socket, |out| {
            out.extend_from_slice(
                br#"["connection_established",{"message":"Connected to Eliza Socket.IO server","socketId":""#,
            );
            out.extend_from_slice(sid.text().as_bytes());
            out.extend_from_slice(br#""}]"#);
        });
    }

    fn event(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, event: Event<'_>) -> Result<(), DecodeError> {
        let Event { ack_id, json, attachments } = event;
        let asker = Asker { socket, ack_id, form: Form::Flat };
        if !attachments.is_empty() {
            return refuse_payload(cx, asker, json, "The payload must have no binary attachments.");
        }
        let mut parser = self.parser.take().unwrap_or_default();
        let outcome = parser.read(json, |root| {
            let args = Args::of(root, json)?;
            self.ask(cx, asker, &args);
            Ok(())
        });
        self.parser = Some(parser);
        match outcome {
            Ok(outcome) => outcome,
            Err(ParseError::Malformed) => Err(DecodeError::Data),
            Err(ParseError::Number) => refuse_payload(cx, asker, json, "A number in the payload is out of range."),
        }
    }

    fn disconnected(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, _: DisconnectReason) {
        self.forget_reader(cx, socket);
        self.unfollow_all(socket, brought(cx, socket));
        if let Some(agent) = identity(cx, socket).agent {
            self.agent_disconnected(cx, agent);
        }
        let rooms: SmallVec<[RoomId; 1]> = cx.hub.rooms_of(socket).cloned().collect();
        for room in rooms {
            // What the socket brought stays noted with it: it may come back.
            let parties = parties(cx, socket, &room);
            let home = cx.home(&room);
            cx.post(home, Mail::Leave(Box::new(LeaveRoom { room, was_in: true, parties, asker: None })));
        }
    }

    fn mail(&mut self, cx: &mut Context<'_, Self>, from: usize, mail: Mail) {
        match mail {
            Mail::Join(join) => self.join_room(cx, from, *join),
            Mail::Leave(leave) => self.leave_room(cx, from, *leave),
            Mail::Publish(by, publish) => self.publish(cx, from, by, *publish),
            Mail::Rejoin(rejoin) => self.rejoin_room(cx, *rejoin),
            Mail::AskState(question) => self.answer_state(cx, from, *question),
            Mail::State(answer) => self.state_answered(cx, *answer),
            Mail::Joined(joined) => self.joined(cx, *joined),
            Mail::Complete(said) => self.complete(cx, from, *said),
            Mail::Stream(stream) => self.stream(cx, from, *stream),
            Mail::AgentSockets(agent, on) => self.note_sockets(cx, agent, from, on),
            Mail::AgentCalled(agent, until_ms) => self.note_call(cx, agent, until_ms),
            Mail::Logs(lines) => self.take_lines(cx, &lines),
            Mail::Done(room, asker) => acknowledge(cx, asker, |out| {
                out.extend_from_slice(br#","roomId":"#);
                put_room(out, &room);
            }),
            Mail::Repeated(room, Publisher::Socket(asker), stamp, message_id) => {
                self.confirm_message(cx, asker, &room, stamp, message_id.as_deref());
            }
            Mail::Repeated(_, Publisher::Call(call), stamp, _) => self.call_published(cx, call, stamp),
            Mail::Unsent(Publisher::Socket(asker), fault) => {
                refuse(cx, asker, "message", &Refusal::of(*fault, asker.form));
            }
            Mail::Unsent(Publisher::Call(call), fault) => self.call_refused(cx, call, *fault),
            Mail::Repeated(_, Publisher::Demo, ..) | Mail::Unsent(Publisher::Demo, _) => {}
            Mail::Call(mail) => self.call_mail(cx, from, mail),
        }
        cx.engine.counters.rooms = self.world.counters();
    }

    fn deliver(&mut self, cx: &mut Context<'_, Self>, room: &RoomId, delivery: Delivery) {
        match delivery {
            Delivery::Message(message) => self.deliver_message(cx, room, &message),
            Delivery::Frame(frame) => cx.deliver(room, &frame, None),
            Delivery::Completed(completed) => completion::deliver(cx, room, &completed),
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_, Self>, slot: u32, _: u32) {
        match slot {
            logs::TIMER => self.read_feed(cx),
            completion::TIMER => self.deadlines_due(cx),
            demo::TIMER => self.demo_due(cx),
            questions::TIMER => self.questions_due(cx),
            api::line::TIMER => self.line_due(cx),
            _ => {}
        }
    }

    fn reminded(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey) {
        permission::look(cx, socket);
    }

    fn shrink(&mut self, now: Now) {
        self.world.shrink();
        self.dedupe.shrink(now.mono_ms);
        self.liveness.shrink();
        self.api.shrink(now.mono_ms);
        self.parser = None;
    }

    fn serves(&self, path: &str) -> bool {
        api::serves(path)
    }

    fn call(&mut self, cx: &mut Context<'_, Self>, from: ConnectionKey, head: &Head<'_>, body: &mut [u8]) -> Answer {
        self.api_call(cx, from, head, body)
    }

    fn refusal(&self, status: u16, message: &str) -> String {
        api::refusal(status, message)
    }

    fn calls_open(&self) -> usize {
        self.api.calls.len()
    }

    fn give_up_calls(&mut self, cx: &mut Context<'_, Self>) {
        self.give_up(cx);
    }
}

fn refuse_payload(
    cx: &mut Context<'_, Agents>,
    asker: Asker,
    json: &[u8],
    why: &'static str,
) -> Result<(), DecodeError> {
    let text = std::str::from_utf8(json).map_err(|_| DecodeError::Data)?;
    refuse(cx, asker, &validate_args(text)?.name, &Fault::new(Code::InvalidPayload, why).into());
    Ok(())
}
