//! The documented API: bad input is answered with an error that names the field, and costs nobody anything else.

mod common;

use serde_json::{Value, json};

use common::engine::{BOTH, Packet};
use common::rooms::{failure, join, member, message, texts, uuid};
use common::{Client, QUIET, ROOMS, Server, Via, each_cell, each_driver};

/// Values that are no uuid.
fn no_uuids() -> Vec<Value> {
    let room = uuid();
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1.5),
        json!([]),
        json!([room]),
        json!({}),
        json!({"id": room}),
        json!(""),
        json!("general"),
        json!(room.replace('-', "")),
        json!(format!("{room}0")),
        json!(room[1..]),
        json!(format!("{{{room}}}")),
        json!(format!(" {room}")),
        json!(format!("urn:uuid:{room}")),
        json!(room.replace('0', "g")),
        json!(room.replace('-', "_")),
        json!("__proto__"),
        json!("x".repeat(100_000)),
    ]
}

/// Values that are no string.
fn no_strings() -> Vec<Value> {
    vec![json!(true), json!(0), json!(-1.5), json!([]), json!(["x"]), json!({}), json!({"a": "x"})]
}

/// Asserts that a call fails as invalid because of `field`, and an event without ack as well.
#[track_caller]
fn assert_invalid(client: &mut Client, event: &str, payload: &Value, field: &str) {
    let ack = client.call(event, payload.clone());
    let shown = payload.to_string();
    let shown = &shown[..shown.len().min(200)];
    assert_eq!(ack["ok"], false, "{event} {field}: {shown}");
    let details = failure(&ack, "invalid_payload");
    assert_eq!(details["event"], event, "{shown}");
    assert_eq!(details["field"], field, "{shown}: {ack}");
    client.emit(event, payload.clone());
    let error = client.expect("error");
    assert_eq!(error["details"]["code"], "invalid_payload", "{error}");
    assert_eq!(error["details"]["event"], event, "{error}");
    assert_eq!(error["details"]["field"], field, "{error}");
}

/// The payload with one field changed; `Value::Null` of `None` removes it.
fn with(payload: &Value, field: &str, value: Option<Value>) -> Value {
    let mut payload = payload.clone();
    let object = payload.as_object_mut().expect("an object");
    match value {
        Some(value) => object.insert(field.to_string(), value),
        None => object.remove(field),
    };
    payload
}

/// Asserts that a listener has heard nothing of what was refused, and that both still work.
#[track_caller]
fn assert_unharmed(client: &mut Client, listener: &mut Client, room: &str) {
    client.call("message", message(room, &uuid(), "fine"));
    assert_eq!(texts(listener, 1), ["fine"]);
    assert_eq!(texts(client, 1), ["fine"]);
}

#[test]
fn payload_that_is_no_object_is_invalid() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let room = uuid();
            let mut listener = member(server, Via::WebSocket, &room);
            let mut client = member(server, via, &room);
            for event in ["join", "leave", "message"] {
                for payload in ["", ",null", ",true", ",1", ",\"text\"", ",[]", ",[{}]"] {
                    let ack = client.call_raw(&format!(r#"["{event}"{payload}]"#));
                    failure(&ack, "invalid_payload");
                    client.raw(&format!(r#"42["{event}"{payload}]"#));
                    assert_eq!(client.expect_error(), "invalid_payload", "{event}{payload}");
                }
            }
            assert_unharmed(&mut client, &mut listener, &room);
        }
    });
}

#[test]
fn binary_payload_is_invalid() {
    each_driver(ROOMS, |server| {
        for via in BOTH {
            let room = uuid();
            let mut client = member(server, via, &room);
            for event in ["join", "leave", "message"] {
                client.session.send_all(&[
                    Packet::Text(format!(r#"451-["{event}",{{"_placeholder":true,"num":0}}]"#)),
                    Packet::Binary(vec![1, 2, 3]),
                ]);
                assert_eq!(client.expect_error(), "invalid_payload", "{event}");
            }
            join(&mut client, &room);
        }
    });
}

#[test]
fn unknown_event_is_answered_and_harms_nothing() {
    each_cell(ROOMS, |server| {
        for via in BOTH {
            let mut client = Client::connect(server, via);
            for event in ["foo", "messageBroadcast", "world-state", "__proto__", "toString", "", "Join"] {
                failure(&client.call(event, json!({})), "unknown_event");
                client.emit(event, json!({}));
                let error = client.expect("error");
                assert_eq!(error["details"]["code"], "unknown_event");
                assert_eq!(error["details"]["event"], event);
            }
            client.raw("42[17,{}]");
            assert_eq!(client.expect_error(), "unknown_event");
            let long = "e".repeat(10_000);
            client.emit(&long, json!({}));
            assert_eq!(client.expect_error(), "unknown_event");
            join(&mut client, &uuid());
        }
    });
}

#[test]
fn room_id_that_is_no_uuid_is_invalid() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut client = member(server, Via::WebSocket, &room);
        for event in ["join", "leave", "message"] {
            let valid = message(&room, &uuid(), "hi");
            assert_invalid(&mut client, event, &with(&valid, "roomId", None), "roomId");
            for value in no_uuids() {
                assert_invalid(&mut client, event, &with(&valid, "roomId", Some(value)), "roomId");
            }
        }
        assert_unharmed(&mut client, &mut listener, &room);
    });
}

#[test]
fn agent_id_that_is_no_uuid_is_invalid() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        for event in ["join", "leave"] {
            for value in no_uuids().into_iter().filter(|value| !value.is_null()) {
                let payload = json!({"roomId": room, "agentId": value});
                assert_invalid(&mut client, event, &payload, "agentId");
            }
            let ack = client.call(event, json!({"roomId": room, "agentId": null}));
            assert_eq!(ack["ok"], true, "null is as good as absent");
        }
    });
}

#[test]
fn user_id_that_is_no_uuid_is_invalid() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut client = Client::connect(server, Via::WebSocket);
        let valid = message(&room, &uuid(), "hi");
        assert_invalid(&mut client, "message", &with(&valid, "userId", None), "userId");
        for value in no_uuids() {
            assert_invalid(&mut client, "message", &with(&valid, "userId", Some(value)), "userId");
        }
        assert_unharmed(&mut client, &mut listener, &room);
    });
}

#[test]
fn text_must_be_a_string_that_is_not_empty() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut client = Client::connect(server, Via::WebSocket);
        let valid = message(&room, &uuid(), "hi");
        assert_invalid(&mut client, "message", &with(&valid, "text", None), "text");
        for value in no_strings().into_iter().chain([json!(null), json!("")]) {
            assert_invalid(&mut client, "message", &with(&valid, "text", Some(value)), "text");
        }
        assert_unharmed(&mut client, &mut listener, &room);
    });
}

#[test]
fn optional_strings_must_be_strings() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let valid = message(&room, &uuid(), "hi");
        for field in ["name", "source", "thought", "messageId"] {
            for value in no_strings() {
                assert_invalid(&mut client, "message", &with(&valid, field, Some(value)), field);
            }
        }
        for field in ["serverId", "inReplyTo"] {
            for value in no_strings() {
                assert_invalid(&mut client, "message", &with(&valid, field, Some(value)), field);
            }
        }
        client.is_quiet(QUIET);
    });
}

#[test]
fn null_is_as_good_as_absent_for_what_is_optional() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let mut payload = message(&room, &uuid(), "hi");
        for field in
            ["name", "serverId", "source", "thought", "actions", "attachments", "metadata", "inReplyTo", "messageId"]
        {
            payload[field] = Value::Null;
        }
        let ack = client.call("message", payload);
        assert_eq!(ack["ok"], true, "{ack}");
        let broadcast = client.expect("messageBroadcast");
        assert_eq!(broadcast["senderName"], "User");
        assert_eq!(broadcast["actions"], json!([]));
    });
}

#[test]
fn actions_must_be_an_array_of_strings() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let valid = message(&room, &uuid(), "hi");
        for value in [json!("REPLY"), json!({}), json!(1), json!([1]), json!(["a", null]), json!([["a"]]), json!([{}])]
        {
            assert_invalid(&mut client, "message", &with(&valid, "actions", Some(value)), "actions");
        }
    });
}

#[test]
fn attachments_must_be_an_array_and_metadata_an_object() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        let valid = message(&room, &uuid(), "hi");
        for value in [json!("x"), json!({}), json!(1), json!(true)] {
            let payload = with(&valid, "attachments", Some(value));
            assert_invalid(&mut client, "message", &payload, "attachments");
        }
        for value in [json!("x"), json!([]), json!(1), json!(true)] {
            let payload = with(&valid, "metadata", Some(value));
            assert_invalid(&mut client, "message", &payload, "metadata");
        }
    });
}

#[test]
fn message_id_of_128_bytes_is_taken_and_one_more_is_not() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut client = Client::connect(server, Via::WebSocket);
        for (id, fits) in [("x".repeat(128), true), ("x".repeat(129), false), ("é".repeat(65), false)] {
            let mut payload = message(&room, &uuid(), "hi");
            payload["messageId"] = json!(id);
            let ack = client.call("message", payload);
            assert_eq!(ack["ok"], fits, "{ack}");
            if !fits {
                assert_eq!(ack["details"]["field"], "messageId");
            }
        }
    });
}

#[test]
fn error_goes_to_its_sender_only() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let mut listener = member(server, Via::WebSocket, &room);
        let mut client = member(server, Via::Polling, &room);
        client.emit("message", json!({"roomId": room, "userId": uuid(), "text": ""}));
        assert_eq!(client.expect_error(), "invalid_payload");
        client.emit("nonsense", json!({}));
        assert_eq!(client.expect_error(), "unknown_event");
        assert_unharmed(&mut client, &mut listener, &room);
        listener.is_quiet(QUIET);
    });
}

/// Payloads of hostile JSON, sent as they are.
fn hostile(room: &str, user: &str) -> Vec<(&'static str, String)> {
    let message = |more: &str| format!(r#"{{"roomId":"{room}","userId":"{user}","text":"x",{more}}}"#);
    vec![
        ("deep arrays", message(&format!(r#""metadata":{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)))),
        ("deep objects", message(&format!(r#""metadata":{}1{}"#, r#"{"a":"#.repeat(50_000), "}".repeat(50_000)))),
        ("unclosed", message(&format!(r#""attachments":{}"#, "[".repeat(200_000)))),
        ("many keys", {
            let keys: String = (0..60_000).map(|n| format!(r#""k{n}":0,"#)).collect();
            message(&format!(r#"{keys}"z":0"#))
        }),
        ("huge numbers", message(r#""attachments":[1e999,-1e999,123456789012345678901234567890]"#)),
        ("long number", message(&format!(r#""attachments":[{}]"#, "9".repeat(100_000)))),
        ("same key", message(&r#""text":"y","#.repeat(1_000)).replace(",}", "}")),
        ("lone surrogate", message(r#""thought":"\ud800 \udc00""#)),
        ("controls", message("\"thought\":\"a\u{1}b\"")),
    ]
}

#[test]
fn hostile_json_is_survived_and_answered() {
    each_driver(ROOMS, |server| {
        let room = uuid();
        let mut neighbour = member(server, Via::WebSocket, &uuid());
        for (what, payload) in hostile(&room, &uuid()) {
            eprintln!("{what}");
            survive(server, &payload);
            neighbour.session.is_quiet(std::time::Duration::from_millis(1));
        }
        join(&mut neighbour, &room);
    });
}

/// Whatever the answer is (an ack, or a closed connection for what is no JSON), it comes, and what comes is valid.
#[track_caller]
fn survive(server: &Server, payload: &str) {
    let mut client = Client::connect(server, Via::WebSocket);
    client.start_call(&format!(r#"["message",{payload}]"#));
    let common::engine::Session::WebSocket { ws, .. } = &mut client.session else {
        unreachable!("it was opened as one")
    };
    loop {
        let frame = ws.frame();
        if frame.opcode == common::websocket::CLOSE {
            return;
        }
        // UTF-8 and JSON are checked: a member's client would be cut off by anything else.
        let text = String::from_utf8(frame.payload).expect("UTF-8");
        let json = text.find(['[', '{']).map(|at| common::json::parse(&text[at..]));
        if text.starts_with("430") {
            assert!(json.is_some_and(|ack| ack[0]["ok"].is_boolean()), "{text}");
            return;
        }
    }
}

#[test]
fn text_of_any_characters_comes_back_unchanged() {
    each_driver(ROOMS, |server| {
        for via in BOTH {
            let room = uuid();
            let mut client = member(server, via, &room);
            for text in [
                "\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{7f}",
                "\"quoted\" \\ back\\\\slash / \u{2028}\u{2029}",
                "h\u{e9}llo \u{20ac} \u{1f600} \u{10ffff} \u{202e}rtl",
                "</script><!-- &amp; ${x} %00",
                "\x1e4spoofed\x1eb",
                " ",
            ] {
                client.emit("message", message(&room, &uuid(), text));
                assert_eq!(client.find("messageBroadcast")["text"], text);
            }
        }
    });
}
