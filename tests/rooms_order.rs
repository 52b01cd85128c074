//! The documented API: one order per room for all its members, and what a socket sends is applied in the order sent.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use common::engine::BOTH;
use common::rooms::{join, member, message, texts, uuid};
use common::{Client, QUIET, ROOMS, Server, Via, each_cell};

#[test]
fn messages_of_one_sender_keep_their_order() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let (room, user) = (uuid(), uuid());
            let mut listener = member(server, Via::WebSocket, &room);
            let mut sender = Client::connect(server, via);
            for n in 0..200 {
                sender.emit("message", message(&room, &user, &n.to_string()));
            }
            let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
            assert_eq!(texts(&mut listener, 200), expected);
            assert_eq!(texts(&mut sender, 200), expected);
        }
    });
}

/// Sends `n` numbered messages, each acknowledged before the next when `patient`.
fn chatter(server: &Server, room: &str, name: &str, n: usize, patient: bool) {
    let mut sender = Client::connect(server, Via::WebSocket);
    let user = uuid();
    let mut unacknowledged = Vec::new();
    for i in 0..n {
        let payload = message(room, &user, &format!("{name}-{i}"));
        unacknowledged.push(sender.start_call(&json!(["message", payload]).to_string()));
        if patient || i + 1 == n {
            unacknowledged.drain(..).for_each(|id| {
                assert_eq!(sender.ack(id)["ok"], true);
            });
        }
    }
}

#[test]
fn all_members_see_one_order_of_concurrent_senders() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut members: Vec<Client> = (0..6).map(|n| member(server, BOTH[n % 2], &room)).collect();
        std::thread::scope(|scope| {
            for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
                let room = &room;
                scope.spawn(move || chatter(server, room, name, 50, n % 2 == 0));
            }
        });
        let order = texts(&mut members[0], 200);
        assert_eq!(order.iter().collect::<HashSet<_>>().len(), 200, "each message once");
        for name in ["a", "b", "c", "d"] {
            let own: Vec<&String> = order.iter().filter(|t| t.starts_with(name)).collect();
            let sorted: Vec<String> = (0..50).map(|i| format!("{name}-{i}")).collect();
            assert_eq!(own, sorted.iter().collect::<Vec<_>>());
        }
        for member in &mut members[1..] {
            assert_eq!(texts(member, 200), order);
        }
    });
}

#[test]
fn join_in_front_of_a_message_is_applied_first() {
    each_cell(ROOMS, |server| {
        for _ in 0..30 {
            let room = uuid();
            let mut client = Client::connect(server, Via::WebSocket);
            let mut other = member(server, Via::WebSocket, &room);
            let first = json!(["join", {"roomId": room}]);
            let second = json!(["message", message(&room, &uuid(), "one")]);
            let third = json!(["leave", {"roomId": room}]);
            client.session.send_all(&[first, second, third].map(|event| common::Packet::Text(format!("42{event}"))));
            assert_eq!(texts(&mut client, 1), ["one"]);
            assert_eq!(texts(&mut other, 1), ["one"]);
            // It has left again: this one is not for it.
            other.call("message", message(&room, &uuid(), "two"));
            client.find("messageComplete");
            client.is_quiet(Duration::from_millis(5));
        }
    });
}

#[test]
fn acknowledged_message_has_been_ordered_before_what_follows_elsewhere() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut senders: Vec<Client> = (0..4).map(|n| Client::connect(server, BOTH[n % 2])).collect();
        for n in 0..40 {
            let ack = senders[n % 4].call("message", message(&room, &uuid(), &n.to_string()));
            assert_eq!(ack["ok"], true);
        }
        let expected: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        assert_eq!(texts(&mut listener, 40), expected);
    });
}

#[test]
fn ids_and_times_of_a_room_ascend() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut senders: Vec<Client> = (0..4).map(|_| Client::connect(server, Via::WebSocket)).collect();
        for n in 0..40 {
            senders[n % 4].emit("message", message(&room, &uuid(), "x"));
        }
        let mut last = (String::new(), 0);
        for _ in 0..40 {
            let broadcast = listener.find("messageBroadcast");
            let id = broadcast["id"].as_str().unwrap().to_string();
            let created_at = broadcast["createdAt"].as_u64().unwrap();
            assert!(id > last.0, "{id} after {}", last.0);
            assert!(created_at >= last.1);
            last = (id, created_at);
        }
    });
}

#[test]
fn member_hears_all_its_rooms_and_each_message_once() {
    each_cell(ROOMS, |server| {
        let rooms: Vec<String> = (0..20).map(|_| uuid()).collect();
        let mut member = Client::connect(server, Via::WebSocket);
        rooms.iter().for_each(|room| join(&mut member, room));
        let mut sender = Client::connect(server, Via::WebSocket);
        for room in &rooms {
            sender.call("message", message(room, &uuid(), room));
        }
        let heard: HashSet<String> = texts(&mut member, 20).into_iter().collect();
        assert_eq!(heard, rooms.into_iter().collect());
        member.is_quiet(QUIET);
    });
}

#[test]
fn disconnected_member_is_gone_from_its_rooms() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut stayer = member(server, Via::WebSocket, &room);
        let mut leaver = member(server, Via::WebSocket, &room);
        // The namespace, not the connection.
        leaver.raw("41");
        common::eventually("one member is left", || stayer.call("join", json!({"roomId": room}))["members"] == 1);
        let other = member(server, Via::Polling, &room);
        assert_eq!(stayer.call("join", json!({"roomId": room}))["members"], 2);
        let mut session = other.session;
        session.send("1");
        common::eventually("one member is left", || stayer.call("join", json!({"roomId": room}))["members"] == 1);
        stayer.call("message", message(&room, &uuid(), "still works"));
        assert_eq!(texts(&mut stayer, 1), ["still works"]);
    });
}

#[test]
fn room_of_two_hundred_members_hears_everything() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut members: Vec<Client> = (0..200).map(|_| member(server, Via::WebSocket, &room)).collect();
        for n in 0..20 {
            members[n * 7].emit("message", message(&room, &uuid(), &n.to_string()));
        }
        let order = texts(&mut members[0], 20);
        for member in &mut members[1..] {
            assert_eq!(texts(member, 20), order);
        }
    });
}
