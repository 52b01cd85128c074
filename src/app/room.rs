//! One room: who is in it, what it is, and its latest messages.

use super::completion::{LiveAgents, WaitingList};
use super::history::History;
use super::mail::{Party, Stamp};
use crate::rooms::RoomId;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use uuid::Uuid;

/// People and agents known in one room; beyond that those who are gone the longest are forgotten, and where nobody is gone
/// those who did nothing for the longest time.
pub const MEMBERS_MAX: usize = 1000;
/// Agents of one room that messages wait for; of those who come when there are so many, none is waited for. They are not
/// forgotten while they take part.
pub const AGENTS_MAX: usize = 64;

/// The state of a room.
#[derive(Debug)]
pub struct Room {
    /// Sockets in it.
    pub online: u32,
    /// A conversation of two.
    pub is_dm: bool,
    /// People and agents.
    pub members: BTreeMap<Uuid, Member>,
    /// When it came into being, in milliseconds since 1970 UTC.
    pub created_at: u64,
    /// When it was last changed, in milliseconds since 1970 UTC.
    pub updated_at: u64,
    /// Messages so far, those no longer kept included.
    pub message_count: u64,
    /// The latest messages.
    pub history: History,
    /// The messages that wait for agents.
    pub waiting: WaitingList,
    /// When an agent last said something here, in `mono_ms`; 0: never.
    pub agent_spoke_ms: u64,
    agents: SmallVec<[Uuid; 1]>,
    id: RoomId,
    slot: u32,
    server: Uuid,
    last_created_at: u64,
}

/// A person or an agent of a room.
#[derive(Debug, Default)]
pub struct Member {
    /// Empty while unknown.
    pub name: Box<str>,
    /// It takes part as an agent.
    pub is_agent: bool,
    /// It was made to take part, and does until it is dismissed.
    pub is_enrolled: bool,
    /// Sockets in the room that joined with this agent.
    pub taking_part: u32,
    /// Sockets in the room through which this user speaks.
    pub present: u32,
    /// Milliseconds since 1970 UTC.
    pub last_seen: u64,
}

impl Member {
    /// It says what its name is; mostly what it was.
    pub fn rename(&mut self, name: Box<str>) {
        if self.name != name {
            self.name = name;
        }
    }

    /// Whether something keeps it in the room: a socket that stands for it, or that it was enrolled.
    pub fn is_held(&self) -> bool {
        self.taking_part > 0 || self.present > 0 || self.is_enrolled
    }
}

impl Room {
    /// An empty room that came into being at `now_ms`, in `slot` of its home's.
    pub fn new(id: RoomId, slot: u32, server: Uuid, now_ms: u64) -> Self {
        Self {
            online: 0,
            is_dm: false,
            members: BTreeMap::new(),
            created_at: now_ms,
            updated_at: now_ms,
            message_count: 0,
            history: History::default(),
            waiting: WaitingList::new(),
            agent_spoke_ms: 0,
            agents: SmallVec::new(),
            id,
            slot,
            server,
            last_created_at: 0,
        }
    }

    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Its slot among the rooms of its home.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The server it belongs to.
    pub fn server(&self) -> Uuid {
        self.server
    }

    /// Somebody names the server of the room. The first one other than `default` counts.
    pub fn belongs_to(&mut self, server: Uuid, default: Uuid) {
        if self.server == default {
            self.server = server;
        }
    }

    /// The time of a new message: now, but later than that of any other in the room.
    pub fn next_created_at(&mut self, now_ms: u64) -> u64 {
        self.last_created_at = now_ms.max(self.last_created_at + 1);
        self.last_created_at
    }

    /// A new message was ordered.
    pub fn ordered(&mut self, stamp: Stamp) {
        self.message_count += 1;
        self.updated_at = self.updated_at.max(stamp.created_at);
    }

    /// The entry of a person or an agent, new if need be.
    pub fn member(&mut self, id: Uuid, now_ms: u64) -> &mut Member {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&id) {
            let others = self.members.iter().filter(|(id, m)| !m.is_agent || !self.agents.contains(id));
            if let Some((&other, _)) = others.min_by_key(|(_, m)| (m.is_held(), m.last_seen)) {
                self.remove(other);
            }
        }
        self.members.entry(id).or_insert_with(|| Member { last_seen: now_ms, ..Member::default() })
    }

    /// The entry of a person or an agent that does something now.
    pub fn seen(&mut self, id: Uuid, now_ms: u64) -> &mut Member {
        let member = self.member(id, now_ms);
        member.last_seen = now_ms;
        member
    }

    /// It is a conversation of two; the other one, if known.
    pub fn becomes_dm(&mut self, other: Option<Uuid>, now_ms: u64) {
        self.is_dm = true;
        if let Some(other) = other {
            self.member(other, now_ms);
        }
    }

    /// A socket brings somebody.
    pub fn enter(&mut self, party: Party, now_ms: u64) -> &mut Member {
        match party {
            Party::Agent(id) => {
                let member = self.agent(id, now_ms);
                member.taking_part += 1;
                member
            }
            Party::User(id) => {
                let member = self.seen(id, now_ms);
                member.present += 1;
                member
            }
        }
    }

    /// A socket takes somebody away. An agent that nobody holds any more stops taking part.
    pub fn exit(&mut self, party: Party, now_ms: u64) {
        let (Party::Agent(id) | Party::User(id)) = party;
        let Some(member) = self.members.get_mut(&id) else { return };
        member.last_seen = now_ms;
        match party {
            Party::Agent(_) => member.taking_part = member.taking_part.saturating_sub(1),
            Party::User(_) => member.present = member.present.saturating_sub(1),
        }
        if member.is_agent && !member.is_held() {
            self.remove(id);
        }
    }

    /// An agent takes part until it is dismissed.
    pub fn enroll(&mut self, agent: Uuid, now_ms: u64) -> &mut Member {
        let member = self.agent(agent, now_ms);
        member.is_enrolled = true;
        member
    }

    /// An agent stops taking part, whoever stands for it. `false`: it did not take part.
    pub fn dismiss(&mut self, agent: Uuid) -> bool {
        let takes_part = self.has_agent(agent);
        if takes_part {
            self.remove(agent);
        }
        takes_part
    }

    /// Whether an agent takes part.
    pub fn has_agent(&self, agent: Uuid) -> bool {
        self.members.get(&agent).is_some_and(|member| member.is_agent)
    }

    /// The agents that take part and are live.
    pub fn live_agents(&self, is_live: impl Fn(Uuid) -> bool) -> LiveAgents {
        self.agents.iter().copied().filter(|&agent| is_live(agent)).collect()
    }

    /// The entry of an agent that takes part.
    fn agent(&mut self, id: Uuid, now_ms: u64) -> &mut Member {
        if self.agents.len() < AGENTS_MAX && !self.agents.contains(&id) {
            self.agents.push(id);
        }
        let member = self.seen(id, now_ms);
        member.is_agent = true;
        member
    }

    fn remove(&mut self, id: Uuid) {
        self.members.remove(&id);
        self.agents.retain(|agent| *agent != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn room() -> Room {
        Room::new(RoomId::Name("r".into()), 0, Uuid::nil(), 0)
    }

    #[test]
    fn an_enrolled_agent_takes_part_until_it_is_dismissed() {
        let mut room = room();
        room.enroll(id(1), 1).name = "Eliza".into();
        room.enter(Party::Agent(id(1)), 2);
        room.exit(Party::Agent(id(1)), 3);
        assert_eq!(room.live_agents(|_| true).as_slice(), [id(1)]);
        assert!(room.live_agents(|_| false).is_empty());
        assert!(room.dismiss(id(1)) && !room.dismiss(id(1)));
        assert!(room.members.is_empty() && room.live_agents(|_| true).is_empty());
        // The socket that joined with it leaves later.
        room.exit(Party::Agent(id(1)), 4);
        // A user is none to dismiss.
        room.enter(Party::User(id(2)), 5);
        assert!(!room.dismiss(id(2)) && room.members.contains_key(&id(2)));
    }

    #[test]
    fn the_agents_that_are_waited_for_are_bounded() {
        let mut room = room();
        (0..=AGENTS_MAX).for_each(|n| room.enter(Party::Agent(id(n)), 0).last_seen = 0);
        assert_eq!(room.live_agents(|_| true).len(), AGENTS_MAX);
        assert_eq!(room.members.len(), AGENTS_MAX + 1);
    }

    #[test]
    fn there_are_never_too_many_people_and_agents_that_take_part_stay_the_longest() {
        let mut room = room();
        let people = MEMBERS_MAX + 10;
        room.enter(Party::Agent(id(people)), 0);
        (0..people).for_each(|n| room.enter(Party::User(id(n)), n as u64).last_seen += 1);
        assert_eq!(room.members.len(), MEMBERS_MAX);
        assert!(
            room.has_agent(id(people)) && !room.members.contains_key(&id(10)) && room.members.contains_key(&id(11))
        );
        // One that is forgotten leaves later, another comes back.
        room.exit(Party::User(id(0)), 5_000);
        room.seen(id(1), 6_000);
        assert_eq!(room.members.len(), MEMBERS_MAX);
        for n in 0..people {
            room.enter(Party::Agent(id(10_000 + n)), 7_000 + n as u64);
        }
        assert_eq!((room.members.len(), room.live_agents(|_| true).len()), (MEMBERS_MAX, AGENTS_MAX));
        assert!(room.members.values().all(|member| member.is_agent));
    }

    #[test]
    fn of_too_many_people_those_gone_the_longest_are_forgotten() {
        let mut room = room();
        room.enter(Party::User(id(0)), 0);
        (1..=MEMBERS_MAX).for_each(|n| room.seen(id(n), n as u64).last_seen += 1);
        assert_eq!(room.members.len(), MEMBERS_MAX);
        assert!(room.members.contains_key(&id(0)) && !room.members.contains_key(&id(1)));
    }
}
