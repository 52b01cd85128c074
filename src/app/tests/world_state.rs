//! `request-world-state`: what a socket is told of its rooms, wherever their homes are.

use super::*;
use crate::rooms::RoomId;

fn room(n: usize) -> String {
    format!("0a0a0a0a-0000-4000-8000-0000000001{n:02}")
}

/// Asks, and takes the event and the acknowledgement, which must be the same.
#[track_caller]
fn ask(fleet: &mut Fleet, peer: Peer, payload: &Value) -> Value {
    fleet.take(peer);
    let (ack, rest) = fleet.call(peer, "request-world-state", payload);
    assert_eq!(rest, [Packet::Event("world-state".to_owned(), vec![ack.clone()])]);
    ack
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_room_nobody_has_used_is_four_empty_maps_and_does_not_come_into_being() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(0);
        let state = ask(fleet, peer, &json!({"roomId": ROOM.to_uppercase()}));
        let empty = |room| {
            json!({"agents": {}, "users": {}, "channels": {}, "messages": {},
                   "roomId": room, "serverTime": fleet.now().unix_ms})
        };
        assert_eq!(state, empty(json!(ROOM)));
        let nothing = empty(Value::Null);
        for payload in [json!({}), Value::Null, json!({"roomId": null})] {
            assert_eq!(ask(fleet, peer, &payload), nothing);
        }
        fleet.send_packet(peer, "42[\"request-world-state\"]");
        assert_eq!(fleet.events(peer), [("world-state".to_owned(), nothing)]);
        assert!((0..fleet.shards()).all(|shard| fleet.app(shard).world_rooms().is_empty()));
    });
}

#[test]
fn the_last_messages_are_told_oldest_first_exactly_as_they_were_sent() {
    let settings = AgentsSettings { history: 5, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let (sender, member, asker) = (fleet.connect_to(0), fleet.member(1, ROOM), fleet.connect_to(2));
        for n in 0..8 {
            let mut payload = message(&format!("{n} \"é\""));
            payload["messageId"] = json!(format!("m{n}"));
            fleet.emit(sender, "message", &payload);
        }
        let sent: Vec<Value> = fleet.events(member).into_iter().map(|(_, event)| event).collect();
        let state = ask(fleet, asker, &json!({"roomId": ROOM}));
        assert_eq!(state["messages"][ROOM], json!(sent[3..]));
        assert_eq!(state["channels"][ROOM]["messageCount"], 8);
        fleet.emit(member, "request-world-state", &json!({}));
        let text = fleet.take_texts(member).remove(0);
        assert!(text.contains(r#"[{"senderId":"#) && text.starts_with(r#"42["world-state",{"agents":"#), "{text}");
    });
}

#[test]
fn all_rooms_of_a_socket_are_told_of_at_once_and_no_others() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(0);
        let other = fleet.connect_to(1);
        for n in 0..20 {
            fleet.call(peer, "join", &json!({"roomId": room(n)}));
            fleet.emit(other, "message", &json!({"roomId": room(n), "userId": USER, "text": n.to_string()}));
        }
        fleet.call(other, "join", &json!({"roomId": OTHER_ROOM}));
        fleet.call(peer, "leave", &json!({"roomId": room(7)}));
        fleet.take(peer);
        let state = ask(fleet, peer, &json!({}));
        let rooms: Vec<String> = (0..20).filter(|&n| n != 7).map(room).collect();
        let mut told = keys(&state["channels"]);
        told.sort_unstable();
        assert_eq!(told, rooms);
        assert_eq!(state["roomId"], Value::Null);
        for (n, id) in (0..20).filter(|&n| n != 7).zip(&rooms) {
            assert_eq!(state["messages"][id][0]["text"], n.to_string());
        }
        assert_eq!(state["users"][USER]["rooms"].as_array().map(Vec::len), Some(19));
        assert_eq!(keys(&ask(fleet, other, &Value::Null)["channels"]), [OTHER_ROOM]);
    });
}

#[test]
fn people_agents_and_channels_are_what_they_are() {
    each(&AgentsSettings::default(), |fleet| {
        let user = fleet.connect_to(0);
        let server = "0d0d0d0d-0000-4000-8000-000000000001";
        fleet.call(user, "join", &json!({"roomId": ROOM, "agentId": AGENT, "serverId": server}));
        let start_ms = fleet.now().unix_ms;
        fleet.advance(1_000);
        fleet.emit(user, "message", &message("hi"));
        let state = ask(fleet, user, &json!({"roomId": ROOM}));
        let said_ms = fleet.now().unix_ms;
        assert_eq!(
            state["channels"][ROOM],
            json!({"id": ROOM, "serverId": server, "messageServerId": server, "name": "Chat 0a0a0a0a",
                   "type": "GROUP", "sourceType": "auto_created", "participants": [USER, AGENT], "online": 1,
                   "messageCount": 1, "createdAt": start_ms, "updatedAt": said_ms, "metadata": {}})
        );
        assert_eq!(
            state["users"][USER],
            json!({"id": USER, "name": "Ada", "status": "online", "rooms": [ROOM], "lastSeen": said_ms})
        );
        assert_eq!(keys(&state["agents"]), [AGENT]);
        fleet.drop_peer(user);
        let asker = fleet.connect_to(1);
        let state = ask(fleet, asker, &json!({"roomId": ROOM}));
        assert_eq!((&state["users"][USER]["status"], &state["agents"]), (&json!("offline"), &json!({})));
        assert_eq!(state["channels"][ROOM]["online"], 0);
    });
}

#[test]
fn a_conversation_of_two_says_so_and_names_both() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(0);
        for (n, extra) in [
            json!({"metadata": {"isDm": true, "targetUserId": AGENT}}),
            json!({"metadata": {"channelType": "DM", "recipientId": AGENT}}),
            json!({"metadata": {"isDm": true}, "targetUserId": AGENT}),
        ]
        .into_iter()
        .enumerate()
        {
            let mut payload = message("hi");
            payload["roomId"] = json!(room(n));
            payload.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            fleet.emit(peer, "message", &payload);
            fleet.take(peer);
            let state = ask(fleet, peer, &json!({"roomId": room(n)}));
            let channel = &state["channels"][room(n)];
            assert_eq!((&channel["type"], &channel["participants"]), (&json!("DM"), &json!([USER, AGENT])));
        }
        let join = json!({"channelId": room(9), "entityId": USER, "metadata": {"isDm": true, "targetUserId": AGENT}});
        fleet.emit(peer, "1", &join);
        fleet.take(peer);
        let state = ask(fleet, peer, &json!({"roomId": room(9)}));
        assert_eq!(state["channels"][room(9)]["participants"], json!([USER, AGENT]));
    });
}

#[test]
fn whoever_connects_for_somebody_is_told_so_first_and_is_online_where_it_joins() {
    each(&AgentsSettings::default(), |fleet| {
        let auth = format!("{{\"entityId\":\"{}\"}}", USER.to_uppercase());
        let peer = fleet.connect_with(0, "", &auth);
        let packets = fleet.take(peer);
        let [_, Packet::Event(first, args), Packet::Event(second, _)] = packets.as_slice() else {
            panic!("{packets:?}")
        };
        assert_eq!((first.as_str(), second.as_str()), ("authenticated", "connection_established"));
        assert_eq!(args[0], json!({"entityId": USER, "timestamp": fleet.now().unix_ms}));
        fleet.call(peer, "join", &json!({"roomId": ROOM}));
        assert_eq!(ask(fleet, peer, &json!({}))["users"][USER]["status"], "online");
        for auth in ["", "{}", "{\"entityId\":5}", "{\"entityId\":\"me\"}", "{\"entityId\":null}"] {
            let peer = fleet.connect_with(0, "", auth);
            assert_eq!(fleet.take(peer).len(), 2, "{auth}");
        }
    });
}

#[test]
fn the_own_socket_of_an_agent_brings_it_into_the_rooms_it_joins() {
    each(&AgentsSettings::default(), |fleet| {
        let agent = fleet.connect_with(0, "", &format!("{{\"agentId\":\"{AGENT}\"}}"));
        fleet.take(agent);
        fleet.call(agent, "join", &json!({"roomId": ROOM}));
        fleet.emit(agent, "message", &json!({"roomId": ROOM, "userId": AGENT, "name": "Eliza", "text": "hi"}));
        fleet.take(agent);
        let state = ask(fleet, agent, &json!({"roomId": ROOM}));
        assert_eq!((&state["agents"][AGENT]["name"], &state["users"]), (&json!("Eliza"), &json!({})));
        fleet.call(agent, "leave", &json!({"roomId": ROOM}));
        assert_eq!(ask(fleet, agent, &json!({"roomId": ROOM}))["agents"], json!({}));
    });
}

#[test]
fn a_wrong_room_is_named_and_names_of_clients_own_are_for_members() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(0);
        for room in
            [json!(5), json!(""), json!([ROOM]), json!({}), json!(true), json!("lobby"), json!(format!("{ROOM} "))]
        {
            let details = failure(fleet.call(peer, "request-world-state", &json!({"roomId": room})), "invalid_payload");
            assert_eq!(details["field"], "roomId", "{room}");
            fleet.emit(peer, "request-world-state", &json!({"roomId": room}));
            assert_eq!(fleet.names(peer), ["error"]);
        }
        for payload in [json!(5), json!("x"), json!([1]), json!(true)] {
            failure(fleet.call(peer, "request-world-state", &payload), "invalid_payload");
        }
        fleet.emit(peer, "1", &json!({"channelId": "lobby"}));
        fleet.take(peer);
        assert_eq!(keys(&ask(fleet, peer, &json!({"roomId": "lobby"}))["channels"]), ["lobby"]);
        assert!(!fleet.is_closed(peer));
    });
}

#[test]
fn one_world_state_takes_a_quarter_of_what_may_wait_for_a_reader() {
    let settings = AgentsSettings { room_bytes: 64 << 20, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let peer = fleet.connect_to(0);
        let text = "x".repeat(30_000);
        let sent = |fleet: &mut Fleet, room: &str, n: usize| {
            for _ in 0..n {
                fleet.emit(peer, "message", &json!({"roomId": room, "userId": USER, "text": text}));
            }
        };
        sent(fleet, ROOM, 20);
        sent(fleet, OTHER_ROOM, 1);
        for room in [ROOM, OTHER_ROOM] {
            fleet.call(peer, "join", &json!({"roomId": room}));
        }
        fleet.take(peer);
        fleet.emit(peer, "request-world-state", &json!({}));
        let texts = fleet.take_texts(peer);
        assert!((200_000..=(1 << 20) / 4).contains(&texts[0].len()), "{}", texts[0].len());
        assert_eq!(fleet.counters(peer.shard).world_states_cut, 1);
        let state = ask(fleet, peer, &json!({}));
        let told = |room: &str| state["messages"][room].as_array().map(Vec::len);
        assert_eq!((told(ROOM), told(OTHER_ROOM)), (Some(7), Some(1)));
    });
}

#[test]
fn a_reader_that_asks_for_more_than_it_takes_is_refused_and_lives() {
    each(&AgentsSettings::default(), |fleet| {
        // At the room's home, which answers within the turn.
        let home = RoomId::uuid(ROOM).expect("a uuid").home(fleet.shards());
        let peer = fleet.member(home, ROOM);
        let text = "x".repeat(20_000);
        for _ in 0..12 {
            fleet.emit(peer, "message", &json!({"roomId": ROOM, "userId": USER, "text": text}));
        }
        fleet.take(peer);
        // Many questions in one turn.
        fleet.send_packets(peer, &["42[\"request-world-state\",{}]"; 50]);
        let names = fleet.names(peer);
        let told = names.iter().filter(|name| *name == "world-state").count();
        assert!((2..=3).contains(&told), "{told}");
        assert_eq!(names.iter().filter(|name| *name == "error").count(), 50 - told);
        assert_eq!(fleet.counters(peer.shard).world_states_refused, 50 - told as u64);
        assert_eq!(ask(fleet, peer, &json!({}))["messages"][ROOM].as_array().map(Vec::len), Some(12));
    });
}

#[test]
fn a_turn_tells_so_much_and_the_rest_of_those_who_ask_wait() {
    const ASKERS: usize = 40;
    let mut fleet = Fleet::new(1, &AgentsSettings::default());
    let sender = fleet.connect_to(0);
    for _ in 0..10 {
        fleet.emit(sender, "message", &json!({"roomId": ROOM, "userId": USER, "text": "x".repeat(20_000)}));
    }
    let askers: Vec<Peer> = (0..ASKERS).map(|_| fleet.connect_to(0)).collect();
    for &asker in &askers {
        fleet.take(asker);
        fleet.receive_packet(asker, &format!(r#"421["request-world-state",{{"roomId":"{ROOM}"}}]"#));
    }
    fleet.settle();
    let mut told = Vec::new();
    while told.iter().sum::<usize>() < ASKERS {
        let packets = askers.iter().map(|&asker| fleet.take(asker).len());
        told.push(packets.sum::<usize>() / 2);
        fleet.advance(1);
    }
    // An answer is 200 kB, told as event and as acknowledgement: two megabytes, and those that were put already.
    assert!(told.iter().all(|&told| (1..=6 + 8).contains(&told)), "{told:?}");
}
