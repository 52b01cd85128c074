//! RFC 6455, one test per rule, on the bare Engine.IO echo: a text `4x` or any binary message comes back.

mod common;

use common::websocket::{BINARY, CLOSE, CONTINUATION, ENGINE_ECHO, Length, PING, PONG, TEXT};
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

/// Sends bytes to a fresh session each and asserts the close code.
#[track_caller]
fn each_closes(server: &Server, code: u16, table: &[(&str, Vec<u8>)]) {
    for (what, bytes) in table {
        eprintln!("{what}");
        let mut ws = open(server);
        ws.http.send(bytes);
        ws.expect_close(code);
    }
}

fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::masked).collect()
}

// Lengths

#[test]
fn messages_of_every_length_form_come_back() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        for length in [1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1_000_000] {
            let message = format!("4{}", "*".repeat(length - 1));
            ws.text(&message);
            assert_eq!(ws.expect_text(), message, "text of {length} bytes");
            let message = vec![0xfe; length];
            ws.binary(&message);
            assert_eq!(ws.expect_binary(), message, "binary of {length} bytes");
        }
        ws.binary([]);
        assert!(ws.expect_binary().is_empty());
    });
}

#[test]
fn frame_may_arrive_in_any_pieces() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        for (length, piece) in [(10, 1), (125, 7), (200, 1), (70_000, 997), (70_000, 65_536)] {
            let message = format!("4{}", "*".repeat(length));
            for bytes in Frame::text(&message).masked().chunks(piece) {
                ws.http.send(bytes);
            }
            assert_eq!(ws.expect_text(), message);
        }
    });
}

#[test]
fn several_frames_in_one_write_are_all_taken() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        let frames: Vec<Frame> = (0..500).map(|n| Frame::text(format!("4{n}"))).collect();
        ws.send_all(&frames);
        for frame in frames {
            assert_eq!(ws.frame(), frame);
        }
    });
}

#[test]
fn length_over_the_limit_is_1009_judged_from_the_header() {
    each_driver(ECHO_CALM, |server| {
        let header = |length, how| Frame::binary([]).header(length, how, true);
        each_closes(
            server,
            1009,
            &[
                ("one over", header(1_000_001, Length::Shortest)),
                ("2^32", header(1 << 32, Length::Shortest)),
                ("2^62", header(1 << 62, Length::Shortest)),
            ],
        );
    });
}

#[test]
fn fragments_that_add_up_over_the_limit_are_1009() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(false, BINARY, vec![0; 600_000]));
        let next = Frame::new(false, CONTINUATION, []);
        ws.http.send(next.header(400_001, Length::Shortest, true));
        ws.expect_close(1009);
    });
}

#[test]
fn fragments_that_add_up_to_the_limit_are_one_message() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(false, BINARY, vec![1; 600_000]));
        ws.send(&Frame::new(true, CONTINUATION, vec![1; 400_000]));
        assert_eq!(ws.expect_binary(), vec![1; 1_000_000]);
    });
}

#[test]
fn length_with_the_highest_bit_is_refused() {
    each_driver(ECHO_CALM, |server| {
        for length in [1 << 63, u64::MAX] {
            let mut ws = open(server);
            ws.http.send(Frame::binary([]).header(length, Length::SixtyFour, true));
            let (code, _) = ws.close_frame();
            assert!(matches!(code, Some(1002 | 1009)), "{code:?}");
            ws.http.ends();
        }
    });
}

#[test]
fn length_not_written_the_shortest_way_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let frame = |length: u64, how| {
            let mut bytes = Frame::text([]).header(length, how, true);
            bytes.extend(vec![0; 4 + usize::try_from(length).unwrap()]);
            bytes
        };
        each_closes(
            server,
            1002,
            &[
                ("0 in 16 bits", frame(0, Length::Sixteen)),
                ("125 in 16 bits", frame(125, Length::Sixteen)),
                ("125 in 64 bits", frame(125, Length::SixtyFour)),
                ("65535 in 64 bits", frame(65_535, Length::SixtyFour)),
            ],
        );
    });
}

#[test]
fn unmasked_frame_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let frame = |opcode| {
            let mut bytes = Frame::new(true, opcode, []).header(2, Length::Shortest, false);
            bytes.extend_from_slice(b"4a");
            bytes
        };
        let close = [0x88, 0x02, 0x03, 0xe8].to_vec();
        each_closes(
            server,
            1002,
            &[("text", frame(TEXT)), ("binary", frame(BINARY)), ("ping", frame(PING)), ("close", close)],
        );
    });
}

// Control frames

#[test]
fn ping_is_answered_with_its_payload() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        for payload in [&b""[..], b"hello", &[0, 0xff, 0xfe, 0x80], &[0xaa; 125]] {
            ws.send(&Frame::new(true, PING, payload));
            assert_eq!(ws.frame(), Frame::new(true, PONG, payload));
        }
        assert_alive(&mut ws);
    });
}

#[test]
fn pings_in_one_write_are_answered_in_order() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        let pings: Vec<Frame> = (0..10).map(|n| Frame::new(true, PING, [n])).collect();
        ws.send_all(&pings);
        for n in 0..10 {
            assert_eq!(ws.frame(), Frame::new(true, PONG, [n]));
        }
    });
}

#[test]
fn pong_nobody_asked_for_is_ignored() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(true, PONG, "unasked"));
        ws.send(&Frame::new(true, PONG, []));
        assert_alive(&mut ws);
    });
}

#[test]
fn control_frame_longer_than_125_bytes_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let table = [("ping", PING), ("pong", PONG), ("close", CLOSE)]
            .map(|(what, opcode)| (what, Frame::new(true, opcode, [b'a'; 126]).masked()));
        each_closes(server, 1002, &table);
    });
}

#[test]
fn fragmented_control_frame_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let table = [("ping", PING), ("pong", PONG), ("close", CLOSE)]
            .map(|(what, opcode)| (what, Frame::new(false, opcode, []).masked()));
        each_closes(server, 1002, &table);
    });
}

#[test]
fn reserved_bit_is_1002() {
    each_driver(ECHO_CALM, |server| {
        for rsv in 1..=7 {
            for opcode in [TEXT, BINARY, PING, CLOSE] {
                let mut ws = open(server);
                ws.send(&Frame { rsv, ..Frame::new(true, opcode, "4") });
                ws.expect_close(1002);
            }
        }
        // A continuation has them too.
        let mut ws = open(server);
        ws.send(&Frame::new(false, TEXT, "4"));
        ws.send(&Frame { rsv: 4, ..Frame::new(true, CONTINUATION, "a") });
        ws.expect_close(1002);
    });
}

#[test]
fn unknown_opcode_is_1002() {
    each_driver(ECHO_CALM, |server| {
        for opcode in (3..=7).chain(11..=15) {
            let mut ws = open(server);
            ws.send(&Frame::new(true, opcode, []));
            ws.expect_close(1002);
        }
    });
}

// Fragmentation

#[test]
fn fragments_are_one_message() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        let fragment = |opcode, payload: &str| Frame::new(false, opcode, payload);
        let last = |payload: &str| Frame::new(true, CONTINUATION, payload);
        for fragments in [
            vec![fragment(TEXT, "4hel"), last("lo")],
            vec![fragment(TEXT, "4hello"), last("")],
            vec![fragment(TEXT, ""), last("4hello")],
            vec![fragment(TEXT, ""), fragment(CONTINUATION, ""), last("4hello")],
            "4hello"
                .chars()
                .enumerate()
                .map(|(at, c)| match at {
                    0 => fragment(TEXT, &c.to_string()),
                    5 => last(&c.to_string()),
                    _ => fragment(CONTINUATION, &c.to_string()),
                })
                .collect(),
        ] {
            ws.send_all(&fragments);
            assert_eq!(ws.expect_text(), "4hello");
            for fragment in &fragments {
                ws.send(fragment);
            }
            assert_eq!(ws.expect_text(), "4hello");
        }
        ws.send_all(&[Frame::new(false, BINARY, [1]), Frame::new(true, CONTINUATION, [2])]);
        assert_eq!(ws.expect_binary(), [1, 2]);
    });
}

#[test]
fn control_frames_may_come_between_fragments() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(false, TEXT, b"4\xe2\x82"));
        ws.send(&Frame::new(true, PING, "between"));
        assert_eq!(ws.frame(), Frame::new(true, PONG, "between"));
        ws.send_all(&[
            Frame::new(true, PONG, "ignored"),
            Frame::new(false, CONTINUATION, b"\xac"),
            Frame::new(true, PING, "again"),
            Frame::new(true, CONTINUATION, "!"),
        ]);
        assert_eq!(ws.frame(), Frame::new(true, PONG, "again"));
        assert_eq!(ws.expect_text(), "4\u{20ac}!");
    });
}

#[test]
fn fragment_out_of_place_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let started = Frame::new(false, TEXT, "4");
        let table = [
            ("continuation first", joined(&[Frame::new(true, CONTINUATION, "4")])),
            ("open continuation first", joined(&[Frame::new(false, CONTINUATION, "4")])),
            ("text in a text", joined(&[started.clone(), Frame::text("4")])),
            ("binary in a text", joined(&[started.clone(), Frame::binary("4")])),
            ("open text in a text", joined(&[started.clone(), started.clone()])),
            (
                "continuation after the end",
                joined(&[started, Frame::new(true, CONTINUATION, "a"), Frame::new(true, CONTINUATION, "b")]),
            ),
        ];
        each_closes(server, 1002, &table);
    });
}

#[test]
fn thousand_fragments_are_taken() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(false, TEXT, "4"));
        let mut fragments = vec![Frame::new(false, CONTINUATION, "x"); 998];
        fragments.push(Frame::new(true, CONTINUATION, "x"));
        ws.send_all(&fragments);
        assert_eq!(ws.expect_text(), format!("4{}", "x".repeat(999)));
    });
}

#[test]
fn endless_empty_fragments_are_cut_off() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(false, TEXT, "4"));
        let batch: Vec<u8> = joined(&vec![Frame::new(false, CONTINUATION, []); 20_000]);
        for _ in 0..15 {
            ws.http.send(&batch);
        }
        ws.expect_end();
    });
}
