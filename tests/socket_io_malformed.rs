//! Socket.IO v5: what closes the connection of the one who sent it.

mod common;

use common::engine::{BOTH, Packet, Session};
use common::{ECHO_CALM, Server, Via, each_cell, each_driver, json as text};

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

/// Runs over the matrix and both transports.
fn each_transport(body: impl Fn(&Server, Via) + Sync) {
    each_cell(ECHO_CALM, |server| BOTH.into_iter().for_each(|via| body(server, via)));
}

/// Packets that no client may send in the default namespace once connected.
const MALFORMED: &[&str] = &[
    "4abc",
    "4",
    "47",
    "49[]",
    "42{}",
    "42[]",
    "42[null]",
    "42[{}]",
    "42[[]]",
    "42[true]",
    r#"42abc["message"]"#,
    r#"42["message""#,
    r#"42["message"]x"#,
    r#"42["message",]"#,
    r#"42["message",undefined]"#,
    r#"42["message","\x"]"#,
    r#"42"message""#,
    r#"42["connect"]"#,
    r#"42["connect_error"]"#,
    r#"42["disconnect"]"#,
    r#"42["disconnecting"]"#,
    r#"42["newListener"]"#,
    r#"42["removeListener"]"#,
    r#"42-1["message"]"#,
    r#"42+1["message"]"#,
    r#"421.5["message"]"#,
    r#"420x10["message"]"#,
    r#"4299999999999999999999["message-with-ack"]"#,
    r#"42/custom,["message"]"#,
    r#"42/random,["message"]"#,
    "43abc",
    "431{}",
    "40",
    "44",
    r#"44{"message":"x"}"#,
    "40[]",
    "40/custom,[]",
    "40/custom,null",
    "40/custom,abc",
    "41{}",
    "41[]",
    "45",
    r#"45["message"]"#,
    r#"45-["message"]"#,
    r#"450-["message"]"#,
    r#"45-1-["message"]"#,
    r#"45+1-["message"]"#,
    r#"451e0-["message"]"#,
    r#"451.0-["message"]"#,
    r#"450x1-["message"]"#,
    r#"45 1-["message"]"#,
    r#"4599999999999999999999-["message"]"#,
    r#"46-1[]"#,
];

#[test]
fn malformed_packet_closes_the_connection() {
    each_driver(ECHO_CALM, |server| {
        for via in BOTH {
            for packet in MALFORMED {
                let mut session = connected(server, via);
                eprintln!("{via:?} {packet}");
                session.ends_after(packet);
            }
        }
    });
}

#[test]
fn bad_placeholder_closes_the_connection() {
    each_transport(|server, via| {
        for num in ["1", "-1", "0.5", "\"0\"", "\"__proto__\"", "null", "[0]", "1e1", "4294967296"] {
            let mut session = connected(server, via);
            let event = format!(r#"451-["message",{{"_placeholder":true,"num":{num}}}]"#);
            let attachment = Packet::Binary(vec![1]);
            match &mut session {
                Session::Polling(polling) => {
                    polling.post(format!("{event}\x1ebAQ=="));
                }
                session => session.send_all(&[Packet::Text(event), attachment]),
            }
            eprintln!("{via:?} {num}");
            session.expect_end();
        }
    });
}

#[test]
fn text_between_attachments_closes_the_connection() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        session.send(r#"451-["message",{"_placeholder":true,"num":0}]"#);
        session.ends_after(r#"42["message"]"#);
    });
}

#[test]
fn attachment_without_its_event_closes_the_connection() {
    each_transport(|server, via| {
        let mut session = connected(server, via);
        match &mut session {
            Session::Polling(polling) => {
                polling.post("bAQID");
            }
            Session::WebSocket { ws, .. } => ws.binary([1, 2, 3]),
        }
        session.expect_end();
    });
}

#[test]
fn event_before_connect_closes_the_connection() {
    each_transport(|server, via| {
        for packet in [r#"42["message"]"#, "41", "430[]", r#"42/custom,["message"]"#] {
            open(server, via).ends_after(packet);
        }
    });
}

#[test]
fn malformed_connect_closes_the_connection() {
    each_transport(|server, via| {
        for packet in ["40[]", "40\"x\"", "40null", "40{", "40{}x", "40abc"] {
            eprintln!("{via:?} {packet}");
            open(server, via).ends_after(packet);
        }
    });
}
