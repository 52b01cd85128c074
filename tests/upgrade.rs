//! Engine.IO v4, "Upgrade": from polling to WebSocket, in every order and with every interruption.

mod common;

use std::time::Duration;

use common::engine::{Packet, packets};
use common::http;
use common::websocket::ENGINE_ECHO;
use common::{ECHO, ECHO_CALM, Frame, Polling, Server, WebSocket, each_cell, each_driver};

const PATH: &str = "/engine.io/";

/// A client that does not complete its upgrades.
const SHORT_UPGRADE: &[&str] = &["--app", "echo", "--upgrade-timeout", "400ms"];

#[track_caller]
fn probe(polling: &Polling) -> WebSocket {
    let mut ws = WebSocket::open(polling.server, &polling.upgrade_target());
    ws.text("2probe");
    assert_eq!(ws.expect_text(), "3probe");
    ws
}

#[track_caller]
fn upgrade(polling: &Polling) -> WebSocket {
    let mut ws = probe(polling);
    ws.text("5");
    ws
}

/// Asserts that the polling transport of an upgraded session is refused but the session goes on.
#[track_caller]
fn assert_upgraded(polling: &mut Polling, ws: &mut WebSocket) {
    ws.text("4over websocket");
    assert_eq!(ws.expect_text(), "4over websocket");
    let get = polling.get().expect(400);
    assert_eq!(get.json()["code"], 3, "the transport does not match");
    polling.post("4lost").expect(400);
    ws.text("4and on");
    assert_eq!(ws.expect_text(), "4and on");
}

#[test]
fn upgrade_completes_and_polling_is_over() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = upgrade(&polling);
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn upgrade_packet_may_follow_the_probe_at_once() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = WebSocket::open(server, &polling.upgrade_target());
        ws.send_all(&["2probe", "5", "4first"].map(Frame::text));
        assert_eq!(ws.expect_text(), "3probe");
        assert_eq!(ws.expect_text(), "4first");
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn probe_ends_the_pending_poll_with_a_noop_at_once() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut poll = polling.get_parked();
        let mut ws = probe(&polling);
        assert_eq!(poll.response().expect(200).text(), "6");
        // So does every further one until the upgrade is complete.
        for _ in 0..3 {
            assert_eq!(polling.get().expect(200).text(), "6");
        }
        ws.text("5");
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn upgrade_packet_ends_a_poll_that_is_still_pending() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut poll = polling.get_parked();
        let mut ws = WebSocket::open(server, &polling.upgrade_target());
        ws.send_all(&["2probe", "5"].map(Frame::text));
        assert_eq!(ws.expect_text(), "3probe");
        assert_eq!(poll.response().expect(200).text(), "6");
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn what_was_queued_for_polling_comes_first_over_the_websocket() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        polling.send("4a\x1ebAQID\x1e4b");
        let mut ws = WebSocket::open(server, &polling.upgrade_target());
        ws.send_all(&["2probe", "5", "4c"].map(Frame::text));
        assert_eq!(ws.expect_text(), "3probe");
        assert_eq!(ws.expect_text(), "4a");
        assert_eq!(ws.expect_binary(), [1, 2, 3]);
        assert_eq!(ws.expect_text(), "4b");
        assert_eq!(ws.expect_text(), "4c");
    });
}

#[test]
fn messages_posted_while_probing_are_taken_and_answered_by_polls_or_later() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = probe(&polling);
        polling.send("4while probing");
        let by_poll = packets(&polling.get());
        ws.text("5");
        if by_poll != ["4while probing".into()] {
            assert_eq!(by_poll, ["6".into()]);
            assert_eq!(ws.expect_text(), "4while probing");
        }
        assert_upgraded(&mut polling, &mut ws);
    });
}

/// Posts up to 300 messages, upgrades in between, sends the rest over the WebSocket.
fn thousand_messages(server: &Server, round: usize) {
    let mut polling = Polling::open(server, PATH);
    let mut expected = (0..1000).map(|n| Packet::Text(format!("4{n}")));
    let before = 100 * (round % 4);
    let messages: Vec<String> = (0..1000).map(|n| format!("4{n}")).collect();
    for chunk in messages[..before].chunks(25) {
        polling.send(&chunk.join("\x1e"));
        if round.is_multiple_of(2) {
            for packet in packets(&polling.get()) {
                assert_eq!(Some(packet), expected.next());
            }
        }
    }
    let mut ws = WebSocket::open(server, &polling.upgrade_target());
    let frames: Vec<Frame> = messages[before..].iter().map(Frame::text).collect();
    ws.send_all(&["2probe", "5"].map(Frame::text));
    ws.send_all(&frames);
    assert_eq!(ws.expect_text(), "3probe");
    for expected in expected {
        assert_eq!(ws.expect_text(), expected.text());
    }
    ws.is_quiet(Duration::from_millis(20));
}

#[test]
fn thousand_messages_keep_their_order_through_the_upgrade() {
    each_cell(ECHO_CALM, |server| {
        for round in 0..8 {
            thousand_messages(server, round);
        }
    });
}

#[test]
fn second_websocket_is_closed_while_the_first_goes_on() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut first = upgrade(&polling);
        assert_upgraded(&mut polling, &mut first);
        refused(server, &polling.upgrade_target());
        assert_upgraded(&mut polling, &mut first);
    });
}

#[test]
fn second_websocket_is_closed_while_the_first_still_probes() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut first = probe(&polling);
        refused(server, &polling.upgrade_target());
        first.text("5");
        assert_upgraded(&mut polling, &mut first);
    });
}

#[test]
fn sid_of_a_websocket_session_opens_no_second_one() {
    each_cell(ECHO_CALM, |server| {
        let mut first = WebSocket::open(server, ENGINE_ECHO);
        let open = first.expect_text();
        let sid = common::json::parse(&open[1..])["sid"].as_str().unwrap().to_string();
        refused(server, &format!("{ENGINE_ECHO}&sid={sid}"));
        first.text("4mine");
        assert_eq!(first.expect_text(), "4mine");
    });
}

/// Asserts that a WebSocket to this target is refused or closed, whatever it says, and hears nothing.
#[track_caller]
fn refused(server: &Server, target: &str) {
    let Ok(mut ws) = WebSocket::try_open(server, target, "") else {
        return;
    };
    ws.send_all(&["2probe", "5", "4not mine"].map(Frame::text));
    if let Ok(frame) = ws.try_frame(common::LIMIT) {
        assert_eq!(frame.opcode, common::websocket::CLOSE, "{frame:?}");
        ws.send(&frame);
        ws.http.ends();
    }
}

#[test]
fn anything_but_a_probe_closes_the_new_websocket_only() {
    each_cell(ECHO_CALM, |server| {
        for first in ["2", "2prob", "2probes", "3probe", "4hello", "1", "6", "abc", ""] {
            let mut polling = Polling::open(server, PATH);
            let mut ws = WebSocket::open(server, &polling.upgrade_target());
            ws.text(first);
            ws.expect_end();
            polling.send("4still polling");
            assert_eq!(polling.recv().text(), "4still polling", "after {first:?}");
        }
    });
}

#[test]
fn broken_probe_leaves_the_session_polling_and_able_to_upgrade() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        for how in 0..3 {
            let mut ws = probe(&polling);
            match how {
                0 => drop(ws),
                1 => {
                    ws.send(&Frame::close(1000, ""));
                    ws.expect_end();
                }
                _ => {
                    ws.text("4out of place");
                    ws.expect_end();
                }
            }
            polling.send("4still polling");
            assert_eq!(polling.recv().text(), "4still polling");
        }
        // The server may need a moment to notice the end of the last one.
        let mut ws = upgrade(&polling);
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn upgrade_that_is_not_completed_in_time_is_closed_and_polling_goes_on() {
    each_cell(SHORT_UPGRADE, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut probed = probe(&polling);
        probed.expect_end();
        polling.send("4still polling");
        assert_eq!(polling.recv().text(), "4still polling");
        let mut silent = WebSocket::open(server, &polling.upgrade_target());
        silent.expect_end();
        polling.send("4still polling");
        assert_eq!(polling.recv().text(), "4still polling");
        let mut ws = upgrade(&polling);
        assert_upgraded(&mut polling, &mut ws);
    });
}

#[test]
fn session_that_ends_while_probing_takes_its_websocket_along() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = probe(&polling);
        polling.send("1");
        ws.expect_end();
        polling.get().expect(400);
    });
}

#[test]
fn unanswered_heartbeat_while_probing_ends_both() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = probe(&polling);
        ws.expect_end();
        polling.get().expect(400);
    });
}

#[test]
fn upgraded_session_ends_with_its_websocket() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, PATH);
        let mut ws = upgrade(&polling);
        assert_upgraded(&mut polling, &mut ws);
        drop(ws);
        common::eventually("the session is over", || polling.get().json()["code"] == 1);
    });
}

#[test]
fn upgrade_on_the_polling_path_without_the_header_is_a_bad_request() {
    each_driver(ECHO_CALM, |server| {
        let polling = Polling::open(server, PATH);
        let response = http::get(server, &polling.upgrade_target()).expect(400);
        assert_eq!(response.json()["code"], 3);
    });
}

#[test]
fn hundred_sessions_upgrade_at_once() {
    each_cell(ECHO_CALM, |server| {
        let sessions: Vec<Polling> = (0..100).map(|_| Polling::open(server, PATH)).collect();
        let mut sockets: Vec<WebSocket> =
            sessions.iter().map(|polling| WebSocket::open(server, &polling.upgrade_target())).collect();
        for (ws, polling) in sockets.iter_mut().zip(&sessions) {
            let hello = format!("4{}", polling.sid);
            ws.send_all(&["2probe", "5", &hello].map(Frame::text));
        }
        for (ws, polling) in sockets.iter_mut().zip(&sessions) {
            assert_eq!(ws.expect_text(), "3probe");
            assert_eq!(ws.expect_text(), format!("4{}", polling.sid));
        }
    });
}
