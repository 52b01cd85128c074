//! The demo agent (`--demo-agent`): somebody to talk to on a server without agents.
//!
//! It lives on the home of every room in which it takes part, as the agent [`ID`]: a client joined with it, a call added it,
//! or it is the other one of a conversation of two. There it answers what people say as agents do: first in pieces, then
//! with the whole message under the same id, with thought and actions, then with `messageComplete`.

mod eliza;

use super::Agents;
use super::broadcast::{Broadcast, Draft, put_stream};
use super::events::{Form, Message, Piece, Stream};
use super::json::{Parser, Value};
use super::mail::{Complete, Delivery, Party, Publish, Publisher};
use super::room::Room;
use crate::rooms::RoomId;
use crate::socket::Context;
use crate::wire::prepared::Prepared;
use eliza::Reply;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Its id.
pub const ID: Uuid = Uuid::from_u128(0xe112_a000_0000_4000_8000_0000_0000_0001);
/// Its name.
pub const NAME: &str = "Eliza (demo)";
/// Answers that are being given in one room; beyond, a message is complete without one.
pub const ANSWERS_OF_ROOM_MAX: usize = 4;
/// The same in all rooms of a shard.
pub const ANSWERS_MAX: usize = 1_000;
/// The timer of a shard's answers.
pub const TIMER: u32 = 3;

/// How long it seems to think.
const THINK_MS: u64 = 300;
/// How long each piece seems to take.
const PIECE_MS: u64 = 50;
/// Pieces of an answer.
const PIECES: usize = 6;

/// The answers that are being given on a shard.
#[derive(Debug, Default)]
pub struct Demo {
    /// By when the next piece is due.
    due: BTreeMap<(u64, u64), Answer>,
    serial: u64,
    /// The earliest timer that will fire.
    armed_ms: Option<u64>,
}

/// An answer that is being given.
#[derive(Debug)]
struct Answer {
    room: RoomId,
    server: Uuid,
    id: Uuid,
    reply: Reply,
    /// Pieces said so far.
    said: usize,
    /// Whether the message that it answers waits for it.
    is_awaited: bool,
}

/// A message to answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub room: &'a RoomId,
    pub server: Uuid,
    pub broadcast: &'a Broadcast,
    /// Whether it waits for an answer.
    pub waits: bool,
}

impl Demo {
    /// Whether there is no place for another answer.
    fn is_full(&self, room: &RoomId) -> bool {
        let of_room = self.due.values().filter(|answer| answer.room == *room);
        self.due.len() >= ANSWERS_MAX || of_room.count() >= ANSWERS_OF_ROOM_MAX
    }

    fn add(&mut self, at_ms: u64, answer: Answer) {
        self.serial += 1;
        self.due.insert((at_ms, self.serial), answer);
    }

    fn arm(&mut self, cx: &mut Context<'_, Agents>) {
        let Some((&(next_ms, _), _)) = self.due.first_key_value() else { return };
        if self.armed_ms.is_none_or(|armed_ms| next_ms < armed_ms) {
            self.armed_ms = Some(next_ms);
            cx.arm(next_ms, TIMER, 0);
        }
    }
}

/// It takes part in a room until it is dismissed.
pub fn enroll(room: &mut Room, now_ms: u64) {
    room.enroll(ID, now_ms).name = NAME.into();
}

impl Agents {
    /// At the home: somebody said something in a room in which the demo agent takes part.
    pub(super) fn ask_demo(&mut self, cx: &mut Context<'_, Self>, asked: Asked<'_>) {
        let Asked { room, server, broadcast, waits } = asked;
        if self.demo.is_full(room) {
            cx.engine.counters.demo_unanswered += 1;
            return self.demo_is_done(cx, room, waits);
        }
        let mut roll = [0; 2];
        cx.engine.random(&mut roll);
        let roll = usize::from(u16::from_le_bytes(roll));
        let said =
            |message: Value<'_>| message.get("text").and_then(Value::as_str).map(|text| eliza::reply(text, roll));
        let reply = Parser::default().read(broadcast.object(), said);
        // What the server wrote itself can be read.
        let reply = reply.ok().flatten().unwrap_or_else(|| eliza::reply("", roll));
        let now = cx.now();
        let slot = self.world.room(room).map_or(0, Room::slot);
        let id = self.ids.next(cx.engine, now.unix_ms, slot);
        let answer = Answer { room: room.clone(), server, id, reply, said: 0, is_awaited: waits };
        self.demo.add(now.mono_ms + THINK_MS, answer);
        self.demo.arm(cx);
    }

    /// The timer of answers fired.
    pub(super) fn demo_due(&mut self, cx: &mut Context<'_, Self>) {
        let now_ms = cx.now().mono_ms;
        self.demo.armed_ms = self.demo.armed_ms.filter(|&armed_ms| armed_ms > now_ms);
        while let Some(entry) = self.demo.due.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let answer = entry.remove();
            // Dismissed meanwhile: nobody waits for it.
            if self.world.room(&answer.room).is_some_and(|room| room.has_agent(ID)) {
                self.demo_speaks(cx, answer);
            }
        }
        self.demo.arm(cx);
    }

    /// Says the next piece of an answer, or behind the last one all of it.
    fn demo_speaks(&mut self, cx: &mut Context<'_, Self>, mut answer: Answer) {
        let now_ms = cx.now().mono_ms;
        let Some(chunk) = piece(&answer.reply.text, answer.said) else {
            let publish = answer.publish();
            self.publish(cx, cx.hub.shard(), Publisher::Demo, publish);
            return self.demo_is_done(cx, &answer.room, answer.is_awaited);
        };
        let (room, message_id) = (answer.room.clone(), answer.id.to_string());
        let piece = Piece::Chunk { chunk, index: answer.said as u64 };
        let stream = Stream { room, message_id: &message_id, piece };
        let frame = Prepared::event(|out| put_stream(out, &stream, ID));
        self.world.change(&answer.room, |room| room.agent_spoke_ms = now_ms);
        cx.hub.fan_out(&answer.room, None, &Delivery::Frame(Arc::new(frame)));
        answer.said += 1;
        self.demo.add(now_ms + PIECE_MS, answer);
    }

    fn demo_is_done(&mut self, cx: &mut Context<'_, Self>, room: &RoomId, is_awaited: bool) {
        if is_awaited {
            let said = Complete { room: room.clone(), server: None, agent: Some(ID), asker: None };
            self.complete(cx, cx.hub.shard(), said);
        }
    }
}

impl Answer {
    /// The whole of it.
    fn publish(&self) -> Publish {
        let draft = Parser::default().read(br#"["REPLY"]"#, |actions| Draft::new(&self.message(Some(actions))));
        Publish {
            room: self.room.clone(),
            server: self.server,
            sender: ID,
            name: NAME.into(),
            message_id: None,
            id: Some(self.id),
            dm: None,
            speaker: Party::Agent(ID),
            is_new: false,
            draft: draft.unwrap_or_else(|_| Draft::new(&self.message(None))),
            extra: None,
        }
    }

    fn message<'a>(&'a self, actions: Option<Value<'a>>) -> Message<'a> {
        Message {
            room: self.room.clone(),
            server: self.server,
            sender: ID,
            name: NAME,
            text: &self.reply.text,
            source: "agent_response",
            thought: &self.reply.thought,
            actions,
            attachments: None,
            message_id: None,
            dm: None,
            form: Form::Flat,
        }
    }
}

/// The piece of a text with this number: whole words, about as many in each of [`PIECES`] pieces.
fn piece(text: &str, number: usize) -> Option<&str> {
    let ends: Vec<usize> = text.match_indices(' ').map(|(at, _)| at + 1).chain([text.len()]).collect();
    let words = ends.len().div_ceil(PIECES);
    let end = |words: usize| words.checked_sub(1).map_or(Some(0), |last| ends.get(last.min(ends.len() - 1)).copied());
    let (from, to) = (end(number * words)?, end((number + 1) * words)?);
    text.get(from..to).filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_make_up_the_text() {
        for text in ["Go on.", "a", "one two three four five six seven", &"word ".repeat(100), "\u{e9} \u{1f41f}"] {
            let pieces: Vec<&str> = (0..).map_while(|number| piece(text, number)).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.len() <= PIECES, "{pieces:?}");
        }
        assert_eq!(piece("", 0), None);
    }
}
