//! Every field of every event with every wrong type, and payloads made to hurt.

use super::*;

/// Values that are wrong for a string, an array, an object.
fn not(kind: &str) -> Vec<Value> {
    let all = [json!(true), json!(0), json!(-1.5), json!("x"), json!([1]), json!({"a": 1})];
    let fits = |v: &Value| match kind {
        "string" | "text" => v.is_string(),
        "index" => v.is_u64(),
        "array" => v.is_array(),
        "object" => v.is_object(),
        _ => false,
    };
    all.into_iter().filter(|v| !fits(v)).collect()
}

/// An event with a payload that is taken, and its fields: name, what it must be, whether it may be missing.
type Table = (&'static str, Value, &'static [(&'static str, &'static str, bool)]);

fn tables() -> Vec<Table> {
    vec![
        ("join", json!({"roomId": ROOM}), &[("roomId", "uuid", false), ("agentId", "uuid", true)]),
        ("leave", json!({"roomId": ROOM}), &[("roomId", "uuid", false), ("agentId", "uuid", true)]),
        (
            "message",
            message("hi"),
            &[
                ("text", "string", false),
                ("roomId", "uuid", false),
                ("userId", "uuid", false),
                ("name", "string", true),
                ("messageId", "string", true),
                ("serverId", "uuid", true),
                ("source", "string", true),
                ("thought", "string", true),
                ("actions", "array", true),
                ("attachments", "array", true),
                ("metadata", "object", true),
                ("inReplyTo", "string", true),
            ],
        ),
        ("messageComplete", json!({"channelId": ROOM}), &[("channelId", "uuid", false), ("serverId", "uuid", true)]),
        (
            "messageStreamChunk",
            json!({"messageId": "m", "chunk": "c", "index": 0, "channelId": ROOM}),
            &[
                ("messageId", "string", false),
                ("chunk", "text", false),
                ("index", "index", false),
                ("channelId", "uuid", false),
            ],
        ),
        (
            "messageStreamError",
            json!({"messageId": "m", "error": "e", "channelId": ROOM}),
            &[
                ("messageId", "string", false),
                ("error", "string", false),
                ("partialText", "text", true),
                ("channelId", "uuid", false),
            ],
        ),
    ]
}

#[test]
fn every_wrong_field_is_named_and_nothing_happens() {
    each(&AgentsSettings::default(), |fleet| {
        let (peer, member) = (fleet.agent(0, AGENT), fleet.member(1, ROOM));
        for (event, good, fields) in tables() {
            for &(field, kind, optional) in fields {
                let mut wrong = not(kind);
                if kind == "uuid" {
                    wrong.extend([
                        json!(""),
                        json!(USER.replace('-', "")),
                        json!(format!("{{{USER}}}")),
                        json!(format!("{USER} ")),
                    ]);
                }
                if !optional {
                    wrong.push(Value::Null);
                }
                if !optional && kind != "text" {
                    wrong.push(json!(""));
                }
                for value in wrong {
                    let mut payload = good.clone();
                    payload[field] = value;
                    let details = failure(fleet.call(peer, event, &payload), "invalid_payload");
                    assert_eq!((&details["field"], &details["event"]), (&json!(field), &json!(event)), "{payload}");
                }
                let mut payload = good.clone();
                payload.as_object_mut().expect("an object").remove(field);
                if !optional {
                    let details = failure(fleet.call(peer, event, &payload), "invalid_payload");
                    assert_eq!(details["field"], field);
                }
            }
            for payload in not("object").into_iter().chain([Value::Null]) {
                failure(fleet.call(peer, event, &payload), "invalid_payload");
            }
            fleet.send_packet(peer, &format!("42[{event:?}]"));
            assert_eq!(fleet.names(peer), ["error"]);
        }
        assert_eq!(fleet.take(member), []);
        for (event, mut good, fields) in tables() {
            for (field, _, optional) in fields {
                if *optional {
                    good[field] = Value::Null;
                }
            }
            assert_eq!(fleet.call(peer, event, &good).0["ok"], true, "{good}");
        }
    });
}

#[test]
fn every_length_has_a_bound_that_is_named() {
    each(&AgentsSettings { text_max: 100, ..AgentsSettings::default() }, |fleet| {
        let peer = fleet.agent(0, AGENT);
        let long = |n: usize| json!("x".repeat(n));
        for (event, field, max, value, over) in [
            ("message", "text", 100, long(100), long(101)),
            ("message", "text", 100, json!("é".repeat(50)), json!("é".repeat(51))),
            ("message", "name", 256, long(256), long(257)),
            ("message", "messageId", 128, long(128), long(129)),
            ("message", "source", 128, long(128), long(129)),
            ("message", "thought", 100, long(100), long(101)),
            ("message", "inReplyTo", 128, long(128), long(129)),
            ("message", "actions", 64, json!(vec!["a"; 64]), json!(vec!["a"; 65])),
            ("message", "actions", 256, json!([long(256)]), json!([long(257)])),
            ("messageStreamChunk", "messageId", 128, long(128), long(129)),
            ("messageStreamChunk", "chunk", 100, long(100), long(101)),
            ("messageStreamError", "error", 100, long(100), long(101)),
            ("messageStreamError", "partialText", 100, long(100), long(101)),
        ] {
            let (_, mut payload, _) = tables().into_iter().find(|(name, ..)| *name == event).expect("a table");
            payload[field] = value;
            assert_eq!(fleet.call(peer, event, &payload).0["ok"], true);
            payload[field] = over;
            let details = failure(fleet.call(peer, event, &payload), "too_large");
            assert_eq!((&details["field"], &details["limit"]), (&json!(field), &json!(max)));
        }
    });
}

#[test]
fn depth_is_bounded_and_costs_nothing() {
    let fleet = &mut Fleet::new(1, &AgentsSettings::default());
    let peer = fleet.connect_to(0);
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let send = |fleet: &mut Fleet, field: &str, value: &str| {
        let rest = format!(r#""roomId":"{ROOM}","userId":"{USER}""#);
        fleet.send_packet(peer, &format!(r#"427["message",{{"text":"hi",{rest},"{field}":{value}}}]"#));
        let ack = fleet.take(peer).into_iter().find_map(|p| match p {
            Packet::Ack(_, args) => Some(args[0].clone()),
            _ => None,
        });
        ack.expect("an acknowledgement")
    };
    for (field, open, close) in
        [("attachments", "[", "]"), ("metadata", "{\"a\":", "}"), ("metadata", "{\"a\":[", "]}")]
    {
        let fits = 64 / open.matches(['[', '{']).count();
        assert_eq!(send(fleet, field, &nested(open, close, fits))["ok"], true);
        for depth in [fits + 1, 100_000] {
            let ack = send(fleet, field, &nested(open, close, depth));
            assert_eq!(
                ack["details"],
                json!({"code": "invalid_payload", "event": "message", "field": field, "limit": 64})
            );
        }
    }
    assert_eq!(send(fleet, "anything", &nested("[", "]", 100_000))["ok"], true);
    assert_eq!(send(fleet, "text", &nested("[", "]", 100_000))["details"]["field"], "text");
    assert!(!fleet.is_closed(peer));
}

#[test]
fn numbers_keys_and_characters_made_to_hurt_are_harmless() {
    let fleet = &mut Fleet::new(1, &AgentsSettings::default());
    let peer = fleet.connect_to(0);
    let rest = format!(r#""roomId":"{ROOM}","userId":"{USER}""#);
    let many: String = (0..80_000).map(|n| format!("\"k{n}\":0,")).collect();
    let digits = "9".repeat(100_000);
    for (payload, text) in [
        (format!(r#"{{"text":"a\u0000b",{rest}}}"#), "a\0b"),
        (format!(r#"{{"text":"\ud83d\ude00",{rest}}}"#), "😀"),
        (format!(r#"{{"text":"a\ud83d",{rest}}}"#), "a\u{fffd}"),
        (format!(r#"{{"text":"\\ud83d\ude00\ud83d\ud83d\ude00",{rest}}}"#), "\\ud83d\u{fffd}\u{fffd}😀"),
        (format!(r#"{{"text":"one","text":"two",{rest}}}"#), "two"),
        (format!(r#"{{{many}"text":"hi",{rest}}}"#), "hi"),
        (format!(r#"{{"n":{digits},"text":"hi",{rest}}}"#).replace(&digits, &digits[..300]), "hi"),
        (format!(r#"{{"__proto__":{{"x":1}},"constructor":1,"text":"hi",{rest}}}"#), "hi"),
    ] {
        fleet.send_packet(peer, &format!("42[\"message\",{payload}]"));
        let events = fleet.events(peer);
        let shown = payload.get(..200).unwrap_or(&payload);
        let event = events.first().unwrap_or_else(|| panic!("no event for {shown}"));
        assert_eq!(event.1["text"], text, "{event:?}");
    }
    for number in ["1e999", &digits, "-1e999"] {
        fleet.send_packet(peer, &format!(r#"427["message",{{"text":"hi",{rest},"n":{number}}}]"#));
        let packets = fleet.take(peer);
        let Some(Packet::Ack(7, args)) = packets.last() else { panic!("{packets:?}") };
        assert_eq!(args[0]["details"], json!({"code": "invalid_payload", "event": "message"}));
    }
    assert!(!fleet.is_closed(peer));
}

#[test]
fn what_is_not_json_closes_the_connection() {
    for packet in [
        "42[",
        "42{}",
        "42[]",
        "42[\"message\"",
        "42[\"message\",{]",
        "42[\"a\",01]",
        "42[\"a\"] x",
        "42[null]",
        "42[{}]",
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42[\"newListener\",1]",
        "42[\"\\u0063onnect\"]",
        "42[\"a\",\"\\x\"]",
        "42[\"a\",nul]",
        "42[\"a\",\"\t\"]",
    ] {
        let fleet = &mut Fleet::new(1, &AgentsSettings::default());
        let (peer, other) = (fleet.connect(0), fleet.connect(0));
        fleet.send_packet(peer, packet);
        assert_eq!(fleet.call(other, "join", &json!({"roomId": ROOM})).0["ok"], true);
        assert!(fleet.took_close(peer), "{packet}");
    }
}

#[test]
fn unknown_events_and_attachments_are_refused() {
    let fleet = &mut Fleet::new(1, &AgentsSettings::default());
    let peer = fleet.connect(0);
    for event in ["nope", "", "Join", "__proto__", "connection"] {
        let details = failure(fleet.call(peer, event, &json!({})), "unknown_event");
        assert_eq!(details["event"], event);
    }
    fleet.send_packet(peer, "42[5]");
    assert_eq!(fleet.events(peer)[0].1["details"]["code"], "unknown_event");
    fleet.send_packet(peer, "451-9[\"message\",{\"_placeholder\":true,\"num\":0}]");
    fleet.send_binary(peer, b"xx");
    let packets = fleet.take(peer);
    assert!(
        matches!(&packets[..], [Packet::Ack(9, args)] if args[0]["details"]["code"] == "invalid_payload"),
        "{packets:?}"
    );
}
