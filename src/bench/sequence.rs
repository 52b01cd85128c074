//! Checks what every member of every room receives: nothing missing, nothing twice, one order for all.

use std::collections::HashSet;

use super::stamp::Stamp;

/// At most this many missing messages are remembered one by one; more are counted as lost for good.
const MISSING_MAX: usize = 1 << 20;

/// The rooms of a run. Member `m` of room `r` is client `m * rooms + r`, so that members of a room are as far apart as
/// those of people who arrive in no particular order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub rooms: u32,
    pub members: u32,
    /// Publishers in each room.
    pub publishers: u16,
}

impl Layout {
    pub fn clients(&self) -> usize {
        self.rooms as usize * self.members as usize
    }

    /// The client that is publisher `publisher` of `room`; publishers are spread evenly over the members.
    pub fn publisher(&self, room: u32, publisher: u16) -> u32 {
        let member = (2 * u64::from(publisher) + 1) * u64::from(self.members) / (2 * u64::from(self.publishers));
        u32::try_from(member).unwrap_or(u32::MAX) * self.rooms + room
    }
}

/// What the checks found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Messages a member should have received and did not.
    pub lost: u64,
    /// Messages a member received again.
    pub duplicated: u64,
    /// Messages a member received after a later one of the same publisher.
    pub reordered: u64,
    /// Messages of another room, or that nobody sent.
    pub foreign: u64,
    /// Members that received every message of their room, in another order than the room's first member.
    pub members_in_other_order: u64,
}

impl Faults {
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    received: u64,
    /// Depends on every message received and on their order.
    order: u64,
}

/// Follows the sequence numbers of each publisher at each member.
#[derive(Debug)]
pub(super) struct Sequences {
    layout: Layout,
    room_of: Vec<u32>,
    members: Vec<Member>,
    /// The sequence number expected next, per client and publisher of its room.
    next: Vec<u32>,
    /// (client, publisher, sequence) passed over so far.
    missing: HashSet<(u32, u16, u32)>,
    missing_over_bound: u64,
    faults: Faults,
}

impl Sequences {
    pub fn new(layout: Layout) -> Self {
        let clients = layout.clients();
        Self {
            layout,
            room_of: (0..layout.rooms).cycle().take(clients).collect(),
            members: vec![Member::default(); clients],
            next: vec![0; clients * usize::from(layout.publishers)],
            missing: HashSet::new(),
            missing_over_bound: 0,
            faults: Faults::default(),
        }
    }

    /// Notes that `client` received the message of `stamp`. Returns whether it was due to this client, and for the first time.
    #[inline]
    pub fn received(&mut self, client: u32, stamp: &Stamp) -> bool {
        let at = client as usize;
        if stamp.publisher >= self.layout.publishers || self.room_of[at] != stamp.room {
            self.faults.foreign += 1;
            return false;
        }
        let next = &mut self.next[at * usize::from(self.layout.publishers) + usize::from(stamp.publisher)];
        if *next == stamp.sequence {
            *next = next.wrapping_add(1);
        } else if *next < stamp.sequence {
            let passed_over = *next..stamp.sequence;
            *next = stamp.sequence.wrapping_add(1);
            self.note_missing(client, stamp.publisher, passed_over);
        } else if self.missing.remove(&(client, stamp.publisher, stamp.sequence)) {
            self.faults.reordered += 1;
        } else {
            self.faults.duplicated += 1;
            return false;
        }
        let member = &mut self.members[at];
        member.received += 1;
        let message = u64::from(stamp.publisher) << 32 | u64::from(stamp.sequence);
        member.order = (member.order.rotate_left(5) ^ message).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        true
    }

    fn note_missing(&mut self, client: u32, publisher: u16, passed_over: std::ops::Range<u32>) {
        for sequence in passed_over.clone() {
            if self.missing.len() == MISSING_MAX {
                self.missing_over_bound += u64::from(passed_over.end - sequence);
                return;
            }
            self.missing.insert((client, publisher, sequence));
        }
    }

    /// What was wrong, given how many messages each publisher of each room has sent (`sent[room * publishers + publisher]`).
    pub fn faults(&self, sent: &[u32]) -> Faults {
        let publishers = usize::from(self.layout.publishers);
        let mut faults = self.faults;
        faults.lost = self.missing.len() as u64 + self.missing_over_bound;
        for (client, &room) in self.room_of.iter().enumerate() {
            let sent = &sent[room as usize * publishers..][..publishers];
            let next = &self.next[client * publishers..][..publishers];
            for (&sent, &next) in sent.iter().zip(next) {
                faults.lost += u64::from(sent.saturating_sub(next));
                faults.foreign += u64::from(next.saturating_sub(sent));
            }
        }
        faults.members_in_other_order = self.members_in_other_order(sent);
        faults
    }

    fn members_in_other_order(&self, sent: &[u32]) -> u64 {
        let publishers = usize::from(self.layout.publishers);
        let mut room_order: Vec<Option<u64>> = vec![None; self.layout.rooms as usize];
        let mut others = 0;
        for (member, &room) in self.members.iter().zip(&self.room_of) {
            let sent: u64 = sent[room as usize * publishers..][..publishers].iter().map(|&sent| u64::from(sent)).sum();
            if member.received == sent {
                let order = *room_order[room as usize].get_or_insert(member.order);
                others += u64::from(order != member.order);
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { rooms: 2, members: 3, publishers: 2 };

    fn stamp(room: u32, publisher: u16, sequence: u32) -> Stamp {
        Stamp { sent_ns: 0, room, publisher, sequence }
    }

    /// Gives every member of both rooms the messages of `order`, except that `client` gets `its_order`.
    fn run(client: u32, its_order: &[(u16, u32)]) -> Faults {
        let order = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)];
        let mut sequences = Sequences::new(LAYOUT);
        for other in 0..6 {
            for &(publisher, sequence) in if other == client { its_order } else { &order } {
                sequences.received(other, &stamp(other % 2, publisher, sequence));
            }
        }
        sequences.faults(&[3, 2, 3, 2])
    }

    #[test]
    fn a_faultless_run_has_no_faults() {
        let faults = run(4, &[(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]);
        assert_eq!(faults, Faults::default());
        assert!(!faults.any());
    }

    #[test]
    fn finds_loss_in_the_middle_and_at_the_end() {
        let faults = run(4, &[(0, 0), (0, 1), (1, 1)]);
        assert_eq!(faults, Faults { lost: 2, ..Faults::default() });
        assert!(faults.any());
        assert_eq!(run(4, &[]), Faults { lost: 5, ..Faults::default() });
    }

    #[test]
    fn finds_duplicates() {
        let faults = run(4, &[(0, 0), (1, 0), (1, 0), (0, 1), (0, 0), (1, 1), (0, 2)]);
        assert_eq!(faults, Faults { duplicated: 2, ..Faults::default() });
    }

    #[test]
    fn finds_reordering_within_a_publisher() {
        let faults = run(4, &[(0, 0), (1, 0), (0, 2), (1, 1), (0, 1)]);
        assert_eq!(faults, Faults { reordered: 1, members_in_other_order: 1, ..Faults::default() });
    }

    #[test]
    fn finds_a_member_that_sees_two_publishers_in_another_order() {
        let faults = run(4, &[(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)]);
        assert_eq!(faults, Faults { members_in_other_order: 1, ..Faults::default() });
    }

    #[test]
    fn finds_messages_of_another_room_and_of_nobody() {
        let mut sequences = Sequences::new(LAYOUT);
        assert!(!sequences.received(0, &stamp(1, 0, 0)), "client 0 is in room 0");
        assert!(!sequences.received(0, &stamp(0, 2, 0)), "there are two publishers");
        assert!(sequences.received(0, &stamp(0, 0, 0)));
        assert_eq!(sequences.faults(&[0, 0, 0, 0]).foreign, 3);
    }

    #[test]
    fn counts_loss_beyond_what_it_remembers() {
        let mut sequences = Sequences::new(LAYOUT);
        let far = u32::try_from(MISSING_MAX).unwrap() + 1_000;
        sequences.received(0, &stamp(0, 0, far));
        let rest = 2 * u64::from(far + 1);
        assert_eq!(sequences.faults(&[far + 1, 0, 0, 0]).lost, u64::from(far) + rest);
    }

    #[test]
    fn publishers_are_spread_over_the_members_of_their_room() {
        let layout = Layout { rooms: 10, members: 100, publishers: 4 };
        let clients: Vec<u32> = (0..4).map(|publisher| layout.publisher(7, publisher)).collect();
        assert_eq!(clients, [127, 377, 627, 877]);
        let all = Layout { rooms: 1, members: 3, publishers: 3 };
        assert_eq!((0..3).map(|publisher| all.publisher(0, publisher)).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
