//! A delivery allocates nothing: what a message costs in memory is paid once, however many it goes to.

use sockeye::connection::outbound::{Outbound, Owner, SinkKey};
use sockeye::rooms::RoomId;
use sockeye::rooms::members::{Member, Members, Memberships};
use sockeye::wire::prepared::Prepared;

const MEMBERS: u32 = 1_000;
const FRAME: &str = r#"["messageBroadcast",{"text":"How are you today? I have been thinking about what you said."}]"#;

struct Rooms {
    members: Members,
    out: Outbound,
    /// Everybody is in both; what one has of them alternates, so that it is not one range of bytes.
    rooms: [u32; 2],
    frame: Prepared,
}

impl Rooms {
    fn new() -> Self {
        let (mut members, mut out) = (Members::default(), Outbound::default());
        let ids = ["one", "two"].map(|name| RoomId::Name(name.into()));
        for slot in 0..MEMBERS {
            let member = Member { socket: slot, sink: out.open(Owner::Connection(slot)) };
            let mut places = Memberships::new();
            ids.iter().for_each(|id| {
                members.join(id, member, 0, &mut places);
            });
        }
        let rooms = ids.map(|id| members.find(&id).expect("joined"));
        Self { members, out, rooms, frame: Prepared::event(|out| out.extend_from_slice(FRAME.as_bytes())) }
    }

    /// A turn in which each room gets `frames` messages. `write` takes what a sink is sent. Returns the bytes it took.
    fn turn(&mut self, frames: usize, mut write: impl FnMut(SinkKey, usize) -> usize) -> usize {
        for _ in 0..frames {
            for room in self.rooms {
                self.members.deliver(room, &mut self.out, None, |bytes| self.frame.put(bytes));
            }
        }
        let mut written = 0;
        while let Some(sink) = self.out.next_dirty() {
            self.out.flush(sink, &mut |slices| {
                let taken = write(sink, slices.iter().map(|s| s.len()).sum());
                written += taken;
                Ok(taken)
            });
        }
        self.out.end_turn();
        written
    }
}

#[test]
fn a_delivery_to_members_that_read_allocates_nothing() {
    let mut rooms = Rooms::new();
    // The last fills more than is copied together for one write.
    for frames in [1, 4, 32, 512] {
        let expected = rooms.turn(frames, |_, offered| offered);
        assert!(expected >= MEMBERS as usize * 2 * frames * FRAME.len());
        let counted = allocation_counter::measure(|| {
            for _ in 0..10 {
                assert_eq!(rooms.turn(frames, |_, offered| offered), expected);
            }
        });
        assert_eq!(counted.count_total, 0, "{} deliveries a turn", MEMBERS as usize * 2 * frames);
    }
}

#[test]
fn what_a_slow_reader_is_owed_refers_to_bytes_that_are_there_once() {
    let mut rooms = Rooms::new();
    rooms.turn(1, |_, offered| offered);
    let counted = allocation_counter::measure(|| {
        rooms.turn(1, |_, _| 0);
    });
    // The backlog and its queue for each reader; not the frame again.
    let each = counted.bytes_max / u64::from(MEMBERS);
    assert!(counted.count_total <= 3 * u64::from(MEMBERS) && each < 256, "{counted:?}, {each} bytes each");
}
