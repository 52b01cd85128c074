//! What published clients send besides the documented API (contract B1): their forms of joining and sending.

mod common;

use serde_json::{Value, json};

use common::engine::BOTH;
use common::rooms::{BROADCAST_KEYS, NIL, member, message, texts, uuid};
use common::socket::Event;
use common::{Client, QUIET, ROOMS, Via, each_worker_count, json as text};

const WORKERS: [usize; 2] = [1, 4];

/// The ways to send what a form carries: within a `message`, and as an event of its own.
fn both_ways(number: u32, payload: &Value) -> [(String, Value); 2] {
    [("message".to_owned(), json!({"type": number, "payload": payload})), (number.to_string(), payload.clone())]
}

/// The next event must have this name; with its text.
#[track_caller]
fn expect(client: &mut Client, name: &str) -> Event {
    let event = client.event();
    assert_eq!(event.name, name, "{:?}", event.raw);
    event
}

#[test]
fn a_join_is_confirmed_twice_whatever_the_room_is_called() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        for via in BOTH {
            let mut client = Client::connect(server, via);
            let (lower, agent) = (uuid(), uuid());
            let longest = "x".repeat(255);
            for (sent, room) in [
                (lower.as_str(), lower.as_str()),
                (&lower.to_uppercase(), &lower),
                ("general", "general"),
                ("__proto__", "__proto__"),
                ("#ch\u{e4}nnel \"1\"", "#ch\u{e4}nnel \"1\""),
                (&longest, &longest),
            ] {
                for (key, agent) in [("channelId", None), ("roomId", Some(&agent))] {
                    let mut payload = json!({key: sent, "entityId": uuid(), "serverId": NIL, "metadata": {"a": 1}});
                    if let Some(agent) = agent {
                        payload["agentId"] = json!(agent.to_uppercase());
                    }
                    for (event, payload) in both_ways(1, &payload) {
                        client.emit(&event, payload);
                        let mut expected = json!({
                            "message": format!("Socket {} successfully joined channel {room}.", client.id),
                            "channelId": room, "roomId": room,
                        });
                        let mut keys = vec!["message", "channelId", "roomId"];
                        if let Some(agent) = agent {
                            expected["agentId"] = json!(agent);
                            keys.push("agentId");
                        }
                        for name in ["channel_joined", "room_joined"] {
                            let event = expect(&mut client, name);
                            assert_eq!(event.payload(), &expected);
                            assert_eq!(text::keys_in_order(&event.raw[0]), keys);
                        }
                    }
                }
            }
            // Each was joined once, and whoever is in a room may leave it and ask about it.
            for room in ["general", &lower] {
                let state = client.call("request-world-state", json!({"roomId": room}));
                assert_eq!(state["channels"][room]["online"], 1);
                client.find("world-state");
                assert_eq!(client.call("leave", json!({"roomId": room})), json!({"ok": true, "roomId": room}));
            }
        }
    });
}

#[test]
fn a_message_is_sent_under_every_name_its_fields_have_and_acknowledged_behind_the_own_copy() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        for via in BOTH {
            let (room, user, server_id) = (uuid(), uuid(), uuid());
            let (mut sender, mut listener) = (Client::connect(server, via), member(server, Via::WebSocket, &room));
            let mut n = 0;
            for room_key in ["channelId", "roomId", "channel_id"] {
                for sender_key in ["senderId", "author_id", "authorId"] {
                    for server_key in ["serverId", "messageServerId", "server_id", "message_server_id", "worldId"] {
                        let id = format!("m {n}");
                        let payload = json!({
                            room_key: room, sender_key: user.to_uppercase(), server_key: server_id,
                            "senderName": "Ada", "message": format!("text {n}"), "messageId": id,
                            "source": "client_chat", "attachments": [{"url": "a.png"}], "metadata": {"a": 1},
                        });
                        let (event, payload) = both_ways(2, &payload)[n % 2].clone();
                        sender.emit(&event, payload);
                        let mut own = expect(&mut sender, "messageBroadcast").payload().clone();
                        let heard = expect(&mut listener, "messageBroadcast");
                        assert_eq!(text::keys_in_order(&heard.raw[0]), BROADCAST_KEYS);
                        let heard = heard.payload();
                        assert_eq!(own.as_object_mut().expect("an object").remove("clientMessageId"), Some(json!(id)));
                        assert_eq!(&own, heard);
                        for (key, value) in [
                            ("senderId", json!(user)),
                            ("senderName", json!("Ada")),
                            ("text", json!(format!("text {n}"))),
                            ("roomId", json!(room)),
                            ("channelId", json!(room)),
                            ("serverId", json!(server_id)),
                            ("messageServerId", json!(server_id)),
                            ("source", json!("client_chat")),
                            ("attachments", json!([{"url": "a.png"}])),
                        ] {
                            assert_eq!(heard[key], value, "{key}");
                        }
                        let ack = expect(&mut sender, "messageAck");
                        let keys = ["clientMessageId", "messageId", "status", "channelId", "roomId"];
                        assert_eq!(text::keys_in_order(&ack.raw[0]), keys);
                        let status = "received_by_server_and_processing";
                        let expected = json!({"clientMessageId": id, "messageId": heard["id"], "status": status,
                                              "channelId": room, "roomId": room});
                        assert_eq!(ack.payload(), &expected);
                        assert_eq!(expect(&mut sender, "messageComplete").payload()["channelId"], room);
                        n += 1;
                    }
                }
            }
            listener.is_quiet(QUIET);
        }
    });
}

#[test]
fn a_message_without_an_id_is_acknowledged_without_and_a_repeated_one_again() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, user) = (uuid(), uuid());
        let (mut sender, mut listener) = (member(server, Via::WebSocket, &room), member(server, Via::Polling, &room));
        sender.emit("2", json!({"channelId": room, "senderId": user, "message": "one"}));
        let broadcast = expect(&mut sender, "messageBroadcast");
        assert_eq!(text::keys_in_order(&broadcast.raw[0]), BROADCAST_KEYS);
        let broadcast = broadcast.payload();
        assert_eq!((&broadcast["senderName"], &broadcast["source"]), (&json!("User"), &json!("socketio_client")));
        let ack = expect(&mut sender, "messageAck");
        assert_eq!(text::keys_in_order(&ack.raw[0]), ["messageId", "status", "channelId", "roomId"]);
        assert_eq!(ack.payload()["messageId"], broadcast["id"]);
        expect(&mut sender, "messageComplete");

        let payload = json!({"channelId": room, "senderId": user, "message": "two", "messageId": "same"});
        let first = sender.call("2", payload.clone());
        let acks = ["messageBroadcast", "messageAck", "messageComplete"].map(|name| sender.expect(name));
        // Nothing but what the first one was acknowledged with.
        assert_eq!(sender.call("2", payload), first);
        assert_eq!(sender.expect("messageAck"), acks[1]);
        sender.is_quiet(QUIET);
        assert_eq!(texts(&mut listener, 2), ["one", "two"]);
        listener.is_quiet(QUIET);
    });
}

#[test]
fn what_is_missing_is_told_in_both_ways_and_nothing_happens() {
    const JOIN: &str = "channelId is required for joining.";
    const SEND: &str = "For SEND_MESSAGE: channelId, messageServerId (message_server_id), senderId (author_id), and \
                        message are required.";
    each_worker_count(&WORKERS, ROOMS, |server| {
        for via in BOTH {
            let (room, user) = (uuid(), uuid());
            let (mut client, mut listener) = (Client::connect(server, via), member(server, Via::WebSocket, &room));
            let message = json!({"channelId": room, "senderId": user, "message": "hi"});
            let with = |key: &str, value: Value| {
                let mut payload = message.clone();
                payload[key] = value;
                payload
            };
            for (number, payload, error, field) in [
                (1, json!({}), JOIN, "channelId"),
                (1, json!({"channelId": ""}), JOIN, "channelId"),
                (1, json!({"roomId": 7}), JOIN, "roomId"),
                (2, json!({}), SEND, "channelId"),
                (2, with("channelId", json!("general")), SEND, "channelId"),
                (2, with("senderId", json!("ada")), SEND, "senderId"),
                (2, with("senderId", Value::Null), SEND, "senderId"),
                (2, with("message", json!("")), SEND, "message"),
                (2, with("message", json!({"text": "x"})), SEND, "message"),
                (2, with("messageServerId", json!("server")), SEND, "messageServerId"),
                (2, with("senderName", json!(7)), "senderName must be a string.", "senderName"),
                (2, with("attachments", json!("x")), "attachments must be an array.", "attachments"),
            ] {
                for (event, payload) in both_ways(number, &payload) {
                    client.emit(&event, payload.clone());
                    assert_eq!(client.expect("messageError"), json!({"error": error}), "{event} {payload}");
                    let details = json!({"code": "invalid_payload", "event": event, "field": field});
                    assert_eq!(client.expect("error")["details"], details, "{event} {payload}");
                }
            }
            listener.is_quiet(QUIET);
            // The connection is of use still.
            client.emit("2", message);
            assert_eq!(texts(&mut listener, 1), ["hi"]);
            assert_eq!(
                client.call("request-world-state", json!({"roomId": room}))["channels"][&room]["messageCount"],
                1
            );
        }
    });
}

#[test]
fn a_conversation_of_two_is_told_by_metadata_however_the_other_is_named() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let mut client = Client::connect(server, Via::WebSocket);
        for is_dm in [json!({"isDm": true}), json!({"channelType": "DM"})] {
            for (place, inner) in [("targetUserId", false), ("targetUserId", true), ("recipientId", true)] {
                for join in [false, true] {
                    let (room, user, other) = (uuid(), uuid(), uuid());
                    let mut metadata = is_dm.clone();
                    let mut payload = json!({"channelId": room});
                    if inner {
                        metadata[place] = json!(other)
                    } else {
                        payload[place] = json!(other)
                    };
                    payload["metadata"] = metadata;
                    match join {
                        true => {
                            payload["entityId"] = json!(user);
                            assert_eq!(client.call("1", payload)["ok"], true);
                        }
                        false => {
                            payload["senderId"] = json!(user);
                            payload["message"] = json!("hi");
                            assert_eq!(client.call("2", payload)["ok"], true);
                        }
                    }
                    let channel =
                        client.call("request-world-state", json!({"roomId": room}))["channels"][&room].clone();
                    let mut participants = [user, other];
                    participants.sort();
                    assert_eq!((&channel["type"], &channel["participants"]), (&json!("DM"), &json!(participants)));
                }
            }
        }
        // Of a room that is none, the target is nobody.
        let room = uuid();
        let user = uuid();
        client.call("2", json!({"channelId": room, "senderId": user, "message": "x", "targetUserId": uuid()}));
        let channel = client.call("request-world-state", json!({"roomId": room}))["channels"][&room].clone();
        assert_eq!((&channel["type"], &channel["participants"]), (&json!("GROUP"), &json!([user])));
    });
}

#[test]
fn both_kinds_of_clients_hear_one_another_in_one_room() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let room = uuid();
        let mut documented = member(server, Via::WebSocket, &room);
        let mut published = Client::connect(server, Via::Polling);
        published.emit("message", json!({"type": 1, "payload": {"channelId": room, "roomId": room}}));
        published.expect("channel_joined");
        published.expect("room_joined");
        for n in 0..20 {
            documented.call("message", message(&room, &uuid(), &format!("documented {n}")));
            let payload = json!({"channelId": room, "senderId": uuid(), "message": format!("published {n}")});
            published.call("message", json!({"type": 2, "payload": payload}));
        }
        assert_eq!(texts(&mut documented, 40), texts(&mut published, 40));
    });
}
