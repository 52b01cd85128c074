//! What is kept, and what goes first.

use super::*;
use crate::app::mail::Stamp;

const ALL: usize = usize::MAX;

fn room(n: u128) -> RoomId {
    RoomId::Uuid(Uuid::from_u128(n))
}

fn item(n: u64, len: usize) -> Item<'static> {
    let stamp = Stamp { id: Uuid::from_u128(n.into()), created_at: n };
    Item { stamp, sender: Uuid::nil(), object: &[b'x'; 10_000][..len], extra: None }
}

fn world(bounds: Bounds) -> World {
    World::new(bounds, Uuid::nil())
}

fn bounds() -> Bounds {
    Bounds { rooms: 100, history_len: 3, room_bytes: ALL, history_bytes: ALL }
}

/// Opens `room(n)` and stores a message in it.
fn say(world: &mut World, n: u128, id: u64, len: usize) {
    let slot = world.open(&room(n), 0, |room| room.slot()).expect("a room");
    world.store(slot, item(id, len));
}

fn kept(world: &World, n: u128) -> Vec<u64> {
    let items = world.room(&room(n)).into_iter().flat_map(|r| r.history.before(None));
    items.map(|i| i.stamp.created_at).collect()
}

/// The counts agree with what is there.
#[track_caller]
fn check(world: &World) {
    let items: Vec<_> = world.rooms().flat_map(|r| r.history.before(None).map(|i| (i, r.id()))).collect();
    assert_eq!(world.history_bytes, items.iter().map(|(i, _)| i.bytes()).sum::<usize>());
    for (item, id) in items {
        let (room, found) = world.message(item.stamp.id).expect("indexed");
        assert_eq!((room.id(), found.stamp), (id, item.stamp));
    }
    for slot in world.by_message.values() {
        assert!(world.rooms.contains(*slot as usize));
    }
    let spoken = world.rooms().filter(|r| !r.history.is_empty()).count();
    assert_eq!(world.spoken.len(), spoken);
}

#[test]
fn a_room_keeps_its_latest_messages() {
    let mut world = world(bounds());
    (1..=5).for_each(|n| say(&mut world, 1, n, 10));
    assert_eq!(kept(&world, 1), [5, 4, 3]);
    assert_eq!(world.room(&room(1)).map(|r| r.history.len()), Some(3));
    check(&world);
    assert_eq!(world.counters().trimmed_by_room_bytes, 0);
}

#[test]
fn a_history_of_none_keeps_nothing() {
    let mut world = world(Bounds { history_len: 0, ..bounds() });
    say(&mut world, 1, 1, 10);
    assert!(kept(&world, 1).is_empty());
    check(&world);
}

#[test]
fn the_bytes_of_a_room_are_bounded_and_counted() {
    let each = item(1, 1_000).bytes();
    let mut world = world(Bounds { room_bytes: 2 * each, ..bounds() });
    (1..=3).for_each(|n| say(&mut world, 1, n, 1_000));
    assert_eq!(kept(&world, 1), [3, 2]);
    assert_eq!(world.counters().trimmed_by_room_bytes, 1);
    // One that is larger than all that may be kept leaves nothing.
    say(&mut world, 1, 4, 10_000);
    assert!(kept(&world, 1).is_empty());
    assert_eq!(world.counters().trimmed_by_room_bytes, 4);
    check(&world);
}

#[test]
fn beyond_the_bytes_of_all_rooms_the_oldest_of_the_room_longest_unused_goes() {
    let each = item(1, 1_000).bytes();
    let mut world = world(Bounds { history_bytes: 4 * each, ..bounds() });
    for (n, room) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        say(&mut world, room, n, 1_000);
    }
    world.read(&room(1));
    say(&mut world, 3, 5, 1_000);
    assert_eq!((kept(&world, 1), kept(&world, 2), kept(&world, 3)), (vec![2, 1], vec![4], vec![5]));
    say(&mut world, 3, 6, 1_000);
    say(&mut world, 3, 7, 1_000);
    assert_eq!((kept(&world, 1), kept(&world, 2), kept(&world, 3)), (vec![2], vec![], vec![7, 6, 5]));
    assert_eq!(world.counters().trimmed_by_history_bytes, 3);
    assert!(world.counters().history_bytes <= 4 * each as u64);
    check(&world);
}

#[test]
fn a_replaced_message_stays_where_it_is_and_counts_what_it_has_become() {
    let each = item(1, 1_000).bytes();
    let mut world = world(Bounds { room_bytes: 3 * each, ..bounds() });
    (1..=3).for_each(|n| say(&mut world, 1, n, 1_000));
    assert!(world.replace(Uuid::from_u128(2), &[b'y'; 500], None));
    assert_eq!(kept(&world, 1), [3, 2, 1]);
    check(&world);
    assert!(world.replace(Uuid::from_u128(3), &[b'y'; 2_000], None));
    assert_eq!(kept(&world, 1), [3, 2]);
    check(&world);
    assert!(!world.replace(Uuid::from_u128(1), b"gone", None));
}

#[test]
fn a_message_is_found_whether_or_not_its_id_names_its_room() {
    let mut world = world(bounds());
    let slots = [1, 2].map(|n| world.open(&room(n), 0, |room| room.slot()).expect("a room"));
    let stamp = |id: u128, created_at| Stamp { id: Uuid::from_u128(id), created_at };
    // One that names its room, one that names the other room, and one that names none.
    for (stamp, slot) in [
        (stamp(7 << 32 | u128::from(slots[0]), 1), slots[0]),
        (stamp(8 << 32 | u128::from(slots[0]), 2), slots[1]),
        (stamp(9 << 32 | 1_000, 3), slots[1]),
    ] {
        world.store(slot, Item { stamp, ..item(1, 10) });
    }
    assert_eq!((kept(&world, 1), kept(&world, 2), world.by_message.len()), (vec![1], vec![3, 2], 2));
    check(&world);
    (4..=9).for_each(|n| say(&mut world, 2, n, 10));
    assert!(world.message(Uuid::from_u128(9 << 32 | 1_000)).is_none());
    check(&world);
}

#[test]
fn an_empty_room_that_is_dropped_takes_its_messages_along() {
    let mut world = world(Bounds { rooms: 2, ..bounds() });
    say(&mut world, 1, 1, 10);
    say(&mut world, 2, 2, 10);
    world.read(&room(1));
    say(&mut world, 3, 3, 10);
    assert_eq!((kept(&world, 1), kept(&world, 2), kept(&world, 3)), (vec![1], vec![], vec![3]));
    for n in [1, 3] {
        world.change(&room(n), |room| room.online += 1);
    }
    assert!(world.open(&room(4), 0, |_| ()).is_none());
    assert_eq!((world.counters().dropped, world.counters().refused, world.counters().rooms), (1, 1, 2));
    check(&world);
}
