//! The documented endpoints: `/socket.io/`, `GET /websocket`, and what the rooms application mounts besides.

mod common;

use serde_json::json;

use common::engine::Session;
use common::http::{self, Http};
use common::rooms::{join, message, texts, uuid};
use common::websocket::upgrade_request;
use common::{Client, ROOMS, Server, Via, WebSocket, each_cell, each_driver, json as text};

#[test]
fn websocket_path_needs_no_query() {
    each_cell(ROOMS, |server| {
        for target in ["/websocket", "/websocket?", "/websocket?EIO=4&transport=websocket", "/websocket?x=y"] {
            let session = Session::on(WebSocket::open(server, target));
            let keys = text::keys_in_order(session.open_packet());
            assert_eq!(keys, ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
            assert_eq!(text::parse(session.open_packet())["upgrades"], json!([]));
            let mut client = Client::on_session(session, &json!({})).expect("a CONNECT");
            let room = uuid();
            join(&mut client, &room);
            client.emit("message", message(&room, &uuid(), "plain"));
            assert_eq!(texts(&mut client, 1), ["plain"]);
        }
    });
}

#[test]
fn websocket_path_shares_its_rooms_with_the_other_one() {
    each_cell(ROOMS, |server| {
        let room = uuid();
        let session = Session::on(WebSocket::open(server, "/websocket"));
        let mut plain = Client::on_session(session, &json!({})).expect("a CONNECT");
        join(&mut plain, &room);
        let mut other = Client::connect(server, Via::Polling);
        other.call("message", message(&room, &uuid(), "hi"));
        assert_eq!(texts(&mut plain, 1), ["hi"]);
    });
}

#[test]
fn websocket_path_without_upgrade_is_426_and_says_what_is_needed() {
    each_driver(ROOMS, |server| {
        let mut http = Http::connect(server);
        http.request("GET", "/websocket", "", b"");
        let response = http.response().expect(426);
        let content_type = response.header("content-type").unwrap_or("");
        assert!(content_type.starts_with("application/json"), "{content_type}");
        assert!(response.text().to_lowercase().contains("websocket"), "{}", response.text());
        assert!(response.json().is_object());
        let upgrade = response.header("upgrade").unwrap_or("").to_lowercase();
        assert_eq!(upgrade, "websocket", "RFC 9110 §15.5.22 asks for the header");
        // The connection is of use still.
        http.request("GET", "/nowhere", "", b"");
        http.response().expect(404);
    });
}

#[test]
fn websocket_path_of_another_method_is_refused() {
    each_driver(ROOMS, |server| {
        for method in ["POST", "PUT", "DELETE"] {
            let status = http::once(server, method, "/websocket", "", b"").status;
            assert!(matches!(status, 400 | 405 | 426), "{method}: {status}");
        }
    });
}

#[test]
fn websocket_with_the_sid_of_a_session_takes_nothing_over() {
    each_cell(ROOMS, |server| {
        let mut first = Client::connect(server, Via::WebSocket);
        let sid = first.session.sid();
        let target = format!("/websocket?sid={sid}");
        if let Ok(mut ws) = WebSocket::try_open(server, &target, "") {
            // Refused late, or a session of its own: never the other's.
            let frame = ws.frame();
            if frame.opcode == common::websocket::TEXT {
                assert!(frame.payload.starts_with(b"0{"), "{frame:?}");
                assert!(!String::from_utf8_lossy(&frame.payload).contains(&sid));
            }
        }
        join(&mut first, &uuid());
    });
}

#[test]
fn other_namespaces_are_refused() {
    each_driver(ROOMS, |server| {
        let mut session = Session::open(server, Via::WebSocket, "/socket.io/");
        for name in ["/custom", "/admin", "/__proto__"] {
            session.send(&format!("40{name},"));
            let answer = session.recv();
            assert_eq!(answer.text(), format!(r#"44{name},{{"message":"Invalid namespace"}}"#));
        }
        let mut client = Client::on_session(session, &json!({})).expect("a CONNECT");
        join(&mut client, &uuid());
    });
}

#[test]
fn test_app_is_not_mounted() {
    each_driver(ROOMS, |server| {
        http::get(server, "/engine.io/?EIO=4&transport=polling").expect(404);
    });
}

#[test]
fn path_is_a_flag() {
    each_driver(&["--path", "/chat/live/"], |server| {
        for path in ["/chat/live/", "/chat/live"] {
            let target = format!("{path}?EIO=4&transport=polling");
            assert!(http::get(server, &target).expect(200).text().starts_with("0{"));
        }
        http::get(server, "/socket.io/?EIO=4&transport=polling").expect(404);
        WebSocket::open(server, "/websocket").expect_text();
    });
}

/// Asserts whether a page of `origin` may talk to the server, by either transport.
#[track_caller]
fn assert_origin(server: &Server, origin: &str, allowed: bool) {
    let header = format!("Origin: {origin}\r\n");
    let target = "/socket.io/?EIO=4&transport=polling";
    let response = http::once(server, "GET", target, &header, b"");
    if allowed {
        assert_eq!(response.status, 200, "{origin}");
        assert_eq!(response.header("access-control-allow-origin"), Some(origin));
        let vary = response.header("vary").unwrap_or("").to_lowercase();
        assert!(vary.contains("origin"), "an answer that depends on the origin says so");
    } else {
        assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(response.expect(400).json()["code"], 4);
    }
    for target in ["/websocket", "/socket.io/?EIO=4&transport=websocket"] {
        let opened = WebSocket::try_open(server, target, &header);
        assert_eq!(opened.is_ok(), allowed, "{target} from {origin}");
        if let Err(refusal) = opened {
            assert!(matches!(refusal.status, 400 | 403), "{refusal:?}");
        }
    }
}

#[test]
fn origin_allow_list_holds_for_both_transports() {
    each_driver(&["--cors-origin", "https://a.example,http://b.example:8080"], |server| {
        for origin in ["https://a.example", "http://b.example:8080"] {
            assert_origin(server, origin, true);
        }
        for origin in [
            "http://a.example",
            "https://a.example.evil.example",
            "https://evil-a.example",
            "https://a.example:8443",
            "http://b.example",
            "null",
            "*",
        ] {
            assert_origin(server, origin, false);
        }
        // What is no browser has no origin.
        http::get(server, "/socket.io/?EIO=4&transport=polling").expect(200);
        WebSocket::open(server, "/websocket").expect_text();
    });
}

#[test]
fn upgrade_on_another_path_is_404() {
    each_driver(ROOMS, |server| {
        let mut http = Http::connect(server);
        http.send(format!("{}\r\n", upgrade_request("/elsewhere")));
        http.response().expect(404);
    });
}
