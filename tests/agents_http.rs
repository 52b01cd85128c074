//! The HTTP API for agents and backends (contract B3), beside sockets.

mod common;

use serde_json::{Value, json};

use common::engine::BOTH;
use common::http::{Http, Response, once};
use common::rooms::{BROADCAST_KEYS, NIL, member, message, uuid};
use common::{Client, ROOMS, Server, Via, each_worker_count, json as text};

/// The worker counts at which all homes are local, and at which most are not.
const WORKERS: &[usize] = &[1, 4];

const JSON: &str = "Content-Type: application/json\r\n";

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    once(server, method, &format!("/api/messaging{path}"), JSON, body.as_bytes())
}

fn get(server: &Server, path: &str) -> Value {
    call(server, "GET", path, &Value::Null).expect(200).json()["data"].clone()
}

fn submission(room: &str, agent: &str, content: &str) -> Value {
    json!({
        "channel_id": room, "message_server_id": NIL, "author_id": agent, "content": content,
        "source_type": "agent_response", "raw_message": {"text": content, "thought": "hm", "actions": ["REPLY"]},
        "metadata": {"agentName": "Eliza", "attachments": [{"url": "a.png"}]},
    })
}

#[test]
fn a_submission_reaches_every_member_before_it_is_answered() {
    each_worker_count(WORKERS, ROOMS, |server| {
        let (room, agent) = (uuid(), uuid());
        let mut members: Vec<Client> = (0..6).map(|n| member(server, BOTH[n % 2], &room)).collect();
        for n in 0..4 {
            let content = format!("Hello {n}");
            let answer = call(server, "POST", "/submit", &submission(&room, &agent, &content)).expect(201).json();
            assert_eq!(answer["success"], true);
            for member in &mut members {
                let event = member.event();
                assert_eq!(event.name, "messageBroadcast");
                assert_eq!(text::keys_in_order(&event.raw[0]), BROADCAST_KEYS);
                let broadcast = event.payload();
                assert_eq!(broadcast["id"], answer["data"]["id"]);
                assert_eq!(broadcast["senderName"], "Eliza");
                assert_eq!(broadcast["text"], content);
                assert_eq!(broadcast["thought"], "hm");
                assert_eq!(broadcast["actions"], json!(["REPLY"]));
                assert_eq!(broadcast["attachments"], json!([{"url": "a.png"}]));
                assert_eq!(broadcast["source"], "agent_response");
            }
        }
        let page = get(server, &format!("/channels/{room}/messages?limit=2"));
        let contents: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
        assert_eq!(contents, ["Hello 3", "Hello 2"]);
        let people = get(server, &format!("/channels/{room}/participants"));
        assert!(people.as_array().unwrap().contains(&json!(agent)));
    });
}

#[test]
fn an_action_goes_through_its_states() {
    each_worker_count(WORKERS, ROOMS, |server| {
        let (room, agent, action) = (uuid(), uuid(), uuid());
        let mut member = member(server, Via::WebSocket, &room);
        let mut body = submission(&room, &agent, "Working");
        body["messageId"] = json!(action);
        call(server, "POST", "/action", &body).expect(201);
        assert_eq!(member.event().payload()["id"], action);
        for status in ["executing", "completed"] {
            let update = json!({"raw_message": {"actionStatus": status}});
            call(server, "PATCH", &format!("/action/{action}"), &update).expect(200);
            let event = member.event();
            let keys = text::keys_in_order(&event.raw[0]);
            assert_eq!(keys[..BROADCAST_KEYS.len()], BROADCAST_KEYS);
            assert_eq!(keys[BROADCAST_KEYS.len()..], ["updatedAt", "rawMessage"]);
            assert_eq!(
                (&event.payload()["id"], &event.payload()["rawMessage"]),
                (&json!(action), &update["raw_message"])
            );
        }
        let page = get(server, &format!("/channels/{room}/messages"));
        assert_eq!(page["messages"].as_array().unwrap().len(), 1);
        let missing = call(server, "PATCH", &format!("/action/{}", uuid()), &json!({})).expect(404).json();
        assert_eq!(missing, json!({"success": false, "error": {"code": "not_found", "message": "Message not found"}}));
    });
}

#[test]
fn completion_reaches_the_room() {
    each_worker_count(WORKERS, ROOMS, |server| {
        let room = uuid();
        let mut member = member(server, Via::Polling, &room);
        let answer =
            call(server, "POST", "/complete", &json!({"channel_id": room, "server_id": NIL})).expect(200).json();
        assert_eq!(answer, json!({"success": true, "message": "Completion event emitted"}));
        let event = member.event();
        assert_eq!(
            (event.name.as_str(), event.payload()),
            ("messageComplete", &json!({"channelId": room, "serverId": NIL}))
        );
    });
}

#[test]
fn one_connection_serves_many_calls_in_order() {
    each_worker_count(WORKERS, ROOMS, |server| {
        let (agent, rooms) = (uuid(), [uuid(), uuid(), uuid(), uuid()]);
        let mut http = Http::connect(server);
        // Pipelined, to homes on all shards, as length and as chunks.
        let mut bytes = Vec::new();
        for (n, room) in rooms.iter().enumerate() {
            let body = submission(room, &agent, &n.to_string()).to_string();
            let head = format!("POST /api/messaging/submit HTTP/1.1\r\nHost: x\r\n{JSON}");
            bytes.extend(
                match n % 2 {
                    0 => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
                    _ => format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
                }
                .into_bytes(),
            );
        }
        http.send(&bytes);
        for (n, room) in rooms.iter().enumerate() {
            let data = http.response().expect(201).json()["data"].clone();
            assert_eq!((&data["content"], &data["channelId"]), (&json!(n.to_string()), &json!(room)));
        }
        http.request("HEAD", "/api/messaging/message-server/current", "", b"");
        assert!(http.head_response().expect(200).text().is_empty());
        http.request("GET", "/api/messaging/message-server/current", "", b"");
        assert_eq!(http.response().expect(200).json()["data"]["messageServerId"], NIL);
        http.request("OPTIONS", "/api/messaging/submit", "Origin: https://a.example\r\n", b"");
        let preflight = http.response().expect(204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        assert!(preflight.header("access-control-allow-headers").is_some_and(|h| h.contains("Idempotency-Key")));
        for room in &rooms {
            let servers = get(server, &format!("/agents/{agent}/message-servers"));
            assert_eq!(servers["messageServers"], json!([NIL]));
            assert_eq!(get(server, &format!("/channels/{room}/details"))["messageCount"], 1);
        }
    });
}

#[test]
fn refusals_have_one_form() {
    each_worker_count(WORKERS, &[ROOMS, &["--http-body-max", "2kB"]].concat(), |server| {
        let room = uuid();
        let large = submission(&room, &uuid(), &"x".repeat(4_000)).to_string();
        let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        for (method, path, headers, body, status, code) in [
            ("GET", "/none", JSON, "", 404, "not_found"),
            ("DELETE", "/submit", JSON, "", 405, "method_not_allowed"),
            ("POST", "/submit", "Content-Type: text/plain\r\n", "{}", 415, "unsupported_media_type"),
            ("POST", "/submit", JSON, "{}", 400, "invalid_payload"),
            ("POST", "/submit", JSON, "{", 400, "invalid_payload"),
            ("POST", "/submit", JSON, large.as_str(), 413, "too_large"),
            ("GET", "/channels/x/details", "", "", 400, "invalid_request"),
        ] {
            let answer =
                once(server, method, &format!("/api/messaging{path}"), headers, body.as_bytes()).expect(status);
            let error = answer.json()["error"].clone();
            let expected = json!({"success": false, "error": {"code": code, "message": error["message"]}});
            assert_eq!(answer.json(), expected, "{method} {path}");
            assert!(error["message"].is_string(), "{method} {path}");
        }
        let mut http = Http::connect(server);
        http.send(format!(
            "POST /api/messaging/submit HTTP/1.1\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{chunked}"
        ));
        assert_eq!(http.response().expect(413).json()["error"]["code"], "too_large");
        http.ends();
    });
}

#[test]
fn a_retry_with_the_same_key_changes_nothing() {
    each_worker_count(WORKERS, ROOMS, |server| {
        let (room, agent, key) = (uuid(), uuid(), uuid());
        let mut member = member(server, Via::WebSocket, &room);
        let headers = format!("{JSON}Idempotency-Key: \"{key}\"\r\n");
        let submit =
            |body: &Value| once(server, "POST", "/api/messaging/submit", &headers, body.to_string().as_bytes());
        let body = submission(&room, &agent, "once");
        let first = submit(&body).expect(201).json();
        for _ in 0..4 {
            assert_eq!(submit(&body).expect(201).json(), first);
        }
        let other = submit(&submission(&room, &agent, "another")).expect(409).json();
        assert_eq!(other["error"]["code"], "conflict");
        assert_eq!(member.event().payload()["id"], first["data"]["id"]);
        let ack = member.call("message", message(&room, &agent, "next"));
        assert_eq!(member.event().payload()["id"], ack["id"]);
    });
}
