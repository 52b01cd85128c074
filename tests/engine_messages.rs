//! Engine.IO v4, "HTTP long-polling", "WebSocket", "Packet encoding" and "Close", on the echo app.

mod common;

use std::time::Duration;

use common::engine::{BOTH, Packet, Session, base64_packet, packets};
use common::http::{self, Http};
use common::websocket::ENGINE_ECHO;
use common::{ECHO, ECHO_CALM, Polling, Via, WebSocket, each_cell, each_worker_count};

const PATH: &str = "/engine.io/";

const UNKNOWN_SID: (u64, &str) = (1, "Session ID unknown");
const BAD_REQUEST: (u64, &str) = (3, "Bad request");
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
fn post_is_answered_ok_as_html() {
    each_cell(ECHO, |server| {
        let response = Polling::open(server, PATH).post("4hello").expect(200);
        assert_eq!(response.text(), "ok");
        let content_type = response.header("content-type").unwrap_or("");
        assert!(content_type.starts_with("text/html"), "{content_type}");
    });
}

#[test]
fn messages_come_back_in_order() {
    each_cell(ECHO, |server| {
        for via in BOTH {
            let mut session = Session::open(server, via, PATH);
            let sent = ["4", "4hello", "4h\u{e9}llo \u{20ac} \u{1f600}", "4{\"a\":[1,2]}", "4 \n\t\u{1}"];
            let sent = sent.map(Packet::from);
            session.send_all(&sent);
            for expected in &sent {
                assert_eq!(&session.recv(), expected);
            }
        }
    });
}

#[test]
fn binary_messages_come_back_as_binary() {
    each_cell(ECHO, |server| {
        for via in BOTH {
            let mut session = Session::open(server, via, PATH);
            let all_bytes: Vec<u8> = (0..=255).collect();
            let sent = [
                Packet::Binary(vec![1, 2, 3, 4]),
                "4between".into(),
                Packet::Binary(all_bytes),
                Packet::Binary(vec![0xff; 3000]),
            ];
            session.send_all(&sent);
            for expected in &sent {
                assert_eq!(&session.recv(), expected);
            }
        }
    });
}

/// Clients that were told to do without binary frames send base64 on a WebSocket as well.
#[test]
fn base64_packet_on_a_websocket_is_a_binary_message() {
    each_cell(ECHO, |server| {
        let mut ws = WebSocket::open(server, ENGINE_ECHO);
        ws.expect_text();
        for bytes in [&b""[..], b"\x01", b"\x00\xfe\xff"] {
            ws.text(base64_packet(bytes));
            assert_eq!(ws.expect_binary(), bytes);
        }
        Session::open(server, Via::WebSocket, PATH).ends_after("b!");
    });
}

#[test]
fn polling_writes_binary_as_base64() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        polling.send("4hello\x1ebAQIDBA==");
        let response = polling.get().expect(200);
        assert_eq!(response.text(), "4hello\x1ebAQIDBA==");
    });
}

#[test]
fn poll_answers_with_at_most_sixteen_packets() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let sent: Vec<Packet> = (0..100).map(|n| Packet::Text(format!("4{n}"))).collect();
        let payload: Vec<&str> = sent.iter().map(Packet::text).collect();
        for half in payload.chunks(50) {
            polling.send(&half.join("\x1e"));
        }
        let mut got = Vec::new();
        while got.len() < sent.len() {
            // `packets` holds each answer to the bound.
            got.extend(packets(&polling.get()));
        }
        assert_eq!(got, sent);
    });
}

#[test]
fn pending_poll_is_answered_when_a_message_arrives() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut poll = polling.get_parked();
        polling.send("4wake up");
        assert_eq!(poll.response().expect(200).text(), "4wake up");
    });
}

#[test]
fn each_poll_and_post_may_have_its_own_connection_or_share_one() {
    each_cell(ECHO_CALM, |server| {
        for mut polling in [Polling::open(server, PATH), Polling::open(server, PATH).keep_alive()] {
            for n in 0..50 {
                polling.send(&format!("4{n}"));
                assert_eq!(polling.recv(), Packet::Text(format!("4{n}")));
            }
        }
    });
}

#[test]
fn sessions_may_share_one_connection() {
    each_cell(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        let mut sessions: Vec<Polling> = (0..8).map(|_| Polling::open(server, PATH)).collect();
        for round in 0..3 {
            for polling in &mut sessions {
                let message = format!("4{} {round}", polling.sid);
                http.request("POST", &polling.target(), "", message.as_bytes());
                http.response().expect(200);
                http.request("GET", &polling.target(), "", b"");
                assert_eq!(http.response().expect(200).text(), message);
            }
        }
    });
}

#[test]
fn malformed_packet_ends_the_session() {
    each_cell(ECHO_CALM, |server| {
        for packet in ["abc", "7", "9hello", "", "\u{e9}", "2", "2probe"] {
            let mut session = Session::open(server, Via::WebSocket, PATH);
            session.ends_after(packet);
        }
        for payload in ["abc", "7", "4hello\x1eabc", "\u{e9}", "b!!!!", "2"] {
            let mut polling = Polling::open(server, PATH);
            polling.post(payload);
            let mut session = Session::Polling(polling);
            session.expect_end();
        }
    });
}

#[test]
fn malformed_post_is_answered_400() {
    each_cell(ECHO_CALM, |server| {
        for payload in [&b"abc"[..], b"4\xff\xfe", b"4a\x1e\x1e4b", b"b*"] {
            let mut polling = Polling::open(server, PATH);
            polling.post(payload).expect(400);
            assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
        }
    });
}

#[test]
fn octet_stream_post_is_refused_and_ends_the_session() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let headers = "Content-Type: application/octet-stream\r\n";
        http::once(server, "POST", &polling.target(), headers, b"\x044abc").expect(400);
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
    });
}

#[test]
fn post_of_exactly_the_limit_is_taken_and_one_byte_more_is_413() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let message = format!("4{}", "x".repeat(999_999));
        polling.send(&message);
        assert_eq!(polling.recv(), Packet::Text(message));
        let too_long = format!("4{}", "x".repeat(1_000_000));
        polling.post(&too_long).expect(413);
    });
}

#[test]
fn declared_length_over_the_limit_is_413_before_the_body() {
    each_cell(ECHO_CALM, |server| {
        for length in ["1000001", "99999999999"] {
            let polling = Polling::open(server, PATH);
            let mut http = Http::connect(server);
            let target = polling.target();
            http.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
            http.response().expect(413);
        }
    });
}

#[test]
fn chunked_post_over_the_limit_is_413() {
    each_cell(ECHO_CALM, |server| {
        let polling = Polling::open(server, PATH);
        let mut http = Http::connect(server);
        http.send(format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            polling.target()
        ));
        let chunk = format!("{:x}\r\n{}\r\n", 60_000, "4".repeat(60_000));
        for _ in 0..17 {
            http.send(&chunk);
        }
        http.response().expect(413);
    });
}

#[test]
fn websocket_message_over_the_limit_is_1009() {
    each_cell(ECHO_CALM, |server| {
        let mut ws = WebSocket::open(server, ENGINE_ECHO);
        ws.expect_text();
        ws.text(format!("4{}", "x".repeat(1_000_000)));
        ws.expect_close(1009);
    });
}

#[test]
fn overlapping_poll_ends_the_session() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut first = polling.get_parked();
        let second = polling.get();
        assert_eq!(second.status, 400);
        assert_eq!(first.response().expect(200).text(), "1");
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
    });
}

#[test]
fn overlapping_post_ends_the_session() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut first = Http::connect(server);
        let target = polling.target();
        first.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n4hel"));
        first.is_quiet(Duration::from_millis(60));
        polling.post("4second").expect(400);
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
        // The first must be answered or cut off: a request is never left hanging.
        first.send("lo you");
        first.finish();
        first.rest();
    });
}

#[test]
fn cancelled_poll_ends_the_session() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        drop(polling.get_parked());
        // Let the end of that connection be seen before anything could answer the poll.
        std::thread::sleep(Duration::from_millis(300));
        common::eventually("the session is over", || polling.post("4x").status == 400);
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
    });
}

#[test]
fn posted_close_packet_ends_the_pending_poll_with_a_noop() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut poll = polling.get_parked();
        polling.send("1");
        assert_eq!(poll.response().expect(200).text(), "6");
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
    });
}

#[test]
fn posted_close_packet_ends_the_session_before_it_is_answered() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        polling.send("1");
        assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
    });
}

/// Two requests at once land on different shards, and the poll may reach the session's last.
#[test]
fn poll_that_a_close_packet_has_overtaken_ends_with_a_noop_too() {
    each_worker_count(&[2, 4], ECHO_CALM, |server| {
        // One shard takes requests in the order sent.
        if server.flag("--workers") == Some("1") {
            return;
        }
        // The session waits a few milliseconds only.
        common::eventually("a poll in time", || {
            let mut polling = Polling::open(server, PATH);
            let mut post = Http::connect(server);
            post.request("POST", &polling.target(), "", b"1");
            std::thread::sleep(Duration::from_millis(3));
            let poll = polling.get();
            assert_eq!(post.response().expect(200).text(), "ok");
            assert_error(&polling.get(), UNKNOWN_SID, "the session is over");
            poll.status == 200 && poll.text() == "6"
        });
    });
}

#[test]
fn close_packet_on_a_websocket_ends_it() {
    each_cell(ECHO, |server| {
        Session::open(server, Via::WebSocket, PATH).ends_after("1");
    });
}

#[test]
fn session_ends_with_its_websocket() {
    each_cell(ECHO_CALM, |server| {
        let session = Session::open(server, Via::WebSocket, PATH);
        let target = format!("{PATH}?EIO=4&transport=polling&sid={}", session.sid());
        assert_error(&http::get(server, &target), BAD_REQUEST, "it has another transport");
        drop(session);
        common::eventually("the session is over", || http::get(server, &target).json()["code"] == UNKNOWN_SID.0);
    });
}

#[test]
fn other_methods_on_a_session_are_refused_and_answered() {
    each_cell(ECHO_CALM, |server| {
        for method in ["PUT", "DELETE", "PATCH", "HEAD"] {
            let polling = Polling::open(server, PATH);
            let response = http::once(server, method, &polling.target(), "", b"");
            assert!(matches!(response.status, 400 | 405), "{method}: {}", response.status);
        }
    });
}

#[test]
fn base64_packets_of_every_padding_are_decoded() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        for length in 0..20_usize {
            let bytes = vec![0xa5; length];
            polling.send(&base64_packet(&bytes));
            assert_eq!(polling.recv(), Packet::Binary(bytes));
        }
    });
}
