//! What sockets with signed tokens may do, and for how long.

use super::fleet::START_MS;
use super::*;
use crate::app::{Access, Secret, Verifier};
use jsonwebtoken::{EncodingKey, Header, encode};
use std::sync::Arc;

const SECRET: &[u8] = b"a secret of no fewer than 32 bytes";
const OPERATOR: &str = "an operator's token";

fn settings() -> AgentsSettings {
    let verifier = Some(Arc::new(Verifier::shared(SECRET)));
    let access = Access { token: Secret::new(OPERATOR), verifier, require_entity_id: false };
    AgentsSettings { access, ..AgentsSettings::default() }
}

/// A token that ends so many seconds after the start of the fleet.
fn token(mut claims: Value, seconds: u64) -> String {
    claims["exp"] = json!(START_MS / 1_000 + seconds);
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn auth(claims: Value) -> String {
    json!({"token": token(claims, 3_600)}).to_string()
}

fn user() -> Value {
    json!({"sub": USER, "rooms": [ROOM]})
}

/// A connected socket.
fn connect(fleet: &mut Fleet, shard: usize, headers: &str, auth: &str) -> Peer {
    let peer = fleet.connect_with(shard % fleet.shards(), headers, auth);
    let greeting = fleet.take(peer);
    assert!(matches!(&greeting[0], Packet::Other(text) if text.starts_with("0{\"sid\"")), "{greeting:?}");
    peer
}

#[test]
fn a_user_is_kept_to_its_rooms_and_itself() {
    each(&settings(), |fleet| {
        let peer = connect(fleet, 1, "", &auth(user()));
        assert_eq!(fleet.call(peer, "join", &json!({"roomId": ROOM, "entityId": USER})).0["ok"], true);
        assert_eq!(fleet.call(peer, "message", &message("hi")).0["ok"], true);
        failure(fleet.call(peer, "join", &json!({"roomId": OTHER_ROOM})), "forbidden");
        failure(fleet.call(peer, "join", &json!({"roomId": ROOM, "entityId": AGENT})), "forbidden");
        let mut elsewhere = message("hi");
        elsewhere["roomId"] = json!(OTHER_ROOM);
        failure(fleet.call(peer, "message", &elsewhere), "forbidden");
        let mut as_another = message("hi");
        as_another["userId"] = json!(AGENT);
        failure(fleet.call(peer, "message", &as_another), "forbidden");
        assert_eq!(fleet.call(peer, "request-world-state", &json!({"roomId": ROOM})).0["roomId"], ROOM);
        failure(fleet.call(peer, "request-world-state", &json!({"roomId": OTHER_ROOM})), "forbidden");
        assert_eq!(fleet.call(peer, "leave", &json!({"roomId": OTHER_ROOM})).0["ok"], true);
    });
}

#[test]
fn the_older_forms_are_refused_in_their_own_way_too() {
    each(&settings(), |fleet| {
        let peer = connect(fleet, 1, "", &auth(user()));
        for (form, payload) in [
            (1, json!({"channelId": OTHER_ROOM})),
            (2, json!({"channelId": OTHER_ROOM, "senderId": USER, "message": "hi", "serverId": SERVER})),
            (2, json!({"channelId": ROOM, "senderId": AGENT, "message": "hi", "serverId": SERVER})),
        ] {
            fleet.emit(peer, "message", &json!({"type": form, "payload": payload}));
            let events = fleet.events(peer);
            let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["messageError", "error"]);
            assert_eq!(events[1].1["details"]["code"], "forbidden");
        }
    });
}

#[test]
fn nothing_that_is_forbidden_reaches_the_room() {
    each(&settings(), |fleet| {
        let member = connect(fleet, 0, "", &auth(json!({"sub": AGENT, "rooms": "*"})));
        fleet.call(member, "join", &json!({"roomId": OTHER_ROOM}));
        let peer = connect(fleet, 1, "", &auth(user()));
        let mut elsewhere = message("hi");
        elsewhere["roomId"] = json!(OTHER_ROOM);
        fleet.emit(peer, "message", &elsewhere);
        assert_eq!(fleet.names(peer), ["error"]);
        assert_eq!(fleet.take(member), []);
        let (ack, _) = fleet.call(member, "join", &json!({"roomId": OTHER_ROOM}));
        assert_eq!(ack["members"], 1);
    });
}

#[test]
fn agents_and_admins_speak_for_others_and_the_operator_may_everything() {
    each(&settings(), |fleet| {
        for (headers, auth) in [
            (String::new(), auth(json!({"sub": AGENT, "role": "agent", "rooms": [ROOM]}))),
            (String::new(), auth(json!({"sub": AGENT, "role": "admin"}))),
            (String::new(), json!({"token": OPERATOR}).to_string()),
            (
                format!("Authorization: bearer {}\r\n", token(json!({"sub": AGENT, "role": "admin"}), 60)),
                "{}".to_owned(),
            ),
        ] {
            let peer = connect(fleet, 2, &headers, &auth);
            assert_eq!(fleet.call(peer, "message", &message("hi")).0["ok"], true, "{headers} {auth}");
        }
    });
}

#[test]
fn a_token_that_does_not_hold_gives_no_access() {
    each(&settings(), |fleet| {
        let wrong = encode(&Header::default(), &user(), &EncodingKey::from_secret(b"another")).unwrap();
        let over = token(user(), 0);
        let early = token(json!({"sub": USER, "nbf": START_MS / 1_000 + 1}), 60);
        for (auth, message) in [
            (String::new(), "Invalid or missing API Key"),
            (json!({"apiKey": token(user(), 60)}).to_string(), "Invalid or missing API Key"),
            (json!({"token": "wrong"}).to_string(), "Invalid token"),
            (json!({"token": wrong}).to_string(), "Invalid token"),
            (json!({"token": over}).to_string(), "Token expired"),
            (json!({"token": early}).to_string(), "Token not yet valid"),
            (json!({"token": token(user(), 60), "entityId": AGENT}).to_string(), "Valid entityId required"),
        ] {
            let peer = fleet.connect_with(0, "", &auth);
            let expected = format!("4{}", json!({"message": message}));
            assert_eq!(fleet.take(peer), [Packet::Other(expected)], "{auth}");
        }
    });
}

#[test]
fn a_socket_ends_with_its_token_and_not_before() {
    each(&settings(), |fleet| {
        for seconds in [1, 59, 60, 61, 150] {
            let start_s = (fleet.now().unix_ms - START_MS).div_ceil(1_000);
            let auth = json!({"token": token(user(), start_s + seconds)}).to_string();
            let peer = connect(fleet, 1, "", &auth);
            let end_ms = START_MS + (start_s + seconds) * 1_000;
            fleet.advance(end_ms - fleet.now().unix_ms - 10);
            assert_eq!(fleet.take(peer), [], "{seconds} s");
            fleet.advance(20);
            let packets = fleet.take(peer);
            let [Packet::Event(name, args), Packet::Other(disconnect)] = packets.as_slice() else {
                panic!("{packets:?}");
            };
            assert_eq!((name.as_str(), disconnect.as_str()), ("error", "1"));
            assert_eq!(args[0]["details"]["code"], "forbidden");
            // The connection is still there, for another token.
            fleet.send_packet(peer, &format!("40{}", json!({"token": OPERATOR})));
            assert!(matches!(&fleet.take(peer)[0], Packet::Other(text) if text.starts_with("0{\"sid\"")));
            fleet.drop_peer(peer);
        }
    });
}

#[test]
fn calls_are_kept_to_the_rooms_and_the_role_of_their_token() {
    const ELSEWHERE: &str = "0e0e0e0e-0000-4000-8000-000000000001";
    const HERE: &str = "0d0d0d0d-0000-4000-8000-000000000001";
    const THERE: &str = "0d0d0d0d-0000-4000-8000-000000000002";
    let bearer = |claims: Value| format!("Authorization: Bearer {}\r\n", token(claims, 3_600));
    let agent = bearer(json!({"sub": AGENT, "role": "agent", "rooms": [ROOM]}));
    let person = bearer(user());
    let operator = format!("X-API-KEY: {OPERATOR}\r\n");
    let said = |room: &str, server: &str, id: &str| json!({"channel_id": room, "server_id": server, "author_id": AGENT, "content": "x", "messageId": id});
    each(&settings(), |fleet| {
        fleet.api_with(0, "POST", "/action", &operator, &said(ROOM, SERVER, HERE)).data(201);
        fleet.api_with(1, "POST", "/action", &operator, &said(OTHER_ROOM, ELSEWHERE, THERE)).data(201);
        let to = |room: &str, path: &str| format!("/channels/{room}/{path}");
        let own = format!("agents/{AGENT}");
        for (n, (method, path, body)) in [
            ("POST", "/submit".to_owned(), said(OTHER_ROOM, ELSEWHERE, "m")),
            ("POST", "/action".to_owned(), said(OTHER_ROOM, ELSEWHERE, "m")),
            ("POST", "/ingest-external".to_owned(), said(OTHER_ROOM, ELSEWHERE, "m")),
            ("PATCH", format!("/action/{THERE}"), json!({"content": "y"})),
            ("PATCH", format!("/action/{THERE}"), json!({"content": "y", "channel_id": OTHER_ROOM})),
            ("POST", "/complete".to_owned(), json!({"channel_id": OTHER_ROOM})),
            ("POST", "/complete".to_owned(), json!({"messageId": THERE})),
            ("GET", to(OTHER_ROOM, "details"), Value::Null),
            ("GET", to(OTHER_ROOM, "participants"), Value::Null),
            ("GET", to(OTHER_ROOM, "messages"), Value::Null),
            ("POST", to(OTHER_ROOM, "agents"), json!({"agentId": AGENT})),
            ("DELETE", to(OTHER_ROOM, &own), Value::Null),
        ]
        .into_iter()
        .enumerate()
        {
            let refused = fleet.api_with(n, method, &path, &agent, &body).refusal(403, "forbidden");
            assert_eq!(refused, "This room is not among those of your token.", "{method} {path}");
        }
        // The room that is named has to be the action's.
        let elsewhere = json!({"content": "y", "channel_id": ROOM});
        fleet.api_with(0, "PATCH", &format!("/action/{THERE}"), &agent, &elsewhere).refusal(404, "not_found");
        let kept = fleet.api_with(2, "GET", &to(OTHER_ROOM, "messages"), &operator, &Value::Null).data(200);
        assert_eq!(kept["messages"][0]["content"], "x");

        let channels = |fleet: &mut Fleet, headers: &str, server: &str| {
            let data = fleet.api_with(3, "GET", &format!("/message-servers/{server}/channels"), headers, &Value::Null);
            data.data(200)["channels"].as_array().expect("a list").len()
        };
        assert_eq!([channels(fleet, &agent, SERVER), channels(fleet, &agent, ELSEWHERE)], [1, 0]);
        assert_eq!([channels(fleet, &operator, SERVER), channels(fleet, &operator, ELSEWHERE)], [1, 1]);
        let servers = format!("/agents/{AGENT}/message-servers");
        let data = fleet.api_with(1, "GET", &servers, &agent, &Value::Null).data(200);
        assert_eq!(data["messageServers"], json!([SERVER]));

        for (method, path, body) in [
            ("POST", "/submit".to_owned(), said(ROOM, SERVER, "m")),
            ("PATCH", format!("/action/{HERE}"), json!({})),
            ("POST", "/complete".to_owned(), json!({"channel_id": ROOM})),
            ("POST", to(ROOM, "agents"), json!({"agentId": AGENT})),
            ("DELETE", to(ROOM, &own), Value::Null),
            ("POST", "/logs".to_owned(), json!({"msg": "m"})),
            ("GET", servers.clone(), Value::Null),
        ] {
            fleet.api_with(0, method, &path, &person, &body).refusal(403, "forbidden");
        }
        for path in ["details", "participants", "messages"] {
            fleet.api_with(1, "GET", &to(ROOM, path), &person, &Value::Null).data(200);
        }
        fleet.api_with(2, "PATCH", &format!("/action/{HERE}"), &agent, &json!({"content": "y"})).data(200);
        assert_eq!(fleet.api_with(3, "POST", "/complete", &agent, &json!({"messageId": HERE})).status, 200);
    });
}
