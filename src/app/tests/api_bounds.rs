//! Bounds on what calls of the HTTP API carry: every field too long or too deep is named, and nothing happens.

use super::api::{ACTION, submission};
use super::*;

/// The calls with a message in their body.
const CALLS: [(&str, &str); 4] =
    [("POST", "/submit"), ("POST", "/ingest-external"), ("POST", "/action"), ("PATCH", "/action/:id")];

/// The room, the sender and a text, and a field: at the top, or within another.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"channel_id": ROOM, "author_id": AGENT, "content": "x"});
    match field.split_once('.') {
        Some((outer, inner)) => body[outer] = json!({inner: value}),
        None => body[field] = value,
    }
    body
}

#[test]
fn every_length_has_a_bound_that_is_named() {
    each(&AgentsSettings { text_max: 100, history: 1_000, ..AgentsSettings::default() }, |fleet| {
        let member = fleet.member(0, ROOM);
        let mut action = submission("x");
        action["messageId"] = json!(ACTION);
        fleet.api(0, "POST", "/action", &action).data(201);
        fleet.take(member);
        let list = |len: usize| json!(vec!["a"; len]);
        for (n, (method, path)) in CALLS.into_iter().enumerate() {
            // A repeated `messageId` would be the same message.
            let long = |len: usize| json!(n.to_string().repeat(len));
            let path = path.replace(":id", ACTION);
            for (field, fits, over) in [
                ("content", long(100), long(101)),
                ("messageId", long(128), long(129)),
                ("source_type", long(128), long(129)),
                ("source_id", long(256), long(257)),
                ("author_display_name", long(256), long(257)),
                ("thought", long(100), long(101)),
                ("actions", list(64), list(65)),
                ("actions", json!([long(256)]), json!([long(257)])),
                ("raw_message.text", long(100), long(101)),
                ("raw_message.thought", long(100), long(101)),
                ("raw_message.actions", list(64), list(65)),
                ("metadata.agentName", long(256), long(257)),
                ("metadata.thought", long(100), long(101)),
                ("metadata.actions", list(64), list(65)),
            ] {
                // The path says which message.
                if field == "messageId" && method == "PATCH" {
                    continue;
                }
                let status = fleet.api(n, method, &path, &with(field, fits)).status;
                assert!((200..300).contains(&status), "{method} {path} {field}: {status}");
                assert_eq!(fleet.take(member).len(), 1);
                let message = fleet.api(n, method, &path, &with(field, over)).refusal(413, "too_large");
                let name = field.rsplit('.').next().expect("a name");
                assert!(message.starts_with(name), "{method} {path} {field}: {message}");
            }
        }
        assert_eq!(fleet.take(member), []);
    });
}

#[test]
fn depth_is_bounded_where_it_is_kept_and_costs_nothing_elsewhere() {
    let nested = |n: usize| (0..n).fold(json!(1), |inner, _| json!({"a": inner}));
    let array = |n: usize| (0..n).fold(json!([]), |inner, _| json!([inner]));
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        for (n, (method, path)) in CALLS.into_iter().enumerate().take(3) {
            for (field, fits, over) in [
                ("raw_message", nested(64), nested(65)),
                ("metadata", nested(64), nested(65)),
                ("attachments", array(63), array(64)),
                ("metadata.attachments", array(62), array(64)),
            ] {
                let status = fleet.api(n, method, path, &with(field, fits)).status;
                assert!((200..300).contains(&status), "{path} {field}: {status}");
                assert_eq!(fleet.take(member).len(), 1, "{path} {field}");
                let message = fleet.api(n, method, path, &with(field, over)).refusal(400, "invalid_payload");
                let name = field.split('.').next().expect("a name");
                assert!(message.starts_with(name) && message.contains("64"), "{path} {field}: {message}");
            }
            // What nobody reads is skipped.
            assert!((200..300).contains(&fleet.api(n, method, path, &with("other", array(100))).status));
            fleet.take(member);
        }
    });
}

#[test]
fn ids_in_any_case_are_told_in_lower_case() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        fleet.take(member);
        let body = json!({"channel_id": ROOM.to_uppercase(), "author_id": AGENT.to_uppercase(), "content": "x",
                          "server_id": SERVER, "messageId": ACTION.to_uppercase()});
        let data = fleet.api(1, "POST", "/action", &body).data(201);
        assert_eq!([&data["channelId"], &data["authorId"], &data["id"]], [ROOM, AGENT, ACTION]);
        let path = format!("/action/{}", ACTION.to_uppercase());
        assert_eq!(fleet.api(2, "PATCH", &path, &json!({"content": "y"})).data(200)["content"], "y");
        let path = format!("/channels/{}/details", ROOM.to_uppercase());
        assert_eq!(fleet.api(3, "GET", &path, &Value::Null).data(200)["id"], ROOM);
    });
}

#[test]
fn who_sends_many_calls_at_once_is_answered_one_in_a_turn_and_never_owed_much_more_than_the_queue_holds() {
    const CALLS: usize = 60;
    let mut fleet = Fleet::new(1, &AgentsSettings::default());
    let sender = fleet.connect_to(0);
    for _ in 0..12 {
        fleet.emit(sender, "message", &json!({"roomId": ROOM, "userId": USER, "text": "x".repeat(20_000)}));
    }
    let call = super::http::request("GET", &format!("/channels/{ROOM}/messages"), "", "");
    let (reads, deaf) = (fleet.accept(0), fleet.accept(0));
    fleet.stall(deaf);
    for peer in [reads, deaf] {
        fleet.receive(peer, &mut call.repeat(CALLS));
    }
    let mut answered = 0;
    while answered < CALLS {
        fleet.advance(1);
        let responses = fleet.responses(reads);
        assert!((1..=2).contains(&responses.len()), "{} in a turn", responses.len());
        answered += responses.len();
        // An answer is a quarter of what may wait; from a half on no further request is taken.
        assert!(fleet.queue_bytes(0) <= 3 << 18, "{} bytes wait", fleet.queue_bytes(0));
    }
    fleet.resume(deaf);
    fleet.advance(CALLS as u64 * 10);
    assert_eq!(fleet.responses(deaf).len(), CALLS);
}

#[test]
fn pages_are_told_few_at_a_time_and_whoever_asks_for_nothing_else_does_not_wait() {
    const CALLS: usize = 100;
    each(&AgentsSettings::default(), |fleet| {
        let sender = fleet.connect_to(0);
        for _ in 0..12 {
            fleet.emit(sender, "message", &json!({"roomId": ROOM, "userId": USER, "text": "x".repeat(20_000)}));
        }
        let page = super::http::request("GET", &format!("/channels/{ROOM}/messages"), "", "");
        let mut peers: Vec<Peer> = (0..CALLS).map(|_| fleet.accept(0)).collect();
        peers.iter().for_each(|&peer| fleet.receive(peer, &mut page.clone()));
        // Who is gone costs nothing.
        fleet.drop_peer(peers.pop().expect("a peer"));
        assert_eq!(fleet.call(sender, "message", &message("between")).0["ok"], true);
        let (mut answered, mut turns) = (0, 0);
        while answered < CALLS - 1 {
            answered += peers.iter().map(|&peer| fleet.responses(peer).len()).sum::<usize>();
            turns += 1;
            fleet.advance(1);
        }
        // Alone, a shard answers in turns that can be counted.
        assert!(fleet.shards() > 1 || turns >= 5, "{turns} turns");
    });
}
