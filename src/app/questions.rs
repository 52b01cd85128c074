//! Questions for the state of rooms: put to every home concerned, answered once all of them have.
//!
//! A home answers every question it gets, knowing the rooms or not, and no mail is lost: no question that was put waits
//! longer than a round trip between shards, whatever becomes of the asker. How many are put is bounded, since a question
//! of a few bytes may have an answer of hundreds of thousands: the others wait, so that whoever asks for nothing does not. It
//! is the question that waits and not the answer, which must come before every message that it does not contain.

use super::Agents;
use super::answers::refuse;
use super::client;
use super::events::Refusal;
use super::fault::{Code, Fault};
use super::mail::{Asker, Mail, StateAnswer, StateQuestion};
use super::permission::check_room;
use super::spent::Spent;
use super::world_state::{self, ROOM_BYTES_MIN, ROOMS_MAX, RoomState};
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use slab::Slab;
use std::collections::VecDeque;

/// Questions of a shard that wait for answers, put to homes or not.
pub const QUESTIONS_MAX: usize = 4096;
/// Questions of a shard that are put to homes at the same time.
const PUT_MAX: usize = 8;
/// Bytes of answers after which a turn of a shard puts no further questions.
const TURN_BYTES: usize = 2 * 1024 * 1024;
/// Questions of one socket that wait for answers.
pub const QUESTIONS_OF_SOCKET_MAX: u32 = 64;
/// A world-state takes at most this part of what may wait for a reader: it may be sent twice, as event and as
/// acknowledgement, and is refused to a reader for whom half of that waits already.
const QUEUE_PART: usize = 4;
/// The name of the event.
pub const REQUEST: &str = "request-world-state";

/// The timer that puts the questions which the last turn had no room for.
pub const TIMER: u32 = 4;

/// A question that has not been put.
#[derive(Debug)]
struct Unput {
    asker: Asker,
    room: Option<RoomId>,
    rooms: Vec<RoomId>,
    is_cut: bool,
}

/// A question that waits for answers.
#[derive(Debug)]
pub struct Question {
    asker: Asker,
    /// The one room that was asked for.
    room: Option<RoomId>,
    /// Homes that still have to answer.
    waiting: usize,
    rooms: Vec<RoomState>,
    is_cut: bool,
}

/// The questions of a shard.
#[derive(Debug, Default)]
pub struct Questions {
    put: Slab<Question>,
    /// The next one first.
    unput: VecDeque<Unput>,
    told: Spent,
    is_armed: bool,
}

/// What a socket asked for of late.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Questions that wait for answers.
    waiting: u32,
    /// What it was answered.
    told: Spent,
}

impl Questions {
    fn is_full(&self) -> bool {
        self.put.len() + self.unput.len() >= QUESTIONS_MAX
    }

    /// The next question that can be put in the turn with this number.
    fn next(&mut self, turn: u32) -> Option<Unput> {
        let has_room = self.put.len() < PUT_MAX && self.told.in_turn(turn) < TURN_BYTES;
        has_room.then(|| self.unput.pop_front()).flatten()
    }

    /// A home answers. The question, once that was the last answer.
    fn answer(&mut self, answer: StateAnswer) -> Option<Question> {
        let question = self.put.get_mut(answer.question as usize)?;
        question.rooms.extend(answer.rooms);
        question.is_cut |= answer.is_cut;
        question.waiting = question.waiting.saturating_sub(1);
        (question.waiting == 0).then(|| self.put.try_remove(answer.question as usize)).flatten()
    }
}

impl Agents {
    /// A socket asks for a room, or for all it is in.
    pub(super) fn ask_state(
        &mut self,
        cx: &mut Context<'_, Self>,
        asker: Asker,
        room: Option<RoomId>,
    ) -> Result<(), Refusal> {
        if let Some(room) = &room {
            check_room(cx, asker, room)?;
        }
        let (rooms, is_cut) = match &room {
            Some(room) => {
                client::check_name(cx, asker.socket, room, "roomId")?;
                (vec![room.clone()], false)
            }
            None => {
                let rooms_max = ROOMS_MAX.min(bytes_max(cx) / ROOM_BYTES_MIN);
                let rooms = cx.hub.rooms_of(asker.socket).take(rooms_max).cloned().collect();
                (rooms, cx.hub.room_count(asker.socket) > rooms_max)
            }
        };
        let asked = cx.hub.data(asker.socket).map(|client| client.asked).unwrap_or_default();
        if asked.waiting >= QUESTIONS_OF_SOCKET_MAX || is_behind(cx, asker.socket) {
            cx.engine.counters.world_states_refused += 1;
            return Err(too_fast().into());
        }
        if self.questions.is_full() {
            cx.engine.counters.world_states_refused += 1;
            return Err(Fault::new(Code::Unavailable, "The server has too many questions to answer now.").into());
        }
        if let Some(client) = cx.hub.data_mut(asker.socket) {
            client.asked.waiting += 1;
        }
        self.questions.unput.push_back(Unput { asker, room, rooms, is_cut });
        self.put_questions(cx);
        Ok(())
    }

    /// Puts questions to the homes concerned, as many as this turn has room for.
    fn put_questions(&mut self, cx: &mut Context<'_, Self>) {
        let max = bytes_max(cx);
        while let Some(Unput { asker, room, rooms, is_cut }) = self.questions.next(cx.engine.out.turn()) {
            let homes = by_home(cx, rooms);
            let question = Question { asker, room, waiting: homes.len(), rooms: Vec::new(), is_cut };
            if homes.is_empty() {
                self.tell_state(cx, question);
                continue;
            }
            let question = self.questions.put.insert(question) as u32;
            for (home, rooms) in homes {
                cx.post(home, Mail::AskState(Box::new(StateQuestion { question, rooms, max })));
            }
        }
        if !self.questions.unput.is_empty() && !std::mem::replace(&mut self.questions.is_armed, true) {
            cx.arm(cx.now().mono_ms + 1, TIMER, 0);
        }
    }

    /// A turn has begun that may have room for questions.
    pub(super) fn questions_due(&mut self, cx: &mut Context<'_, Self>) {
        self.questions.is_armed = false;
        self.put_questions(cx);
    }

    /// A home is asked.
    pub(super) fn answer_state(&mut self, cx: &mut Context<'_, Self>, from: usize, asked: StateQuestion) {
        let StateQuestion { question, rooms, max } = asked;
        let (world, liveness, now_ms) = (&mut self.world, &self.liveness, cx.now().mono_ms);
        let is_live = |agent| liveness.is_live(agent, now_ms);
        let known = rooms.iter().filter_map(|id| world.read(id).map(|room| RoomState::of(room, max, is_live)));
        let mut rooms: Vec<RoomState> = known.collect();
        let is_cut = rooms.iter().any(RoomState::is_cut) | world_state::fit(&mut rooms, max);
        cx.post(from, Mail::State(Box::new(StateAnswer { question, rooms, is_cut })));
    }

    /// A home answered.
    pub(super) fn state_answered(&mut self, cx: &mut Context<'_, Self>, answer: StateAnswer) {
        let Some(question) = self.questions.answer(answer) else { return };
        self.tell_state(cx, question);
        self.put_questions(cx);
    }

    /// Emits and acknowledges a world-state, if its asker is still there.
    fn tell_state(&mut self, cx: &mut Context<'_, Self>, question: Question) {
        let Question { asker, room, mut rooms, is_cut, .. } = question;
        let socket = asker.socket;
        if let Some(client) = cx.hub.data_mut(socket) {
            client.asked.waiting = client.asked.waiting.saturating_sub(1);
        }
        if cx.hub.session(socket).is_none() {
            return;
        }
        if is_behind(cx, socket) {
            cx.engine.counters.world_states_refused += 1;
            return refuse(cx, asker, REQUEST, &too_fast().into());
        }
        let is_cut = is_cut | world_state::fit(&mut rooms, bytes_max(cx));
        cx.engine.counters.world_states_cut += u64::from(is_cut);
        let mut object = Vec::with_capacity(rooms.iter().map(RoomState::bytes).sum());
        world_state::put(&mut object, &rooms, room.as_ref(), cx.now().unix_ms);
        cx.emit(socket, |out| {
            out.extend_from_slice(br#"["world-state","#);
            out.extend_from_slice(&object);
            out.push(b']');
        });
        if let Some(ack_id) = asker.ack_id {
            cx.ack(socket, ack_id, |out| {
                out.push(b'[');
                out.extend_from_slice(&object);
                out.push(b']');
            });
        }
        let bytes = object.len() * (1 + usize::from(asker.ack_id.is_some()));
        let turn = cx.engine.out.turn();
        if let Some(client) = cx.hub.data_mut(socket) {
            client.asked.told.add(turn, bytes);
        }
        self.questions.told.add(turn, bytes);
    }
}

fn too_fast() -> Fault {
    Fault::new(Code::RateLimited, "Read what was asked for before asking for more.")
}

/// Bytes of one world-state.
fn bytes_max(cx: &Context<'_, Agents>) -> usize {
    cx.engine.settings.max_queue / QUEUE_PART
}

/// Whether half of what may wait for a reader does, what it was answered in this turn included.
fn is_behind(cx: &Context<'_, Agents>, socket: SocketKey) -> bool {
    let Some(session) = cx.hub.session(socket).and_then(|s| cx.engine.session(s)) else { return false };
    let this_turn = cx.hub.data(socket).map_or(0, |client| client.asked.told.in_turn(cx.engine.out.turn()));
    cx.engine.out.backlog_bytes(session.sink()) + this_turn > cx.engine.settings.max_queue / 2
}

/// Rooms by the shards that own them.
fn by_home(cx: &Context<'_, Agents>, rooms: Vec<RoomId>) -> Vec<(usize, Vec<RoomId>)> {
    let mut homes: Vec<(usize, Vec<RoomId>)> = Vec::new();
    for room in rooms {
        let home = cx.home(&room);
        match homes.iter_mut().find(|(h, _)| *h == home) {
            Some((_, rooms)) => rooms.push(room),
            None => homes.push((home, vec![room])),
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::events::Form;

    fn question(waiting: usize) -> Question {
        let asker = Asker { socket: SocketKey { slot: 0, generation: 0 }, ack_id: None, form: Form::Flat };
        Question { asker, room: None, waiting, rooms: Vec::new(), is_cut: false }
    }

    #[test]
    fn a_question_is_done_with_its_last_answer() {
        let mut questions = Questions::default();
        let first = questions.put.insert(question(2)) as u32;
        let answer = |question| StateAnswer { question, rooms: Vec::new(), is_cut: false };
        assert!(questions.answer(answer(first)).is_none());
        assert!(questions.answer(answer(first)).is_some());
        assert!(questions.answer(answer(first)).is_none());
    }

    #[test]
    fn questions_are_bounded_and_put_few_at_a_time() {
        let mut questions = Questions::default();
        for _ in 0..QUESTIONS_MAX {
            assert!(!questions.is_full());
            let Question { asker, room, .. } = question(1);
            questions.unput.push_back(Unput { asker, room, rooms: Vec::new(), is_cut: false });
        }
        assert!(questions.is_full());
        questions.told.add(7, TURN_BYTES);
        assert!(questions.next(7).is_none());
        for _ in 0..PUT_MAX {
            assert!(questions.next(8).is_some());
            questions.put.insert(question(1));
        }
        assert!(questions.next(8).is_none() && questions.is_full());
    }
}
