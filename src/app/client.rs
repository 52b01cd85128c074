//! What is kept with a socket: for whom it speaks, and where.

use super::Agents;
use super::fault::Fault;
use super::handshake::Identity;
use super::logs::Filters;
use super::mail::Party;
use super::permission::Permission;
use super::questions;
use crate::engine::Bucket;
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use uuid::Uuid;

/// What is kept with a socket.
#[derive(Debug, Default)]
pub struct Client {
    /// In which rooms it speaks for whom.
    parties: Vec<(RoomId, Party)>,
    /// What it may still send.
    pub(super) bucket: Bucket,
    /// What it asked for of late.
    pub(super) asked: questions::Asked,
    /// Whom it stands for, if anybody.
    identity: Option<Box<Identity>>,
    /// What it may do.
    pub(super) permission: Permission,
    /// What it wants of the log lines, if it asked for them.
    pub(super) log_filters: Option<Box<Filters>>,
}

/// Agents and users that one socket brings into its rooms.
pub const PARTIES_MAX: usize = 1024;

impl Client {
    /// A new socket's.
    pub(super) fn new(identity: Identity, permission: Permission) -> Self {
        let identity = (identity != Identity::default()).then(|| Box::new(identity));
        Self { identity, permission, ..Self::default() }
    }
}

/// Whom a socket stands for.
pub(super) fn identity(cx: &Context<'_, Agents>, socket: SocketKey) -> Identity {
    cx.hub.data(socket).and_then(|client| client.identity.as_deref()).copied().unwrap_or_default()
}

/// The sender of a socket's message: the agent whose own the socket is, or else a user.
pub(super) fn speaker(cx: &Context<'_, Agents>, socket: SocketKey, sender: Uuid) -> Party {
    if identity(cx, socket).agent == Some(sender) { Party::Agent(sender) } else { Party::User(sender) }
}

/// Notes that a socket brings somebody into a room; `false` if it did already, or brings too many.
pub(super) fn bring(cx: &mut Context<'_, Agents>, socket: SocketKey, room: &RoomId, party: Party) -> bool {
    let Some(client) = cx.hub.data_mut(socket) else { return false };
    let known = client.parties.iter().any(|(r, p)| *p == party && r == room);
    if known || client.parties.len() >= PARTIES_MAX {
        return false;
    }
    client.parties.push((room.clone(), party));
    true
}

/// Whom a socket brought into a room.
pub(super) fn parties(cx: &Context<'_, Agents>, socket: SocketKey, room: &RoomId) -> Vec<Party> {
    let client = cx.hub.data(socket).into_iter();
    client.flat_map(|c| &c.parties).filter(|(r, _)| r == room).map(|&(_, party)| party).collect()
}

/// Everybody a socket brought into rooms.
pub(super) fn brought(cx: &Context<'_, Agents>, socket: SocketKey) -> Vec<Party> {
    cx.hub.data(socket).into_iter().flat_map(|client| &client.parties).map(|&(_, party)| party).collect()
}

/// Whether a socket brought somebody into any room.
pub(super) fn brings(cx: &Context<'_, Agents>, socket: SocketKey, party: Party) -> bool {
    cx.hub.data(socket).is_some_and(|client| client.parties.iter().any(|(_, p)| *p == party))
}

/// Whom a socket brought into a room, no longer.
pub(super) fn take_away(cx: &mut Context<'_, Agents>, socket: SocketKey, room: &RoomId) -> Vec<Party> {
    let Some(client) = cx.hub.data_mut(socket) else { return Vec::new() };
    client.parties.extract_if(.., |(r, _)| r == room).map(|(_, party)| party).collect()
}

/// Refuses a room that is named by anything but a uuid, except to its members. `field`: what the client called it.
pub(super) fn check_name(
    cx: &Context<'_, Agents>,
    socket: SocketKey,
    room: &RoomId,
    field: &'static str,
) -> Result<(), Fault> {
    match room {
        RoomId::Name(_) if !cx.hub.is_in(socket, room) => Err(Fault::field(field, "a uuid")),
        _ => Ok(()),
    }
}
