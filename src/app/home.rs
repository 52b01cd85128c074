//! What a room's home does: it orders, stores and answers.

use super::Agents;
use super::completion;
use super::dedupe::Sent;
use super::demo::{self, Asked};
use super::fault::{Code, Fault};
use super::history::Item;
use super::mail::{Delivery, JoinRoom, Joined, LeaveRoom, Mail, Ordered, Party, Publish, Publisher, RejoinRoom, Stamp};
use super::room::Room;
use crate::socket::Context;
use std::sync::Arc;
use uuid::Uuid;

impl Agents {
    pub(super) fn join_room(&mut self, cx: &mut Context<'_, Self>, from: usize, join: JoinRoom) {
        let now_ms = cx.now().unix_ms;
        let JoinRoom { room, is_new, server, parties, named, dm, named_agent, asker } = join;
        let (default, demo) = (self.settings.server_id, self.settings.demo_agent);
        let members = self.world.open(&room, now_ms, |room| {
            room.online += u32::from(is_new);
            room.updated_at = now_ms;
            room.belongs_to(server.unwrap_or(default), default);
            for party in parties {
                room.enter(party, now_ms);
            }
            if let Some((user, name)) = named {
                room.seen(user, now_ms).rename(name);
            }
            if let Some(other) = dm {
                becomes_dm(room, other, demo, now_ms);
            }
            room.online
        });
        let members = members.ok_or_else(|| self.no_room());
        cx.post(from, Mail::Joined(Box::new(Joined { room, agent: named_agent, asker, members })));
    }

    pub(super) fn rejoin_room(&mut self, cx: &mut Context<'_, Self>, rejoin: RejoinRoom) {
        let now_ms = cx.now().unix_ms;
        let RejoinRoom { room, parties } = rejoin;
        self.world.open(&room, now_ms, |room| {
            room.online += 1;
            for party in parties {
                room.enter(party, now_ms);
            }
        });
    }

    pub(super) fn no_room(&self) -> Fault {
        Fault::new(Code::Unavailable, "The server has no place for another room now.")
    }

    pub(super) fn leave_room(&mut self, cx: &mut Context<'_, Self>, from: usize, leave: LeaveRoom) {
        let now_ms = cx.now().unix_ms;
        let LeaveRoom { room, was_in, parties, asker } = leave;
        let brought_agent = parties.iter().any(|party| matches!(party, Party::Agent(_)));
        self.world.change(&room, |room| {
            room.online = room.online.saturating_sub(u32::from(was_in));
            for party in parties {
                room.exit(party, now_ms);
            }
        });
        if brought_agent {
            self.agent_gone(cx);
        }
        if let Some(asker) = asker {
            cx.post(from, Mail::Done(room, asker));
        }
    }

    pub(super) fn publish(&mut self, cx: &mut Context<'_, Self>, from: usize, by: Publisher, publish: Publish) {
        let now = cx.now();
        let message_id = publish.message_id.clone();
        let sent = message_id.map(|message_id| Sent { room: publish.room.clone(), sender: publish.sender, message_id });
        let earlier = self.earlier(&publish, sent.as_ref(), now.mono_ms);
        let Publish { room: id, server, sender, name, message_id, id: chosen, dm, speaker, is_new, draft, extra } =
            publish;
        // Its shard has noted that the socket brings the sender, whatever becomes of the message.
        if is_new {
            self.world.change(&id, |room| room.enter(speaker, now.unix_ms).last_seen);
        }
        match earlier {
            Some(Ok(stamp)) => return cx.post(from, Mail::Repeated(id, by, stamp, message_id)),
            Some(Err(fault)) => return cx.post(from, Mail::Unsent(by, Box::new(fault))),
            None => {}
        }
        let Self { ids, liveness, deadlines, settings, .. } = self;
        let default = settings.server_id;
        let stored = self.world.open(&id, now.unix_ms, |room| {
            let created_at = room.next_created_at(now.unix_ms);
            let slot = room.slot();
            let stamp = Stamp { id: chosen.unwrap_or_else(|| ids.next(cx.engine, created_at, slot)), created_at };
            let mut is_agents = matches!(speaker, Party::Agent(_));
            if is_agents && matches!(by, Publisher::Call(_)) {
                room.enroll(sender, now.unix_ms);
            }
            room.seen(sender, now.unix_ms).rename(name);
            room.belongs_to(server, default);
            if let Some(other) = dm {
                becomes_dm(room, other, settings.demo_agent, now.unix_ms);
            }
            room.ordered(stamp);
            let agents = room.live_agents(|agent| liveness.is_live(agent, now.mono_ms));
            is_agents |= agents.contains(&sender);
            let asks_demo = settings.demo_agent && !is_agents && agents.contains(&demo::ID);
            let complete = if is_agents {
                room.agent_spoke_ms = now.mono_ms;
                agents.is_empty()
            } else {
                let has_agents = !agents.is_empty();
                let sender = match by {
                    Publisher::Socket(asker) => Some((from, asker.socket)),
                    Publisher::Call(_) | Publisher::Demo => None,
                };
                let waits = completion::wait(deadlines, room, agents, server, sender, now.mono_ms);
                cx.engine.counters.completions_not_awaited += u64::from(has_agents && !waits);
                !waits
            };
            (slot, stamp, draft.finish(stamp), complete, asks_demo)
        });
        let Some((slot, stamp, broadcast, complete, asks_demo)) = stored else {
            return cx.post(from, Mail::Unsent(by, Box::new(self.no_room())));
        };
        self.world.store(slot, Item { stamp, sender, object: broadcast.object(), extra: extra.as_deref() });
        if let Some(sent) = sent {
            self.dedupe.keep(sent, stamp, now.mono_ms);
            cx.engine.counters.message_ids_forgotten = self.dedupe.forgotten();
        }
        let ordered = Arc::new(Ordered { broadcast, stamp, server, shard: from, by, message_id, complete });
        cx.hub.fan_out(&id, Some(from), &Delivery::Message(Arc::clone(&ordered)));
        if asks_demo {
            self.ask_demo(cx, Asked { room: &id, server, broadcast: &ordered.broadcast, waits: !complete });
        }
        self.deadlines.arm(cx);
    }

    /// What became of this very message when it was sent before; a fault: its id is another message's. `sent`: by what it
    /// is known again, if its sender gave it an id.
    fn earlier(&mut self, publish: &Publish, sent: Option<&Sent>, now_ms: u64) -> Option<Result<Stamp, Fault>> {
        let Publish { room: id, sender, id: chosen, .. } = publish;
        if let Some(stamp) = sent.and_then(|sent| self.dedupe.find(sent, now_ms)) {
            return Some(Ok(stamp));
        }
        let (room, item) = self.world.message((*chosen)?)?;
        let is_same = room.id() == id && item.sender == *sender;
        let conflict = || Fault::new(Code::Conflict, "Another message has this messageId.");
        Some(if is_same { Ok(item.stamp) } else { Err(conflict()) })
    }
}

/// A room is a conversation of two; the other one, if known, may be the demo agent.
fn becomes_dm(room: &mut Room, other: Option<Uuid>, has_demo: bool, now_ms: u64) {
    room.becomes_dm(other, now_ms);
    if has_demo && other == Some(demo::ID) {
        demo::enroll(room, now_ms);
    }
}
