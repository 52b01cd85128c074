//! The HTTP API for agents and backends (contract B3): calls under `/api/messaging`, answered with JSON.
//!
//! The way of a call: [`route`] names it, [`access`] lets it in, [`body`] checks what it says, and it becomes an
//! [`Operation`] at the home of a room or on all shards, after others if it costs much ([`line`]). It waits in [`pending`]
//! until they answer; the connection gets the answer then, so requests behind it wait. A call with an `Idempotency-Key`
//! first claims it ([`idempotency`]).

mod access;
mod body;
mod home;
mod idempotency;
pub mod line;
mod logs;
pub mod mail;
mod message;
pub mod pending;
mod plan;
mod problem;
mod query;
mod route;

use super::Agents;
use super::grant::{Grant, Rooms};
use super::json::ParseError;
use super::mail::{Mail, Publisher, Stamp};
use crate::engine::{Answer, ConnectionKey};
use crate::socket::Context;
use crate::wire::http::Head;
use idempotency::{Claimed, Keys};
use line::Line;
use mail::{Asked, CallMail, Claim, Operation};
use pending::{Answered, CallKey, Calls};
use plan::Plan;
use problem::Problem;
use route::{Route, Told};
use std::sync::Arc;

pub use route::serves;

/// What a shard keeps for the API.
#[derive(Debug)]
pub struct Api {
    pub(super) calls: Calls,
    keys: Keys,
    line: Line,
}

impl Api {
    /// No calls yet. `window_ms`: how long an idempotency key is remembered.
    pub fn new(window_ms: u64) -> Self {
        Self { calls: Calls::default(), keys: Keys::new(window_ms), line: Line::default() }
    }

    /// Gives back what tables needed once and need no more.
    pub(super) fn shrink(&mut self, now_ms: u64) {
        self.calls.shrink(now_ms);
        self.keys.shrink(now_ms);
    }
}

/// A request that is refused by the server itself, in the API's words.
pub fn refusal(status: u16, message: &str) -> String {
    Problem::new(status, message.to_owned()).json()
}

impl Agents {
    /// A request to the API.
    pub(super) fn api_call(
        &mut self,
        cx: &mut Context<'_, Self>,
        from: ConnectionKey,
        head: &Head<'_>,
        body: &[u8],
    ) -> Answer {
        let now = cx.now();
        let admitted = route::route(head.method, head.path)
            .and_then(|route| Ok((route, access::admit(&self.settings.access, now, head)?)));
        let begun = match admitted {
            Ok((Route::CurrentServer, _)) => {
                let server = self.settings.server_id;
                let json = format!(r#"{{"success":true,"data":{{"messageServerId":"{server}"}}}}"#);
                return Answer::Json { status: 200, headers: "", json };
            }
            Ok((Route::Logs, grant)) => {
                return self.post_logs(cx, &grant, head, body).unwrap_or_else(Answer::from);
            }
            Ok((Route::Told(told), grant)) => self.read_body(cx, from, told, &grant, head, body),
            Ok((Route::Bare(bare), grant)) => plan::bare(bare, head).and_then(|plan| {
                access::check(&grant, &plan.1)?;
                self.open(cx, from, plan, grant.rooms(), None)
            }),
            Err(problem) => Err(problem),
        };
        begun.map_or_else(Answer::from, |()| Answer::Later)
    }

    fn read_body(
        &mut self,
        cx: &mut Context<'_, Self>,
        from: ConnectionKey,
        told: Told,
        grant: &Grant,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<(), Problem> {
        query::check_content_type(head)?;
        let key = match (told, head.header("idempotency-key")) {
            (Told::Publish(kind), Some(header)) => {
                let key = idempotency::key(kind, header);
                Some(key.ok_or_else(|| Problem::new(400, "Idempotency-Key must have 1 to 255 bytes."))?)
            }
            _ => None,
        };
        let mut parser = self.parser.take().unwrap_or_default();
        let plan = parser.read(body, |root| plan::told(told, root, &self.settings));
        self.parser = Some(parser);
        let plan = match plan {
            Ok(plan) => plan?,
            Err(ParseError::Malformed) => return Err(body::no_object().into()),
            Err(ParseError::Number) => return Err(Problem::new(400, "A number in the body is out of range.")),
        };
        access::check(grant, &plan.1)?;
        let (limit, now_ms) = (self.settings.rate_messages, cx.now().mono_ms);
        let publishes = matches!(told, Told::Publish(_) | Told::UpdateAction(_));
        if publishes && !self.api.calls.may_publish(from, limit, now_ms) {
            return Err(Problem::new(429, format!("At most {limit} messages a second may be sent.")));
        }
        let claim = key.map(|key| (key, idempotency::fingerprint(body)));
        self.open(cx, from, plan, grant.rooms(), claim)
    }

    /// Takes up a call and begins it. `rooms`: those the caller may be in; `claim`: its idempotency key, and what tells its
    /// body from another.
    fn open(
        &mut self,
        cx: &mut Context<'_, Self>,
        from: ConnectionKey,
        (expected, operation): Plan,
        rooms: Rooms,
        claim: Option<(Box<[u8]>, u64)>,
    ) -> Result<(), Problem> {
        let Some(call) = self.api.calls.open(from, expected, self.world.len()) else {
            cx.engine.counters.calls_refused += 1;
            return Err(Problem::new(503, "The server has too many calls to answer now."));
        };
        if let Some(agent) = operation.agent() {
            self.heard(cx, agent);
        }
        match claim {
            None => self.begin_in_turn(cx, call, operation, rooms),
            Some((key, fingerprint)) => {
                let home = idempotency::home(&key, cx.hub.shards());
                cx.post(home, Mail::Call(CallMail::Claim(call, Box::new(Claim { key, fingerprint, operation }))));
            }
        }
        Ok(())
    }

    fn begin(&mut self, cx: &mut Context<'_, Self>, call: CallKey, operation: Operation, rooms: Rooms) {
        match operation {
            Operation::Publish(publish) => {
                let (room, bytes) = (publish.room.clone(), publish.draft.frame_len());
                cx.post_to_room(&room, bytes, Mail::Publish(Publisher::Call(call), publish));
            }
            Operation::AskHome(room, question) => {
                let home = cx.home(&room);
                cx.post(home, Mail::Call(CallMail::Ask(call, Arc::new(Asked { question, rooms }))));
            }
            Operation::AskAll(question) => {
                let (asked, shards) = (Arc::new(Asked { question, rooms }), cx.hub.shards());
                if let Some(call) = self.api.calls.get_mut(call) {
                    call.waiting = shards;
                }
                for shard in 0..shards {
                    cx.post(shard, Mail::Call(CallMail::Ask(call, Arc::clone(&asked))));
                }
            }
        }
    }

    /// Mail about calls.
    pub(super) fn call_mail(&mut self, cx: &mut Context<'_, Self>, from: usize, mail: CallMail) {
        match mail {
            CallMail::Ask(call, asked) => self.answer_call(cx, from, call, &asked),
            CallMail::Reply(call, reply) => {
                if let Some(answered) = self.api.calls.take(call, *reply) {
                    self.end_call(cx, call, answered);
                }
            }
            CallMail::Claim(call, claim) => {
                let Claim { key, fingerprint, operation } = *claim;
                let claimed = self.api.keys.claim(&key, fingerprint, cx.now().mono_ms);
                cx.engine.counters.keys_forgotten = self.api.keys.forgotten();
                cx.post(from, Mail::Call(CallMail::Claimed(call, Box::new((key, claimed, operation)))));
            }
            CallMail::Claimed(call, claimed) => self.claimed(cx, call, *claimed),
            CallMail::Settle(call, settled) => {
                let (key, answered) = *settled;
                self.api.keys.settle(&key, &answered);
                cx.engine.counters.keys_forgotten = self.api.keys.forgotten();
                cx.post(from, Mail::Call(CallMail::Settled(call, Box::new(answered))));
            }
            CallMail::Settled(call, answered) => self.end_call(cx, call, *answered),
        }
    }

    fn claimed(
        &mut self,
        cx: &mut Context<'_, Self>,
        call: CallKey,
        (key, claimed, operation): (Box<[u8]>, Claimed, Operation),
    ) {
        let conflict = |message| {
            let problem = Problem::new(409, message);
            (problem.status, problem.json())
        };
        match claimed {
            Claimed::First => {
                let Some(open) = self.api.calls.get_mut(call) else {
                    // Given up meanwhile: nothing has happened, and nothing will.
                    return settle(cx, call, key, (503, String::new()));
                };
                open.claimed = Some(key);
                // Only messages are published once for a key, and their room was checked.
                self.begin(cx, call, operation, Rooms::All);
            }
            Claimed::Before(answered) => {
                cx.engine.counters.calls_repeated += 1;
                self.end_call(cx, call, answered);
            }
            Claimed::InProgress => {
                self.end_call(cx, call, conflict("The first call with this Idempotency-Key is in progress."))
            }
            Claimed::Reused => self.end_call(cx, call, conflict("The Idempotency-Key was used for another body.")),
        }
    }

    /// The message of a call has its place.
    pub(super) fn call_published(&mut self, cx: &mut Context<'_, Self>, call: CallKey, stamp: Stamp) {
        if let Some(open) = self.api.calls.get_mut(call) {
            let answered = open.answer.stamped(stamp);
            self.end_call(cx, call, answered);
        }
    }

    /// The message of a call was not taken.
    pub(super) fn call_refused(&mut self, cx: &mut Context<'_, Self>, call: CallKey, problem: impl Into<Problem>) {
        let problem = problem.into();
        self.end_call(cx, call, (problem.status, problem.json()));
    }

    /// Answers a call, if whoever made it is still there; one that claimed a key once the answer is remembered, so that not
    /// even the quickest retry comes too early.
    fn end_call(&mut self, cx: &mut Context<'_, Self>, call: CallKey, answered: Answered) {
        let Some(open) = self.api.calls.get_mut(call) else { return };
        if let Some(key) = open.claimed.take() {
            return settle(cx, call, key, answered);
        }
        if let Some(ended) = self.api.calls.close(call) {
            let (status, json) = answered;
            cx.engine.answer(ended.connection, status, &json);
            if ended.stood_in_line {
                self.line_ended(cx, json.len());
            }
        }
    }

    /// Answers all calls that wait: the server shuts down.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_, Self>) {
        let json = refusal(503, "The server shuts down.");
        self.api.line = Line::default();
        for call in self.api.calls.close_all() {
            cx.engine.answer(call.connection, 503, &json);
        }
    }
}

fn settle(cx: &mut Context<'_, Agents>, call: CallKey, key: Box<[u8]>, answered: Answered) {
    let home = idempotency::home(&key, cx.hub.shards());
    cx.post(home, Mail::Call(CallMail::Settle(call, Box::new((key, answered)))));
}

/// JSON that the server wrote, of which all strings are whole.
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_default()
}
