//! `world-state` (contract A5): what is told of rooms, by their homes to the asker's shard and from there to the asker.
//!
//! A message in it is the very bytes its members were sent. One world-state never takes more than it is given: what does
//! not fit is left out, of each room its oldest messages first; small rooms are told whole as long as large ones are not.

use super::broadcast::{put_room, put_uuid};
use super::events::{AGENT_NAME, USER_NAME};
use super::json::{put_list, put_str};
use super::room::{Member, Room};
use crate::rooms::RoomId;
use crate::wire::put_decimal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use uuid::Uuid;

/// Rooms in one world-state.
pub const ROOMS_MAX: usize = 256;
/// Bytes a room may count on: fewer rooms are told when there is no place for so much of each.
pub const ROOM_BYTES_MIN: usize = 1024;
/// At most this part of a room's bytes goes to people, as long as there are messages for the rest.
const PEOPLE_PART: usize = 4;

/// Bytes of a channel and of a person, ids and names not counted: no less than any takes.
const CHANNEL_BYTES: usize = 512;
const PERSON_BYTES: usize = 256;

/// One room's part of a world-state.
#[derive(Clone, Debug)]
pub struct RoomState {
    channel: Channel,
    /// By id, or where there are too many those seen last first.
    people: Vec<Person>,
    /// The objects of the messages in a row, newest first, and where each ends.
    messages: Vec<u8>,
    ends: Vec<usize>,
    /// Bytes of the people.
    people_bytes: usize,
    is_cut: bool,
}

#[derive(Clone, Debug)]
struct Channel {
    id: RoomId,
    server: Uuid,
    is_dm: bool,
    online: u32,
    message_count: u64,
    created_at: u64,
    updated_at: u64,
}

#[derive(Clone, Debug)]
struct Person {
    id: Uuid,
    name: Box<str>,
    is_agent: bool,
    is_here: bool,
    last_seen: u64,
}

impl RoomState {
    /// A room, as far as it fits into `max` bytes.
    pub fn of(room: &Room, max: usize, is_live: impl Fn(Uuid) -> bool) -> Self {
        let channel = Channel::of(room);
        let people: Vec<Person> = room.members.iter().map(|(&id, member)| Person::of(id, member, &is_live)).collect();
        let people_bytes = people.iter().map(|p| p.bytes(&channel.id)).sum();
        let (mut messages, mut ends) = (Vec::new(), Vec::with_capacity(room.history.len()));
        messages.reserve_exact(room.history.bytes().min(max));
        for item in room.history.before(None) {
            if messages.len() + item.object.len() + ends.len() + 1 > max {
                break;
            }
            messages.extend_from_slice(item.object);
            ends.push(messages.len());
        }
        let is_cut = ends.len() < room.history.len();
        let mut state = Self { channel, people, messages, ends, people_bytes, is_cut };
        state.cut(max);
        state
    }

    /// Whether something was left out.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Bytes it takes, or a few more.
    pub fn bytes(&self) -> usize {
        self.head_bytes() + self.people_bytes + self.message_bytes()
    }

    /// The objects of its messages, newest first.
    fn messages(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        let end = |n: usize| self.ends.get(n).copied().unwrap_or_default();
        let start = move |n: usize| n.checked_sub(1).map_or(0, end);
        (0..self.ends.len()).map(move |n| self.messages.get(start(n)..end(n)).unwrap_or_default())
    }

    /// Bytes of the messages with a comma each.
    fn message_bytes(&self) -> usize {
        self.messages.len() + self.ends.len()
    }

    fn head_bytes(&self) -> usize {
        CHANNEL_BYTES + 4 * room_bytes(&self.channel.id)
    }

    /// Leaves out what is beyond `max` bytes: people beyond their part, the oldest messages, the rest of the people.
    /// `false`: not even the channel itself has a place.
    fn cut(&mut self, max: usize) -> bool {
        let max = max.saturating_sub(self.head_bytes());
        if self.people_bytes + self.message_bytes() > max {
            self.is_cut = true;
            self.cut_people((max / PEOPLE_PART).max(max.saturating_sub(self.message_bytes())));
            while self.people_bytes + self.message_bytes() > max && self.ends.pop().is_some() {
                self.messages.truncate(self.ends.last().copied().unwrap_or_default());
            }
        }
        max > 0
    }

    fn cut_people(&mut self, max: usize) {
        if self.people_bytes <= max {
            return;
        }
        self.people.sort_unstable_by_key(|p| std::cmp::Reverse((p.is_here, p.last_seen)));
        while self.people_bytes > max
            && let Some(person) = self.people.pop()
        {
            self.people_bytes -= person.bytes(&self.channel.id);
        }
    }
}

impl Channel {
    fn of(room: &Room) -> Self {
        Self {
            id: room.id().clone(),
            server: room.server(),
            is_dm: room.is_dm,
            online: room.online,
            message_count: room.message_count,
            created_at: room.created_at,
            updated_at: room.updated_at,
        }
    }
}

impl Person {
    fn of(id: Uuid, member: &Member, is_live: impl Fn(Uuid) -> bool) -> Self {
        let Member { is_agent, last_seen, .. } = *member;
        let is_here = if is_agent { is_live(id) } else { member.present > 0 };
        Self { id, name: member.name.clone(), is_agent, is_here, last_seen }
    }

    /// Bytes it takes in a room, or a few more.
    fn bytes(&self, room: &RoomId) -> usize {
        PERSON_BYTES + escaped_bytes(&self.name) + room_bytes(room)
    }
}

/// Bytes of a string in JSON, or a few more.
fn escaped_bytes(text: &str) -> usize {
    let each = |b: u8| match b {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    2 + text.bytes().map(each).sum::<usize>()
}

fn room_bytes(room: &RoomId) -> usize {
    match room {
        RoomId::Uuid(_) => 2 + uuid::fmt::Hyphenated::LENGTH,
        RoomId::Name(name) => escaped_bytes(name),
    }
}

/// Leaves out what is beyond `max` bytes in all. `true`: something was.
pub fn fit(rooms: &mut Vec<RoomState>, max: usize) -> bool {
    let mut bytes: Vec<usize> = rooms.iter().map(RoomState::bytes).collect();
    if bytes.iter().sum::<usize>() <= max {
        return false;
    }
    let share = share(&mut bytes, max);
    rooms.retain_mut(|room| room.bytes() <= share || room.cut(share));
    true
}

/// How much each may have at most, so that all have no more than `max` together: what small ones leave goes to the others.
fn share(bytes: &mut [usize], max: usize) -> usize {
    bytes.sort_unstable();
    let (mut left, mut others) = (max, bytes.len());
    for &bytes in bytes.iter() {
        let share = left / others;
        if bytes > share {
            return share;
        }
        left -= bytes;
        others -= 1;
    }
    max
}

/// A person in all of the rooms told of.
struct Everywhere<'a> {
    person: &'a Person,
    is_agent: bool,
    is_here: bool,
    rooms: Vec<&'a RoomId>,
}

/// Appends the object. `room`: the one room that was asked for.
pub fn put(out: &mut Vec<u8>, rooms: &[RoomState], room: Option<&RoomId>, now_ms: u64) {
    let people = merge(rooms);
    out.extend_from_slice(br#"{"agents":"#);
    put_people(out, &people, true, ["active", "inactive"]);
    out.extend_from_slice(br#","users":"#);
    put_people(out, &people, false, ["online", "offline"]);
    out.extend_from_slice(br#","channels":"#);
    put_map(out, rooms, |out, state| {
        put_room(out, &state.channel.id);
        out.push(b':');
        put_channel_of(out, &state.channel, state.people.iter().map(|person| person.id));
    });
    out.extend_from_slice(br#","messages":"#);
    put_map(out, rooms, |out, state| {
        put_room(out, &state.channel.id);
        out.extend_from_slice(b":[");
        put_list(out, state.messages().rev(), |out, message| out.extend_from_slice(message));
        out.push(b']');
    });
    out.extend_from_slice(br#","roomId":"#);
    match room {
        Some(room) => put_room(out, room),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","serverTime":"#);
    put_decimal(out, now_ms);
    out.push(b'}');
}

fn merge(rooms: &[RoomState]) -> BTreeMap<Uuid, Everywhere<'_>> {
    let mut people: BTreeMap<Uuid, Everywhere<'_>> = BTreeMap::new();
    for (state, person) in rooms.iter().flat_map(|state| state.people.iter().map(move |p| (state, p))) {
        let (is_agent, is_here) = (person.is_agent, person.is_here);
        let new = || Everywhere { person, is_agent, is_here, rooms: Vec::with_capacity(1) };
        let known = people.entry(person.id).or_insert_with(new);
        known.is_agent |= is_agent;
        known.is_here |= is_here;
        known.rooms.push(&state.channel.id);
        // The name it used last, but rather one than none.
        if (!person.name.is_empty(), person.last_seen) > (!known.person.name.is_empty(), known.person.last_seen) {
            known.person = person;
        }
    }
    people
}

fn put_people(out: &mut Vec<u8>, people: &BTreeMap<Uuid, Everywhere<'_>>, agents: bool, status: [&str; 2]) {
    let [here, gone] = status;
    put_map(out, people.iter().filter(|(_, known)| known.is_agent == agents), |out, (&id, known)| {
        put_uuid(out, id);
        out.extend_from_slice(br#":{"id":"#);
        put_uuid(out, id);
        out.extend_from_slice(br#","name":"#);
        let unknown = if agents { AGENT_NAME } else { USER_NAME };
        put_str(out, if known.person.name.is_empty() { unknown } else { &known.person.name });
        out.extend_from_slice(br#","status":"#);
        put_str(out, if known.is_here { here } else { gone });
        out.extend_from_slice(br#","rooms":["#);
        put_list(out, &known.rooms, |out, room| put_room(out, room));
        out.extend_from_slice(br#"],"lastSeen":"#);
        put_decimal(out, known.person.last_seen);
        out.push(b'}');
    });
}

/// Appends the channel that a room is, with everybody in it.
pub fn put_channel(out: &mut Vec<u8>, room: &Room) {
    put_channel_of(out, &Channel::of(room), room.members.keys().copied());
}

fn put_channel_of(out: &mut Vec<u8>, channel: &Channel, people: impl Iterator<Item = Uuid>) {
    let Channel { id, server, is_dm, online, message_count, created_at, updated_at } = channel;
    out.extend_from_slice(br#"{"id":"#);
    put_room(out, id);
    for key in [br#","serverId":"#.as_slice(), br#","messageServerId":"#] {
        out.extend_from_slice(key);
        put_uuid(out, *server);
    }
    out.extend_from_slice(br#","name":"#);
    put_str(out, &channel_name(id));
    out.extend_from_slice(br#","type":"#);
    put_str(out, if *is_dm { "DM" } else { "GROUP" });
    out.extend_from_slice(br#","sourceType":"auto_created","participants":["#);
    put_list(out, people, put_uuid);
    out.push(b']');
    for (key, number) in [
        (br#","online":"#.as_slice(), u64::from(*online)),
        (br#","messageCount":"#, *message_count),
        (br#","createdAt":"#, *created_at),
        (br#","updatedAt":"#, *updated_at),
    ] {
        out.extend_from_slice(key);
        put_decimal(out, number);
    }
    out.extend_from_slice(br#","metadata":{}}"#);
}

/// What a room is called: `Chat 1a2b3c4d`.
pub fn channel_name(room: &RoomId) -> String {
    const SHORT: usize = 8;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{room}");
    format!("Chat {}", text.chars().take(SHORT).collect::<String>())
}

/// Appends a JSON object; `put` appends one member of it.
fn put_map<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, put: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'{');
    put_list(out, items, put);
    out.push(b'}');
}

#[cfg(test)]
mod tests;
