//! Calls that cost much stand in line: pages of messages, and what looks through every room. A request of a few bytes may
//! have an answer of hundreds of thousands, and the connection behind it costs nothing; so few are worked on at a time, and
//! whoever asks for something else does not wait behind the others.

use super::Agents;
use super::mail::{Operation, Question};
use super::pending::CallKey;
use crate::app::grant::Rooms;
use crate::app::spent::Spent;
use crate::socket::Context;
use std::collections::VecDeque;

/// Calls of a shard that are worked on at the same time.
const BEGUN_MAX: usize = 8;
/// Bytes of answers after which a turn of a shard begins no further one.
const TURN_BYTES: usize = 2 * 1024 * 1024;
/// What a look at a room costs, in bytes of answers.
const ROOM_BYTES: usize = 64;

/// The timer that begins the calls which the last turn had no room for.
pub const TIMER: u32 = 5;

/// The line of a shard. It is as long as there may be calls.
#[derive(Debug, Default)]
pub struct Line {
    waiting: VecDeque<(CallKey, Operation, Rooms)>,
    begun: usize,
    spent: Spent,
    is_armed: bool,
}

impl Line {
    /// The next call that can be begun in the turn with this number.
    fn next(&mut self, turn: u32) -> Option<(CallKey, Operation, Rooms)> {
        let has_room = self.begun < BEGUN_MAX && self.spent.in_turn(turn) < TURN_BYTES;
        has_room.then(|| self.waiting.pop_front()).flatten()
    }
}

impl Agents {
    /// Begins a call, or lets it stand in line.
    pub(super) fn begin_in_turn(
        &mut self,
        cx: &mut Context<'_, Self>,
        call: CallKey,
        operation: Operation,
        rooms: Rooms,
    ) {
        let is_page = matches!(operation, Operation::AskHome(_, Question::Messages { .. }));
        let costs_much = is_page || self.api.calls.get_mut(call).is_some_and(|open| open.answer.looks_through_all());
        if !costs_much {
            return self.begin(cx, call, operation, rooms);
        }
        self.api.line.waiting.push_back((call, operation, rooms));
        self.line_moves(cx);
    }

    fn line_moves(&mut self, cx: &mut Context<'_, Self>) {
        let turn = cx.engine.out.turn();
        while let Some((call, operation, rooms)) = self.api.line.next(turn) {
            let Some(open) = self.api.calls.get_mut(call) else { continue };
            if cx.engine.connection(open.connection).is_none() {
                self.api.calls.close(call);
                continue;
            }
            open.stood_in_line = true;
            self.api.line.begun += 1;
            if let Operation::AskAll(_) = operation {
                self.api.line.spent.add(turn, self.world.len() * ROOM_BYTES);
            }
            self.begin(cx, call, operation, rooms);
        }
        if !self.api.line.waiting.is_empty() && !std::mem::replace(&mut self.api.line.is_armed, true) {
            cx.arm(cx.now().mono_ms + 1, TIMER, 0);
        }
    }

    /// A turn has begun that may have room for calls.
    pub(in crate::app) fn line_due(&mut self, cx: &mut Context<'_, Self>) {
        self.api.line.is_armed = false;
        self.line_moves(cx);
    }

    /// A call that stood in line is answered with so many bytes.
    pub(super) fn line_ended(&mut self, cx: &mut Context<'_, Self>, bytes: usize) {
        self.api.line.begun = self.api.line.begun.saturating_sub(1);
        self.api.line.spent.add(cx.engine.out.turn(), bytes);
        self.line_moves(cx);
    }
}
