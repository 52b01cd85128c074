//! What is kept with a socket: for whom it speaks, and where.

use super::fault::Fault;
use super::handshake::Identity;
use super::logs::Filters;
use super::mail::{Parties, Party};
use super::permission::Permission;
use super::questions;
use super::{Agents, AgentsSettings};
use crate::engine::Bucket;
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use std::ops::Range;
use uuid::Uuid;

/// What is kept with a socket.
#[derive(Debug, Default)]
pub struct Client {
    /// In which rooms it speaks for whom, in order.
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

const _: () = assert!(size_of::<Client>() <= 88);

/// Agents and users that one socket may bring into its rooms, whatever else is set.
pub const PARTIES_MIN: usize = 1024;
/// The same for each room that it may be in.
const PARTIES_OF_ROOM: usize = 4;

/// Agents and users that one socket may bring into its rooms: an agent brings itself into each.
pub(super) fn parties_max(settings: &AgentsSettings) -> usize {
    PARTIES_MIN.max(PARTIES_OF_ROOM * settings.max_rooms_per_socket)
}

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

/// Notes that a socket brings somebody into a room; `false` if it did already, or brings `max` others.
pub(super) fn bring(cx: &mut Context<'_, Agents>, socket: SocketKey, room: &RoomId, party: Party, max: usize) -> bool {
    let Some(parties) = cx.hub.data_mut(socket).map(|client| &mut client.parties) else { return false };
    match parties.binary_search_by(|(r, p)| (r, p).cmp(&(room, &party))) {
        Err(at) if parties.len() < max => {
            // Most sockets speak for one user in one room.
            if parties.is_empty() {
                parties.reserve_exact(1);
            }
            parties.insert(at, (room.clone(), party));
            true
        }
        _ => false,
    }
}

/// Whether a socket brought somebody into a room.
pub(super) fn brings_into(cx: &Context<'_, Agents>, socket: SocketKey, room: &RoomId, party: Party) -> bool {
    let found = |client: &Client| client.parties.binary_search_by(|(r, p)| (r, p).cmp(&(room, &party)));
    cx.hub.data(socket).is_some_and(|client| found(client).is_ok())
}

/// Where those stand whom a client brought into a room.
fn of_room(parties: &[(RoomId, Party)], room: &RoomId) -> Range<usize> {
    parties.partition_point(|(r, _)| r < room)..parties.partition_point(|(r, _)| r <= room)
}

/// Whom a socket brought into a room.
pub(super) fn parties(cx: &Context<'_, Agents>, socket: SocketKey, room: &RoomId) -> Parties {
    let Some(client) = cx.hub.data(socket) else { return Parties::new() };
    let of_room = client.parties.get(of_room(&client.parties, room)).unwrap_or_default();
    of_room.iter().map(|&(_, party)| party).collect()
}

/// Everybody a socket brought into rooms.
pub(super) fn brought(cx: &Context<'_, Agents>, socket: SocketKey) -> impl Iterator<Item = Party> {
    cx.hub.data(socket).into_iter().flat_map(|client| &client.parties).map(|&(_, party)| party)
}

/// Whether a socket brought somebody into any room.
pub(super) fn brings(cx: &Context<'_, Agents>, socket: SocketKey, party: Party) -> bool {
    cx.hub.data(socket).is_some_and(|client| client.parties.iter().any(|(_, p)| *p == party))
}

/// Whom a socket brought into a room, no longer.
pub(super) fn take_away(cx: &mut Context<'_, Agents>, socket: SocketKey, room: &RoomId) -> Parties {
    let Some(client) = cx.hub.data_mut(socket) else { return Parties::new() };
    let range = of_room(&client.parties, room);
    client.parties.drain(range).map(|(_, party)| party).collect()
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
