//! Engine.IO v4, "Handshake", on the echo app.

mod common;

use common::engine::{BOTH, Session};
use common::http;
use common::{ECHO, ECHO_CALM, Polling, Via, WebSocket, each_cell, json};

const PATH: &str = "/engine.io/";

const UNKNOWN_TRANSPORT: (u64, &str) = (0, "Transport unknown");
const UNKNOWN_SID: (u64, &str) = (1, "Session ID unknown");
const BAD_METHOD: (u64, &str) = (2, "Bad handshake method");
const BAD_REQUEST: (u64, &str) = (3, "Bad request");
const UNSUPPORTED_VERSION: (u64, &str) = (5, "Unsupported protocol version");

#[track_caller]
fn assert_error(response: &common::Response, (code, message): (u64, &str), what: &str) {
    assert_eq!(response.status, 400, "{what}: {response:?}");
    let error = response.json();
    assert_eq!(error["code"].as_u64(), Some(code), "{what}: {error}");
    assert_eq!(error["message"], message, "{what}");
    let content_type = response.header("content-type").unwrap_or("");
    assert!(content_type.starts_with("application/json"), "{what}: {content_type}");
}

#[test]
fn open_packet_has_exactly_the_five_keys() {
    each_cell(ECHO, |server| {
        for via in BOTH {
            let session = Session::open(server, via, PATH);
            let keys = json::keys_in_order(session.open_packet());
            assert_eq!(keys, ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
            let open = json::parse(session.open_packet());
            assert_eq!(open["pingInterval"], 300);
            assert_eq!(open["pingTimeout"], 200);
            assert_eq!(open["maxPayload"], 1_000_000);
            let upgrades = match via {
                Via::Polling => serde_json::json!(["websocket"]),
                Via::WebSocket => serde_json::json!([]),
            };
            assert_eq!(open["upgrades"], upgrades);
        }
    });
}

#[test]
fn sid_is_twenty_base64url_characters_and_never_repeats() {
    each_cell(ECHO, |server| {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..20 {
            for via in BOTH {
                let sid = Session::open(server, via, PATH).sid();
                assert_eq!(sid.len(), 20, "{sid}");
                let base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                assert!(sid.chars().all(base64url), "{sid}");
                assert!(seen.insert(sid), "a sid came twice");
            }
        }
    });
}

#[test]
fn polling_handshake_is_plain_text_and_not_cached() {
    each_cell(ECHO, |server| {
        let response = http::get(server, "/engine.io/?EIO=4&transport=polling").expect(200);
        let content_type = response.header("content-type").unwrap_or("").to_lowercase();
        assert_eq!(content_type.replace(' ', ""), "text/plain;charset=utf-8");
        assert_eq!(response.header("cache-control"), Some("no-store"));
    });
}

#[test]
fn handshake_errors_have_their_code_and_order() {
    each_cell(ECHO_CALM, |server| {
        let polling = Polling::open(server, PATH);
        let sid = &polling.sid;
        let table = [
            ("GET", "EIO=4".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=abc".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=__proto__".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=constructor".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=webtransport".to_string(), UNKNOWN_TRANSPORT),
            ("GET", format!("EIO=4&transport=abc&sid={sid}"), UNKNOWN_TRANSPORT),
            ("GET", String::new(), UNKNOWN_TRANSPORT),
            ("PUT", "EIO=3&transport=abc&sid=unknown".to_string(), UNKNOWN_TRANSPORT),
            ("GET", "EIO=4&transport=polling&sid=unknown".to_string(), UNKNOWN_SID),
            ("POST", "EIO=4&transport=polling&sid=unknown".to_string(), UNKNOWN_SID),
            ("GET", "EIO=4&transport=polling&sid=__proto__".to_string(), UNKNOWN_SID),
            ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA".to_string(), UNKNOWN_SID),
            ("GET", format!("EIO=4&transport=polling&sid={sid}A"), UNKNOWN_SID),
            ("GET", format!("EIO=4&transport=polling&sid={}", &sid[..19]), UNKNOWN_SID),
            ("GET", format!("EIO=4&transport=polling&sid={}", "x".repeat(3000)), UNKNOWN_SID),
            ("PUT", "EIO=3&transport=polling&sid=unknown".to_string(), UNKNOWN_SID),
            ("POST", "EIO=4&transport=polling".to_string(), BAD_METHOD),
            ("PUT", "EIO=4&transport=polling".to_string(), BAD_METHOD),
            ("POST", "EIO=3&transport=websocket".to_string(), BAD_METHOD),
            ("GET", "EIO=4&transport=websocket".to_string(), BAD_REQUEST),
            ("GET", "EIO=3&transport=websocket".to_string(), BAD_REQUEST),
            ("GET", format!("EIO=4&transport=websocket&sid={sid}"), BAD_REQUEST),
            ("GET", "transport=polling".to_string(), UNSUPPORTED_VERSION),
            ("GET", "EIO=&transport=polling".to_string(), UNSUPPORTED_VERSION),
            ("GET", "EIO=3&transport=polling".to_string(), UNSUPPORTED_VERSION),
            ("GET", "EIO=5&transport=polling".to_string(), UNSUPPORTED_VERSION),
            ("GET", "EIO=4x&transport=polling".to_string(), UNSUPPORTED_VERSION),
        ];
        for (method, query, error) in table {
            let response = http::once(server, method, &format!("{PATH}?{query}"), "", b"");
            assert_error(&response, error, &format!("{method} {query}"));
        }
    });
}

#[test]
fn websocket_handshake_errors_refuse_the_upgrade() {
    each_cell(ECHO, |server| {
        for (query, error) in [
            ("EIO=4", UNKNOWN_TRANSPORT),
            ("EIO=4&transport=abc", UNKNOWN_TRANSPORT),
            ("EIO=4&transport=websocket&sid=unknown", UNKNOWN_SID),
            ("transport=websocket", UNSUPPORTED_VERSION),
            ("EIO=3&transport=websocket", UNSUPPORTED_VERSION),
        ] {
            let refusal = WebSocket::try_open(server, &format!("{PATH}?{query}"), "").err();
            let refusal = refusal.unwrap_or_else(|| panic!("{query}: was accepted"));
            assert_error(&refusal, error, query);
        }
    });
}

#[test]
fn further_query_parameters_and_escapes_are_understood() {
    each_cell(ECHO, |server| {
        for query in [
            "EIO=4&transport=polling&t=abc123",
            "t=abc123&transport=polling&EIO=4",
            "EIO=%34&transport=poll%69ng",
            "EIO=4&transport=polling&empty=&flag&sid=",
        ] {
            let response = http::get(server, &format!("{PATH}?{query}")).expect(200);
            assert!(response.text().starts_with("0{"), "{query}");
        }
    });
}
