//! Engine.IO v4, "Heartbeat": who pings, who must answer, and when a silent session is gone.

mod common;

use std::time::{Duration, Instant};

use common::engine::{Session, packets};
use common::http::{self, End};
use common::websocket::ENGINE_ECHO;
use common::{ECHO, ECHO_PINGING, Frame, Packet, Polling, Via, WebSocket, each_cell, each_worker_count, sleep_until};

const PATH: &str = "/engine.io/";

/// Of the flags of [`ECHO`].
const PING_INTERVAL_MS: u64 = 300;
const PING_TIMEOUT_MS: u64 = 200;

/// By when a session has surely been pinged, even if the server had to wait for a processor.
const PINGED_MS: u64 = PING_INTERVAL_MS + 200;

/// By when a session that never answered a ping is gone, counted from its handshake.
const GONE_MS: u64 = PING_INTERVAL_MS + PING_TIMEOUT_MS + 30;

#[test]
fn server_pings_every_interval_on_polling() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(packets(&polling.get()), ["2".into()]);
            let waited = start.elapsed();
            assert!(waited < 3 * Duration::from_millis(PING_INTERVAL_MS), "{waited:?}");
            polling.send("3");
        }
    });
}

#[test]
fn server_pings_every_interval_on_websocket() {
    each_cell(ECHO, |server| {
        let mut ws = WebSocket::open(server, ENGINE_ECHO);
        ws.expect_text();
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(ws.frame(), Frame::text("2"));
            let waited = start.elapsed();
            assert!(waited > Duration::from_millis(PING_INTERVAL_MS / 2), "{waited:?}");
            assert!(waited < 3 * Duration::from_millis(PING_INTERVAL_MS), "{waited:?}");
            ws.text("3");
        }
    });
}

#[test]
fn answered_pings_keep_a_session_for_ever() {
    each_cell(ECHO, |server| {
        for via in common::engine::BOTH {
            let mut session = Session::open(server, via, PATH);
            session.is_quiet(Duration::from_millis(5 * (PING_INTERVAL_MS + PING_TIMEOUT_MS)));
            session.send("4still here");
            assert_eq!(session.recv().text(), "4still here");
        }
    });
}

#[test]
fn polling_session_that_answers_no_ping_is_gone_in_time() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        let opened = Instant::now();
        sleep_until(opened, GONE_MS);
        let response = polling.get().expect(400);
        assert_eq!(response.json()["code"], 1);
    });
}

/// As the reference's suites look for it: a millisecond after the last one it may live.
#[test]
fn polling_session_that_answers_no_ping_lives_not_a_millisecond_longer() {
    each_cell(ECHO, |server| {
        // A shard that had to wait for a processor gives its clients more time.
        common::eventually("a session that is gone in time", || {
            let mut polling = Polling::open(server, PATH);
            sleep_until(Instant::now(), PING_INTERVAL_MS + PING_TIMEOUT_MS + 1);
            polling.get().status == 400
        });
    });
}

#[test]
fn polling_session_that_polls_but_answers_no_ping_is_gone_in_time() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        let opened = Instant::now();
        assert_eq!(packets(&polling.get()), ["2".into()]);
        sleep_until(opened, GONE_MS);
        polling.get().expect(400);
    });
}

#[test]
fn pending_poll_is_answered_when_its_session_times_out() {
    each_cell(ECHO, |server| {
        let mut polling = Polling::open(server, PATH);
        assert_eq!(packets(&polling.get()), ["2".into()]);
        let mut poll = polling.get_pending();
        match poll.try_response(false, common::LIMIT) {
            Ok(response) => {
                let text = response.text();
                assert!(response.status == 400 || text == "1" || text == "6", "{response:?}");
            }
            Err(end) => assert_eq!(end, End::Closed, "the poll hangs"),
        }
        polling.get().expect(400);
    });
}

#[test]
fn websocket_session_that_answers_no_ping_is_closed_in_time() {
    each_cell(ECHO, |server| {
        let mut ws = WebSocket::open(server, ENGINE_ECHO);
        let opened = Instant::now();
        let open = ws.expect_text();
        let sid = common::json::parse(&open[1..])["sid"].as_str().unwrap().to_string();
        assert_eq!(ws.frame(), Frame::text("2"));
        sleep_until(opened, GONE_MS);
        let target = format!("{PATH}?EIO=4&transport=polling&sid={sid}");
        assert_eq!(http::get(server, &target).expect(400).json()["code"], 1);
        ws.expect_end();
    });
}

#[test]
fn heartbeat_continues_on_the_upgraded_transport() {
    each_cell(ECHO, |server| {
        let polling = Polling::open(server, PATH);
        let mut ws = WebSocket::open(server, &polling.upgrade_target());
        ws.text("2probe");
        assert_eq!(ws.expect_text(), "3probe");
        ws.text("5");
        for _ in 0..3 {
            assert_eq!(ws.frame(), Frame::text("2"));
            ws.text("3");
        }
        // And so does its end.
        assert_eq!(ws.frame(), Frame::text("2"));
        ws.expect_end();
    });
}

#[test]
fn a_ping_does_not_wait_behind_what_waits_for_polls() {
    each_cell(ECHO_PINGING, |server| {
        let mut polling = Polling::open(server, PATH);
        let opened = Instant::now();
        let waiting: Vec<Packet> = (0..20).map(|n| Packet::Text(format!("4{n}"))).collect();
        polling.send(&waiting.iter().map(Packet::text).collect::<Vec<_>>().join("\x1e"));
        sleep_until(opened, PINGED_MS);
        let mut got = packets(&polling.get());
        assert_eq!(got.remove(0), "2".into());
        got.extend(packets(&polling.get()));
        assert_eq!(got, waiting);
    });
}

#[test]
fn a_ping_that_waits_for_a_poll_goes_along_with_its_session() {
    let upgrade = |server: &common::Server| {
        let polling = Polling::open(server, PATH);
        let opened = Instant::now();
        let mut ws = WebSocket::open(server, &polling.upgrade_target());
        ws.text("2probe");
        assert_eq!(ws.expect_text(), "3probe");
        sleep_until(opened, PINGED_MS);
        ws.text("5");
        assert_eq!(ws.frame(), Frame::text("2"));
    };
    each_cell(ECHO_PINGING, upgrade);
    // To the shard of the socket that its client comes back as: with four shards, one of eight sessions surely moves.
    each_worker_count(&[4], &["--ping-interval", "300ms"], |server| {
        let open = || Polling::open(server, "/socket.io/");
        let mut first = open();
        first.send("40");
        let connected = first.recv();
        let pid = common::json::parse(&connected.text()[2..])["pid"].as_str().expect("a pid").to_owned();
        for _ in 0..8 {
            let mut polling = open();
            sleep_until(Instant::now(), PINGED_MS);
            polling.send(&format!("40{{\"pid\":\"{pid}\"}}"));
            let got = packets(&polling.get());
            assert_eq!(got[0], "2".into());
            assert!(got[1].text().contains(&pid), "recovered: {got:?}");
        }
    });
}

#[test]
fn silent_session_costs_its_neighbour_nothing() {
    each_cell(ECHO, |server| {
        let mut neighbour = Session::open(server, Via::WebSocket, PATH);
        let silent: Vec<_> = (0..50).map(|_| WebSocket::open(server, ENGINE_ECHO)).collect();
        neighbour.is_quiet(Duration::from_millis(2 * GONE_MS));
        neighbour.send("4hello");
        assert_eq!(neighbour.recv().text(), "4hello");
        for mut ws in silent {
            ws.expect_end();
        }
    });
}
