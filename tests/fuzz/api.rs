//! Calls of agents and backends: an input is a sequence of them on one connection, a line each.
//!
//! The first byte of a line says which call, those behind it change its method, path, query, headers and body
//! ([`crate::json`]). Every call is answered once, in the words of the contract; what a member of the room is told is as the
//! contract says.

use serde_json::{Value, json};
use sockeye::shard::ConnectionKey;

use crate::json::{AGENT, Choices, ROOM, USER, put_changed};
use crate::mutation::{fuzz, outcome};
use crate::rooms::{Rooms, Said};

const ACTION: &str = "0d0d0d0d-0000-4000-8000-000000000001";

const METHODS: [&str; 8] = ["GET", "POST", "PATCH", "DELETE", "HEAD", "PUT", "OPTIONS", "BREW"];
/// Parts of a path.
const PARTS: [&str; 16] = [
    "",
    "submit",
    "action",
    "complete",
    "ingest-external",
    "logs",
    "agents",
    "message-servers",
    "message-server",
    "channels",
    "messages",
    ROOM,
    AGENT,
    "0A0A0A0A-0000-4000-8000-000000000001",
    "%30a0a0a0a-0000-4000-8000-000000000001",
    "..",
];
const QUERIES: [&str; 14] = [
    "",
    "?limit=1",
    "?limit=0",
    "?limit=-1",
    "?limit=99999999999999999999&before=",
    "?before=0",
    "?before=1700000000000&limit=200",
    "?before=2023-11-14T22:13:20.000Z",
    "?before=9999-12-31T23:59:59.999Z",
    "?before=99999-99-99T99:99:99Z",
    "?before=%00%ff%",
    "?limit=1&limit=x",
    "?&=&&%3d",
    "?before=18446744073709551616",
];
/// Further headers; most are none.
const HEADERS: [&str; 14] = [
    "",
    "",
    "",
    "Content-Type: application/json; charset=utf-8\r\n",
    "Content-Type: text/plain\r\n",
    "Content-Encoding: gzip\r\n",
    "Idempotency-Key: a\r\n",
    "Idempotency-Key: b\r\n",
    "Idempotency-Key:\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "X-API-KEY: x\r\n",
    "Origin: null\r\n",
    "Authorization: Bearer a.b.c\r\n",
];
/// What a call may be answered (contract B3), and a preflight.
const STATUSES: [u16; 15] = [200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415, 417, 429, 503];

/// Method, path, body.
type Call = (&'static str, String, Option<Value>);

fn calls() -> Vec<Call> {
    let message = json!({"messageId": ACTION, "channel_id": ROOM, "message_server_id": ROOM, "author_id": AGENT,
        "content": "hi", "in_reply_to_message_id": USER, "source_type": "agent_response",
        "raw_message": {"text": "hi", "thought": "t", "actions": ["A"]},
        "metadata": {"agentName": "Eliza", "attachments": [{"url": "x"}], "isDm": true, "channelType": "DM"}});
    let short = json!({"agentId": AGENT, "channelId": ROOM, "content": "hi", "metadata": {}});
    let update = json!({"raw_message": {"actionStatus": "completed"}, "content": "done", "actions": ["B"]});
    let line = json!({"level": 30, "time": 1_700_000_000_000_u64, "msg": "m", "agentId": AGENT, "agentName": "Eliza"});
    vec![
        ("POST", "submit".into(), Some(message.clone())),
        ("POST", "submit".into(), Some(short)),
        ("POST", "action".into(), Some(message.clone())),
        ("PATCH", format!("action/{ACTION}"), Some(update)),
        ("POST", "complete".into(), Some(json!({"channel_id": ROOM, "server_id": ROOM}))),
        ("POST", "complete".into(), Some(json!({"messageId": ACTION}))),
        ("POST", "ingest-external".into(), Some(message)),
        ("POST", "logs".into(), Some(json!([line, line]))),
        ("GET", format!("agents/{AGENT}/message-servers"), None),
        ("GET", format!("message-servers/{ROOM}/channels"), None),
        ("GET", "message-server/current".into(), None),
        ("GET", format!("channels/{ROOM}/details"), None),
        ("GET", format!("channels/{ROOM}/participants"), None),
        ("GET", format!("channels/{ROOM}/messages"), None),
        ("POST", format!("channels/{ROOM}/agents"), Some(json!({"agentId": AGENT}))),
        ("DELETE", format!("channels/{ROOM}/agents/{AGENT}"), None),
    ]
}

/// What a line sends. Bytes from 200 on change something.
fn request((method, path, body): &Call, choices: &mut Choices<'_>) -> (&'static str, Vec<u8>) {
    let method = if choices.next() < 200 { method } else { choices.pick(&METHODS) };
    let mut request = format!("{method} /api/messaging");
    for part in path.split('/') {
        let part = if choices.next() < 200 { part } else { choices.pick(&PARTS) };
        request.extend(["/", part]);
    }
    let headers = [choices.pick(&HEADERS), choices.pick(&HEADERS)].concat();
    request.extend([choices.pick(&QUERIES), " HTTP/1.1\r\nHost: a\r\n", &headers]);
    let mut json = String::new();
    if let Some(body) = body {
        put_changed(&mut json, body, choices);
    }
    let mut body = json.into_bytes();
    if choices.next() >= 200 {
        // No longer JSON, mostly.
        body.extend_from_slice(choices.0);
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    (method, [request.into_bytes(), body].concat())
}

/// Status and body of the one response to a request, and whether the connection is to stay open.
fn response(rooms: &mut Rooms, key: ConnectionKey, method: &str) -> (u16, String, bool) {
    let bytes = rooms.peers.received.remove(&key).expect("an answer");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    let len: usize = header("content-length").map_or(0, |len| len.parse().expect("a number"));
    assert_eq!(body.len(), if method == "HEAD" { 0 } else { len }, "not one answer: {text}");
    (status, body.to_owned(), header("connection") != Some("close"))
}

/// Checks an answer. Returns what it says: the code of a failure.
fn check_answer(method: &str, status: u16, body: &str) -> Option<String> {
    assert!(STATUSES.contains(&status), "{status}: {body}");
    if method == "HEAD" || status == 204 {
        return None;
    }
    let json: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let code = json["error"]["code"].as_str();
    assert_eq!(json["success"], status < 300, "{status}: {body}");
    assert_eq!(code.is_some() && json["error"]["message"].is_string(), status >= 300, "{status}: {body}");
    code.map(str::to_owned)
}

#[test]
fn any_calls_of_agents() {
    let calls = calls();
    let lines = |calls: &[u8]| calls.chunks(1).collect::<Vec<_>>().join(&b'\n');
    let corpus = [
        lines(&[14, 0, 2, 3, 3, 4, 5, 13, 12, 11, 9, 8, 15, 1, 6, 13]),
        lines(&[0, 1, 6, 7, 8, 11, 12, 13]),
        b"\0\0\0\x06\n\0\0\0\x06\n\x02\0\0\x07\n\x0d\0\0\0\0\0\0\x01".to_vec(),
    ];
    let tokens: Vec<&[u8]> = b"\n\0\x01\x02\x03\x04\x06\x0d\xc8\xd2\xe1\xe6\xf0\xff".chunks(1).collect();
    fuzz(&corpus, &tokens, |input, _| {
        let mut rooms = Rooms::new();
        let member = rooms.connect("");
        rooms.send(member, &format!(r#"421["join",{{"roomId":"{ROOM}"}}]"#));
        rooms.send(member, r#"422["subscribe_logs"]"#);
        rooms.texts(member);
        // `did`: what the last two lines did.
        let (mut key, mut did) = (rooms.open(), (None, None));
        for line in input.split(|&byte| byte == b'\n').take(24) {
            let Some((&call, choices)) = line.split_first() else { continue };
            if call >= 0xe0 {
                rooms.advance(u64::from(call & 31) * 1_000);
            }
            if !rooms.peers.open.contains_key(&key) {
                key = rooms.open();
            }
            let (method, request) = request(&calls[usize::from(call) % calls.len()], &mut Choices(choices));
            rooms.receive(key, &request);
            let (status, body, is_kept) = response(&mut rooms, key, method);
            let code = check_answer(method, status, &body);
            if !is_kept {
                rooms.leave(key);
            }
            let told = rooms.texts(member).iter().map(|text| Said::check(text).kind()).collect::<Vec<_>>();
            assert!(rooms.peers.open.contains_key(&member));
            did = (did.1, Some((status, code, told, body.len().checked_ilog2())));
        }
        rooms.end();
        outcome(did)
    });
}
