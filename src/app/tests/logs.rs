//! The stream of log lines.

use super::*;
use crate::app::logs::Line;
use crate::app::{Access, Secret};

const TOKEN: &str = r#"{"token":"a secret"}"#;

fn public() -> AgentsSettings {
    AgentsSettings { public_logs: true, ..AgentsSettings::default() }
}

/// One of the server's own lines.
fn say(settings: &AgentsSettings, level: u8, msg: &str) {
    settings.log_feed.push(Line::of_server(level, 1_700_000_000_123, msg));
}

/// A subscribed socket, on the `n`-th shard.
fn reader(fleet: &mut Fleet, n: usize, auth: &str) -> Peer {
    let shards = fleet.shards();
    let peer = fleet.connect_with(n % shards, "", auth);
    fleet.take(peer);
    fleet.emit(peer, "subscribe_logs", &json!(null));
    assert_eq!(fleet.names(peer), ["log_subscription_confirmed"]);
    peer
}

/// The texts of the lines that came.
fn msgs(fleet: &mut Fleet, peer: Peer) -> Vec<String> {
    let events = fleet.events(peer);
    let entries = events.iter().filter(|(name, _)| name == "logEntry");
    entries.map(|(_, entry)| entry["msg"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn the_answers_are_the_reference_servers() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = fleet.connect_to(1);
        let not_subscribed = json!({"success": false, "error": "Not subscribed to log stream"});
        let (on, off) = ("Successfully subscribed to log stream", "Successfully unsubscribed from log stream");
        for (event, payload, answer, expected) in [
            ("update_log_filters", json!({"level": "warn"}), "log_filters_updated", not_subscribed.clone()),
            ("subscribe_logs", json!(null), "log_subscription_confirmed", json!({"subscribed": true, "message": on})),
            ("update_log_filters", json!({}), "log_filters_updated", json!({"success": true, "filters": {}})),
            (
                "update_log_filters",
                json!({"level": "Warn", "other": 1}),
                "log_filters_updated",
                json!({"success": true, "filters": {"level": "warn"}}),
            ),
            (
                "update_log_filters",
                json!({"agentName": "Eliza"}),
                "log_filters_updated",
                json!({"success": true, "filters": {"agentName": "Eliza", "level": "warn"}}),
            ),
            (
                "update_log_filters",
                json!({"agentName": "all", "level": 20}),
                "log_filters_updated",
                json!({"success": true, "filters": {"agentName": "all", "level": 20}}),
            ),
            ("subscribe_logs", json!({}), "log_subscription_confirmed", json!({"subscribed": true, "message": on})),
            ("unsubscribe_logs", json!(7), "log_subscription_confirmed", json!({"subscribed": false, "message": off})),
            ("unsubscribe_logs", json!(7), "log_subscription_confirmed", json!({"subscribed": false, "message": off})),
            ("update_log_filters", json!({"level": 10}), "log_filters_updated", not_subscribed),
        ] {
            let is_ok = expected["success"] != false;
            fleet.emit(peer, event, &payload);
            assert_eq!(fleet.events(peer), [(answer.to_owned(), expected.clone())], "{event} {payload}");
            let (ack, rest) = fleet.call(peer, event, &payload);
            assert_eq!(ack["ok"], is_ok, "{ack}");
            assert_eq!(rest, [Packet::Event(answer.to_owned(), vec![expected])]);
        }
    });
}

#[test]
fn filters_that_are_wrong_are_refused_and_change_nothing() {
    let settings = public();
    each(&settings, |fleet| {
        let peer = reader(fleet, 1, "");
        for payload in [
            json!(null),
            json!([]),
            json!({"level": "loud"}),
            json!({"level": -1}),
            json!({"level": 1.5}),
            json!({"level": {}}),
            json!({"agentName": 7}),
            json!({"agentName": "a".repeat(257)}),
        ] {
            let (ack, rest) = fleet.call(peer, "update_log_filters", &payload);
            assert!(ack["ok"] == false && rest.is_empty(), "{payload}: {ack} {rest:?}");
        }
        say(&settings, 10, "still read");
        fleet.advance(100);
        assert_eq!(msgs(fleet, peer), ["still read"]);
    });
}

#[test]
fn the_servers_lines_reach_readers_on_every_shard_in_both_forms() {
    let settings = public();
    each(&settings, |fleet| {
        let readers: Vec<Peer> = (0..5).map(|n| reader(fleet, n, "")).collect();
        let other = fleet.connect_to(2);
        say(&settings, 40, "no \"room\"");
        fleet.advance(100);
        let entry = r#"{"level":40,"time":1700000000123,"msg":"no \"room\"","agentId":null,"agentName":"sockeye"}"#;
        for peer in readers {
            let expected = [
                format!(r#"42["logEntry",{entry}]"#),
                format!(r#"42["log_stream",{{"type":"log_entry","payload":{entry}}}]"#),
            ];
            assert_eq!(fleet.take_texts(peer), expected);
        }
        assert_eq!(fleet.take(other), []);
    });
}

#[test]
fn a_reader_gets_what_it_filters_for_while_it_is_subscribed() {
    let settings = public();
    each(&settings, |fleet| {
        let peer = reader(fleet, 1, "");
        for (filters, expected) in [
            (json!({}), vec!["debug", "info", "error"]),
            (json!({"level": "info"}), vec!["info", "error"]),
            (json!({"level": 31}), vec!["error"]),
            (json!({"level": "all", "agentName": "Eliza"}), vec![]),
            (json!({"agentName": "sockeye"}), vec!["debug", "info", "error"]),
            (json!({"agentName": "all", "level": 1_000}), vec![]),
        ] {
            fleet.emit(peer, "update_log_filters", &filters);
            fleet.take(peer);
            for (level, msg) in [(20, "debug"), (30, "info"), (50, "error")] {
                say(&settings, level, msg);
            }
            fleet.advance(100);
            assert_eq!(msgs(fleet, peer), expected, "{filters}");
        }
        fleet.emit(peer, "unsubscribe_logs", &json!(null));
        fleet.take(peer);
        say(&settings, 60, "late");
        fleet.advance(100);
        assert_eq!(fleet.take(peer), []);
        assert!(!settings.log_feed.is_read());
    });
}

#[test]
fn the_servers_lines_are_for_those_who_may_read_them() {
    let access = Access { token: Secret::new("a secret"), ..Access::default() };
    let with_token = AgentsSettings { access, ..AgentsSettings::default() };
    for (settings, auth, may) in
        [(AgentsSettings::default(), "", false), (public(), "", true), (with_token, TOKEN, true)]
    {
        each(&settings, |fleet| {
            let peer = reader(fleet, 3, auth);
            assert_eq!(settings.log_feed.is_read(), may);
            say(&settings, 50, "secret");
            fleet.advance(100);
            assert_eq!(msgs(fleet, peer).len(), usize::from(may), "{auth}");
            fleet.drop_peer(peer);
            assert!(!settings.log_feed.is_read());
        });
    }
}

#[test]
fn coming_and_going_leaves_one_timer_and_no_reader() {
    let settings = public();
    each(&settings, |fleet| {
        let peer = fleet.connect_to(0);
        let timers = fleet.timers(0);
        for _ in 0..100 {
            fleet.emit(peer, "subscribe_logs", &json!(null));
            fleet.emit(peer, "unsubscribe_logs", &json!(null));
        }
        assert_eq!(fleet.timers(0), timers + 1);
        fleet.advance(100);
        assert_eq!(fleet.timers(0), timers);
        assert!(!settings.log_feed.is_read());
    });
}

#[test]
fn a_reader_that_is_behind_loses_lines_and_nothing_else() {
    let settings = public();
    each(&settings, |fleet| {
        let (peer, other) = (reader(fleet, 1, ""), reader(fleet, 2, ""));
        fleet.call(peer, "join", &json!({"roomId": ROOM}));
        fleet.stall(peer);
        let (lines, msg) = (400, "x".repeat(2_000));
        for _ in 0..lines {
            say(&settings, 30, &msg);
            fleet.advance(50);
        }
        let shard = peer.shard;
        assert_eq!(msgs(fleet, other).len(), lines);
        assert!(!fleet.is_closed(peer));
        fleet.emit(other, "message", &message("hi"));
        let dropped = fleet.counters(shard).volatile_dropped;
        assert!(dropped > 0);
        fleet.resume(peer);
        let events = fleet.events(peer);
        let came = events.iter().filter(|(name, _)| name == "logEntry").count();
        assert_eq!(came as u64 + dropped, lines as u64);
        assert!(events.iter().any(|(name, _)| name == "messageBroadcast"));
    });
}

#[test]
fn a_flood_of_one_turn_is_cut_and_cuts_nobody_off() {
    let settings = public();
    each(&settings, |fleet| {
        let peer = reader(fleet, 1, "");
        for _ in 0..1_000 {
            say(&settings, 30, &"x".repeat(10_000));
        }
        fleet.advance(60);
        let came = msgs(fleet, peer).len();
        assert!((1..100).contains(&came), "{came}");
        assert_eq!(fleet.counters(peer.shard).volatile_dropped, 1_000 - came as u64);
    });
}

#[test]
fn an_agents_lines_go_to_readers_and_to_those_who_joined_with_it_on_every_shard() {
    each(&AgentsSettings::default(), |fleet| {
        let reader = reader(fleet, 1, "");
        let joined: Vec<Peer> = (0..4).map(|n| fleet.connect_to(n)).collect();
        for &peer in &joined {
            fleet.call(peer, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
            fleet.call(peer, "join", &json!({"roomId": OTHER_ROOM, "agentId": AGENT}));
            fleet.call(peer, "leave", &json!({"roomId": OTHER_ROOM}));
        }
        let others = [fleet.member(2, ROOM), fleet.connect_to(3)];
        fleet.call(others[1], "join", &json!({"roomId": ROOM, "agentId": USER}));
        let own = fleet.connect_with(0, "", &json!({"agentId": AGENT}).to_string());
        fleet.call(own, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        let line =
            json!({"level": 40, "time": 123, "msg": "a \"b\"", "agentId": AGENT.to_uppercase(), "agentName": "Eliza"});
        let answer = fleet.api(2, "POST", "/logs", &line);
        assert_eq!((answer.status, answer.json), (202, json!({"success": true, "data": {"accepted": 1}})));
        let entry = format!(r#"{{"level":40,"time":123,"msg":"a \"b\"","agentId":"{AGENT}","agentName":"Eliza"}}"#);
        let expected = [
            format!(r#"42["logEntry",{entry}]"#),
            format!(r#"42["log_stream",{{"type":"log_entry","payload":{entry}}}]"#),
        ];
        for &peer in joined.iter().chain([&reader]) {
            assert_eq!(fleet.take_texts(peer), expected);
        }
        for peer in others.into_iter().chain([own]) {
            assert_eq!(fleet.take(peer), []);
        }
        // Who reads and joined gets a line once; who left gets none.
        fleet.emit(joined[0], "subscribe_logs", &json!(null));
        fleet.emit(joined[1], "leave", &json!({"roomId": ROOM}));
        fleet.take(joined[0]);
        fleet.drop_peer(joined[2]);
        fleet.api(3, "POST", "/logs", &json!([line, line]));
        let came: Vec<usize> = [joined[0], joined[1], joined[3]].map(|peer| msgs(fleet, peer).len()).into();
        assert_eq!(came, [2, 0, 2]);
    });
}

#[test]
fn posted_lines_are_checked_and_all_taken_or_none() {
    each(&AgentsSettings::default(), |fleet| {
        let peer = reader(fleet, 1, "");
        let good = json!({"msg": "good"});
        for (line, status) in [
            (json!({}), 400),
            (json!({"msg": 7}), 400),
            (json!({"msg": "m", "level": "loud"}), 400),
            (json!({"msg": "m", "level": -1}), 400),
            (json!({"msg": "m", "time": "now"}), 400),
            (json!({"msg": "m", "time": 8_640_000_000_000_001_u64}), 400),
            (json!({"msg": "m", "agentId": "Eliza"}), 400),
            (json!({"msg": "m", "agentName": {}}), 400),
            (json!({"msg": "m".repeat(16 * 1024 + 1)}), 413),
            (json!("m"), 400),
            (json!([]), 400),
        ] {
            if line != json!([]) {
                let answer = fleet.api(0, "POST", "/logs", &line);
                assert_eq!((answer.status, &answer.json["success"]), (status, &json!(false)), "{line}");
            }
            assert_eq!(fleet.api(0, "POST", "/logs", &json!([good, line])).status, status, "{line}");
        }
        assert_eq!(fleet.api(0, "POST", "/logs", &json!(vec![&good; 1_001])).status, 413);
        assert_eq!(fleet.take(peer), []);
        let lines = json!([good, {"msg": "", "level": "WARN", "agent_id": AGENT, "agent_name": "Eliza"}]);
        assert_eq!(fleet.api(1, "POST", "/logs", &lines).status, 202);
        let entries = fleet.events(peer);
        assert_eq!(entries[0].1["level"], 30);
        assert_eq!(entries[0].1["time"], fleet.now().unix_ms);
        assert_eq!((&entries[2].1["level"], &entries[2].1["agentId"]), (&json!(40), &json!(AGENT)));
        assert_eq!(fleet.api(1, "POST", "/logs", &json!([])).status, 202);
    });
}
