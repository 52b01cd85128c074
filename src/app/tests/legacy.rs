//! The forms that published clients send (contract B1): every field with everything wrong.

use super::*;

const JOIN_ERROR: &str = "channelId is required for joining.";
const SEND_ERROR: &str =
    "For SEND_MESSAGE: channelId, messageServerId (message_server_id), senderId (author_id), and message are required.";

/// A form, its number, a payload that is taken, and its fields: name, values that are wrong, whether the reference server
/// has a text for that.
type Table = (&'static str, Value, Vec<(&'static str, Vec<Value>, bool)>);

fn tables() -> [Table; 2] {
    let (scalars, text) = (|| vec![json!(true), json!(7), json!(-1.5)], || json!("x"));
    let with = |more: Vec<Value>| scalars().into_iter().chain(more).collect::<Vec<_>>();
    let no_text = || with(vec![json!([text()]), json!({"a": "x"})]);
    let no_uuid = || with(vec![text(), json!(""), json!([ROOM]), json!({}), json!(format!("{USER} "))]);
    let no_object = || with(vec![text(), json!([])]);
    let no_array = || with(vec![text(), json!({})]);
    let join = vec![
        ("channelId", with(vec![json!(""), json!([ROOM]), json!({}), Value::Null]), true),
        ("roomId", with(vec![json!(""), json!([ROOM]), json!({}), Value::Null]), true),
        ("entityId", no_uuid(), false),
        ("agentId", no_uuid(), false),
        ("serverId", no_uuid(), false),
        ("metadata", no_object(), false),
        ("targetUserId", no_uuid(), false),
    ];
    let or_none = |values: Vec<Value>| values.into_iter().chain([Value::Null]).collect::<Vec<_>>();
    let send = vec![
        ("channelId", or_none(no_uuid()), true),
        ("roomId", or_none(no_uuid()), true),
        ("senderId", or_none(no_uuid()), true),
        ("message", or_none(with(vec![json!(""), json!([text()]), json!({})])), true),
        ("serverId", no_uuid(), true),
        ("message_server_id", no_uuid(), true),
        ("senderName", no_text(), false),
        ("messageId", no_text(), false),
        ("source", no_text(), false),
        ("thought", no_text(), false),
        ("inReplyTo", no_text(), false),
        ("actions", no_array(), false),
        ("attachments", no_array(), false),
        ("metadata", no_object(), false),
        ("targetUserId", no_uuid(), false),
    ];
    [
        ("1", json!({"channelId": ROOM}), join),
        ("2", json!({"channelId": ROOM, "senderId": USER, "message": "hi"}), send),
    ]
}

/// Sends a form in both its ways; each time a `messageError` and an `error` must come, and the same as acknowledgement.
#[track_caller]
fn refused(fleet: &mut Fleet, peer: Peer, form: &str, payload: &Value, code: &str) -> (String, Value) {
    let number: u32 = form.parse().expect("a number");
    let mut answers = Vec::new();
    for (event, sent) in [(form, payload.clone()), ("message", json!({"type": number, "payload": payload}))] {
        let (ack, rest) = fleet.call(peer, event, &sent);
        let [Packet::Event(first, text), Packet::Event(second, error)] = rest.as_slice() else {
            panic!("{form} {payload}: {rest:?}")
        };
        assert_eq!((first.as_str(), second.as_str()), ("messageError", "error"), "{payload}");
        assert_eq!(
            (&ack["ok"], &ack["error"], &ack["details"]),
            (&json!(false), &error[0]["error"], &error[0]["details"])
        );
        assert_eq!((&ack["details"]["code"], &ack["details"]["event"]), (&json!(code), &json!(event)), "{payload}");
        let text = text[0]["error"].as_str().expect("a text").to_owned();
        answers.push((text, ack["details"]["field"].clone()));
    }
    assert_eq!(answers[0].0, answers[1].0);
    answers.remove(0)
}

#[test]
fn every_wrong_field_is_named_and_nothing_happens() {
    each(&AgentsSettings::default(), |fleet| {
        let (peer, member) = (fleet.connect_to(0), fleet.member(1, ROOM));
        for (form, good, fields) in tables() {
            let text = if form == "1" { JOIN_ERROR } else { SEND_ERROR };
            for (field, values, has_text) in fields {
                for value in values {
                    let mut payload = good.clone();
                    if field == "roomId" {
                        payload.as_object_mut().expect("an object").remove("channelId");
                    }
                    payload[field] = value;
                    let (error, named) = refused(fleet, peer, form, &payload, "invalid_payload");
                    assert_eq!(named, field, "{form} {payload}");
                    assert_eq!(error == text, has_text, "{form} {payload}: {error}");
                }
            }
            for payload in [json!(null), json!(true), json!(7), json!("x"), json!([]), json!([good])] {
                let (error, _) = refused(fleet, peer, form, &payload, "invalid_payload");
                assert_eq!(error, text, "{payload}");
            }
        }
        assert_eq!(fleet.take(member), []);
        let state = fleet.call(member, "request-world-state", &json!({"roomId": ROOM})).0;
        assert_eq!((&state["users"], &state["agents"], &state["messages"][ROOM]), (&json!({}), &json!({}), &json!([])));
        assert_eq!(state["channels"][ROOM]["online"], 1);
    });
}

#[test]
fn a_form_without_a_payload_and_one_of_another_number_say_what_is_wrong() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(0);
        for (payload, field) in [
            (json!({"type": 1}), "payload"),
            (json!({"type": 2, "payload": null}), "payload"),
            (json!({"type": 1, "payload": "x"}), "payload"),
            (json!({"type": 3, "payload": {}}), "type"),
            (json!({"type": "1", "payload": {"channelId": ROOM}}), "type"),
            (json!({"payload": {"channelId": ROOM}}), "type"),
            (json!({"type": 1.5, "payload": {"channelId": ROOM}}), "type"),
        ] {
            fleet.emit(peer, "message", &payload);
            let events = fleet.events(peer);
            let (name, error) = events.last().expect("an answer");
            assert_eq!((name.as_str(), &error["details"]["field"]), ("error", &json!(field)), "{payload}");
        }
        // What the documented form does not know it does not mind.
        let mut flat = message("hi");
        flat["payload"] = json!({});
        flat["type"] = json!("text");
        assert_eq!(fleet.call(peer, "message", &flat).0["ok"], true);
    });
}

#[test]
fn every_length_has_a_bound_that_is_named() {
    each(&AgentsSettings { text_max: 100, ..AgentsSettings::default() }, |fleet| {
        let peer = fleet.connect_to(0);
        let long = |n: usize| json!("x".repeat(n));
        for (form, field, max, value, over) in [
            ("1", "channelId", 255, long(255), long(256)),
            ("1", "name", 256, long(256), long(257)),
            ("2", "message", 100, long(100), long(101)),
            ("2", "senderName", 256, long(256), long(257)),
            ("2", "messageId", 128, long(128), long(129)),
            ("2", "source", 128, long(128), long(129)),
            ("2", "thought", 100, long(100), long(101)),
            ("2", "actions", 64, json!(vec!["a"; 64]), json!(vec!["a"; 65])),
        ] {
            let (_, mut payload, _) = tables().into_iter().find(|(name, ..)| *name == form).expect("a table");
            payload[field] = value;
            assert_eq!(fleet.call(peer, form, &payload).0["ok"], true, "{field}");
            payload[field] = over;
            let (error, named) = refused(fleet, peer, form, &payload, "too_large");
            assert_eq!(named, field);
            assert!(error.contains(&max.to_string()), "{error}");
        }
    });
}

#[test]
fn an_empty_message_id_is_as_good_as_none() {
    each(&AgentsSettings::default(), |fleet| {
        let member = fleet.member(0, ROOM);
        for _ in 0..2 {
            let mut payload = message("hi");
            payload["messageId"] = json!("");
            assert_eq!(fleet.call(member, "message", &payload).0["ok"], true);
            let payload = json!({"channelId": ROOM, "senderId": USER, "message": "hi", "messageId": ""});
            let (ack, rest) = fleet.call(member, "2", &payload);
            assert_eq!(ack["ok"], true);
            let [Packet::Event(name, own), Packet::Event(_, acked), _] = rest.as_slice() else { panic!("{rest:?}") };
            assert_eq!(name, "messageBroadcast");
            assert!(own[0].get("clientMessageId").is_none() && acked[0].get("clientMessageId").is_none());
        }
    });
}

#[test]
fn whatever_a_form_is_refused_for_is_told_in_both_ways() {
    let join = |room: &str| ("1", json!({"channelId": room}));
    let send = |room: &str| ("2", json!({"channelId": room, "senderId": USER, "message": "hi"}));
    let of = AgentsSettings::default;
    for (settings, (form, payload), code) in [
        (AgentsSettings { max_rooms_per_socket: 1, ..of() }, join(OTHER_ROOM), "too_many_rooms"),
        (AgentsSettings { max_rooms: 1, ..of() }, join(OTHER_ROOM), "unavailable"),
        (AgentsSettings { max_rooms: 1, ..of() }, send(OTHER_ROOM), "unavailable"),
        (AgentsSettings { require_join: true, ..of() }, send(OTHER_ROOM), "not_joined"),
    ] {
        let fleet = &mut Fleet::new(1, &settings);
        let peer = fleet.member(0, ROOM);
        let number: u32 = form.parse().expect("a number");
        fleet.emit(peer, "message", &json!({"type": number, "payload": payload}));
        let events = fleet.events(peer);
        let [(first, text), (second, error)] = events.as_slice() else { panic!("{code}: {events:?}") };
        assert_eq!((first.as_str(), second.as_str(), &text["error"]), ("messageError", "error", &error["error"]));
        assert_eq!((&error["details"]["code"], &error["details"]["event"]), (&json!(code), &json!("message")));
    }
}
