//! What a checked call does, and what its answer is made of.

use super::body::{self, Complete, Submission};
use super::mail::{Operation, OwnedUpdate, Question};
use super::message::Unstamped;
use super::pending::Expected;
use super::problem::Problem;
use super::query::{self, Page};
use super::route::{Bare, Kind, Told};
use crate::app::AgentsSettings;
use crate::app::broadcast::Draft;
use crate::app::fields::Key;
use crate::app::json::Value;
use crate::app::mail::{Party, Publish};
use crate::rooms::RoomId;
use crate::wire::http::Head;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a call does, and what its answer is made of.
pub type Plan = (Expected, Operation);

/// A call with a body. `root`: all of it.
pub fn told(told: Told, root: Value<'_>, settings: &AgentsSettings) -> Result<Plan, Problem> {
    let fields = body::fields(root)?;
    Ok(match told {
        Told::Publish(kind) => publication(kind, &body::submission(&fields, settings, kind)?),
        Told::UpdateAction(message) => {
            let update = body::update(&fields, settings)?;
            let room = update.room.clone();
            let question = Question::Update { message, room: room.clone(), update: OwnedUpdate::of(&update) };
            match room {
                Some(room) => (Expected::Holder, Operation::AskHome(room, question)),
                None => (Expected::Holder, Operation::AskAll(question)),
            }
        }
        Told::Complete => match body::complete(&fields)? {
            Complete::Room(room, server) => at(room, |room| Question::Complete(room, server)),
            Complete::Message(message) => (Expected::Holder, Operation::AskAll(Question::CompleteFor(message))),
        },
        Told::AddAgent(room) => {
            let agent = fields.needed_uuid(Key::Agent, "agentId")?;
            at_id(room, |room| Question::AddAgent(room, agent))
        }
    })
}

/// A call without a body.
pub fn bare(bare: Bare, head: &Head<'_>) -> Result<Plan, Problem> {
    Ok(match bare {
        Bare::Details(room) => at_id(room, Question::Details),
        Bare::Participants(room) => at_id(room, Question::Participants),
        Bare::Messages(room) => {
            let Page { before_ms, limit } = query::page(head)?;
            at_id(room, |room| Question::Messages { room, before_ms, limit })
        }
        Bare::RemoveAgent(room, agent) => at_id(room, |room| Question::RemoveAgent(room, agent)),
        Bare::ChannelsOfServer(server) => {
            (Expected::Channels(Vec::new()), Operation::AskAll(Question::ChannelsOfServer(server)))
        }
        Bare::ServersOfAgent(agent) => {
            (Expected::Servers(agent, BTreeSet::new()), Operation::AskAll(Question::ServersOfAgent(agent)))
        }
    })
}

/// A question to the home of a room.
fn at(room: RoomId, question: impl FnOnce(RoomId) -> Question) -> Plan {
    (Expected::One, Operation::AskHome(room.clone(), question(room)))
}

fn at_id(room: Uuid, question: impl FnOnce(RoomId) -> Question) -> Plan {
    at(RoomId::Uuid(room), question)
}

fn publication(kind: Kind, submission: &Submission<'_>) -> Plan {
    let Submission { message, id, extra } = submission;
    let (draft, kept) = match kind {
        Kind::Action => (Draft::of_action(message, extra.raw), extra.without_raw()),
        Kind::Submit | Kind::External => (Draft::new(message), *extra),
    };
    let publish = Publish {
        room: message.room.clone(),
        server: message.server,
        sender: message.sender,
        name: message.name.into(),
        message_id: message.message_id.map(Box::from),
        id: *id,
        dm: message.dm,
        speaker: match kind {
            Kind::External => Party::User(message.sender),
            Kind::Submit | Kind::Action => Party::Agent(message.sender),
        },
        is_new: false,
        draft,
        extra: kept.json(),
    };
    let expected = match kind {
        Kind::External => Expected::Ingested,
        Kind::Submit | Kind::Action => Expected::Message(Unstamped::of(submission)),
    };
    (expected, Operation::Publish(Box::new(publish)))
}
