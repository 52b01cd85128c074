//! Promises about the server as a whole: P1, P2, P5, P14 to P18.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;

use crate::attacks;
use crate::canary;
use crate::common::engine::{BOTH, Session};
use crate::common::http::{Http, get};
use crate::common::random::Random;
use crate::common::rooms::{join, member, message, uuid};
use crate::common::websocket::{CONTINUATION, TEXT};
use crate::common::{Client, Frame, Polling, Server, Via, eventually, matrix};

/// Megabytes of resident memory.
fn resident_mb(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") / 1024
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("descriptors").count()
}

/// A server of its own for each driver, with two shards.
fn each_own(flags: &[&str], body: impl Fn(Server)) {
    for (io, workers) in matrix::cells(&[2]) {
        let workers = workers.to_string();
        body(Server::start(&[&["--io", io, "--workers", &workers], flags].concat()));
    }
}

/// Short times, so that what hangs on is gone soon.
const SHORT: [&str; 14] = [
    "--request-timeout",
    "1s",
    "--connect-timeout",
    "1s",
    "--upgrade-timeout",
    "1s",
    "--close-timeout",
    "1s",
    "--stall-timeout",
    "1s",
    "--idle-timeout",
    "1s",
    // What is kept for who may come back counts as memory that is back only once nobody may.
    "--recovery-window",
    "2s",
];

/// The parsers alone, and whole shards: `tests/fuzz`, `tests/simulation`. Memory and descriptors come back as well (P3, P5).
#[test]
fn p01_p02_p05_attacks_end_nothing_and_cost_neighbours_nothing() {
    each_own(&SHORT, |server| {
        let seed = attacks::seed();
        // What is used once stays.
        canary::beside(&server, || ());
        let (memory_mb, open) = (resident_mb(&server), descriptors(&server));
        canary::beside(&server, || attacks::all(&server, seed));
        assert!(server.is_alive(), "replay with SEED={seed}");
        eventually("all descriptors are back", || descriptors(&server) <= open);
        eventually("memory is back", || resident_mb(&server) <= memory_mb + 24);
    });
}

#[test]
fn p02_connections_that_send_slowly_are_gone_in_time() {
    each_own(&["--request-timeout", "1s"], |server| {
        let starts: [&[u8]; 4] = [
            b"",
            b"G",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"POST /api/messaging/complete HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n",
        ];
        canary::beside(&server, || {
            let mut slow: Vec<Http> = (0..400).map(|_| Http::connect(&server)).collect();
            slow.iter_mut().enumerate().for_each(|(n, http)| http.send(starts[n % starts.len()]));
            slow.iter_mut().for_each(|http| drop(http.rest_within(Duration::from_secs(4))));
        });
    });
}

/// Questions with large answers and messages of tiny fragments, of a hundred sockets, and messages to each other in one room,
/// of six hundred.
#[test]
fn p02_floods_that_cost_much_to_take_do_not_hold_others_up() {
    each_own(&[], |server| {
        let room = uuid();
        let mut sender = Client::connect(&server, Via::WebSocket);
        for _ in 0..50 {
            assert_eq!(sender.call("message", message(&room, &uuid(), &"x".repeat(9_000)))["ok"], true);
        }
        let question = format!(r#"425["request-world-state",{{"roomId":"{room}"}}]"#);
        let fragment = Frame::new(false, CONTINUATION, "x").masked();
        let fragments = [
            Frame::new(false, TEXT, r#"42["nope",""#).masked(),
            fragment.repeat(15_998),
            Frame::new(true, CONTINUATION, "\"]").masked(),
        ];
        let hot = uuid();
        let joining = format!("42{}", json!(["join", {"roomId": hot, "userId": uuid()}]));
        let text = format!("42{}", json!(["message", message(&hot, &uuid(), "to everybody")]));
        let chat = [Frame::text(joining).masked(), Frame::text(text).masked().repeat(200)];
        let floods =
            [(100, Frame::text(question).masked().repeat(50)), (100, fragments.concat()), (600, chat.concat())];
        for (sockets, bytes) in floods {
            canary::beside(&server, || attacks::flood(&server, sockets, &bytes));
        }
    });
}

#[test]
fn p14_overload_sheds_new_connections_only() {
    each_own(&["--max-connections", "20"], |server| {
        let room = uuid();
        let mut members: Vec<Client> = (0..20).map(|_| member(&server, Via::WebSocket, &room)).collect();
        for _ in 0..50 {
            let served = Http::connect_from(&server, "127.0.0.1").is_ok_and(|mut http| !http.rest().is_empty());
            assert!(!served, "one too many was served");
        }
        let ack = members[0].call("message", message(&room, &uuid(), "still here"));
        assert_eq!(ack["ok"], true);
        members.iter_mut().for_each(|member| assert_eq!(member.find("messageBroadcast")["text"], "still here"));
        members.pop();
        let start = Instant::now();
        eventually("there is room again", || {
            let Ok(mut http) = Http::connect_from(&server, "127.0.0.1") else { return false };
            http.request("GET", "/", "", b"");
            http.try_response(false, Duration::from_secs(1)).is_ok_and(|response| response.status == 404)
        });
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

/// Milliseconds of CPU time.
fn cpu_ms(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("a status");
    let (_, after) = stat.rsplit_once(')').expect("a name");
    // proc_pid_stat(5): utime and stime, in ticks, which Linux tells 100 of a second.
    after.split(' ').skip(12).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks") * 10).sum()
}

fn limit_descriptors(server: &Server, limit: u64) {
    let limit = Rlimit { current: Some(limit), maximum: getrlimit(Resource::Nofile).maximum };
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Nofile, limit).expect("the limit of a process of our own");
}

/// The kernel completes connections that the server has no descriptor for: they wait.
#[test]
fn p14_without_descriptors_existing_clients_are_served_and_new_ones_wait() {
    let is_answered = |http: &mut Http, ms| {
        http.try_response(false, Duration::from_millis(ms)).is_ok_and(|response| response.status == 404)
    };
    each_own(&[], |server| {
        let room = uuid();
        let mut members: Vec<Client> = (0..4).map(|_| member(&server, Via::WebSocket, &room)).collect();
        let open = descriptors(&server) as u64;
        limit_descriptors(&server, open + 10);
        let mut waiting: Vec<Http> = (0..60).map(|_| Http::connect(&server)).collect();
        waiting.iter_mut().for_each(|http| http.request("GET", "/nothing", "", b""));
        let mut served: Vec<Http> = waiting.extract_if(.., |http| is_answered(http, 30)).collect();
        assert!((1..30).contains(&served.len()), "{} have a descriptor", served.len());
        let before_ms = cpu_ms(&server);
        for n in 0..20 {
            let text = n.to_string();
            assert_eq!(members[0].call("message", message(&room, &uuid(), &text))["ok"], true);
            members[1..].iter_mut().for_each(|member| assert_eq!(member.find("messageBroadcast")["text"], text));
            served[0].request("GET", "/nothing", "", b"");
            assert!(is_answered(&mut served[0], 1_000));
            std::thread::sleep(Duration::from_millis(50));
        }
        let used_ms = cpu_ms(&server) - before_ms;
        assert!(used_ms < 300, "{used_ms} ms of CPU time in a second: it spins");
        // One goes, and one that waits has its descriptor; then there is room for all.
        served.pop();
        let start = Instant::now();
        let mut answered = 0;
        eventually("one more is served", || {
            answered += waiting.extract_if(.., |http| is_answered(http, 1)).count();
            answered > 0
        });
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        limit_descriptors(&server, open + 100);
        let start = Instant::now();
        eventually("all are served", || {
            waiting.retain_mut(|http| !is_answered(http, 1));
            waiting.is_empty()
        });
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    });
}

/// `DRAIN_RUNS=50` repeats it; see also `tests/process.rs`.
#[test]
fn p15_a_signal_ends_in_order_whatever_clients_do_and_loses_nothing_acknowledged() {
    let runs = std::env::var("DRAIN_RUNS").map_or(1, |runs| runs.parse().expect("DRAIN_RUNS is a number"));
    for _ in 0..runs {
        each_own(&["--drain-limit", "3s"], |server| {
            let room = uuid();
            let mut reader = member(&server, Via::WebSocket, &room);
            let _idle: Vec<Client> = BOTH.iter().map(|&via| Client::connect(&server, via)).collect();
            let polling = Polling::open(&server, "/socket.io/");
            let (_parked, _silent) = (polling.get_parked(), Http::connect(&server));
            let _deaf = member(&server, Via::WebSocket, &room);
            let mut busy = member(&server, Via::WebSocket, &room);
            let user = uuid();
            let acked = (0..200).take_while(|n| {
                busy.call("message", message(&room, &user, &format!("{n} {}", "x".repeat(2_000))))["ok"] == true
            });
            let acked = acked.count();
            let start = Instant::now();
            server.signal(Signal::TERM);
            for n in 0..acked {
                let text = reader.find("messageBroadcast")["text"].as_str().expect("a text").to_owned();
                assert!(text.starts_with(&format!("{n} ")), "{n} is missing");
            }
            let status = server.exit_status(Duration::from_secs(4));
            assert_eq!((status.code(), start.elapsed() < Duration::from_secs(4)), (Some(0), true));
            let (port, start) = (server.addr().port().to_string(), Instant::now());
            let again = Server::start(&["--port", &port]);
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            assert_eq!(get(&again, "/").status, 404);
        });
    }
}

/// A taken port, a bad flag, an unreadable certificate: `tests/process.rs`, `tests/tls.rs`.
#[test]
fn p16_a_second_server_on_the_port_is_refused() {
    each_own(&[], |server| {
        let port = server.addr().port().to_string();
        let exited = Server::try_start(&["--port", &port]).err().expect("it must not start");
        assert!(!exited.status.success() && exited.output.contains(&port), "{}", exited.output);
        assert_eq!(get(&server, "/").status, 404);
    });
}

/// That every flag is printed is a unit test of `server::banner`.
#[test]
fn p17_a_limit_that_strikes_is_counted() {
    each_own(&["--metrics-port", "0", "--max-fragments", "3"], |server| {
        let metrics = || {
            let log = server.log();
            let (_, address) = log.split_once("http://").expect("the address of the metrics");
            let mut http =
                Http::connect_to(address.split('/').next().and_then(|a| a.parse().ok()).expect("an address"));
            http.request("GET", "/metrics", "", b"");
            http.response().text().to_owned()
        };
        let mut http = Http::connect(&server);
        http.send([b"GET /".as_slice(), &[b'a'; 20_000], b" HTTP/1.1\r\n\r\n"].concat());
        assert_eq!(http.response().status, 431);
        let violations: [&[Frame]; 3] = [
            &[Frame::binary(vec![0; 1_000_001])],
            &[Frame::new(false, 1, "4"), Frame::new(false, 0, ""), Frame::new(false, 0, ""), Frame::new(false, 0, "")],
            &[Frame::text(r#"4511-["join"]"#)],
        ];
        for frames in violations {
            let mut client = Client::connect(&server, Via::WebSocket);
            if let Session::WebSocket { ws, .. } = &mut client.session {
                ws.send_all(frames);
                ws.expect_end();
            }
        }
        for limit in ["request head", "message size", "fragments", "attachments"] {
            eventually(limit, || {
                let text = metrics();
                let mut lines =
                    text.lines().filter(|l| l.contains("cut_offs_total") && l.contains(&format!("\"{limit}\"")));
                lines.any(|line| line.ends_with(" 1"))
            });
        }
    });
}

/// The simulation and the fuzz targets print their seeds as well.
#[test]
fn p18_a_seed_decides_on_everything_an_attack_sends() {
    let inputs = |seed| {
        let mut random = Random::new(seed);
        (0..200).map(|_| attacks::input(&mut random)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
}

/// Also through reconnects: `tests/recovery.rs`; through upgrades: `tests/upgrade.rs`, `tests/simulation`.
#[test]
fn p09_a_pause_of_the_process_loses_nothing() {
    each_own(&["--ping-interval", "500ms", "--ping-timeout", "2s"], |server| {
        let room = uuid();
        let mut readers: Vec<Client> = BOTH.iter().map(|&via| member(&server, via, &room)).collect();
        let mut sender = Client::connect(&server, Via::WebSocket);
        join(&mut sender, &room);
        let user = uuid();
        for n in 0..60 {
            if n % 20 == 10 {
                server.signal(Signal::STOP);
            }
            sender.emit("message", message(&room, &user, &n.to_string()));
            if n % 20 == 19 {
                std::thread::sleep(Duration::from_millis(500));
                server.signal(Signal::CONT);
            }
        }
        for reader in &mut readers {
            for n in 0..60 {
                assert_eq!(reader.find("messageBroadcast")["text"], n.to_string());
            }
        }
    });
}
