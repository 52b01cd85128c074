//! Socket.IO v5, one test per rule, on the echo app, over both transports.

mod common;

use std::time::{Duration, Instant};

use serde_json::json;

use common::engine::{BOTH, Packet, Session};
use common::websocket::TEXT;
use common::{ECHO, ECHO_CALM, Server, Via, WebSocket, each_cell, json as text};

const PATH: &str = "/socket.io/";

fn open(server: &Server, via: Via) -> Session<'_> {
    Session::open(server, via, PATH)
}

/// Connects to `/` and reads the two packets that follow; gives the socket's id.
#[track_caller]
fn connect(session: &mut Session) -> String {
    session.send("40");
    let answer = session.recv();
    let answer = text::parse(answer.text().strip_prefix("40").expect("a CONNECT packet"));
    assert_eq!(session.recv().text(), r#"42["auth",{}]"#);
    answer["sid"].as_str().expect("a sid").to_string()
}

fn connected(server: &Server, via: Via) -> Session<'_> {
    let mut session = open(server, via);
    connect(&mut session);
    session
}

/// Asserts that the socket of `/` still answers.
#[track_caller]
fn assert_alive(session: &mut Session) {
    session.send(r#"42["message","alive"]"#);
    assert_eq!(session.recv().text(), r#"42["message-back","alive"]"#);
}

/// Runs over the matrix and both transports.
fn each_transport(body: impl Fn(&Server, Via) + Sync) {
    each_cell(ECHO_CALM, |server| BOTH.into_iter().for_each(|via| body(server, via)));
}

#[test]
fn connect_is_answered_with_the_one_key_sid() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        session.send("40");
        let answer = session.recv();
        let answer = answer.text().strip_prefix("40").expect("a CONNECT packet").to_string();
        assert_eq!(text::keys_in_order(&answer), ["sid"]);
        let id = text::parse(&answer)["sid"].as_str().unwrap().to_string();
        assert_eq!(id.len(), 20);
        assert_ne!(id, session.sid(), "the Engine.IO sid is a secret, the socket's id is not");
        assert_eq!(session.recv().text(), r#"42["auth",{}]"#);
    });
}

/// Suites that take one message at a time would lose the second of one read.
#[test]
fn auth_comes_in_a_read_of_its_own_on_a_websocket() {
    each_cell(ECHO_CALM, |server| {
        // Both are there at once for a client that had to wait for a processor.
        common::eventually("an answer that comes alone", || {
            let mut ws = WebSocket::open(server, "/socket.io/?EIO=4&transport=websocket");
            ws.expect_text();
            ws.text("40");
            assert!(ws.expect_text().starts_with("40{"));
            let alone = ws.data_frame_by(Instant::now() + Duration::from_millis(2)).is_none();
            if alone {
                assert_eq!(ws.expect_text(), r#"42["auth",{}]"#);
            }
            alone
        });
    });
}

#[test]
fn auth_comes_before_what_answers_an_event() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        session.send_all(&[r#"40{"a":1}"#.into(), r#"42["message",1]"#.into()]);
        assert!(session.recv().text().starts_with("40{"));
        assert_eq!(session.recv().text(), r#"42["auth",{"a":1}]"#);
        assert_eq!(session.recv().text(), r#"42["message-back",1]"#);
    });
}

#[test]
fn connect_carries_the_auth_payload() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        session.send(r#"40{"token":"123","deep":{"a":[1,null]}}"#);
        assert!(session.recv().text().starts_with("40{"));
        let event = text::parse(&session.recv().text()[2..]);
        assert_eq!(event, json!(["auth", {"token": "123", "deep": {"a": [1, null]}}]));
    });
}

#[test]
fn custom_namespace_has_a_socket_of_its_own() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        let main = connect(&mut session);
        session.send(r#"40/custom,{"token":"abc"}"#);
        let answer = session.recv();
        let answer = answer.text().strip_prefix("40/custom,").expect("a CONNECT packet");
        assert_ne!(text::parse(answer)["sid"], main.as_str());
        let event = session.recv();
        let event = event.text().strip_prefix("42/custom,").expect("an event");
        assert_eq!(text::parse(event), json!(["auth", {"token": "abc"}]));
        session.send(r#"42/custom,["message","there"]"#);
        assert_eq!(session.recv().text(), r#"42/custom,["message-back","there"]"#);
        assert_alive(&mut session);
    });
}

#[test]
fn custom_namespace_needs_no_default_one_and_no_payload() {
    each_transport(|server, via| {
        for connect in ["40/custom,", "40/custom"] {
            let mut session = open(server, via);
            session.send(connect);
            assert!(session.recv().text().starts_with(r#"40/custom,{"sid":""#));
            assert_eq!(session.recv().text(), r#"42/custom,["auth",{}]"#);
            session.send(r#"42/custom,7["message-with-ack",1]"#);
            assert_eq!(session.recv().text(), "43/custom,7[1]");
        }
    });
}

#[test]
fn unknown_namespace_is_refused_and_the_connection_kept() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        for name in ["/random", "/custom/", "/CUSTOM", "/__proto__", "/constructor", "/a/b"] {
            session.send(&format!("40{name},"));
            let answer = session.recv();
            let refusal = answer.text().strip_prefix(&format!("44{name},"));
            let refusal = refusal.unwrap_or_else(|| panic!("{name}: {answer:?}"));
            assert_eq!(text::parse(refusal), json!({"message": "Invalid namespace"}));
        }
        connect(&mut session);
        assert_alive(&mut session);
    });
}

#[test]
fn event_comes_back_with_its_arguments() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        for arguments in [
            r#"1,"2",{"3":[true]}"#,
            r#""h\u00e9llo \n \"\\ \u0000 \ud83d\ude00""#,
            "\"\u{20ac}\u{1f600}\"",
            "null,true,false,-1.5,[],{},[[[]]]",
            "9007199254740991,-0.001",
            r#"{"__proto__":{"a":1},"constructor":2}"#,
        ] {
            session.send(&format!(r#"42["message",{arguments}]"#));
            let answer = session.recv();
            let answer = answer.text().strip_prefix("42").expect("an event");
            let expected = text::parse(&format!(r#"["message-back",{arguments}]"#));
            assert_eq!(text::parse(answer), expected);
        }
        session.send(r#"42["message"]"#);
        assert_eq!(session.recv().text(), r#"42["message-back"]"#);
    });
}

#[test]
fn acknowledgement_carries_the_id_and_the_arguments() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        for (sent, expected) in [
            (r#"420["message-with-ack",1]"#, "430[1]"),
            (r#"42456["message-with-ack",1,"2",{"3":[false]}]"#, r#"43456[1,"2",{"3":[false]}]"#),
            (r#"429007199254740991["message-with-ack"]"#, "439007199254740991[]"),
        ] {
            session.send(sent);
            assert_eq!(session.recv().text(), expected);
        }
    });
}

#[test]
fn binary_event_comes_back_with_its_attachments() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        let arguments = r#"{"_placeholder":true,"num":0},"between",{"deep":[{"_placeholder":true,"num":1}]}"#;
        session.send_all(&[
            Packet::Text(format!(r#"452-["message",{arguments}]"#)),
            Packet::Binary(vec![1, 2, 3]),
            Packet::Binary(vec![]),
            r#"42["message","after"]"#.into(),
        ]);
        let answer = session.recv();
        let answer = answer.text().strip_prefix("452-").expect("a binary event");
        let expected = text::parse(&format!(r#"["message-back",{arguments}]"#));
        assert_eq!(text::parse(answer), expected);
        assert_eq!(session.recv(), Packet::Binary(vec![1, 2, 3]));
        assert_eq!(session.recv(), Packet::Binary(vec![]));
        assert_eq!(session.recv().text(), r#"42["message-back","after"]"#);
    });
}

#[test]
fn binary_acknowledgement_carries_attachments() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        session.send_all(&[
            r#"451-789["message-with-ack",{"_placeholder":true,"num":0}]"#.into(),
            Packet::Binary(vec![7; 500]),
        ]);
        let answer = session.recv();
        let answer = answer.text().strip_prefix("461-789").expect("a binary ack");
        assert_eq!(text::parse(answer), json!([{"_placeholder": true, "num": 0}]));
        assert_eq!(session.recv(), Packet::Binary(vec![7; 500]));
    });
}

#[test]
fn binary_event_works_in_a_custom_namespace() {
    each_transport(|server, via| {
        let mut session = open(server, via);
        session.send("40/custom,");
        session.recv();
        session.recv();
        session.send_all(&[r#"451-/custom,["message",{"_placeholder":true,"num":0}]"#.into(), Packet::Binary(vec![9])]);
        assert!(session.recv().text().starts_with("451-/custom,["));
        assert_eq!(session.recv(), Packet::Binary(vec![9]));
    });
}

#[test]
fn ten_attachments_are_taken_and_eleven_are_not() {
    each_transport(|server, via| {
        for count in [10, 11] {
            let mut session = connected(server, via);
            let placeholders: Vec<_> =
                (0..count).map(|num| json!({"_placeholder": true, "num": num}).to_string()).collect();
            let event = format!(r#"45{count}-["message",{}]"#, placeholders.join(","));
            if count == 11 {
                session.ends_after(&event);
                continue;
            }
            let mut packets = vec![Packet::Text(event)];
            packets.extend((0..count).map(|n| Packet::Binary(vec![n])));
            session.send_all(&packets);
            assert!(session.recv().text().starts_with("4510-["));
            for n in 0..count {
                assert_eq!(session.recv(), Packet::Binary(vec![n]));
            }
        }
    });
}

#[test]
fn server_disconnects_a_namespace_and_the_connection_stays() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        session.send(r#"42["disconnect-me"]"#);
        assert_eq!(session.recv().text(), "41");
        connect(&mut session);
        assert_alive(&mut session);
        session.send("40/custom,");
        session.recv();
        session.recv();
        session.send(r#"42/custom,["disconnect-me"]"#);
        assert_eq!(session.recv().text(), "41/custom,");
        assert_alive(&mut session);
    });
}

#[test]
fn client_disconnects_a_namespace_and_the_connection_stays() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        session.send("40/custom,");
        session.recv();
        session.recv();
        session.send("41/custom,");
        assert_alive(&mut session);
        session.send("41");
        connect(&mut session);
        assert_alive(&mut session);
    });
}

#[test]
fn acknowledgement_nobody_asked_for_is_ignored() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        session.send(r#"4399["x"]"#);
        session.send("430[]");
        assert_alive(&mut session);
    });
}

#[test]
fn connection_without_connect_is_closed_after_the_connect_timeout() {
    each_cell(ECHO, |server| {
        for via in BOTH {
            let mut session = open(server, via);
            let opened = Instant::now();
            session.is_quiet(Duration::from_millis(700));
            // It ends by itself: heartbeats are answered all the while.
            match &mut session {
                Session::WebSocket { ws, .. } => {
                    while ws.try_frame(Duration::from_millis(600)).is_ok_and(|f| f.opcode == 1) {
                        ws.text("3");
                    }
                }
                Session::Polling(polling) => {
                    while polling.is_known() && opened.elapsed() < common::LIMIT {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
            let after = opened.elapsed();
            assert!(after > Duration::from_millis(900), "{via:?}: {after:?}");
            assert!(after < Duration::from_millis(2500), "{via:?}: {after:?}");
        }
    });
}

#[test]
fn connect_timeout_is_kept_whether_a_ping_comes_before_it_or_not() {
    for interval in ["300ms", "25s"] {
        each_cell(&["--ping-interval", interval, "--connect-timeout", "900ms"], |server| {
            let Session::WebSocket { mut ws, .. } = open(server, Via::WebSocket) else { unreachable!("a WebSocket") };
            let opened = Instant::now();
            while ws.try_frame(Duration::from_secs(3)).is_ok_and(|frame| frame.opcode == TEXT) {
                ws.text("3");
            }
            let after_ms = opened.elapsed().as_millis();
            assert!((850..1_500).contains(&after_ms), "{interval}: {after_ms} ms");
        });
    }
}

#[test]
fn connected_socket_outlives_the_connect_timeout() {
    each_cell(ECHO, |server| {
        for via in BOTH {
            let mut session = connected(server, via);
            session.is_quiet(Duration::from_millis(1300));
            assert_alive(&mut session);
        }
    });
}

#[test]
fn many_events_in_one_write_are_answered_in_order() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        let sent: Vec<Packet> = (0..200).map(|n| Packet::Text(format!(r#"42{n}["message-with-ack",{n}]"#))).collect();
        session.send_all(&sent);
        for n in 0..200 {
            assert_eq!(session.recv().text(), format!("43{n}[{n}]"));
        }
    });
}
