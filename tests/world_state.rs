//! `request-world-state` (contract A5): what a client is told of its rooms.

mod common;

use serde_json::{Value, json};

use common::engine::BOTH;
use common::rooms::{NIL, join, member, message, now_ms, uuid};
use common::{Client, ROOMS, Via, each_worker_count, json as text};

const WORKERS: [usize; 2] = [1, 4];

/// Asks; the event and the acknowledgement must be the same.
#[track_caller]
fn ask(client: &mut Client, payload: Value) -> Value {
    let ack = client.call("request-world-state", payload);
    assert_eq!(client.find("world-state"), ack);
    ack
}

#[test]
fn a_room_nobody_has_used_is_four_empty_maps_in_the_documented_order() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        for via in BOTH {
            let room = uuid();
            let mut client = Client::connect(server, via);
            client.emit("request-world-state", json!({"roomId": room}));
            let event = client.event();
            assert_eq!(event.name, "world-state");
            let keys = text::keys_in_order(&event.raw[0]);
            assert_eq!(keys, ["agents", "users", "channels", "messages", "roomId", "serverTime"]);
            let time_ms = event.payload()["serverTime"].as_u64().expect("a time");
            assert!(time_ms.abs_diff(now_ms()) < 60_000);
            let nothing = json!({"agents": {}, "users": {}, "channels": {}, "messages": {}, "roomId": room,
                                 "serverTime": time_ms});
            assert_eq!(event.payload(), &nothing);
            for payload in [json!({}), Value::Null] {
                let state = ask(&mut client, payload);
                assert_eq!((&state["channels"], &state["roomId"]), (&json!({}), &Value::Null));
            }
        }
    });
}

#[test]
fn the_last_fifty_messages_are_told_exactly_as_they_were_sent() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, user) = (uuid(), uuid());
        let mut listener = member(server, Via::WebSocket, &room);
        let mut sender = Client::connect(server, Via::WebSocket);
        for n in 0..57 {
            assert_eq!(sender.call("message", message(&room, &user, &format!("{n} \"é\"")))["ok"], true);
        }
        let sent: Vec<Value> = (0..57).map(|_| listener.expect("messageBroadcast")).collect();
        for via in BOTH {
            let mut late = Client::connect(server, via);
            let state = ask(&mut late, json!({"roomId": room.to_uppercase()}));
            assert_eq!(state["messages"][&room], json!(sent[7..]));
            let channel = &state["channels"][&room];
            assert_eq!((&channel["messageCount"], &channel["online"]), (&json!(57), &json!(1)));
            assert_eq!((&channel["serverId"], &channel["type"]), (&json!(NIL), &json!("GROUP")));
            assert_eq!(channel["name"], format!("Chat {}", &room[..8]));
            let users = json!({&user: {"id": user, "name": "Ada", "status": "offline", "rooms": [room],
                                       "lastSeen": state["users"][&user]["lastSeen"]}});
            assert_eq!((&state["users"], &state["agents"]), (&users, &json!({})));
        }
    });
}

#[test]
fn all_rooms_of_a_socket_are_told_of_whichever_shards_they_are_on() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let user = uuid();
        let rooms: Vec<String> = (0..24).map(|_| uuid()).collect();
        let mut client = Client::connect(server, Via::WebSocket);
        let mut other = Client::connect(server, Via::Polling);
        for (n, room) in rooms.iter().enumerate() {
            join(&mut client, room);
            assert_eq!(other.call("message", message(room, &user, &n.to_string()))["ok"], true);
        }
        let elsewhere = uuid();
        join(&mut other, &elsewhere);
        client.call("leave", json!({"roomId": rooms[5]}));
        let state = ask(&mut client, json!({"roomId": null}));
        let mut expected: Vec<&str> = rooms.iter().map(String::as_str).filter(|room| *room != rooms[5]).collect();
        expected.sort_unstable();
        let mut told = text::keys(&state["channels"]);
        told.sort_unstable();
        assert_eq!(told, expected);
        for (n, room) in rooms.iter().enumerate().filter(|(n, _)| *n != 5) {
            assert_eq!(state["messages"][room][0]["text"], n.to_string());
        }
        assert_eq!(state["users"][&user]["rooms"].as_array().map(Vec::len), Some(23));
        assert_eq!(text::keys(&ask(&mut other, json!({}))["channels"]), [elsewhere.as_str()]);
    });
}

#[test]
fn agents_are_active_while_their_own_sockets_are_open() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, agent) = (uuid(), uuid());
        let mut client = Client::connect(server, Via::WebSocket);
        client.call("join", json!({"roomId": room, "agentId": agent}));
        let status = |client: &mut Client| ask(client, json!({"roomId": room}))["agents"][&agent]["status"].clone();
        assert_eq!(status(&mut client), "inactive");
        let own = Client::connect_with(server, Via::WebSocket, &json!({"agentId": agent}));
        common::eventually("the agent is active", || status(&mut client) == "active");
        drop(own);
        common::eventually("the agent is inactive", || status(&mut client) == "inactive");
    });
}

#[test]
fn whoever_connects_for_somebody_is_greeted_by_name_first() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let user = uuid();
        for via in BOTH {
            let mut client = Client::connect_with(server, via, &json!({"entityId": user.to_uppercase()}));
            let event = client.any_event();
            assert_eq!((event.name.as_str(), &event.payload()["entityId"]), ("authenticated", &json!(user)));
            assert!(event.payload()["timestamp"].as_u64().expect("a time").abs_diff(now_ms()) < 60_000);
            assert_eq!(client.any_event().name, "connection_established");
            let room = uuid();
            join(&mut client, &room);
            assert_eq!(ask(&mut client, json!({}))["users"][&user]["status"], "online");
        }
    });
}
