//! What must hold, whatever happens: the checks of one socket's view and of all of them together.

use std::collections::BTreeMap;

/// Room numbers of the simulation.
pub type Room = usize;

/// What all sockets agree on.
#[derive(Debug, Default)]
pub struct History {
    /// Of each room, the messages by number: the socket that sent it, and the number that one gave it.
    rooms: BTreeMap<Room, BTreeMap<u64, (u64, u64)>>,
    /// Of each room, the highest number that somebody has seen acknowledged, and when that was.
    pub acked: BTreeMap<Room, u64>,
}

impl History {
    /// Somebody was told that message `number` of a room is the one that `sender` numbered `own`.
    fn note(&mut self, room: Room, number: u64, sender: u64, own: u64) {
        let messages = self.rooms.entry(room).or_default();
        if let Some(&known) = messages.get(&number) {
            assert_eq!(known, (sender, own), "message {number} of room {room} is not the same for all");
            return;
        }
        let of_sender = |(&n, &(s, k)): (&u64, &(u64, u64))| (s == sender).then_some((n, k));
        if let Some((n, k)) = messages.range(..number).rev().find_map(of_sender) {
            assert!(k < own, "room {room}: socket {sender} sent {k} ({n}) before {own} ({number})");
        }
        if let Some((n, k)) = messages.range(number..).find_map(of_sender) {
            assert!(own < k, "room {room}: socket {sender} sent {own} ({number}) before {k} ({n})");
        }
        messages.insert(number, (sender, own));
    }

    fn note_acked(&mut self, room: Room, number: u64) {
        let acked = self.acked.entry(room).or_default();
        *acked = number.max(*acked);
    }

    /// The highest number known of a room.
    pub fn latest(&self, room: Room) -> u64 {
        let seen = self.rooms.get(&room).and_then(|m| m.last_key_value()).map_or(0, |(&n, _)| n);
        seen.max(self.acked.get(&room).copied().unwrap_or_default())
    }
}

/// What a socket knows of its membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Out,
    /// The join is not acknowledged: messages may come and may not.
    Joining,
    /// The latest message.
    In(u64),
    Leaving(u64),
    /// Something was asked for on a connection that broke.
    Unknown,
}

#[derive(Debug, Default)]
struct Membership {
    place: Place,
    /// The highest number ever seen.
    highest: u64,
}

/// What was asked for with an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    Join(Room),
    Leave(Room),
    /// The socket's own number.
    Publish(Room, u64),
    Whisper(u64),
}

/// One socket's view.
#[derive(Debug, Default)]
pub struct View {
    /// Differs for every socket.
    pub tag: u64,
    rooms: BTreeMap<Room, Membership>,
    pending: BTreeMap<u64, Asked>,
    /// Asked for on a connection that broke: a socket that comes back may still be answered.
    late: BTreeMap<u64, Asked>,
    next_ack: u64,
    sent: u64,
    whispered: u64,
    whisper_seen: u64,
    /// Its own messages it has seen.
    own_seen: BTreeMap<u64, u64>,
}

impl View {
    pub fn new(tag: u64) -> Self {
        Self { tag, ..Self::default() }
    }

    fn ask(&mut self, asked: Asked) -> u64 {
        self.next_ack += 1;
        self.pending.insert(self.next_ack, asked);
        self.next_ack
    }

    /// Whether something is asked for and not acknowledged.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    fn waits_for(&self, room: Room) -> bool {
        self.pending.values().any(|a| matches!(a, Asked::Join(r) | Asked::Leave(r) if *r == room))
    }

    /// The socket joins; returns the id of the acknowledgement. `None`: it must wait until the last change is acknowledged.
    pub fn join(&mut self, room: Room) -> Option<u64> {
        if self.waits_for(room) {
            return None;
        }
        let membership = self.rooms.entry(room).or_default();
        if membership.place == Place::Out {
            membership.place = Place::Joining;
        }
        Some(self.ask(Asked::Join(room)))
    }

    /// The socket leaves.
    pub fn leave(&mut self, room: Room) -> Option<u64> {
        if self.waits_for(room) {
            return None;
        }
        let membership = self.rooms.entry(room).or_default();
        if let Place::In(latest) = membership.place {
            membership.place = Place::Leaving(latest);
        }
        Some(self.ask(Asked::Leave(room)))
    }

    /// The socket publishes: the id of the acknowledgement and its number of the message.
    pub fn publish(&mut self, room: Room) -> (u64, u64) {
        self.sent += 1;
        (self.ask(Asked::Publish(room, self.sent)), self.sent)
    }

    pub fn whisper(&mut self) -> (u64, u64) {
        self.whispered += 1;
        (self.ask(Asked::Whisper(self.whispered)), self.whispered)
    }

    /// A message arrives. `own`: the copy for its sender.
    pub fn message(&mut self, history: &mut History, room: Room, number: u64, own: bool, sender: u64, k: u64) {
        history.note(room, number, sender, k);
        assert_eq!(own, sender == self.tag, "socket {}: message {number} of {sender} in room {room}", self.tag);
        if own {
            assert!(k <= self.sent, "never sent");
            assert_eq!(self.own_seen.insert(k, number), None, "own message {k} twice");
        }
        let membership = self.rooms.entry(room).or_default();
        let highest = std::mem::replace(&mut membership.highest, number);
        assert!(number > highest, "socket {}, room {room}: {number} after {highest}", self.tag);
        let tag = self.tag;
        let follows = |latest: u64| {
            assert_eq!(number, latest + 1, "socket {tag}, room {room}: behind {latest}");
        };
        membership.place = match membership.place {
            Place::Out => {
                assert!(own, "socket {tag} is not in room {room} and sees {number}");
                Place::Out
            }
            Place::Joining => Place::Joining,
            Place::In(latest) => {
                follows(latest);
                Place::In(number)
            }
            // The own copy may come when it has left already.
            Place::Leaving(latest) if own && number != latest + 1 => Place::Leaving(latest),
            Place::Leaving(latest) => {
                follows(latest);
                Place::Leaving(number)
            }
            Place::Unknown => Place::Unknown,
        };
    }

    pub fn whisper_seen(&mut self, k: u64) {
        assert!(k <= self.whispered, "never whispered");
        assert!(k > self.whisper_seen, "whisper {k} after {}", self.whisper_seen);
        self.whisper_seen = k;
    }

    /// An acknowledgement arrives.
    pub fn ack(&mut self, history: &mut History, ack_id: u64, number: u64) {
        let asked = match self.late.remove(&ack_id) {
            Some(Asked::Join(_) | Asked::Leave(_)) => return,
            Some(asked) => Some(asked),
            None => self.pending.remove(&ack_id),
        };
        match asked.unwrap_or_else(|| panic!("socket {}: acknowledgement {ack_id} is not awaited", self.tag)) {
            Asked::Join(room) => {
                let membership = self.rooms.entry(room).or_default();
                match membership.place {
                    Place::In(latest) => {
                        assert_eq!(latest, number, "socket {}: a second join of room {room}", self.tag)
                    }
                    _ => assert!(
                        membership.highest <= number,
                        "room {room}: a message before the join's acknowledgement"
                    ),
                }
                membership.place = Place::In(number);
            }
            Asked::Leave(room) => self.rooms.entry(room).or_default().place = Place::Out,
            Asked::Publish(room, own) => {
                history.note(room, number, self.tag, own);
                history.note_acked(room, number);
                assert_eq!(self.own_seen.get(&own), Some(&number), "socket {}: acknowledged first", self.tag);
            }
            Asked::Whisper(k) => assert!(self.whisper_seen >= k, "socket {}: whisper {k} is lost", self.tag),
        }
    }

    /// The connection broke: what was asked for may have happened or not.
    pub fn broken(&mut self) {
        for (ack_id, asked) in std::mem::take(&mut self.pending) {
            if let Asked::Join(room) | Asked::Leave(room) = asked {
                self.rooms.entry(room).or_default().place = Place::Unknown;
            }
            self.late.insert(ack_id, asked);
        }
    }

    /// The socket has the whole of each room up to `latest`.
    pub fn check_whole(&self, latest: impl Fn(Room) -> u64) {
        for (&room, membership) in &self.rooms {
            if let Place::In(seen) = membership.place {
                assert!(seen >= latest(room), "socket {}, room {room}: {seen} of {}", self.tag, latest(room));
            }
        }
    }
}
