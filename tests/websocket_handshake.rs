//! RFC 6455 §4, the opening handshake.

mod common;

use std::time::Duration;

use common::http::Http;
use common::websocket::{ENGINE_ECHO, KEY, upgrade_request};
use common::{ECHO_CALM, Frame, Server, WebSocket, each_driver};

/// A session whose open packet has been read.
#[track_caller]
fn open(server: &Server) -> WebSocket {
    let mut ws = WebSocket::open(server, ENGINE_ECHO);
    assert!(ws.expect_text().starts_with("0{"));
    ws
}

/// Asserts that the connection still echoes.
#[track_caller]
fn assert_alive(ws: &mut WebSocket) {
    ws.text("4alive");
    assert_eq!(ws.expect_text(), "4alive");
}

#[test]
fn frames_right_behind_the_request_are_taken() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        let mut bytes = format!("{}\r\n", upgrade_request(ENGINE_ECHO)).into_bytes();
        bytes.extend(Frame::text("4early").masked());
        http.send(bytes);
        let mut ws = WebSocket::opened(http).expect("101");
        assert!(ws.expect_text().starts_with("0{"));
        assert_eq!(ws.expect_text(), "4early");
    });
}

#[test]
fn handshake_headers_may_be_written_in_other_ways() {
    each_driver(ECHO_CALM, |server| {
        let start = format!("GET {ENGINE_ECHO} HTTP/1.1\r\nHost: localhost\r\n");
        let key = format!("sec-websocket-key: {KEY}\r\nsec-websocket-version:13\r\n");
        for headers in [
            "UPGRADE: WebSocket\r\nconnection: keep-alive, Upgrade\r\n",
            "upgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n",
            "Upgrade:websocket\r\nConnection:upgrade , x\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://example.com\r\nCookie: a=b\r\n",
        ] {
            let mut http = Http::connect(server);
            http.send(format!("{start}{headers}{key}\r\n"));
            let mut ws = WebSocket::opened(http).unwrap_or_else(|refusal| panic!("{headers:?}: {refusal:?}"));
            assert!(ws.expect_text().starts_with("0{"));
        }
    });
}

#[test]
fn unsupported_version_is_426_and_names_the_supported_one() {
    each_driver(ECHO_CALM, |server| {
        for version in ["8", "12", "14", "", "abc", "130"] {
            let mut http = Http::connect(server);
            let request = upgrade_request(ENGINE_ECHO).replace("Version: 13", &format!("Version: {version}"));
            http.send(format!("{request}\r\n"));
            let response = http.response().expect(426);
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{version:?}");
        }
    });
}

#[test]
fn incomplete_handshake_is_refused() {
    each_driver(ECHO_CALM, |server| {
        let good = upgrade_request(ENGINE_ECHO);
        for (what, request) in [
            ("no key", good.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), "")),
            ("short key", good.replace(KEY, "dGhlIHNhbXBsZQ==")),
            ("long key", good.replace(KEY, "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==")),
            ("not base64", good.replace(KEY, "dGhlIHNhbXBsZSBub25jZ!==")),
            ("two keys", format!("{good}Sec-WebSocket-Key: {KEY}\r\n")),
            ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", "")),
            ("POST", good.replace("GET ", "POST ")),
            ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0")),
            ("other upgrade", good.replace("Upgrade: websocket", "Upgrade: h2c")),
            ("no upgrade token", good.replace("Connection: Upgrade", "Connection: close")),
        ] {
            let mut http = Http::connect(server);
            http.send(format!("{request}\r\n"));
            let status = http.response().status;
            assert!(matches!(status, 400 | 405 | 426 | 505), "{what}: {status}");
        }
    });
}

#[test]
fn connection_that_ends_without_a_close_frame_costs_nobody_else_anything() {
    each_driver(ECHO_CALM, |server| {
        let mut neighbour = open(server);
        for cut in [1, 2, 5, 9] {
            let mut ws = open(server);
            ws.http.send(&Frame::text("4half of it").masked()[..cut]);
            match cut {
                1 | 5 => drop(ws),
                _ => {
                    ws.http.finish();
                    ws.expect_end();
                }
            }
        }
        neighbour.is_quiet(Duration::from_millis(50));
        assert_alive(&mut neighbour);
    });
}
