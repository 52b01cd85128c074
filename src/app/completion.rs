//! `messageComplete`: that the processing of a message is over (contract A4).
//!
//! The rules, all applied by the room's home:
//!
//! - A message waits for the live agents that take part in its room when it is sent. When there is none, or there is no place
//!   for another message that waits, it is complete at once, for its sender.
//! - The message of an agent (sent over its own socket, or under the id of a live agent that takes part) waits for nobody:
//!   agents answer people, and nobody looks at a spinner for what an agent says. It is complete at once, for its sender, only
//!   when no live agent takes part.
//! - An agent's `messageComplete` is about the oldest message that still waits, and goes to the whole room and to that
//!   message's sender. When none waits it is about the oldest message that this agent owes a word: that one is complete
//!   already (by another agent's word, or because the agent was late), so nobody is told a second time. When the agent owes
//!   no word it is passed to the room as it is.
//! - A message that waited `--complete-timeout` is complete, unless an agent spoke in the room meanwhile; then it waits
//!   that long after the agent's last word, but at most ten times the time-out in all.
//! - When the last of the agents a message waits for is gone, from the room or altogether, it is complete.
//!
//! So every message of a person is complete exactly once, whatever agents do or fail to do.

use super::Agents;
use super::broadcast;
use super::mail::{Complete, Completed, Delivery, Mail};
use super::room::Room;
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use crate::wire::prepared::Prepared;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Messages of a room that wait, or that an agent owes a word; beyond, a message waits for nobody.
pub const WAITING_OF_ROOM_MAX: usize = 64;
/// The same of all rooms of a shard.
pub const WAITING_MAX: usize = 50_000;
/// How often a talking agent can put off a time-out.
const TIMEOUTS_MAX: u64 = 10;
/// How long an agent's late word on a message is expected, so that nobody is told twice.
const LATE_WORD_MS: u64 = 60_000;
/// Rooms are looked through for agents that are gone at most this often.
const SWEEP_EVERY_MS: u64 = 250;
/// Messages whose time is over that are dealt with in one go.
const DUE_AT_ONCE_MAX: usize = 1_000;
/// The timer of a shard's messages that wait.
pub const TIMER: u32 = 1;
/// No time.
const NEVER_MS: u64 = u64::MAX;

/// Live agents that take part in a room.
pub type LiveAgents = SmallVec<[Uuid; 2]>;

/// A message that waits, or that an agent owes a word.
#[derive(Debug)]
pub struct Waiting {
    /// Its place among the deadlines.
    due: (u64, u64),
    since_ms: u64,
    server: Uuid,
    sender: Option<(usize, SocketKey)>,
    /// Who owes a word.
    agents: LiveAgents,
    is_complete: bool,
}

/// The messages of a room that wait, oldest first.
pub type WaitingList = VecDeque<Waiting>;

/// When messages have waited long enough, for all rooms of a shard.
#[derive(Debug)]
pub struct Deadlines {
    timeout_ms: u64,
    due: BTreeMap<(u64, u64), RoomId>,
    serial: u64,
    /// The earliest timer that will fire.
    armed_ms: Option<u64>,
    /// When rooms are to be looked through for agents that are gone.
    sweep_ms: Option<u64>,
    swept_ms: u64,
}

/// A message that is complete.
struct Done {
    server: Uuid,
    sender: Option<(usize, SocketKey)>,
}

/// What an agent's word is about.
enum Word {
    /// A message that is complete by it.
    Completes(Done),
    /// A message that was complete already.
    Late,
    /// No message.
    Unasked,
}

impl Deadlines {
    /// None yet. `timeout_ms`: how long a message waits; 0: for ever.
    pub fn new(timeout_ms: u64) -> Self {
        Self { timeout_ms, due: BTreeMap::new(), serial: 0, armed_ms: None, sweep_ms: None, swept_ms: 0 }
    }

    /// Messages that wait, or that an agent owes a word.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    fn add(&mut self, room: &RoomId, at_ms: u64) -> (u64, u64) {
        self.serial += 1;
        self.due.insert((at_ms, self.serial), room.clone());
        (at_ms, self.serial)
    }

    fn after_timeout(&self, now_ms: u64) -> u64 {
        if self.timeout_ms == 0 { NEVER_MS } else { now_ms + self.timeout_ms }
    }

    /// Marks a message complete; it is kept for the words that agents owe it.
    fn complete(&mut self, room: &RoomId, waiting: &mut Waiting, now_ms: u64) -> Done {
        waiting.is_complete = true;
        self.due.remove(&waiting.due);
        waiting.due = self.add(room, now_ms + LATE_WORD_MS);
        Done { server: waiting.server, sender: waiting.sender }
    }

    fn next_ms(&self) -> Option<u64> {
        let due = self.due.first_key_value().map(|(&(at_ms, _), _)| at_ms).filter(|&at_ms| at_ms != NEVER_MS);
        due.into_iter().chain(self.sweep_ms).min()
    }

    /// Arms a timer for what comes next, unless there is one.
    pub fn arm(&mut self, cx: &mut Context<'_, Agents>) {
        let Some(next_ms) = self.next_ms() else { return };
        if self.armed_ms.is_none_or(|armed_ms| next_ms < armed_ms) {
            self.armed_ms = Some(next_ms);
            cx.arm(next_ms, TIMER, 0);
        }
    }
}

/// Has a message wait for `agents`; `false`: there is no place for it, it is complete.
pub fn wait(
    deadlines: &mut Deadlines,
    room: &mut Room,
    agents: LiveAgents,
    server: Uuid,
    sender: Option<(usize, SocketKey)>,
    now_ms: u64,
) -> bool {
    if agents.is_empty() || room.waiting.len() >= WAITING_OF_ROOM_MAX || deadlines.len() >= WAITING_MAX {
        return false;
    }
    let at_ms = deadlines.after_timeout(now_ms);
    let due = deadlines.add(room.id(), at_ms);
    room.waiting.push_back(Waiting { due, since_ms: now_ms, server, sender, agents, is_complete: false });
    true
}

/// An agent's word in a room; of an agent that is not named: anybody's.
fn word(deadlines: &mut Deadlines, room: &mut Room, agent: Option<Uuid>, now_ms: u64) -> Word {
    let owes = |w: &Waiting| agent.is_none_or(|agent| w.agents.contains(&agent));
    let waits = |w: &Waiting| !w.is_complete;
    let list = &room.waiting;
    // One that waits for others is complete by the word of an agent that has come since, too.
    let open = list.iter().position(|w| waits(w) && owes(w)).or_else(|| list.iter().position(waits));
    let id = room.id().clone();
    let Some(at) = open.or_else(|| list.iter().position(owes)) else { return Word::Unasked };
    let Some(waiting) = room.waiting.get_mut(at) else { return Word::Unasked };
    let outcome = match open {
        Some(_) => Word::Completes(deadlines.complete(&id, waiting, now_ms)),
        None => Word::Late,
    };
    match agent {
        Some(agent) => waiting.agents.retain(|owing| *owing != agent),
        None => waiting.agents.clear(),
    }
    if waiting.agents.is_empty() {
        deadlines.due.remove(&waiting.due);
        room.waiting.remove(at);
    }
    outcome
}

impl Agents {
    /// At the home: an agent says that it is done with a message.
    pub(super) fn complete(&mut self, cx: &mut Context<'_, Self>, from: usize, said: Complete) {
        let Complete { room: id, server, agent, asker } = said;
        let (deadlines, now_ms) = (&mut self.deadlines, cx.now().mono_ms);
        let outcome = self.world.change(&id, |room| {
            room.agent_spoke_ms = now_ms;
            (word(deadlines, room, agent, now_ms), room.server())
        });
        match outcome {
            Some((Word::Completes(done), _)) => tell(cx, &id, server.unwrap_or(done.server), done.sender),
            Some((Word::Unasked, of_room)) => tell(cx, &id, server.unwrap_or(of_room), None),
            // And nobody is in a room that there is not.
            Some((Word::Late, _)) | None => {}
        }
        self.deadlines.arm(cx);
        if let Some(asker) = asker {
            cx.post(from, Mail::Done(id, asker));
        }
    }

    /// An agent may be gone from rooms here.
    pub(super) fn agent_gone(&mut self, cx: &mut Context<'_, Self>) {
        let deadlines = &mut self.deadlines;
        if !deadlines.is_empty() && deadlines.sweep_ms.is_none() {
            deadlines.sweep_ms = Some(cx.now().mono_ms.max(deadlines.swept_ms + SWEEP_EVERY_MS));
            deadlines.arm(cx);
        }
    }

    /// The timer of messages that wait fired.
    pub(super) fn deadlines_due(&mut self, cx: &mut Context<'_, Self>) {
        let now_ms = cx.now().mono_ms;
        if self.deadlines.armed_ms.is_some_and(|armed_ms| armed_ms <= now_ms) {
            self.deadlines.armed_ms = None;
        }
        if self.deadlines.sweep_ms.is_some_and(|sweep_ms| sweep_ms <= now_ms) {
            self.deadlines.sweep_ms = None;
            self.deadlines.swept_ms = now_ms;
            self.sweep(cx, now_ms);
        }
        for _ in 0..DUE_AT_ONCE_MAX {
            let Some(entry) = self.deadlines.due.first_entry().filter(|e| e.key().0 <= now_ms) else { break };
            let (due, id) = entry.remove_entry();
            let deadlines = &mut self.deadlines;
            let done = self.world.change(&id, |room| time_over(deadlines, room, due, now_ms)).flatten();
            if let Some(done) = done {
                cx.engine.counters.completions_timed_out += 1;
                tell(cx, &id, done.server, done.sender);
            }
        }
        self.deadlines.arm(cx);
    }

    /// Completes what waits for nobody who is still there.
    fn sweep(&mut self, cx: &mut Context<'_, Self>, now_ms: u64) {
        let mut rooms: Vec<RoomId> = self.deadlines.due.values().cloned().collect();
        rooms.sort_unstable();
        rooms.dedup();
        for id in rooms {
            let (deadlines, liveness) = (&mut self.deadlines, &self.liveness);
            let done = self.world.change(&id, |room| {
                let live = room.live_agents(|agent| liveness.is_live(agent, now_ms));
                let is_left = |w: &Waiting| !w.is_complete && !w.agents.iter().any(|agent| live.contains(agent));
                let id = room.id().clone();
                let left = room.waiting.iter_mut().filter(|w| is_left(w));
                left.map(|w| deadlines.complete(&id, w, now_ms)).collect::<Vec<Done>>()
            });
            for Done { server, sender } in done.into_iter().flatten() {
                tell(cx, &id, server, sender);
            }
        }
    }
}

/// A deadline of a room is over. The message that is complete by it, if any.
fn time_over(deadlines: &mut Deadlines, room: &mut Room, due: (u64, u64), now_ms: u64) -> Option<Done> {
    let at = room.waiting.iter().position(|w| w.due == due)?;
    let (id, spoke_ms) = (room.id().clone(), room.agent_spoke_ms);
    let waiting = room.waiting.get_mut(at)?;
    if waiting.is_complete {
        room.waiting.remove(at);
        return None;
    }
    let put_off_ms = (spoke_ms + deadlines.timeout_ms).min(waiting.since_ms + TIMEOUTS_MAX * deadlines.timeout_ms);
    if spoke_ms > waiting.since_ms && put_off_ms > now_ms {
        waiting.due = deadlines.add(&id, put_off_ms);
        return None;
    }
    Some(deadlines.complete(&id, waiting, now_ms))
}

/// Tells a room, and the sender of the message if it is not there, that a message is complete.
fn tell(cx: &mut Context<'_, Agents>, room: &RoomId, server: Uuid, sender: Option<(usize, SocketKey)>) {
    let frame = Prepared::event(|out| broadcast::put_complete(out, room, server));
    let completed = Completed { frame, sender };
    cx.hub.fan_out(room, sender.map(|(shard, _)| shard), &Delivery::Completed(Arc::new(completed)));
}

/// On a shard with members, or with the sender.
pub(super) fn deliver(cx: &mut Context<'_, Agents>, room: &RoomId, completed: &Completed) {
    cx.deliver(room, &completed.frame, None);
    if let Some((shard, socket)) = completed.sender
        && shard == cx.hub.shard()
        && cx.hub.session(socket).is_some()
        && !cx.hub.is_in(socket, room)
    {
        cx.send_prepared(socket, &completed.frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_that_wait_on_a_shard_are_bounded() {
        let mut deadlines = Deadlines::new(1_000);
        let mut room = Room::new(RoomId::Name("r".into()), 0, Uuid::nil(), 0);
        let mut wait = |deadlines: &mut Deadlines| {
            let agents = LiveAgents::from_slice(&[Uuid::nil()]);
            super::wait(deadlines, &mut room, agents, Uuid::nil(), None, 0)
        };
        (1..WAITING_MAX).for_each(|n| _ = deadlines.add(&RoomId::Name("other".into()), n as u64));
        assert!(wait(&mut deadlines));
        assert!(!wait(&mut deadlines));
        assert_eq!(deadlines.len(), WAITING_MAX);
    }
}
