//! Every call of the HTTP API (contract B3): what it takes in either spelling, what it answers, and who may make it.

mod common;

use serde_json::{Value, json};

use common::http::{Response, once};
use common::rooms::{NIL, failure, member, message, uuid};
use common::{Client, QUIET, ROOMS, Server, Via, each_worker_count, json as text};

const WORKERS: [usize; 2] = [1, 4];
const JSON: &str = "Content-Type: application/json\r\n";
const TOKEN: &str = "a-token";

fn call(server: &Server, method: &str, path: &str, headers: &str, body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    once(server, method, &format!("/api/messaging{path}"), &format!("{JSON}{headers}"), body.as_bytes())
}

/// The same object with its keys in camelCase, as the SDK has it.
fn camel(value: &Value) -> Value {
    let key = |key: &str| -> String {
        let mut parts = key.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + &part[..1].to_uppercase() + &part[1..])
    };
    match value {
        Value::Object(object) => object.iter().map(|(name, value)| (key(name), camel(value))).collect(),
        other => other.clone(),
    }
}

/// A call, a body that is taken, the status of its answer, and the keys of the answer's `data` (or of the whole without).
struct Row {
    method: &'static str,
    path: String,
    body: Value,
    status: u16,
    keys: &'static [&'static str],
}

const MESSAGE_KEYS: &[&str] = &[
    "actions",
    "attachments",
    "authorId",
    "channelId",
    "content",
    "createdAt",
    "created_at",
    "id",
    "inReplyToRootMessageId",
    "messageServerId",
    "metadata",
    "rawMessage",
    "roomId",
    "senderId",
    "senderName",
    "serverId",
    "source",
    "sourceType",
    "text",
    "thought",
    "updatedAt",
    "updated_at",
];
const CHANNEL_KEYS: &[&str] = &[
    "createdAt",
    "id",
    "messageCount",
    "messageServerId",
    "metadata",
    "name",
    "online",
    "participants",
    "serverId",
    "sourceType",
    "type",
    "updatedAt",
];

/// Every row, in an order in which each finds what it needs.
fn rows(room: &str, agent: &str, action: &str) -> Vec<Row> {
    let said = json!({
        "channel_id": room, "message_server_id": NIL, "author_id": agent, "content": "Hello",
        "in_reply_to_message_id": action, "source_type": "agent_response",
        "raw_message": {"text": "Hello", "thought": "hm", "actions": ["REPLY"]},
        "metadata": {"agentName": "Eliza", "attachments": [{"url": "a.png"}]},
    });
    let mut acted = said.clone();
    acted["message_id"] = json!(action);
    let outside = json!({"channel_id": room, "server_id": NIL, "author_id": uuid(), "content": "hi",
                         "author_display_name": "Ada", "source_type": "discord", "source_id": "7"});
    let row = |method, path: String, body, status, keys| Row { method, path, body, status, keys };
    let complete = &["message", "success"];
    vec![
        row("POST", "/submit".into(), said, 201, MESSAGE_KEYS),
        row("POST", "/action".into(), acted, 201, MESSAGE_KEYS),
        row(
            "PATCH",
            format!("/action/{action}"),
            json!({"raw_message": {"actionStatus": "completed"}, "source_type": "agent_action"}),
            200,
            MESSAGE_KEYS,
        ),
        row("POST", "/complete".into(), json!({"channel_id": room, "message_server_id": NIL}), 200, complete),
        row("POST", "/complete".into(), json!({"channel_id": room, "server_id": NIL}), 200, complete),
        row("POST", "/complete".into(), json!({"message_id": action}), 200, complete),
        row("POST", "/ingest-external".into(), outside, 202, &["messageId"]),
        row("POST", "/logs".into(), json!({"level": 30, "msg": "m", "agent_id": agent}), 202, &["accepted"]),
        row("GET", format!("/agents/{agent}/message-servers"), Value::Null, 200, &["agentId", "messageServers"]),
        row("GET", format!("/message-servers/{NIL}/channels"), Value::Null, 200, &["channels"]),
        row("GET", "/message-server/current".into(), Value::Null, 200, &["messageServerId"]),
        row("GET", format!("/channels/{room}/details"), Value::Null, 200, CHANNEL_KEYS),
        row("GET", format!("/channels/{room}/participants"), Value::Null, 200, &[]),
        row("GET", format!("/channels/{room}/messages?limit=50"), Value::Null, 200, &["hasMore", "messages"]),
        row(
            "POST",
            format!("/channels/{room}/agents"),
            json!({"agent_id": agent}),
            201,
            &["agentId", "channelId", "message"],
        ),
        row(
            "DELETE",
            format!("/channels/{room}/agents/{agent}"),
            Value::Null,
            200,
            &["agentId", "channelId", "message"],
        ),
    ]
}

#[test]
fn every_call_is_answered_as_documented_in_either_spelling() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        for spelling in [Value::clone, camel] {
            for (n, row) in rows(&uuid(), &uuid(), &uuid()).into_iter().enumerate() {
                let Row { method, path, body, status, keys } = row;
                let answer = call(server, method, &path, "", &spelling(&body)).expect(status);
                assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
                let answer = answer.json();
                assert_eq!(answer["success"], true, "row {n}: {answer}");
                match &answer["data"] {
                    Value::Null => assert_eq!(text::keys(&answer), keys, "row {n}"),
                    Value::Array(people) => {
                        assert_eq!(people.len(), 2, "row {n}: the agent, and who wrote from outside")
                    }
                    data => assert_eq!(text::keys(data), keys, "row {n}"),
                }
            }
        }
    });
}

#[test]
fn without_the_token_no_call_is_made() {
    each_worker_count(&WORKERS, &["--auth-token", TOKEN], |server| {
        let (room, agent, action) = (uuid(), uuid(), uuid());
        let mut member = Client::connect_with(server, Via::WebSocket, &json!({"token": TOKEN}));
        common::rooms::join(&mut member, &room);
        for Row { method, path, body, .. } in rows(&room, &agent, &action) {
            for headers in ["", "X-API-KEY: wrong\r\n", "Authorization: Bearer a-token\r\n"] {
                let refused = call(server, method, &path, headers, &body).expect(401).json();
                let error = json!({"code": "unauthorized", "message": "Invalid or missing API Key"});
                assert_eq!(refused, json!({"success": false, "error": error}), "{method} {path} {headers}");
            }
        }
        member.is_quiet(QUIET);
        for Row { method, path, body, status, .. } in rows(&room, &agent, &action) {
            call(server, method, &path, &format!("x-api-key: {TOKEN}\r\n"), &body).expect(status);
        }
    });
}

#[test]
fn a_call_that_publishes_is_made_once_for_a_key() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, agent) = (uuid(), uuid());
        let mut member = member(server, Via::WebSocket, &room);
        let key = uuid();
        let headers = format!("Idempotency-Key: {key}\r\n");
        for path in ["/submit", "/action", "/ingest-external"] {
            let body = json!({"channel_id": room, "author_id": agent, "content": path});
            let first = call(server, "POST", path, &headers, &body).json();
            assert_eq!(first["success"], true, "{first}");
            assert_eq!(call(server, "POST", path, &headers, &body).json(), first);
            assert_eq!(member.expect("messageBroadcast")["text"], path);
            let other = json!({"channel_id": room, "author_id": agent, "content": "another"});
            let refused = call(server, "POST", path, &headers, &other).expect(409).json();
            assert_eq!(refused["error"]["code"], "conflict");
        }
        for key in ["Idempotency-Key: \"\"\r\n".to_owned(), format!("Idempotency-Key: {}\r\n", "k".repeat(256))] {
            let body = json!({"channel_id": room, "author_id": agent, "content": "x"});
            call(server, "POST", "/submit", &key, &body).expect(400);
        }
        member.is_quiet(QUIET);
    });
}

#[test]
fn channels_and_messages_that_are_unknown_are_not_found() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, agent) = (uuid(), uuid());
        let channel = "Channel not found";
        for (method, path, body, message) in [
            ("GET", format!("/channels/{room}/details"), Value::Null, channel),
            ("GET", format!("/channels/{room}/participants"), Value::Null, channel),
            ("GET", format!("/channels/{room}/messages"), Value::Null, channel),
            ("DELETE", format!("/channels/{room}/agents/{agent}"), Value::Null, channel),
            ("PATCH", format!("/action/{room}"), json!({}), "Message not found"),
            ("POST", "/complete".to_owned(), json!({"messageId": room}), "Message not found"),
        ] {
            let answer = call(server, method, &path, "", &body).expect(404).json();
            assert_eq!(answer, json!({"success": false, "error": {"code": "not_found", "message": message}}), "{path}");
        }
        let servers = call(server, "GET", &format!("/agents/{agent}/message-servers"), "", &Value::Null);
        assert_eq!(servers.expect(200).json()["data"], json!({"agentId": agent, "messageServers": []}));
        let channels = call(server, "GET", &format!("/message-servers/{}/channels", uuid()), "", &Value::Null);
        assert_eq!(channels.expect(200).json()["data"], json!({"channels": []}));
    });
}

#[test]
fn whoever_sends_too_fast_is_told_so_on_either_way() {
    const SENT: usize = 40;
    each_worker_count(&WORKERS, &["--rate-messages", "2"], |server| {
        let (room, agent) = (uuid(), uuid());
        let mut client = member(server, Via::WebSocket, &room);
        let sent = message(&room, &agent, "x");
        let calls: Vec<u64> = (0..SENT).map(|_| client.start_call(&json!(["message", sent]).to_string())).collect();
        let acks: Vec<Value> = calls.into_iter().map(|id| client.ack(id)).collect();
        let (taken, refused): (Vec<_>, Vec<_>) = acks.iter().partition(|ack| ack["ok"] == true);
        assert!(taken.len() >= 2 && !refused.is_empty(), "{} taken", taken.len());
        assert!(refused.iter().all(|ack| failure(ack, "rate_limited")["limit"] == 2));
        (0..SENT).for_each(|_| client.emit("message", sent.clone()));
        assert_eq!(client.find("error")["details"]["code"], "rate_limited");

        let mut http = common::Http::connect(server);
        let body = json!({"channel_id": room, "author_id": agent, "content": "x"}).to_string();
        for _ in 0..SENT {
            http.request("POST", "/api/messaging/submit", JSON, body.as_bytes());
        }
        let answers: Vec<Response> = (0..SENT).map(|_| http.response()).collect();
        let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert!(taken.len() >= 2 && !refused.is_empty(), "{} taken", taken.len());
        for answer in refused {
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (429, &json!("rate_limited")));
        }
    });
}
