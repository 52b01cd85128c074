//! The documented API: `join`, `leave`, `message`, what they are answered with, and to whom it goes.

mod common;

use serde_json::json;

use common::engine::BOTH;
use common::rooms::{BROADCAST_KEYS, NIL, failure, join, member, message, now_ms, texts, uuid};
use common::{Client, QUIET, ROOMS, Via, each_cell, each_driver, json as text};

#[test]
fn join_is_acknowledged_with_the_room_and_its_members() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let room = uuid();
            let mut client = Client::connect(server, via);
            // Repeating it changes nothing.
            for _ in 0..2 {
                let ack = client.call("join", json!({"roomId": room, "agentId": uuid()}));
                assert_eq!(ack, json!({"ok": true, "roomId": room, "members": 1}));
            }
        }
    });
}

#[test]
fn members_counts_the_sockets_in_the_room() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut clients: Vec<Client> = Vec::new();
        for n in 1..=6 {
            let mut client = Client::connect(server, BOTH[n % 2]);
            assert_eq!(client.call("join", json!({"roomId": room}))["members"], n);
            clients.push(client);
        }
        clients[0].call("leave", json!({"roomId": room}));
        assert_eq!(clients[1].call("join", json!({"roomId": room}))["members"], 5);
    });
}

#[test]
fn broadcast_has_the_documented_keys_in_their_order() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let (room, user) = (uuid(), uuid());
            let mut client = member(server, via, &room);
            let before = now_ms();
            let ack = client.call("message", message(&room, &user, "hello"));
            let event = client.event();
            assert_eq!(event.name, "messageBroadcast");
            assert_eq!(text::keys_in_order(&event.raw[0]), BROADCAST_KEYS);
            let broadcast = event.payload();
            assert_eq!(broadcast["senderId"], user);
            assert_eq!(broadcast["senderName"], "Ada");
            assert_eq!(broadcast["text"], "hello");
            assert_eq!(broadcast["roomId"], room);
            assert_eq!(broadcast["channelId"], room);
            assert_eq!(broadcast["serverId"], NIL);
            assert_eq!(broadcast["messageServerId"], NIL);
            assert_eq!(broadcast["source"], "socketio_client");
            assert_eq!(broadcast["thought"], "");
            assert_eq!(broadcast["actions"], json!([]));
            assert_eq!(broadcast["attachments"], json!([]));
            let created_at = broadcast["createdAt"].as_u64().expect("integer milliseconds");
            assert!((before..=now_ms()).contains(&created_at), "{before} {created_at}");
            let id: uuid::Uuid = broadcast["id"].as_str().unwrap().parse().expect("a uuid");
            assert_eq!(id.get_version_num(), 7);

            assert_eq!(text::keys(&ack), ["createdAt", "id", "ok"], "{ack}");
            assert_eq!(ack["ok"], true);
            assert_eq!(ack["id"], broadcast["id"]);
            assert_eq!(ack["createdAt"], created_at);
        }
    });
}

#[test]
fn optional_fields_are_passed_on() {
    each_driver(ROOMS, |server| {
        let (room, user, server_id) = (uuid(), uuid(), uuid());
        let mut client = member(server, Via::WebSocket, &room);
        let attachments = json!([{"url": "https://x/y.png", "id": "1", "nested": {"a": [null, 1.5]}}]);
        client.call(
            "message",
            json!({
                "text": "hi", "roomId": room, "userId": user, "name": "Ada", "serverId": server_id,
                "source": "discord", "thought": "think \"first\"", "actions": ["REPLY", "IGNORE"],
                "attachments": attachments, "metadata": {"a": {"b": 1}}, "inReplyTo": uuid(),
            }),
        );
        let event = client.event();
        assert_eq!(text::keys_in_order(&event.raw[0]), BROADCAST_KEYS);
        let broadcast = event.payload();
        assert_eq!(broadcast["serverId"], server_id);
        assert_eq!(broadcast["messageServerId"], server_id);
        assert_eq!(broadcast["source"], "discord");
        assert_eq!(broadcast["thought"], "think \"first\"");
        assert_eq!(broadcast["actions"], json!(["REPLY", "IGNORE"]));
        assert_eq!(broadcast["attachments"], attachments);
    });
}

#[test]
fn server_id_has_several_names() {
    each_driver(ROOMS, |server| {
        let (room, user) = (uuid(), uuid());
        let mut client = member(server, Via::WebSocket, &room);
        for name in ["serverId", "messageServerId", "server_id", "message_server_id", "worldId"] {
            let server_id = uuid();
            let mut payload = message(&room, &user, "hi");
            payload[name] = json!(server_id.to_uppercase());
            client.call("message", payload);
            let broadcast = client.find("messageBroadcast");
            assert_eq!(broadcast["serverId"], server_id, "{name}");
            assert_eq!(broadcast["messageServerId"], server_id, "{name}");
        }
    });
}

#[test]
fn server_id_flag_is_the_default() {
    const ID: &str = "11111111-2222-3333-4444-555555555555";
    each_driver(&["--server-id", ID], |server| {
        let room = uuid();
        let mut client = member(server, Via::WebSocket, &room);
        client.emit("message", message(&room, &uuid(), "hi"));
        assert_eq!(client.expect("messageBroadcast")["serverId"], ID);
        assert_eq!(client.expect("messageComplete")["serverId"], ID);
    });
}

#[test]
fn name_defaults_to_user() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = member(server, Via::WebSocket, &room);
        client.emit("message", json!({"text": "hi", "roomId": room, "userId": uuid()}));
        assert_eq!(client.expect("messageBroadcast")["senderName"], "User");
    });
}

#[test]
fn message_goes_to_every_member_once_and_to_nobody_else() {
    each_cell(ROOMS, |server| {
        let (room, other_room) = (uuid(), uuid());
        let mut members: Vec<Client> = (0..8).map(|n| member(server, BOTH[n % 2], &room)).collect();
        // Joining twice does not double what comes.
        join(&mut members[0], &room);
        let mut outsiders: Vec<Client> = (0..4).map(|n| member(server, BOTH[n % 2], &other_room)).collect();
        let mut loner = Client::connect(server, Via::WebSocket);
        members[0].call("message", message(&room, &uuid(), "one"));
        members[1].call("message", message(&room, &uuid(), "two"));
        for client in &mut members {
            assert_eq!(texts(client, 2), ["one", "two"]);
        }
        // The first thing outsiders hear is of their own room.
        outsiders[0].call("message", message(&other_room, &uuid(), "elsewhere"));
        for client in &mut outsiders {
            assert_eq!(client.expect("messageBroadcast")["text"], "elsewhere");
        }
        loner.is_quiet(QUIET);
        members[7].is_quiet(QUIET);
    });
}

#[test]
fn sender_that_has_not_joined_gets_its_message_and_does_not_become_a_member() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let (room, user) = (uuid(), uuid());
            let mut sender = Client::connect(server, via);
            let mut listener = member(server, Via::WebSocket, &room);
            assert_eq!(sender.call("message", message(&room, &user, "hi"))["ok"], true);
            assert_eq!(sender.expect("messageBroadcast")["text"], "hi");
            assert_eq!(sender.expect("messageComplete")["channelId"], room);
            assert_eq!(listener.expect("messageBroadcast")["text"], "hi");
            listener.call("message", message(&room, &user, "again"));
            assert_eq!(listener.expect("messageBroadcast")["text"], "again");
            assert_eq!(listener.call("join", json!({"roomId": room}))["members"], 1);
            sender.is_quiet(QUIET);
        }
    });
}

#[test]
fn room_ids_are_compared_and_echoed_in_lower_case() {
    each_cell(ROOMS, |server| {
        let (room, user) = (uuid(), uuid());
        let upper = room.to_uppercase();
        let mut client = Client::connect(server, Via::WebSocket);
        assert_eq!(client.call("join", json!({"roomId": upper}))["roomId"], room);
        let mut other = member(server, Via::Polling, &room);
        other.call("message", message(&upper, &user.to_uppercase(), "hi"));
        let broadcast = client.expect("messageBroadcast");
        assert_eq!(broadcast["roomId"], room);
        assert_eq!(broadcast["senderId"], user);
        assert_eq!(client.call("leave", json!({"roomId": upper}))["roomId"], room);
    });
}

#[test]
fn nil_uuid_and_any_version_are_rooms() {
    each_driver(ROOMS, |server| {
        let mut client = Client::connect(server, Via::WebSocket);
        for room in [NIL, "ffffffff-ffff-ffff-ffff-ffffffffffff", "12345678-1234-0234-f234-123456789abc"] {
            join(&mut client, room);
        }
    });
}

#[test]
fn leave_is_final_and_acknowledged() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut leaver = member(server, Via::WebSocket, &room);
        let mut stayer = member(server, Via::WebSocket, &room);
        let ack = leaver.call("leave", json!({"roomId": room}));
        assert_eq!(ack, json!({"ok": true, "roomId": room}));
        stayer.call("message", message(&room, &uuid(), "unheard"));
        assert_eq!(texts(&mut stayer, 1), ["unheard"]);
        join(&mut leaver, &room);
        stayer.call("message", message(&room, &uuid(), "heard"));
        assert_eq!(leaver.expect("messageBroadcast")["text"], "heard");
    });
}

#[test]
fn leaving_a_room_not_joined_is_no_error() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let ack = client.call("leave", json!({"roomId": room}));
        assert_eq!(ack, json!({"ok": true, "roomId": room}));
        client.emit("leave", json!({"roomId": room, "agentId": uuid()}));
        client.is_quiet(QUIET);
    });
}

#[test]
fn message_without_a_live_agent_is_complete_at_once_for_its_sender_only() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut sender = member(server, Via::WebSocket, &room);
        let mut listener = member(server, Via::WebSocket, &room);
        sender.emit("message", message(&room, &uuid(), "hi"));
        assert_eq!(sender.expect("messageBroadcast")["text"], "hi");
        let complete = sender.event();
        assert_eq!(complete.name, "messageComplete");
        assert_eq!(text::keys_in_order(&complete.raw[0]), ["channelId", "serverId"]);
        assert_eq!(complete.payload()["channelId"], room);
        assert_eq!(complete.payload()["serverId"], NIL);
        assert_eq!(listener.expect("messageBroadcast")["text"], "hi");
        listener.is_quiet(QUIET);
        sender.is_quiet(QUIET);
    });
}

#[test]
fn only_the_senders_copy_has_its_message_id() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut sender = member(server, Via::WebSocket, &room);
        let mut listener = member(server, Via::Polling, &room);
        let mut payload = message(&room, &uuid(), "hi");
        payload["messageId"] = json!("my \"id\" 1");
        sender.emit("message", payload);
        let event = sender.event();
        let keys = text::keys_in_order(&event.raw[0]);
        assert_eq!(keys[..13], BROADCAST_KEYS);
        assert_eq!(keys[13..], ["clientMessageId"]);
        assert_eq!(event.payload()["clientMessageId"], "my \"id\" 1");
        let event = listener.event();
        assert_eq!(text::keys_in_order(&event.raw[0]), BROADCAST_KEYS);
    });
}

#[test]
fn repeated_message_id_is_answered_alike_and_broadcast_once() {
    each_cell(ROOMS, |server| {
        let (room, user) = (uuid(), uuid());
        let mut listener = member(server, Via::WebSocket, &room);
        let mut sender = Client::connect(server, Via::WebSocket);
        let mut payload = message(&room, &user, "once");
        payload["messageId"] = json!("m1");
        let first = sender.call("message", payload.clone());
        assert_eq!(first["ok"], true);
        assert_eq!(sender.call("message", payload.clone()), first);
        // The same sender after it has reconnected.
        let mut again = Client::connect(server, Via::Polling);
        assert_eq!(again.call("message", payload.clone()), first);
        assert_eq!(texts(&mut listener, 1), ["once"]);
        // Another sender, another room, another id: another message.
        for (key, value) in [("userId", uuid()), ("roomId", uuid()), ("messageId", "m2".to_string())] {
            let mut other = payload.clone();
            other[key] = json!(value);
            let ack = sender.call("message", other);
            assert_eq!(ack["ok"], true);
            assert_ne!(ack["id"], first["id"], "{key}");
        }
        assert_eq!(texts(&mut listener, 2), ["once", "once"]);
        listener.is_quiet(QUIET);
    });
}

#[test]
fn require_join_refuses_outsiders() {
    each_cell(&["--require-join"], |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let mut listener = member(server, Via::WebSocket, &room);
        let ack = client.call("message", message(&room, &uuid(), "hi"));
        failure(&ack, "not_joined");
        client.emit("message", message(&room, &uuid(), "hi"));
        assert_eq!(client.expect_error(), "not_joined");
        join(&mut client, &room);
        assert_eq!(client.call("message", message(&room, &uuid(), "in"))["ok"], true);
        assert_eq!(listener.expect("messageBroadcast")["text"], "in");
    });
}

#[test]
fn text_of_exactly_the_limit_is_taken_and_one_byte_more_is_too_large() {
    each_driver(&["--text-max", "100"], |server| {
        let room = uuid();
        let mut client = member(server, Via::WebSocket, &room);
        for (text, fits) in [("x".repeat(100), true), ("x".repeat(101), false), ("é".repeat(51), false)] {
            let ack = client.call("message", message(&room, &uuid(), &text));
            if fits {
                assert_eq!(client.expect("messageBroadcast")["text"], text);
                client.expect("messageComplete");
            } else {
                let details = failure(&ack, "too_large");
                assert_eq!(details["limit"], 100);
                assert_eq!(details["field"], "text");
            }
        }
    });
}

#[test]
fn default_text_limit_is_64_kib() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = member(server, Via::WebSocket, &room);
        let text = "x".repeat(65_536);
        assert_eq!(client.call("message", message(&room, &uuid(), &text))["ok"], true);
        assert_eq!(client.expect("messageBroadcast")["text"], text);
        let ack = client.call("message", message(&room, &uuid(), &format!("{text}x")));
        assert_eq!(failure(&ack, "too_large")["limit"], 65_536);
    });
}

#[test]
fn rooms_of_one_socket_are_limited() {
    each_cell(&["--max-rooms-per-socket", "3"], |server| {
        let rooms: Vec<String> = (0..4).map(|_| uuid()).collect();
        let mut client = Client::connect(server, Via::WebSocket);
        rooms[..3].iter().for_each(|room| join(&mut client, room));
        let ack = client.call("join", json!({"roomId": rooms[3]}));
        assert_eq!(failure(&ack, "too_many_rooms")["limit"], 3);
        // One joined already costs no place; one left makes room.
        join(&mut client, &rooms[0]);
        client.call("leave", json!({"roomId": rooms[1]}));
        join(&mut client, &rooms[3]);
    });
}
