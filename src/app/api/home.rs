//! What a shard answers to calls about its rooms.

use super::mail::{Asked, CallMail, OwnedUpdate, Question};
use super::message::{Extra, put_kept};
use super::pending::{CallKey, LISTED_MAX, Reply};
use super::problem::Problem;
use super::{access, text};
use crate::app::Agents;
use crate::app::broadcast::{Broadcast, put_uuid};
use crate::app::grant::Rooms;
use crate::app::history::Item;
use crate::app::json::{Parser, Value, put_list, put_str};
use crate::app::mail::{Complete, Delivery, Mail};
use crate::app::room::Room;
use crate::app::world_state::put_channel;
use crate::rooms::RoomId;
use crate::socket::Context;
use crate::wire::put_decimal;
use std::sync::Arc;
use uuid::Uuid;

/// An answer takes at most this part of what may wait for a reader.
const QUEUE_PART: usize = 4;

impl Agents {
    /// A shard asks on behalf of a call.
    pub(super) fn answer_call(&mut self, cx: &mut Context<'_, Self>, from: usize, call: CallKey, asked: &Asked) {
        let Asked { question, rooms } = asked;
        let reply = match question {
            Question::Details(room) => self.details(room),
            Question::Participants(room) => self.participants(room),
            Question::Messages { room, before_ms, limit } => {
                self.messages(room, *before_ms, *limit, cx.engine.settings.max_queue / QUEUE_PART)
            }
            Question::AddAgent(room, agent) => self.add_agent(cx, room, *agent),
            Question::RemoveAgent(room, agent) => self.remove_agent(cx, room, *agent),
            Question::Complete(room, server) => self.complete_by_call(cx, room, *server),
            Question::CompleteFor(message) => {
                let room = self.world.message(*message).map(|(room, _)| room.id().clone());
                match room {
                    None => Reply::Absent,
                    Some(room) if !rooms.have(&room) => refused(access::other_room()),
                    Some(room) => self.complete_by_call(cx, &room, None),
                }
            }
            Question::Update { message, room, update } => {
                let found = self.world.message(*message).map(|(room, _)| room.id());
                match found.filter(|found| room.as_ref().is_none_or(|room| room == *found)) {
                    None => Reply::Absent,
                    Some(found) if !rooms.have(found) => refused(access::other_room()),
                    Some(_) => self.update(cx, *message, update),
                }
            }
            Question::ChannelsOfServer(server) => {
                self.channels_of(*server, rooms, cx.engine.settings.max_queue / QUEUE_PART / cx.hub.shards())
            }
            Question::ServersOfAgent(agent) => self.servers_of(*agent, rooms),
        };
        cx.post(from, Mail::Call(CallMail::Reply(call, Box::new(reply))));
    }

    fn details(&mut self, id: &RoomId) -> Reply {
        let Some(room) = self.world.read(id) else { return no_channel() };
        data(200, |out| put_channel(out, room))
    }

    fn participants(&mut self, id: &RoomId) -> Reply {
        let Some(room) = self.world.read(id) else { return no_channel() };
        data(200, |out| {
            out.push(b'[');
            put_list(out, room.members.keys(), |out, &member| put_uuid(out, member));
            out.push(b']');
        })
    }

    /// The latest messages, as many as `limit` and `max` bytes allow, but one in any case.
    fn messages(&mut self, id: &RoomId, before_ms: Option<u64>, limit: usize, max: usize) -> Reply {
        let Some(room) = self.world.read(id) else { return no_channel() };
        let mut parser = Parser::default();
        let (mut list, mut count) = (Vec::new(), 0);
        let mut items = room.history.before(before_ms).peekable();
        while count < limit
            && let Some(&item) = items.peek()
        {
            let start = list.len();
            if count > 0 {
                list.push(b',');
            }
            put_item(&mut parser, &mut list, item);
            if list.len() > max && count > 0 {
                list.truncate(start);
                break;
            }
            items.next();
            count += 1;
        }
        let has_more = items.next().is_some();
        data(200, |out| {
            out.extend_from_slice(br#"{"messages":["#);
            out.extend_from_slice(&list);
            out.extend_from_slice(format!(r#"],"hasMore":{has_more}}}"#).as_bytes());
        })
    }

    fn add_agent(&mut self, cx: &Context<'_, Self>, id: &RoomId, agent: Uuid) -> Reply {
        let now_ms = cx.now().unix_ms;
        let added = self.world.open(id, now_ms, |room| {
            room.updated_at = now_ms;
            room.enroll(agent, now_ms);
        });
        if added.is_none() {
            return refused(Problem::from(self.no_room()));
        }
        agent_reply(201, id, agent, "Agent added to channel successfully")
    }

    fn remove_agent(&mut self, cx: &mut Context<'_, Self>, id: &RoomId, agent: Uuid) -> Reply {
        match self.world.change(id, |room| room.dismiss(agent)) {
            None => return no_channel(),
            Some(false) => return refused(Problem::not_found("Agent is not a participant in this channel")),
            Some(true) => {}
        }
        self.agent_gone(cx);
        agent_reply(200, id, agent, "Agent removed from channel successfully")
    }

    fn complete_by_call(&mut self, cx: &mut Context<'_, Self>, id: &RoomId, server: Option<Uuid>) -> Reply {
        let said = Complete { room: id.clone(), server, agent: None, asker: None };
        self.complete(cx, cx.hub.shard(), said);
        Reply::Answer(200, r#"{"success":true,"message":"Completion event emitted"}"#.to_owned())
    }

    /// Gives an action its new content, and tells the room.
    fn update(&mut self, cx: &mut Context<'_, Self>, message: Uuid, update: &OwnedUpdate) -> Reply {
        let Some((room, item)) = self.world.message(message) else { return Reply::Absent };
        let (room, stamp, agent) = (room.id().clone(), item.stamp, item.sender);
        let updated_at = cx.now().unix_ms.max(stamp.created_at);
        let stored = join(item);
        let mut parser = Parser::default();
        let updated = parser.read(&stored, |root| {
            let (object, earlier) = parts(root);
            let mut broadcast = Vec::with_capacity(stored.len());
            put_updated(&mut broadcast, object, update, updated_at);
            (broadcast, earlier.json())
        });
        let Ok((object, earlier)) = updated else { return Reply::Absent };
        let extra = merged(update.extra.as_deref(), earlier);
        self.world.replace(message, &object, extra.as_deref());
        let now = cx.now();
        self.world.change(&room, |room| (room.updated_at, room.agent_spoke_ms) = (now.unix_ms, now.mono_ms));
        let frame = Broadcast::of(&object).into_frame();
        cx.hub.fan_out(&room, None, &Delivery::Frame(Arc::new(frame)));
        self.heard(cx, agent);
        let item = Item { stamp, sender: agent, object: &object, extra: extra.as_deref() };
        data(200, |out| put_item(&mut parser, out, item))
    }

    fn channels_of(&self, server: Uuid, allowed: &Rooms, max: usize) -> Reply {
        let of_server = self.world.rooms().filter(|room| room.server() == server);
        let mut rooms: Vec<_> = of_server.filter(|room| allowed.have(room.id())).collect();
        let latest_first = |room: &&Room| std::cmp::Reverse(room.updated_at);
        if rooms.len() > LISTED_MAX {
            rooms.select_nth_unstable_by_key(LISTED_MAX, latest_first);
            rooms.truncate(LISTED_MAX);
        }
        rooms.sort_unstable_by_key(latest_first);
        let (mut channels, mut bytes) = (Vec::new(), 0);
        for room in rooms {
            let mut json = Vec::new();
            put_channel(&mut json, room);
            bytes += json.len();
            if bytes > max {
                break;
            }
            channels.push((room.updated_at, json.into_boxed_slice()));
        }
        Reply::Channels(channels)
    }

    fn servers_of(&self, agent: Uuid, allowed: &Rooms) -> Reply {
        let rooms = self.world.rooms().filter(|room| room.has_agent(agent) && allowed.have(room.id()));
        let mut servers: Vec<Uuid> = rooms.map(|room| room.server()).collect();
        servers.sort_unstable();
        servers.dedup();
        servers.truncate(LISTED_MAX);
        Reply::Servers(servers)
    }
}

/// An answer with `data`, which `write` appends.
fn data(status: u16, write: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let mut out = br#"{"success":true,"data":"#.to_vec();
    write(&mut out);
    out.push(b'}');
    Reply::Answer(status, text(out))
}

fn refused(problem: Problem) -> Reply {
    Reply::Answer(problem.status, problem.json())
}

fn no_channel() -> Reply {
    refused(Problem::not_found("Channel not found"))
}

fn agent_reply(status: u16, room: &RoomId, agent: Uuid, message: &str) -> Reply {
    data(status, |out| {
        let json = format!(r#"{{"channelId":"{room}","agentId":"{agent}","message":"{message}"}}"#);
        out.extend_from_slice(json.as_bytes());
    })
}

/// What is kept of a message as one JSON text: an array of the broadcast's object and the rest.
fn join(item: Item<'_>) -> Vec<u8> {
    let mut text = vec![b'['];
    text.extend_from_slice(item.object);
    if let Some(extra) = item.extra {
        text.push(b',');
        text.extend_from_slice(extra);
    }
    text.push(b']');
    text
}

/// The same, parsed.
fn parts(root: Value<'_>) -> (Value<'_>, Extra<'_>) {
    let mut elements = root.elements();
    let mut next = || elements.as_mut().and_then(Iterator::next);
    (next().unwrap_or(root), next().map(Extra::of).unwrap_or_default())
}

/// Appends a message as the API tells it.
fn put_item(parser: &mut Parser, out: &mut Vec<u8>, item: Item<'_>) {
    // What the server wrote itself is valid.
    let _ = parser.read(&join(item), |root| {
        let (object, extra) = parts(root);
        put_kept(out, item.stamp, object, extra);
    });
}

/// Appends the object of a broadcast with new values; `updatedAt` and `rawMessage` stand behind the keys of the contract.
fn put_updated(out: &mut Vec<u8>, object: Value<'_>, update: &OwnedUpdate, updated_at: u64) {
    let members = object.members().into_iter().flatten();
    let members = members.filter(|(key, _)| !matches!(*key, "updatedAt" | "rawMessage"));
    out.push(b'{');
    put_list(out, members, |out, (key, value)| {
        put_str(out, key);
        out.push(b':');
        match update.members.iter().find(|(name, _)| *name == key) {
            Some((_, new)) => out.extend_from_slice(new),
            None => value.put(out),
        }
    });
    out.extend_from_slice(br#","updatedAt":"#);
    put_decimal(out, updated_at);
    out.extend_from_slice(br#","rawMessage":"#);
    match (&update.raw, object.get("rawMessage")) {
        (Some(raw), _) => out.extend_from_slice(raw),
        (None, Some(raw)) => raw.put(out),
        (None, None) => out.extend_from_slice(b"{}"),
    }
    out.push(b'}');
}

/// What is said now, and where that says nothing what was said earlier.
fn merged(now: Option<&[u8]>, earlier: Option<Box<[u8]>>) -> Option<Box<[u8]>> {
    let Some(now) = now else { return earlier };
    let Some(earlier) = earlier else { return Some(now.into()) };
    let text = [b"[", now, b",", &earlier, b"]"].concat();
    let merged = Parser::default().read(&text, |root| {
        let (now, earlier) = parts(root);
        Extra::of(now).or(earlier).json()
    });
    merged.ok().flatten()
}
