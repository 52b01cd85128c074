//! Promises about what clients send: P3, P6 to P8, P10 to P13.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::engine::{BOTH, Session};
use crate::common::http::{Http, get, once};
use crate::common::rooms::{failure, join, member, message, uuid};
use crate::common::websocket::{BINARY, Length, PING};
use crate::common::{Client, ECHO_CALM, Frame, Polling, QUIET, Server, Via, WebSocket, each_driver};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn websocket<'c>(client: &'c mut Client<'_>) -> &'c mut WebSocket {
    match &mut client.session {
        Session::WebSocket { ws, .. } => ws,
        Session::Polling(_) => panic!("it polls"),
    }
}

/// Length fields alone, fragments and slow readers: `tests/websocket_frames.rs`, and the unit tests of `connection`.
#[test]
fn p03_all_parts_of_a_message_share_one_budget() {
    each_driver(ECHO_CALM, |server| {
        let text = r#"4510-["message",{"_placeholder":true,"num":0}]"#;
        let mut client = Client::connect(server, Via::WebSocket);
        client.raw(text);
        let ws = websocket(&mut client);
        (0..6).for_each(|_| ws.binary([7; 100_000]));
        // Judged from the header: what is kept already leaves no room for it.
        ws.http.send(Frame::new(false, BINARY, "").header(400_001, Length::Shortest, true));
        ws.expect_close(1009);

        let mut polling = Client::connect(server, Via::Polling);
        polling.raw(text);
        if let Session::Polling(polling) = &mut polling.session {
            let part = crate::common::engine::base64_packet(&[7; 100_000]);
            (0..6).for_each(|_| polling.send(&part));
            let mut http = Http::connect(server);
            http.send(format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 400001\r\n\r\n", polling.target()));
            assert_eq!(http.response().status, 413);
        }
    });
}

#[test]
fn p03_a_flood_that_nobody_reads_is_cut_off() {
    each_driver(&["--max-queue", "64KiB", "--stall-timeout", "500ms"], |server| {
        let pings: Vec<u8> = (0..200).flat_map(|_| Frame::new(true, PING, [1; 125]).masked()).collect();
        let calls: Vec<u8> = (0..200).flat_map(|_| Frame::text(r#"421["nope",1]"#).masked()).collect();
        for flood in [pings, calls] {
            let mut client = Client::connect(server, Via::WebSocket);
            let stream = &mut websocket(&mut client).http.stream;
            stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a TCP socket");
            let start = Instant::now();
            loop {
                match stream.write(&flood) {
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                    _ => assert!(start.elapsed() < Duration::from_secs(20), "it floods on"),
                }
            }
        }
    });
}

/// Codes in detail: `tests/websocket_frames.rs`, `tests/socket_io_malformed.rs`, `tests/rooms_invalid.rs`.
#[test]
fn p06_protocol_errors_end_the_offender_only_and_application_errors_nobody() {
    each_driver(&[], |server| {
        let mut bystander = Client::connect(server, Via::WebSocket);
        for (packet, code) in [("4x", 1002), (r#"42["a""#, 1002), ("40[]", 1002)] {
            let mut offender = Client::connect(server, Via::WebSocket);
            offender.raw(packet);
            websocket(&mut offender).http.stream.flush().expect("sent");
            loop {
                let frame = websocket(&mut offender).frame();
                if frame.opcode == 8 {
                    assert_eq!(frame.payload, u16::to_be_bytes(code), "{packet}");
                    break;
                }
            }
        }
        for payload in ["null", "1", "[]", "{}", r#"{"roomId":"__proto__"}"#, r#"{"text":{}}"#] {
            bystander.raw(&format!(r#"42["message",{payload}]"#));
            assert_eq!(bystander.expect_error(), "invalid_payload", "{payload}");
        }
        join(&mut bystander, &uuid());
    });
}

/// All of them: `tests/http_framing.rs`, `tests/codecs`, `tests/fuzz`.
#[test]
fn p07_numbers_are_exact_and_framing_is_not_ambiguous() {
    each_driver(&[], |server| {
        for headers in [
            "Content-Length: +3",
            "Content-Length: 0x3",
            "Content-Length: 3,3",
            "Content-Length: 18446744073709551619",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let mut http = Http::connect(server);
            http.send(format!("POST /socket.io/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\nabc"));
            assert_eq!(http.response().status, 400, "{headers}");
            http.ends();
        }
        for packet in ["429007199254740993[\"a\"]", "42+1[\"a\"]", "45+1-[\"a\"]", "4518446744073709551617-[\"a\"]"] {
            let mut client = Client::connect(server, Via::WebSocket);
            client.session.ends_after(packet);
        }
    });
}

#[test]
fn p08_json_of_any_shape_costs_linear_time_and_what_is_sent_is_json() {
    each_driver(&[], |server| {
        let (room, user, deep) = (uuid(), uuid(), 100_000);
        let mut client = member(server, Via::WebSocket, &room);
        let metadata = |value: &str| {
            format!(r#"["message",{{"text":"x","roomId":"{room}","userId":"{user}","metadata":{value}}}]"#)
        };
        let payloads = [
            format!(r#"["message",{}{}]"#, "[".repeat(deep), "]".repeat(deep)),
            metadata(&format!("{}1{}", r#"{"a":"#.repeat(deep), "}".repeat(deep))),
            format!(r#"["message",{{{}"b":1}}]"#, r#""roomId":1,"#.repeat(deep / 2)),
            metadata(&format!(r#"{{"a":{}}}"#, "9".repeat(deep))),
        ];
        for payload in &payloads {
            let start = Instant::now();
            failure(&client.call_raw(payload), "invalid_payload");
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        }
        let text = format!(
            r#"["message",{{"text":"a\ud800b","roomId":"{room}","userId":"{user}","attachments":["\udfff"]}}]"#
        );
        assert_eq!(client.call_raw(&text)["ok"], true);
        let broadcast = client.find("messageBroadcast");
        assert_eq!((&broadcast["text"], &broadcast["attachments"]), (&json!("a\u{fffd}b"), &json!(["\u{fffd}"])));
    });
}

/// Copies and order: `tests/rooms.rs`, `tests/rooms_order.rs`.
#[test]
fn p10_rooms_are_no_socket_ids_and_outsiders_see_nothing() {
    each_driver(&[], |server| {
        for via in BOTH {
            let room = uuid();
            let (mut victim, mut left) = (Client::connect(server, via), member(server, via, &room));
            assert_eq!(left.call("leave", json!({"roomId": room}))["ok"], true);
            let mut attacker = Client::connect(server, Via::WebSocket);
            // Any name may be a room of the older form, also somebody's id; nothing of that one's is in it.
            attacker.raw(&format!("42{}", json!(["1", {"channelId": victim.id}])));
            attacker.find("room_joined");
            let ack = attacker.call("message", message(&room, &uuid(), "hello"));
            assert_eq!(ack["ok"], true);
            failure(&attacker.call("message", message(&victim.id, &uuid(), "for you")), "invalid_payload");
            victim.is_quiet(QUIET);
            left.is_quiet(QUIET);
        }
    });
}

#[test]
fn p11_session_ids_are_secret_random_and_of_no_use_elsewhere() {
    each_driver(&[], |server| {
        let mut seen = HashSet::new();
        for _ in 0..50 {
            let mut client = Client::connect(server, Via::WebSocket);
            let sid = client.session.sid();
            assert!(sid.len() >= 20 && sid != client.id && seen.insert(sid.clone()));
            // Another WebSocket that knows it takes nothing over.
            let mut thief = WebSocket::open(server, &format!("{SOCKET}&sid={sid}"));
            thief.text("2probe");
            thief.expect_close(1000);
            assert_eq!(get(server, &format!("/socket.io/?EIO=4&transport=polling&sid={}", client.id)).status, 400);
            join(&mut client, &uuid());
        }
        for sid in ["__proto__", "constructor", "", "AAAAAAAAAAAAAAAAAAAA", &"A".repeat(5_000)] {
            let response = get(server, &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
            assert_eq!(response.status, if sid.is_empty() { 200 } else { 400 }, "{sid}");
        }
    });
}

/// The rest: `tests/engine_messages.rs`.
#[test]
fn p12_a_broken_rule_of_polling_ends_the_session_and_every_request_is_answered() {
    each_driver(&[], |server| {
        let polling = Polling::open(server, "/socket.io/");
        let (mut first, mut second) = (polling.get_parked(), polling.get_pending());
        assert_eq!((second.response().status, first.response().text()), (400, "1"));
        let mut cancelled = Polling::open(server, "/socket.io/");
        drop(cancelled.get_parked());
        crate::common::eventually("a cancelled poll ends the session", || cancelled.get().status == 400);
        let binary = Polling::open(server, "/socket.io/");
        let headers = "Content-Type: application/octet-stream\r\n";
        assert_eq!(once(server, "POST", &binary.target(), headers, b"\x04hello").status, 400);
        assert_eq!(get(server, &binary.target()).status, 400);
    });
}

#[test]
fn p13_origins_are_checked_on_both_transports() {
    each_driver(&["--cors-origin", "https://a.example"], |server| {
        for (origin, status) in [("https://a.example", 200), ("https://b.example", 400), ("null", 400)] {
            let headers = format!("Origin: {origin}\r\n");
            let response = once(server, "GET", "/socket.io/?EIO=4&transport=polling", &headers, b"");
            assert_eq!(response.status, status, "{origin}");
            assert_eq!(response.header("access-control-allow-origin"), (status == 200).then_some(origin));
            let opened = WebSocket::try_open(server, SOCKET, &headers);
            assert_eq!(opened.is_ok(), status == 200, "{origin}");
        }
    });
    each_driver(&[], |server: &Server| {
        let target = "/socket.io/?EIO=4&transport=polling&j=0";
        let response = once(server, "GET", target, "Origin: https://b.example\r\n", b"");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
        assert!(response.text().starts_with("0{"), "no JSONP");
    });
}
