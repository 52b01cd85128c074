//! Who may connect.

use super::*;
use crate::app::{Access, Secret};

const MISSING: &str = r#"4{"message":"Invalid or missing API Key"}"#;
const NO_ENTITY: &str = r#"4{"message":"Valid entityId required"}"#;

fn with_token() -> AgentsSettings {
    let access = Access { token: Secret::new("a secret"), ..Access::default() };
    AgentsSettings { access, ..AgentsSettings::default() }
}

/// What a CONNECT is answered.
fn answer(fleet: &mut Fleet, headers: &str, auth: &str) -> String {
    let peer = fleet.connect_with(0, headers, auth);
    match fleet.take(peer).swap_remove(0) {
        Packet::Other(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_taken_from_auth_or_from_the_header() {
    each(&with_token(), |fleet| {
        for (headers, auth) in [
            ("", r#"{"token":"a secret"}"#),
            ("", r#"{"apiKey":"a secret"}"#),
            ("", r#"{"apiKey":"wrong","token":"a secret"}"#),
            ("X-API-KEY: a secret\r\n", ""),
            ("x-api-key:  a secret \r\n", r#"{"token":"wrong"}"#),
        ] {
            let answer = answer(fleet, headers, auth);
            assert!(answer.starts_with(r#"0{"sid""#), "{headers:?} {auth}: {answer}");
        }
    });
}

#[test]
fn without_the_token_a_socket_is_refused_and_may_try_again() {
    each(&with_token(), |fleet| {
        for (headers, auth) in [
            ("", ""),
            ("", "{}"),
            ("", r#"{"token":""}"#),
            ("", r#"{"token":"a secreT"}"#),
            ("", r#"{"token":"a secret "}"#),
            ("", r#"{"token":"a secre"}"#),
            ("", r#"{"token":["a secret"]}"#),
            ("", r#"{"token":null,"apiKey":0}"#),
            ("", r#"{"entityId":"a secret"}"#),
            ("X-API-KEY:\r\n", ""),
            ("X-API-KEY: A SECRET\r\n", ""),
            ("Authorization: a secret\r\n", ""),
        ] {
            assert_eq!(answer(fleet, headers, auth), MISSING, "{headers:?} {auth}");
        }
        let peer = fleet.connect_with(0, "", "");
        assert_eq!(fleet.take(peer), [Packet::Other(MISSING.to_owned())]);
        fleet.send_packet(peer, r#"40{"token":"a secret"}"#);
        assert!(matches!(&fleet.take(peer)[0], Packet::Other(text) if text.starts_with("0{\"sid\"")));
        assert!(!fleet.is_closed(peer));
    });
}

#[test]
fn nothing_can_be_done_before_access_is_given() {
    each(&with_token(), |fleet| {
        let peer = fleet.connect_with(0, "", "");
        fleet.take(peer);
        fleet.emit(peer, "join", &json!({"roomId": ROOM}));
        assert!(fleet.took_close(peer));
    });
}

#[test]
fn the_entity_may_have_to_be_named() {
    let access = Access { require_entity_id: true, ..Access::default() };
    each(&AgentsSettings { access, ..AgentsSettings::default() }, |fleet| {
        for auth in ["", "{}", r#"{"entityId":""}"#, r#"{"entityId":7}"#, r#"{"entityId":"someone"}"#] {
            assert_eq!(answer(fleet, "", auth), NO_ENTITY, "{auth}");
        }
        let auth = format!(r#"{{"entityId":"{}"}}"#, USER.to_uppercase());
        assert!(answer(fleet, "", &auth).starts_with(r#"0{"sid""#));
    });
}

#[test]
fn the_token_is_asked_for_before_the_entity() {
    let access = Access { token: Secret::new("a secret"), require_entity_id: true, verifier: None };
    each(&AgentsSettings { access, ..AgentsSettings::default() }, |fleet| {
        assert_eq!(answer(fleet, "", "{}"), MISSING);
        assert_eq!(answer(fleet, "", r#"{"token":"a secret"}"#), NO_ENTITY);
    });
}

#[test]
fn an_open_server_asks_for_nothing_and_minds_nothing() {
    each(&AgentsSettings::default(), |fleet| {
        for auth in ["", r#"{"token":"any","apiKey":7,"entityId":"someone"}"#] {
            assert!(answer(fleet, "X-API-KEY: any\r\n", auth).starts_with(r#"0{"sid""#), "{auth}");
        }
    });
}

#[test]
fn secrets_are_not_shown() {
    assert!(!format!("{:?}", with_token()).contains("a secret"));
}
