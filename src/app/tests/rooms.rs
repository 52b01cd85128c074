//! `join`, `leave`, `message`: what they are answered and to whom messages go.

use super::*;

#[test]
fn a_join_is_acknowledged_with_the_number_of_members() {
    each(&AgentsSettings::default(), |fleet| {
        let (a, b) = (fleet.connect_to(0), fleet.connect_to(1));
        let upper = ROOM.to_uppercase();
        let joined = |n| json!({"ok": true, "roomId": ROOM, "members": n});
        assert_eq!(fleet.call(a, "join", &json!({"roomId": upper})), (joined(1), vec![]));
        assert_eq!(fleet.call(a, "join", &json!({"roomId": ROOM, "agentId": AGENT})), (joined(1), vec![]));
        assert_eq!(fleet.call(b, "join", &json!({"roomId": ROOM})), (joined(2), vec![]));
        assert_eq!(fleet.call(a, "leave", &json!({"roomId": upper})), (json!({"ok": true, "roomId": ROOM}), vec![]));
        assert_eq!(fleet.call(a, "leave", &json!({"roomId": ROOM})), (json!({"ok": true, "roomId": ROOM}), vec![]));
        assert_eq!(fleet.call(b, "join", &json!({"roomId": ROOM})), (joined(1), vec![]));
        fleet.drop_peer(b);
        assert_eq!(fleet.call(a, "join", &json!({"roomId": ROOM})), (joined(1), vec![]));
    });
}

#[test]
fn a_message_goes_to_every_member_once_in_the_documented_order_of_keys() {
    each(&AgentsSettings::default(), |fleet| {
        let members: Vec<Peer> = (0..5).map(|n| fleet.member(n, ROOM)).collect();
        let outsider = fleet.member(1, OTHER_ROOM);
        let (ack, rest) = fleet.call(members[0], "message", &message("hi \"there\""));
        let [Packet::Event(name, args), Packet::Event(complete, completed)] = rest.as_slice() else {
            panic!("{rest:?}");
        };
        assert_eq!((name.as_str(), complete.as_str()), ("messageBroadcast", "messageComplete"));
        assert_eq!(completed[0], json!({"channelId": ROOM, "serverId": SERVER}));
        let id = ack["id"].as_str().expect("an id");
        assert_eq!(ack, json!({"ok": true, "id": id, "createdAt": fleet.now().unix_ms}));
        for &member in &members[1..] {
            let texts = fleet.take_texts(member);
            let expected = format!(
                "42[\"messageBroadcast\",{{\"senderId\":\"{USER}\",\"senderName\":\"Ada\",\"text\":\"hi \\\"there\\\"\",\
                 \"roomId\":\"{ROOM}\",\"serverId\":\"{SERVER}\",\"createdAt\":{},\"source\":\"socketio_client\",\
                 \"id\":\"{id}\",\"thought\":\"\",\"actions\":[],\"attachments\":[],\"channelId\":\"{ROOM}\",\
                 \"messageServerId\":\"{SERVER}\"}}]",
                fleet.now().unix_ms
            );
            assert_eq!(texts, [format!("4{}", &expected[1..])]);
        }
        assert_eq!(args[0]["id"], id);
        assert_eq!(fleet.take(outsider), []);
    });
}

#[test]
fn a_sender_that_has_not_joined_gets_its_message_and_is_no_member() {
    each(&AgentsSettings::default(), |fleet| {
        let (sender, member) = (fleet.connect_to(0), fleet.member(1, ROOM));
        fleet.emit(sender, "message", &message("one"));
        assert_eq!(fleet.names(sender), ["messageBroadcast", "messageComplete"]);
        assert_eq!(fleet.names(member), ["messageBroadcast"]);
        fleet.emit(member, "message", &message("two"));
        assert_eq!(fleet.names(member), ["messageBroadcast", "messageComplete"]);
        assert_eq!(fleet.take(sender), []);
    });
}

#[test]
fn only_the_sender_sees_its_message_id() {
    each(&AgentsSettings::default(), |fleet| {
        let (sender, member) = (fleet.member(0, ROOM), fleet.member(1, ROOM));
        let mut payload = message("one");
        payload["messageId"] = json!("my \"id\"");
        fleet.emit(sender, "message", &payload);
        let own = fleet.events(sender);
        assert_eq!(own[0].1["clientMessageId"], "my \"id\"");
        let others = fleet.events(member);
        assert_eq!(others[0].1.as_object().map(|o| o.len()), Some(13));
    });
}

#[test]
fn a_repeated_message_id_gets_the_first_result_and_is_not_broadcast() {
    each(&AgentsSettings::default(), |fleet| {
        let (sender, member) = (fleet.connect_to(0), fleet.member(1, ROOM));
        let mut payload = message("one");
        payload["messageId"] = json!("m");
        let (first, _) = fleet.call(sender, "message", &payload);
        let again = fleet.connect_to(2);
        fleet.advance(1_000);
        assert_eq!(fleet.call(again, "message", &payload), (first.clone(), vec![]));
        assert_eq!(fleet.take(member).len(), 1);
        payload["userId"] = json!(AGENT);
        assert_ne!(fleet.call(again, "message", &payload).0["id"], first["id"]);
        fleet.advance(AgentsSettings::default().dedupe_window_ms);
        payload["userId"] = json!(USER);
        assert_ne!(fleet.call(again, "message", &payload).0["id"], first["id"]);
    });
}

#[test]
fn the_times_of_a_room_grow_strictly_and_so_do_its_ids() {
    each(&AgentsSettings::default(), |fleet| {
        let members: Vec<Peer> = (0..4).map(|n| fleet.member(n, ROOM)).collect();
        for n in 0..20 {
            fleet.emit(members[n % 4], "message", &message(&n.to_string()));
        }
        let mut orders = Vec::new();
        for &member in &members {
            let events = fleet.events(member).into_iter().filter(|(name, _)| name == "messageBroadcast");
            let events: Vec<Value> = events.map(|(_, event)| event).collect();
            assert_eq!(events.len(), 20);
            for pair in events.windows(2) {
                assert!(pair[0]["createdAt"].as_u64() < pair[1]["createdAt"].as_u64());
                assert!(pair[0]["id"].as_str() < pair[1]["id"].as_str());
            }
            orders.push(events);
        }
        orders.dedup();
        assert_eq!(orders.len(), 1);
    });
}

#[test]
fn a_socket_may_have_to_join_before_it_sends() {
    let settings = AgentsSettings { require_join: true, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let peer = fleet.connect_to(0);
        failure(fleet.call(peer, "message", &message("hi")), "not_joined");
        fleet.call(peer, "join", &json!({"roomId": ROOM}));
        assert_eq!(fleet.call(peer, "message", &message("hi")).0["ok"], true);
    });
}

#[test]
fn the_rooms_of_a_socket_are_bounded() {
    let settings = AgentsSettings { max_rooms_per_socket: 1, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let peer = fleet.member(0, ROOM);
        let details = failure(fleet.call(peer, "join", &json!({"roomId": OTHER_ROOM})), "too_many_rooms");
        assert_eq!(details["limit"], 1);
        assert_eq!(fleet.call(peer, "join", &json!({"roomId": ROOM})).0["ok"], true);
    });
}

#[test]
fn an_agent_takes_part_in_every_room_its_socket_joins_and_a_socket_brings_no_more_than_it_may() {
    let settings = AgentsSettings { max_rooms_per_socket: 2_000, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let room = |n: usize| format!("0a0a0a0a-0000-4000-9000-{n:012}");
        let agent = fleet.agent(0, AGENT);
        for n in 0..2_000 {
            assert_eq!(fleet.call(agent, "join", &json!({"roomId": room(n)})).0["ok"], true);
        }
        for n in [0, 1_023, 1_024, 1_999] {
            let people = fleet.api(n, "GET", &format!("/channels/{}/participants", room(n)), &Value::Null).data(200);
            assert_eq!(people, json!([AGENT]), "room {n}");
        }
        assert_eq!(fleet.call(agent, "leave", &json!({"roomId": room(1_999)})).0["ok"], true);
        let people = fleet.api(1, "GET", &format!("/channels/{}/participants", room(1_999)), &Value::Null).data(200);
        assert_eq!(people, json!([]));
    });
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.member(0, ROOM);
        let brings = |n: usize| json!({"roomId": ROOM, "agentId": format!("0c0c0c0c-0000-4000-9000-{n:012}")});
        for n in 0..crate::app::client::PARTIES_MIN {
            assert_eq!(fleet.call(peer, "join", &brings(n)).0["ok"], true);
        }
        let details = failure(fleet.call(peer, "join", &brings(7_777)), "too_many_rooms");
        assert_eq!((&details["field"], &details["limit"]), (&json!("agentId"), &json!(1_024)));
        // Those it brings already cost no place.
        assert_eq!(fleet.call(peer, "join", &brings(0)).0["ok"], true);
    });
}

#[test]
fn a_connection_that_sends_too_fast_is_told_so_and_costs_nobody_else() {
    let settings = AgentsSettings { rate_messages: 2, ..AgentsSettings::default() };
    each(&settings, |fleet| {
        let (fast, member) = (fleet.connect_to(0), fleet.member(1, ROOM));
        for _ in 0..2 {
            assert_eq!(fleet.call(fast, "message", &message("hi")).0["ok"], true);
        }
        let details = failure(fleet.call(fast, "message", &message("hi")), "rate_limited");
        assert_eq!(details["limit"], 2);
        let legacy = json!({"channelId": ROOM, "senderId": USER, "message": "hi", "serverId": SERVER});
        fleet.emit(fast, "2", &legacy);
        assert_eq!(fleet.names(fast), ["messageError", "error"]);
        assert_eq!(fleet.take(member).len(), 2);
        assert_eq!(fleet.call(member, "message", &message("hi")).0["ok"], true);
        fleet.advance(500);
        assert_eq!(fleet.call(fast, "message", &message("hi")).0["ok"], true);
        failure(fleet.call(fast, "message", &message("hi")), "rate_limited");
    });
}

#[test]
fn a_full_server_drops_the_empty_room_longest_unused_and_else_refuses() {
    let settings = AgentsSettings { max_rooms: 2, ..AgentsSettings::default() };
    let fleet = &mut Fleet::new(1, &settings);
    let room = |n: u8| format!("0a0a0a0a-0000-4000-8000-0000000000{n:02}");
    let (a, b, c) = (fleet.member(0, &room(1)), fleet.member(0, &room(2)), fleet.connect_to(0));
    failure(fleet.call(c, "join", &json!({"roomId": room(3)})), "unavailable");
    failure(fleet.call(c, "message", &json!({"roomId": room(3), "userId": USER, "text": "hi"})), "unavailable");
    fleet.emit(a, "message", &json!({"roomId": room(1), "userId": USER, "text": "hi"}));
    fleet.drop_peer(b);
    fleet.drop_peer(a);
    fleet.call(c, "join", &json!({"roomId": room(3)}));
    assert_eq!(fleet.app(0).world_rooms(), [room(1), room(3)]);
}

/// A driver reads those less who send to many, wherever the room's home is.
#[test]
fn a_shard_tells_what_its_messages_will_have_others_queue() {
    let mut fleet = Fleet::new(4, &AgentsSettings::default());
    let members: Vec<Peer> = (0..8).map(|n| fleet.member(n, ROOM)).collect();
    members.iter().for_each(|&member| drop(fleet.take(member)));
    let shards = fleet.shards();
    for shard in 0..shards {
        fleet.receive_packet(members[shard], &format!("42[\"message\",{}]", message("to all")));
        let pending = fleet.pending(shard);
        fleet.settle();
        let frame = fleet.take_bytes(members[7]).len();
        members[..7].iter().for_each(|&member| drop(fleet.take_bytes(member)));
        if fleet.app(shard).world_rooms().is_empty() {
            assert_eq!((pending.bytes, pending.mail_bytes), (0, 8 * frame), "the home is elsewhere");
        } else {
            assert!(pending.bytes >= 2 * frame && pending.mail_bytes == 0, "the home has queued it: {pending:?}");
        }
        assert_eq!(fleet.pending(shard).mail_bytes, 0);
    }
}
