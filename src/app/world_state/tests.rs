//! What is told, in which order, and what is left out.

use super::*;
use crate::app::history::Item;
use crate::app::mail::{Party, Stamp};
use serde_json::Value;

const ALL: usize = 1 << 30;

fn room(n: u128, messages: u64, len: usize) -> Room {
    let mut room = Room::new(RoomId::Uuid(Uuid::from_u128(n)), 0, Uuid::nil(), 5);
    for id in 1..=messages {
        let object = format!("{{\"n\":{id},\"text\":\"{}\"}}", "x".repeat(len));
        let stamp = Stamp { id: Uuid::from_u128(id.into()), created_at: id };
        room.history.push(Item { stamp, sender: Uuid::nil(), object: object.as_bytes(), extra: None });
    }
    room
}

fn written(rooms: &[RoomState]) -> (usize, Value) {
    let mut out = Vec::new();
    put(&mut out, rooms, None, 9);
    (out.len(), serde_json::from_slice(&out).expect("valid JSON"))
}

/// The numbers of the messages told of a room.
fn told(state: &Value, n: u128) -> Vec<u64> {
    let messages = state["messages"][Uuid::from_u128(n).to_string()].as_array().into_iter().flatten();
    messages.map(|m| m["n"].as_u64().expect("a number")).collect()
}

#[test]
fn everything_is_told_in_the_documented_order_of_keys() {
    let mut one = room(0x1a2b_3c4d << 96, 1, 1);
    one.enter(Party::Agent(Uuid::from_u128(7)), 6).name = "Eliza".into();
    one.seen(Uuid::from_u128(8), 7).name = "A \"da\"".into();
    one.online = 2;
    one.message_count = 57;
    let mut out = Vec::new();
    put(&mut out, &[RoomState::of(&one, ALL, |_| true)], Some(one.id()), 9);
    let (id, nil) = (one.id(), Uuid::nil());
    let (agent, user) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let expected = format!(
        "{{\"agents\":{{\"{agent}\":{{\"id\":\"{agent}\",\"name\":\"Eliza\",\"status\":\"active\",\"rooms\":[\"{id}\"],\
         \"lastSeen\":6}}}},\"users\":{{\"{user}\":{{\"id\":\"{user}\",\"name\":\"A \\\"da\\\"\",\"status\":\"offline\",\
         \"rooms\":[\"{id}\"],\"lastSeen\":7}}}},\"channels\":{{\"{id}\":{{\"id\":\"{id}\",\"serverId\":\"{nil}\",\
         \"messageServerId\":\"{nil}\",\"name\":\"Chat 1a2b3c4d\",\"type\":\"GROUP\",\"sourceType\":\"auto_created\",\
         \"participants\":[\"{agent}\",\"{user}\"],\"online\":2,\"messageCount\":57,\"createdAt\":5,\"updatedAt\":5,\
         \"metadata\":{{}}}}}},\"messages\":{{\"{id}\":[{{\"n\":1,\"text\":\"x\"}}]}},\"roomId\":\"{id}\",\"serverTime\":9}}"
    );
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
}

#[test]
fn nothing_is_four_empty_maps() {
    let mut out = Vec::new();
    put(&mut out, &[], None, 9);
    assert_eq!(out, br#"{"agents":{},"users":{},"channels":{},"messages":{},"roomId":null,"serverTime":9}"#);
}

#[test]
fn the_oldest_messages_are_left_out_and_small_rooms_are_told_whole() {
    let (small, large, larger) = (room(1, 3, 10), room(2, 50, 1_000), room(3, 50, 5_000));
    let max = 60_000;
    let mut rooms: Vec<RoomState> = [&small, &large, &larger].map(|room| RoomState::of(room, max, |_| true)).into();
    assert!(fit(&mut rooms, max));
    let (len, state) = written(&rooms);
    assert!((max / 2..=max).contains(&len), "{len}");
    assert_eq!(told(&state, 1), [1, 2, 3]);
    for n in [2, 3] {
        let told = told(&state, n);
        assert!((4..50).contains(&told.len()), "{told:?}");
        assert_eq!(told, (51 - told.len() as u64..=50).collect::<Vec<_>>());
    }
}

#[test]
fn no_more_is_told_than_fits_whatever_is_in_the_rooms() {
    let crowded = |n: u128, names: &str| {
        let mut room = room(n, 50, 2_000);
        for id in 0..1_000 {
            room.seen(Uuid::from_u128(id), id as u64).name = names.into();
        }
        room
    };
    let mut named = Room::new(RoomId::Name("\"".repeat(255).into()), 0, Uuid::nil(), 0);
    named.seen(Uuid::from_u128(1), 1);
    let rooms = [crowded(1, "Ada"), crowded(2, &"\u{1}".repeat(256)), room(3, 50, 20_000), room(4, 0, 0), named];
    for max in [1_000, 4_000, 16_384, 65_536, 262_144, 1 << 20] {
        let mut states: Vec<RoomState> = rooms.iter().map(|room| RoomState::of(room, max, |_| true)).collect();
        fit(&mut states, max);
        let (len, _) = written(&states);
        assert!(len <= max + 100, "{len} of {max}");
        for room in &rooms {
            let mut one = vec![RoomState::of(room, max, |_| true)];
            fit(&mut one, max);
            let (len, _) = written(&one);
            assert!(len <= max + 100, "{len} of {max}");
        }
    }
    // Those seen last are told, and messages too.
    let (_, state) = written(&[RoomState::of(&rooms[0], 65_536, |_| true)]);
    let users = state["users"].as_object().expect("an object");
    assert!((20..200).contains(&users.len()), "{}", users.len());
    assert!(users.values().all(|user| user["lastSeen"].as_u64() >= Some(800)));
    assert!(told(&state, 1).len() > 10);
}

#[test]
fn a_person_of_several_rooms_is_told_once() {
    let (mut one, mut two) = (room(1, 0, 0), room(2, 0, 0));
    let id = Uuid::from_u128(9);
    one.seen(id, 20).name = "".into();
    two.enter(Party::User(id), 10).name = "Ada".into();
    let (_, state) = written(&[RoomState::of(&one, ALL, |_| true), RoomState::of(&two, ALL, |_| true)]);
    let user = &state["users"][id.to_string()];
    assert_eq!((&user["name"], &user["status"]), (&Value::from("Ada"), &Value::from("online")));
    assert_eq!(user["rooms"].as_array().map(Vec::len), Some(2));
    two.enter(Party::Agent(id), 10);
    let (_, state) = written(&[RoomState::of(&one, ALL, |_| true), RoomState::of(&two, ALL, |_| true)]);
    assert!(state["users"].as_object().is_some_and(|users| users.is_empty()));
    assert_eq!(state["agents"][id.to_string()]["rooms"].as_array().map(Vec::len), Some(2));
}

#[test]
fn shares_leave_to_others_what_small_ones_do_not_need() {
    for (bytes, max, expected) in [
        (vec![10, 10, 10], 30, 30),
        (vec![10, 100, 100], 110, 50),
        (vec![1, 2, 3, 1_000], 106, 100),
        (vec![100, 100], 100, 50),
        (vec![], 100, 100),
    ] {
        let mut sorted = bytes.clone();
        assert_eq!(share(&mut sorted, max), expected, "{bytes:?}");
    }
}
