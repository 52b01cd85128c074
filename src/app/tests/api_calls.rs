//! How calls of the HTTP API are taken: once, in order, and refused where they must be.

use super::api::{ACTION, broadcast, submission};
use super::http::request;
use super::*;

#[test]
fn an_idempotency_key_makes_a_call_happen_once() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        for path in ["/submit", "/action", "/ingest-external"] {
            let key = "Idempotency-Key: \"k 1\"\r\n";
            let first = fleet.api_with(0, "POST", path, key, &submission("x"));
            let again = fleet.api_with(3, "POST", path, key, &submission("x"));
            assert_eq!((first.status, &first.json), (again.status, &again.json), "{path}");
            broadcast(fleet, member);
            fleet.api_with(1, "POST", path, key, &submission("y")).refusal(409, "conflict");
            fleet
                .api_with(1, "POST", path, "Idempotency-Key: \"\"\r\n", &submission("y"))
                .refusal(400, "invalid_request");
            assert_eq!(fleet.events(member), []);
        }
    });
}

#[test]
fn the_same_key_twice_at_once_is_a_conflict() {
    let mut fleet = Fleet::new(4, &AgentsSettings::default());
    let member = fleet.member(0, ROOM);
    fleet.take(member);
    let peers: Vec<Peer> = (0..4).map(|n| fleet.accept(n)).collect();
    for &peer in &peers {
        fleet.receive(peer, &mut request("POST", "/submit", "Idempotency-Key: k\r\n", &submission("x").to_string()));
    }
    fleet.settle();
    let mut statuses: Vec<u16> = peers.iter().flat_map(|&peer| fleet.responses(peer)).map(|r| r.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.first(), Some(&201));
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)) && statuses.contains(&409), "{statuses:?}");
    broadcast(&mut fleet, member);
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.accept(0);
        let mut bytes = request("POST", "/submit", "", &submission("1").to_string());
        bytes.extend(request("GET", "/message-server/current", "", ""));
        bytes.extend(request("GET", "/nothing", "", ""));
        bytes.extend(request("POST", "/submit", "", &submission("2").to_string()));
        fleet.receive(peer, &mut bytes);
        // One in a turn.
        fleet.advance(40);
        let responses = fleet.responses(peer);
        assert_eq!(responses.iter().map(|r| r.status).collect::<Vec<_>>(), [201, 200, 404, 201]);
        assert_eq!(
            (&responses[0].json["data"]["content"], &responses[3].json["data"]["content"]),
            (&json!("1"), &json!("2"))
        );
        assert!(responses.iter().all(|r| r.head.contains("Connection: keep-alive")));
    });
}

#[test]
fn a_caller_that_is_gone_is_missed_by_nobody() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(1, ROOM);
        fleet.take(member);
        let peer = fleet.accept(0);
        fleet.receive(peer, &mut request("POST", "/submit", "", &submission("x").to_string()));
        fleet.drop_peer(peer);
        broadcast(fleet, member);
        assert!((0..fleet.shards()).all(|shard| fleet.app(shard).api.calls.len() == 0));
        assert_eq!(fleet.responses(peer).len(), 0);
    });
}

#[test]
fn what_is_no_call_is_refused_in_the_contracts_words() {
    each(&AgentsSettings::default(), |fleet| {
        fleet.api(0, "GET", "/nothing", &Value::Null).refusal(404, "not_found");
        let wrong = fleet.api(0, "GET", "/submit", &Value::Null);
        assert!(wrong.head.contains("\r\nAllow: POST, OPTIONS\r\n"), "{}", wrong.head);
        wrong.refusal(405, "method_not_allowed");
        fleet.api(0, "PUT", &format!("/action/{ACTION}"), &json!({})).refusal(405, "method_not_allowed");
        fleet.api(0, "GET", "/channels/x/details", &Value::Null).refusal(400, "invalid_request");
        fleet
            .api(0, "GET", &format!("/channels/{ROOM}/messages?limit=x"), &Value::Null)
            .refusal(400, "invalid_request");
        for body in ["", "x", "[]", "7", "null", "{", "{}x", "\"x\"", &"[".repeat(100_000)] {
            let response = fleet.send_request(0, &mut request("POST", "/submit", "", body));
            response.refusal(400, "invalid_payload");
        }
        let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        fleet.send_request(0, &mut request("POST", "/submit", "", &deep)).refusal(400, "invalid_payload");
        let mut form = request("POST", "/submit", "", "x=1");
        let at = form.windows(4).position(|w| w == b"json").expect("the type");
        form[at..at + 4].copy_from_slice(b"form");
        fleet.send_request(0, &mut form).refusal(415, "unsupported_media_type");
        let large = submission(&"x".repeat(64 * 1024 + 1));
        assert!(fleet.api(0, "POST", "/submit", &large).refusal(413, "too_large").starts_with("content "));
        let huge = submission(&"x".repeat(1 << 20));
        fleet.api(0, "POST", "/submit", &huge).refusal(413, "too_large");
    });
}

#[test]
fn every_wrong_field_is_named_and_nothing_happens() {
    const STRING: &str = "string";
    let fields: &[(&str, &str, bool)] = &[
        ("channel_id", "uuid", true),
        ("channelId", "uuid", true),
        ("author_id", "uuid", true),
        ("agentId", "uuid", true),
        ("content", STRING, true),
        ("message_server_id", "uuid", false),
        ("server_id", "uuid", false),
        ("messageId", STRING, false),
        ("in_reply_to_message_id", "uuid", false),
        ("source_type", STRING, false),
        ("source_id", STRING, false),
        ("author_display_name", STRING, false),
        ("raw_message", "object", false),
        ("rawMessage", "object", false),
        ("metadata", "object", false),
        ("raw_message.text", STRING, false),
        ("raw_message.thought", STRING, false),
        ("raw_message.actions", "array", false),
        ("raw_message.attachments", "array", false),
        ("metadata.agentName", STRING, false),
        ("metadata.attachments", "array", false),
    ];
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        let calls = [("POST", "/submit"), ("POST", "/ingest-external"), ("POST", "/action"), ("PATCH", "/action/:id")];
        for (n, (method, path)) in calls.into_iter().enumerate() {
            let path = path.replace(":id", ACTION);
            for &(field, kind, needed) in fields {
                if field == "messageId" && method == "PATCH" {
                    // The path says which message.
                    continue;
                }
                let mut wrong = vec![json!(true), json!(7), json!("x"), json!([1]), json!({"a": 1})];
                wrong.retain(|v| match kind {
                    STRING => !v.is_string(),
                    // Of an array of strings that is the wrong kind too.
                    "array" => !v.is_array() || field.ends_with("actions"),
                    "object" => !v.is_object(),
                    _ => true,
                });
                if needed && method == "POST" && !(path == "/action" && field == "content") {
                    wrong.push(Value::Null);
                }
                for value in wrong {
                    let mut body = json!({"channel_id": ROOM, "author_id": AGENT, "content": "x"});
                    if field == "channelId" || field == "agentId" {
                        let replaced = if field == "agentId" { "author_id" } else { "channel_id" };
                        body.as_object_mut().expect("an object").remove(replaced);
                    }
                    match field.split_once('.') {
                        Some((outer, inner)) => body[outer] = json!({inner: value}),
                        None => body[field] = value,
                    }
                    let message = fleet.api(n, method, &path, &body).refusal(400, "invalid_payload");
                    let name = field.rsplit('.').next().expect("a name");
                    // A missing author is called by its first name.
                    let named =
                        message.starts_with(name) || (body[field].is_null() && message.starts_with("author_id"));
                    assert!(named, "{method} {path} {field} {body}: {message}");
                }
            }
        }
        for (body, name) in [
            (json!({}), "channel_id"),
            (json!({"channel_id": 7}), "channel_id"),
            (json!({"messageId": 7}), "messageId"),
            (json!({"messageId": "x"}), "messageId"),
            (json!({"channel_id": ROOM, "message_server_id": "x"}), "message_server_id"),
        ] {
            let message = fleet.api(0, "POST", "/complete", &body).refusal(400, "invalid_payload");
            assert!(message.starts_with(name), "{body}: {message}");
        }
        for agent in [Value::Null, json!(7), json!("x"), json!([AGENT])] {
            let body = json!({"agentId": agent});
            let message =
                fleet.api(0, "POST", &format!("/channels/{ROOM}/agents"), &body).refusal(400, "invalid_payload");
            assert!(message.starts_with("agentId"), "{body}: {message}");
        }
        assert_eq!(fleet.events(member), []);
    });
}

#[test]
fn a_connection_publishes_no_faster_than_it_may() {
    each(&AgentsSettings { rate_messages: 2, ..AgentsSettings::default() }, |fleet| {
        let peer = fleet.accept(0);
        let mut bytes: Vec<u8> = Vec::new();
        (0..3).for_each(|_| bytes.extend(request("POST", "/submit", "", &submission("x").to_string())));
        fleet.receive(peer, &mut bytes);
        // One in a turn.
        fleet.advance(40);
        let statuses: Vec<u16> = fleet.responses(peer).iter().map(|r| r.status).collect();
        assert_eq!(statuses, [201, 201, 429]);
        fleet.api(0, "POST", "/submit", &submission("another connection")).data(201);
    });
}

#[test]
fn without_a_place_for_a_room_a_call_is_refused_and_its_key_is_free_again() {
    each(&AgentsSettings { max_rooms: 1, ..AgentsSettings::default() }, |fleet| {
        // One room for each shard: with members they cannot be dropped.
        let rooms: Vec<String> = (0..64).map(|n| format!("0f0f0f0f-0000-4000-8000-{n:012}")).collect();
        let peer = fleet.connect_to(0);
        rooms.iter().for_each(|room| drop(fleet.call(peer, "join", &json!({"roomId": room}))));
        let mut body = submission("x");
        body["channel_id"] = json!(OTHER_ROOM);
        let key = "Idempotency-Key: k\r\n";
        fleet.api_with(1, "POST", "/submit", key, &body).refusal(503, "unavailable");
        fleet.drop_peer(peer);
        fleet.advance(600_000);
        fleet.api_with(1, "POST", "/submit", key, &body).data(201);
    });
}

#[test]
fn a_token_is_asked_for() {
    let access = crate::app::Access { token: crate::app::Secret::new("a secret"), ..Default::default() };
    each(&AgentsSettings { access, ..AgentsSettings::default() }, |fleet| {
        fleet.api(0, "POST", "/submit", &submission("x")).refusal(401, "unauthorized");
        fleet.api_with(0, "POST", "/submit", "X-API-KEY: wrong\r\n", &submission("x")).refusal(401, "unauthorized");
        fleet.api_with(0, "POST", "/submit", "X-API-KEY: a secret\r\n", &submission("x")).data(201);
    });
}

#[test]
fn a_call_under_way_when_the_server_stops_is_answered_and_no_later_one_is_taken() {
    each(&AgentsSettings::default(), |fleet| {
        let peers: Vec<Peer> = (0..4).map(|n| fleet.accept(n % fleet.shards())).collect();
        let headers = ["", "Idempotency-Key: a\r\n", "Idempotency-Key: b\r\n", "Idempotency-Key: c\r\n"];
        for (&peer, headers) in peers.iter().zip(headers) {
            let mut bytes = request("POST", "/submit", headers, &submission("last").to_string());
            bytes.extend(request("POST", "/submit", "", &submission("too late").to_string()));
            fleet.receive(peer, &mut bytes);
        }
        fleet.drain();
        for peer in peers {
            let mut responses = fleet.responses(peer);
            assert!((1..=2).contains(&responses.len()), "{responses:?}");
            let late = responses.split_off(1);
            responses.remove(0).data(201);
            late.into_iter().for_each(|late| drop(late.refusal(503, "unavailable")));
        }
        assert!((0..fleet.shards()).all(|shard| fleet.app(shard).api.calls.len() == 0));
    });
}
