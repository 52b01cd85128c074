//! P4: a connection is useful or gone.

use std::time::{Duration, Instant};

use crate::common::http::Http;
use crate::common::websocket::CLOSE;
use crate::common::{Frame, Polling, Server, WebSocket, each_driver};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Asserts that what `begin` opened ends by itself: no sooner than half of the 600 ms, and soon after them.
fn ends_in_time(what: &str, server: &Server, begin: impl Fn(&Server) -> Http) {
    let start = Instant::now();
    begin(server).rest_within(Duration::from_secs(6));
    let took = start.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{what}: {took:?}");
}

/// Heartbeats: `tests/heartbeat.rs`.
#[test]
fn p04_a_connection_is_useful_or_gone() {
    let flags = [
        "--request-timeout",
        "600ms",
        "--connect-timeout",
        "600ms",
        "--upgrade-timeout",
        "600ms",
        "--close-timeout",
        "600ms",
        "--idle-timeout",
        "600ms",
    ];
    each_driver(&flags, |server| {
        let sends = |bytes: &'static str| {
            move |server: &Server| {
                let mut http = Http::connect(server);
                http.send(bytes);
                http
            }
        };
        ends_in_time("silent", server, sends(""));
        ends_in_time("half a head", server, sends("GET / HTTP/1.1\r\nHost: a\r\n"));
        ends_in_time(
            "half a body",
            server,
            sends("POST /api/messaging/complete HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"),
        );
        ends_in_time(
            "half a chunk",
            server,
            sends("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"),
        );
        ends_in_time("between two requests", server, sends("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        ends_in_time("no CONNECT", server, |server| WebSocket::open(server, SOCKET).http);
        ends_in_time("no upgrade", server, |server| {
            let polling = Polling::open(server, "/socket.io/");
            WebSocket::open(server, &polling.upgrade_target()).http
        });
        ends_in_time("no answer to a close frame", server, |server| {
            let mut ws = WebSocket::open(server, SOCKET);
            ws.send(&Frame::text("1"));
            while ws.frame().opcode != CLOSE {}
            ws.http
        });
    });
}
