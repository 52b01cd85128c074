//! The HTTP API on several shards.

use super::*;

pub(super) const ACTION: &str = "0d0d0d0d-0000-4000-8000-000000000001";

pub(super) fn submission(text: &str) -> Value {
    json!({
        "channel_id": ROOM, "message_server_id": SERVER, "author_id": AGENT, "content": text,
        "source_type": "agent_response",
        "raw_message": {"text": text, "thought": "hm", "actions": ["REPLY"], "more": {"x": [1]}},
        "metadata": {"agentName": "Eliza", "attachments": [{"url": "a.png"}], "prompt": "p", "isDm": false},
    })
}

/// The one broadcast that a member got.
#[track_caller]
pub(super) fn broadcast(fleet: &mut Fleet, peer: Peer) -> Value {
    let mut events = fleet.events(peer);
    assert_eq!(events.len(), 1, "{events:?}");
    let (name, message) = events.remove(0);
    assert_eq!(name, "messageBroadcast");
    message
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

const BROADCAST_KEYS: [&str; 13] = [
    "senderId",
    "senderName",
    "text",
    "roomId",
    "serverId",
    "createdAt",
    "source",
    "id",
    "thought",
    "actions",
    "attachments",
    "channelId",
    "messageServerId",
];

#[test]
fn a_submission_is_broadcast_and_answered_once_it_is_ordered() {
    each(&AgentsSettings::default(), |fleet| {
        let members: Vec<Peer> = (0..4).map(|n| fleet.member(n, ROOM)).collect();
        members.iter().for_each(|&m| drop(fleet.take(m)));
        for shard in 0..4 {
            let data = fleet.api(shard, "POST", "/submit", &submission("Hello")).data(201);
            for &member in &members {
                let message = broadcast(fleet, member);
                let mut expected = BROADCAST_KEYS.to_vec();
                expected.sort_unstable();
                assert_eq!(keys(&message), expected);
                assert_eq!(message["id"], data["id"]);
                assert_eq!(message["createdAt"], data["createdAt"]);
                for (key, value) in [
                    ("senderId", json!(AGENT)),
                    ("senderName", json!("Eliza")),
                    ("text", json!("Hello")),
                    ("roomId", json!(ROOM)),
                    ("serverId", json!(SERVER)),
                    ("source", json!("agent_response")),
                    ("thought", json!("hm")),
                    ("actions", json!(["REPLY"])),
                    ("attachments", json!([{"url": "a.png"}])),
                ] {
                    assert_eq!(message[key], value, "{key}");
                }
            }
            for (key, value) in [
                ("channelId", json!(ROOM)),
                ("messageServerId", json!(SERVER)),
                ("authorId", json!(AGENT)),
                ("content", json!("Hello")),
                ("sourceType", json!("agent_response")),
                ("rawMessage", submission("Hello")["raw_message"].clone()),
                ("senderName", json!("Eliza")),
            ] {
                assert_eq!(data[key], value, "{key}");
            }
            assert_eq!(data["metadata"]["agentName"], "Eliza");
            assert_eq!(data["metadata"]["authorDisplayName"], "Eliza");
            assert_eq!(data["metadata"]["prompt"], "p");
        }
    });
}

#[test]
fn both_forms_and_both_spellings_are_taken() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        for (body, name) in [
            (json!({"agentId": AGENT, "channelId": ROOM, "content": "x"}), "Agent"),
            (json!({"agentId": AGENT, "channelId": ROOM, "content": "x", "metadata": {"agentName": "E"}}), "E"),
            (
                json!({"channelId": ROOM, "messageServerId": SERVER, "authorId": AGENT, "content": "x",
                    "rawMessage": {"actions": null}, "sourceType": "y", "metadata": null}),
                "Agent",
            ),
            (json!({"channel_id": ROOM, "server_id": SERVER, "author_id": AGENT, "content": "x"}), "Agent"),
        ] {
            let data = fleet.api(1, "POST", "/submit", &body).data(201);
            let message = broadcast(fleet, member);
            assert_eq!((&message["senderName"], &message["senderId"]), (&json!(name), &json!(AGENT)));
            assert_eq!((&message["actions"], &message["attachments"]), (&json!([]), &json!([])));
            assert_eq!(message["id"], data["id"]);
        }
    });
}

#[test]
fn an_agent_may_choose_the_id_and_repeat_itself() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        let mut body = submission("once");
        body["messageId"] = json!(ACTION);
        let first = fleet.api(1, "POST", "/submit", &body).data(201);
        assert_eq!(first["id"], ACTION);
        assert_eq!(broadcast(fleet, member)["id"], ACTION);
        assert_eq!(fleet.api(2, "POST", "/submit", &body).data(201), first);
        fleet.advance(600_000);
        assert_eq!(fleet.api(3, "POST", "/submit", &body).data(201), first);
        assert_eq!(fleet.events(member), []);
        body["author_id"] = json!(USER);
        fleet.api(0, "POST", "/submit", &body).refusal(409, "conflict");
        body["messageId"] = json!("my own");
        assert_ne!(fleet.api(0, "POST", "/submit", &body).data(201)["id"], "my own");
    });
}

#[test]
fn a_message_from_outside_is_accepted() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(3, ROOM);
        fleet.take(member);
        let body = json!({"channel_id": ROOM, "message_server_id": SERVER, "author_id": USER, "content": "hi",
            "author_display_name": "Ada", "source_type": "discord", "source_id": "77"});
        let response = fleet.api(1, "POST", "/ingest-external", &body);
        assert_eq!(response.json["message"], "Message ingested and published to bus");
        let data = response.data(202);
        let message = broadcast(fleet, member);
        assert_eq!(data, json!({"messageId": message["id"]}));
        assert_eq!((&message["senderName"], &message["source"]), (&json!("Ada"), &json!("discord")));
        let kept = fleet.api(0, "GET", &format!("/channels/{ROOM}/messages"), &Value::Null).data(200);
        assert_eq!(kept["messages"][0]["sourceId"], "77");
    });
}

#[test]
fn an_action_is_told_again_with_its_later_states_and_kept_once() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(2, ROOM);
        fleet.take(member);
        let mut body = submission("Working");
        body["messageId"] = json!(ACTION);
        body["raw_message"]["actionStatus"] = json!("executing");
        fleet.api(0, "POST", "/action", &body).data(201);
        let first = broadcast(fleet, member);
        assert_eq!(first["updatedAt"], first["createdAt"]);
        assert_eq!(first["rawMessage"]["actionStatus"], "executing");
        assert_eq!(keys(&first).len(), BROADCAST_KEYS.len() + 2);
        fleet.api(1, "POST", "/submit", &submission("between")).data(201);
        broadcast(fleet, member);

        fleet.advance(50);
        let update = json!({"raw_message": {"actionStatus": "completed", "thought": "done"}, "content": "Finished"});
        for shard in 0..4 {
            let data = fleet.api(shard, "PATCH", &format!("/action/{ACTION}"), &update).data(200);
            let later = broadcast(fleet, member);
            assert_eq!(later["id"], ACTION);
            assert_eq!((&later["createdAt"], &later["senderName"]), (&first["createdAt"], &json!("Eliza")));
            assert_eq!((&later["text"], &later["thought"]), (&json!("Finished"), &json!("done")));
            assert_eq!((&later["actions"], &later["attachments"]), (&first["actions"], &first["attachments"]));
            assert_eq!(later["rawMessage"], update["raw_message"]);
            assert!(later["updatedAt"].as_u64() > first["updatedAt"].as_u64());
            assert_eq!((&data["content"], &data["updatedAt"]), (&later["text"], &later["updatedAt"]));
            assert_eq!(data["metadata"]["prompt"], "p");
            fleet
                .api(shard, "PATCH", "/action/0d0d0d0d-0000-4000-8000-00000000ffff", &update)
                .refusal(404, "not_found");
        }
        let kept = fleet.api(3, "GET", &format!("/channels/{ROOM}/messages"), &Value::Null).data(200);
        let texts: Vec<&str> =
            kept["messages"].as_array().expect("a list").iter().filter_map(|m| m["text"].as_str()).collect();
        assert_eq!(texts, ["between", "Finished"]);
        assert_eq!(kept["messages"][1]["rawMessage"], update["raw_message"]);
    });
}

#[test]
fn processing_is_over_when_an_agent_says_so() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(2, ROOM);
        let id = fleet.api(0, "POST", "/submit", &submission("x")).data(201)["id"].clone();
        fleet.take(member);
        for body in [
            json!({"channel_id": ROOM, "message_server_id": SERVER}),
            json!({"channelId": ROOM}),
            json!({"channel_id": ROOM, "server_id": SERVER}),
            json!({"messageId": id, "status": "completed"}),
        ] {
            let response = fleet.api(1, "POST", "/complete", &body);
            assert_eq!(response.status, 200);
            assert_eq!(response.json, json!({"success": true, "message": "Completion event emitted"}));
            let expected = json!({"channelId": ROOM, "serverId": SERVER});
            assert_eq!(fleet.events(member), [("messageComplete".to_owned(), expected)]);
        }
        let message = fleet.api(1, "POST", "/complete", &json!({"messageId": USER})).refusal(404, "not_found");
        assert_eq!(message, "Message not found");
    });
}

#[test]
fn channels_are_described_and_unknown_ones_are_not_there() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(1);
        fleet.call(peer, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        fleet.call(peer, "message", &message("hi"));
        let at = |path: &str| format!("/channels/{ROOM}/{path}");
        let details = fleet.api(0, "GET", &at("details"), &Value::Null).data(200);
        assert_eq!((&details["id"], &details["messageServerId"]), (&json!(ROOM), &json!(SERVER)));
        assert_eq!((&details["type"], &details["messageCount"]), (&json!("GROUP"), &json!(1)));
        let people = fleet.api(2, "GET", &at("participants"), &Value::Null).data(200);
        assert_eq!(people, json!([USER, AGENT]));
        let upper = format!("/channels/{}/participants/", ROOM.to_uppercase());
        assert_eq!(fleet.api(2, "GET", &upper, &Value::Null).data(200), people);
        for path in ["details", "participants", "messages"] {
            let path = format!("/channels/{OTHER_ROOM}/{path}");
            let message = fleet.api(3, "GET", &path, &Value::Null).refusal(404, "not_found");
            assert_eq!(message, "Channel not found");
        }
        assert_eq!(fleet.api(1, "GET", "/message-server/current", &Value::Null).data(200)["messageServerId"], SERVER);
    });
}

#[test]
fn messages_come_newest_first_in_pages() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.member(1, ROOM);
        for n in 0..7 {
            fleet.call(peer, "message", &message(&n.to_string()));
        }
        let mut path = format!("/channels/{ROOM}/messages?limit=3");
        let mut seen = Vec::new();
        loop {
            let data = fleet.api(0, "GET", &path, &Value::Null).data(200);
            let page = data["messages"].as_array().expect("a list").clone();
            seen.extend(page.iter().map(|m| m["content"].as_str().expect("a text").to_owned()));
            let Some(last) = page.last().filter(|_| data["hasMore"] == true) else { break };
            path = format!("/channels/{ROOM}/messages?limit=3&before={}", last["createdAt"]);
        }
        assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
        let data =
            fleet.api(0, "GET", &format!("/channels/{ROOM}/messages?before=2001-01-01T00:00:00.000Z"), &Value::Null);
        assert_eq!(data.data(200), json!({"messages": [], "hasMore": false}));
        let first = fleet.api(2, "GET", &format!("/channels/{ROOM}/messages?limit=1"), &Value::Null).data(200);
        let first = &first["messages"][0];
        assert_eq!((&first["metadata"]["authorDisplayName"], &first["rawMessage"]), (&json!("Ada"), &json!({})));
    });
}

#[test]
fn a_page_never_takes_more_than_its_part_of_the_queue() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.member(1, ROOM);
        (0..30).for_each(|_| drop(fleet.call(peer, "message", &message(&"x".repeat(60_000)))));
        let data = fleet.api(0, "GET", &format!("/channels/{ROOM}/messages"), &Value::Null).data(200);
        assert!(data.to_string().len() < (1 << 20) / 3);
        assert_eq!(data["hasMore"], true);
    });
}

#[test]
fn an_agent_takes_part_until_it_stops() {
    each(&AgentsSettings::default(), |fleet| {
        let (agents, people) = (format!("/channels/{ROOM}/agents"), format!("/channels/{ROOM}/participants"));
        let data = fleet.api(0, "POST", &agents, &json!({"agentId": AGENT})).data(201);
        assert_eq!((&data["channelId"], &data["agentId"]), (&json!(ROOM), &json!(AGENT)));
        assert_eq!(fleet.api(1, "GET", &people, &Value::Null).data(200), json!([AGENT]));
        let servers = fleet.api(2, "GET", &format!("/agents/{AGENT}/message-servers"), &Value::Null).data(200);
        assert_eq!(servers, json!({"agentId": AGENT, "messageServers": [SERVER]}));
        // Sockets come and go; the agent was told to be there.
        let peer = fleet.connect_to(3);
        fleet.call(peer, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        fleet.drop_peer(peer);
        assert_eq!(fleet.api(1, "GET", &people, &Value::Null).data(200), json!([AGENT]));
        let one = format!("{agents}/{AGENT}");
        fleet.api(2, "DELETE", &one, &Value::Null).data(200);
        assert_eq!(fleet.api(1, "GET", &people, &Value::Null).data(200), json!([]));
        fleet.api(2, "DELETE", &one, &Value::Null).refusal(404, "not_found");
        fleet
            .api(2, "DELETE", &format!("/channels/{OTHER_ROOM}/agents/{AGENT}"), &Value::Null)
            .refusal(404, "not_found");
        let servers = fleet.api(2, "GET", &format!("/agents/{AGENT}/message-servers"), &Value::Null).data(200);
        assert_eq!(servers["messageServers"], json!([]));
    });
}

#[test]
fn the_channels_of_a_server_are_gathered_from_all_shards() {
    each(&AgentsSettings::default(), |fleet| {
        let room = |n: u32| format!("0f0f0f0f-0000-4000-8000-{n:012}");
        let server = "0e0e0e0e-0000-4000-8000-000000000001";
        for n in 0..20 {
            fleet.advance(10);
            let body = json!({"channel_id": room(n), "server_id": server, "author_id": AGENT, "content": "x"});
            fleet.api(n as usize, "POST", "/submit", &body).data(201);
        }
        fleet.api(0, "POST", "/submit", &submission("elsewhere")).data(201);
        let data = fleet.api(1, "GET", &format!("/message-servers/{server}/channels"), &Value::Null).data(200);
        let ids: Vec<&str> =
            data["channels"].as_array().expect("a list").iter().filter_map(|c| c["id"].as_str()).collect();
        assert_eq!(ids, (0..20).rev().map(room).collect::<Vec<_>>());
        let servers = fleet.api(3, "GET", &format!("/agents/{AGENT}/message-servers"), &Value::Null).data(200);
        assert_eq!(servers["messageServers"], json!([SERVER, server]));
    });
}

#[test]
fn of_too_many_channels_those_changed_last_are_listed() {
    let mut fleet = Fleet::new(1, &AgentsSettings::default());
    let room = |n: usize| format!("0f0f0f0f-0000-4000-8000-{n:012}");
    // Of 520 those of an even number are changed last.
    for n in (1..520).step_by(2).chain((0..520).step_by(2)) {
        fleet.advance(10);
        fleet.api(0, "POST", &format!("/channels/{}/agents", room(n)), &json!({"agentId": AGENT})).data(201);
    }
    let data = fleet.api(0, "GET", &format!("/message-servers/{SERVER}/channels"), &Value::Null).data(200);
    let ids: Vec<&str> = data["channels"].as_array().expect("a list").iter().filter_map(|c| c["id"].as_str()).collect();
    let expected = (0..520).step_by(2).rev().chain((0..520).skip(1).step_by(2).rev());
    assert_eq!(ids, expected.take(500).map(room).collect::<Vec<_>>());
}

#[test]
fn an_agent_that_calls_is_waited_for() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(1);
        fleet.call(peer, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        fleet.call(peer, "message", &message("nobody there"));
        fleet.api(0, "POST", "/submit", &submission("I am")).data(201);
        fleet.take(peer);
        let (_, rest) = fleet.call(peer, "message", &message("are you?"));
        assert!(!rest.iter().any(|p| matches!(p, Packet::Event(name, _) if name == "messageComplete")), "{rest:?}");
        assert_eq!(fleet.api(2, "POST", "/complete", &json!({"channel_id": ROOM})).status, 200);
        assert_eq!(fleet.names(peer), ["messageComplete"]);
    });
}
