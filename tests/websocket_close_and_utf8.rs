//! RFC 6455 §5.5.1, §7 (the closing handshake) and §8.1 (UTF-8 as it arrives), on the bare Engine.IO echo.

mod common;

use common::websocket::{CLOSE, CONTINUATION, ENGINE_ECHO, Length, PING, TEXT};
use common::{ECHO_CALM, Frame, Server, WebSocket, each_driver};

#[track_caller]
fn open(server: &Server) -> WebSocket {
    let mut ws = WebSocket::open(server, ENGINE_ECHO);
    assert!(ws.expect_text().starts_with("0{"));
    ws
}

// Close

#[test]
fn close_is_answered_with_the_same_code_and_the_connection_ends() {
    each_driver(ECHO_CALM, |server| {
        let valid = (1000..=1003).chain(1007..=1011).chain([3000, 3999, 4000, 4999]);
        for code in valid {
            let mut ws = open(server);
            ws.send(&Frame::close(code, "done \u{20ac}"));
            let frame = ws.frame();
            assert_eq!(frame.opcode, CLOSE);
            assert_eq!(frame.payload.get(..2), Some(&code.to_be_bytes()[..]), "{code}");
            ws.http.ends();
        }
    });
}

#[test]
fn close_without_a_code_is_answered() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(true, CLOSE, []));
        let frame = ws.frame();
        assert_eq!(frame.opcode, CLOSE);
        assert!(matches!(frame.payload[..], [] | [0x03, 0xe8]), "{frame:?}");
        ws.http.ends();
    });
}

#[test]
fn close_may_have_a_reason_of_123_bytes() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::close(1000, &"r".repeat(123)));
        ws.expect_close(1000);
    });
}

#[test]
fn close_with_an_invalid_code_is_1002() {
    each_driver(ECHO_CALM, |server| {
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            eprintln!("{code}");
            let mut ws = open(server);
            ws.send(&Frame::close(code, ""));
            ws.expect_close(1002);
        }
    });
}

#[test]
fn close_with_a_payload_of_one_byte_is_1002() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send(&Frame::new(true, CLOSE, [3]));
        ws.expect_close(1002);
    });
}

#[test]
fn close_with_an_invalid_reason_is_1007() {
    each_driver(ECHO_CALM, |server| {
        for reason in [&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"[..], b"\xff", b"ok\xc3"] {
            let mut payload = 1000_u16.to_be_bytes().to_vec();
            payload.extend_from_slice(reason);
            let mut ws = open(server);
            ws.send(&Frame::new(true, CLOSE, payload));
            ws.expect_close(1007);
        }
    });
}

#[test]
fn nothing_is_answered_after_close() {
    each_driver(ECHO_CALM, |server| {
        for after in [Frame::text("4late"), Frame::new(true, PING, "late"), Frame::close(1000, "")] {
            let mut ws = open(server);
            ws.send_all(&[Frame::text("4before"), Frame::close(1000, ""), after]);
            assert_eq!(ws.expect_text(), "4before");
            assert_eq!(ws.frame().opcode, CLOSE);
            assert!(ws.http.rest().is_empty());
        }
    });
}

#[test]
fn close_between_fragments_closes() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send_all(&[Frame::new(false, TEXT, "4never finished"), Frame::close(1000, "")]);
        ws.expect_close(1000);
    });
}

#[test]
fn what_came_before_the_error_is_still_answered() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        ws.send_all(&[Frame::text("4before"), Frame::new(true, 5, []), Frame::text("4after")]);
        assert_eq!(ws.expect_text(), "4before");
        let frame = ws.frame();
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]));
    });
}

// UTF-8

/// Valid, each with what it is.
const VALID: &[&str] = &[
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    "\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{fffff}\u{100000}",
    "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
];

/// Invalid at the last byte given here; whatever follows cannot save it.
const INVALID: &[&[u8]] = &[
    b"\x80",
    b"\xbf",
    b"\xc0",
    b"\xc1",
    b"\xc3\x28",
    b"\xe0\x80",
    b"\xe0\x9f",
    b"\xe2\x28",
    b"\xe2\x82\x28",
    b"\xed\xa0",
    b"\xed\xbf",
    b"\xf0\x80",
    b"\xf0\x8f",
    b"\xf0\x9f\x28",
    b"\xf4\x90",
    b"\xf5",
    b"\xf8",
    b"\xfe",
    b"\xff",
];

/// Only the start of a character.
const TRUNCATED: &[&[u8]] = &[b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"];

#[test]
fn valid_utf8_comes_back_whole_and_in_fragments_of_one_byte() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        for text in VALID {
            let message = format!("4{text}");
            ws.text(&message);
            assert_eq!(ws.expect_text(), message);
            ws.send(&Frame::new(false, TEXT, []));
            for byte in message.bytes() {
                ws.send(&Frame::new(false, CONTINUATION, [byte]));
            }
            ws.send(&Frame::new(true, CONTINUATION, []));
            assert_eq!(ws.expect_text(), message);
        }
    });
}

#[test]
fn invalid_utf8_is_1007() {
    each_driver(ECHO_CALM, |server| {
        for bytes in INVALID.iter().chain(TRUNCATED) {
            let mut ws = open(server);
            ws.send(&Frame::text([b"4ok ", *bytes].concat()));
            ws.expect_close(1007);
        }
    });
}

#[test]
fn truncated_character_at_the_end_of_fragments_is_1007() {
    each_driver(ECHO_CALM, |server| {
        for bytes in TRUNCATED {
            let mut ws = open(server);
            ws.send(&Frame::new(false, TEXT, "4ok "));
            ws.send(&Frame::new(true, CONTINUATION, bytes));
            ws.expect_close(1007);
        }
    });
}

#[test]
fn invalid_utf8_in_an_unfinished_message_is_1007_at_once() {
    each_driver(ECHO_CALM, |server| {
        for bytes in INVALID {
            let mut ws = open(server);
            ws.send(&Frame::new(false, TEXT, [b"4ok ", *bytes].concat()));
            ws.expect_close(1007);
        }
    });
}

#[test]
fn invalid_utf8_in_an_unfinished_frame_is_1007_at_once() {
    each_driver(ECHO_CALM, |server| {
        for bytes in INVALID {
            let mut ws = open(server);
            let frame = Frame::text([b"4ok ", *bytes, &[b'x'; 50]].concat());
            let up_to = frame.masked().len() - 50;
            ws.http.send(&frame.masked()[..up_to]);
            ws.expect_close(1007);
        }
    });
}

#[test]
fn invalid_utf8_split_over_fragments_is_1007() {
    each_driver(ECHO_CALM, |server| {
        for bytes in INVALID.iter().filter(|bytes| bytes.len() > 1) {
            let (last, start) = bytes.split_last().expect("not empty");
            let mut ws = open(server);
            ws.send(&Frame::new(false, TEXT, [b"4", start].concat()));
            ws.send(&Frame::new(true, PING, []));
            assert_eq!(ws.frame().opcode, common::websocket::PONG);
            ws.send(&Frame::new(false, CONTINUATION, [*last]));
            ws.expect_close(1007);
        }
    });
}

#[test]
fn binary_need_not_be_utf8() {
    each_driver(ECHO_CALM, |server| {
        let mut ws = open(server);
        for bytes in INVALID.iter().chain(TRUNCATED) {
            ws.binary(bytes);
            assert_eq!(ws.expect_binary(), *bytes);
        }
    });
}

#[test]
fn protocol_error_beats_the_rest_of_its_frame() {
    each_driver(ECHO_CALM, |server| {
        // The header alone is wrong: no byte of the payload is needed to say so.
        for (code, header) in [
            (1002, Frame { rsv: 4, ..Frame::text([]) }.header(100, Length::Shortest, true)),
            (1002, Frame::new(true, 3, []).header(100, Length::Shortest, true)),
            (1002, Frame::new(true, PING, []).header(126, Length::Shortest, true)),
            (1002, Frame::text([]).header(100, Length::Shortest, false)),
        ] {
            let mut ws = open(server);
            ws.http.send(header);
            ws.expect_close(code);
        }
    });
}
