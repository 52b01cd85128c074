//! The load generator against the floor program, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use clap::Parser;
use sockeye::bench::args::{Command, Scenario};
use sockeye::bench::floor::Floor;
use sockeye::bench::report::{IdleReport, LoadReport, Report};
use sockeye::bench::{self, BenchArgs, BenchError, Faults};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    bench: BenchArgs,
}

fn command(flags: &str) -> Command {
    Flags::try_parse_from(format!("bench {flags}").split(' ')).unwrap().bench.command
}

fn scenario(flags: &str) -> Scenario {
    match command(flags) {
        Command::Measure(scenario) => scenario,
        Command::Floor(_) => panic!("a scenario is wanted"),
    }
}

fn start_floor() -> SocketAddr {
    let Command::Floor(args) = command("floor --port 0 --ping-interval 100ms") else { panic!("the floor is wanted") };
    let floor = Floor::bind(&args).unwrap();
    let address = floor.local_address().unwrap();
    thread::spawn(|| floor.serve().unwrap());
    address
}

/// Runs `flags` against a floor of its own, with this process as the server that is observed.
fn measure(flags: &str) -> Report {
    let (target, pid) = (start_floor(), std::process::id());
    bench::measure(&scenario(&format!("{flags} --target {target} --pid {pid}"))).unwrap()
}

fn measure_load(flags: &str) -> LoadReport {
    let report = measure(&format!("{flags} --warm-up 200ms --duration 800ms"));
    report.verdict().unwrap();
    match report {
        Report::Load(report) => *report,
        Report::Idle(_) => panic!("a report of load is wanted"),
    }
}

fn measure_idle(flags: &str) -> IdleReport {
    let report = measure(flags);
    report.verdict().unwrap();
    match report {
        Report::Idle(report) => report,
        Report::Load(_) => panic!("a report of idle connections is wanted"),
    }
}

fn assert_plausible(report: &LoadReport) {
    assert!(report.completed > 0 && report.completed <= report.expected, "{report:?}");
    assert_eq!((report.faults, report.traffic.errors, report.traffic.closed_by_server), (Faults::default(), 0, 0));
    let latency = report.latency_us;
    assert!(latency.samples > 0 && latency.p50 > 0.0, "{latency:?}");
    assert!(latency.p50 <= latency.p90 && latency.p90 <= latency.p99, "{latency:?}");
    assert!(latency.p99 <= latency.p99_9 && latency.p99_9 <= latency.max, "{latency:?}");
    assert!(report.clients.cpu_s > 0.0 && report.server.is_some_and(|server| server.cpu_s > 0.0), "{report:?}");
    assert!(report.server_rss_bytes.is_some_and(|bytes| bytes > 100_000), "{report:?}");
}

#[test]
fn broadcasts_reach_every_member_of_every_room() {
    let report = measure_load("broadcast --rooms 3 --members 20 --publishers 4 --in-flight 24 --text-bytes 120");
    assert_plausible(&report);
    assert_eq!((report.connections, report.rooms, report.expected % 20), (60, 3, 0));
    // The text, the rest of the event with its offset, and now and then a ping.
    assert!((555.0..615.0).contains(&report.bytes_each), "{}", report.bytes_each);
}

#[test]
fn fewer_messages_in_flight_than_publishers_and_long_texts() {
    assert_plausible(&measure_load("broadcast --rooms 5 --members 3 --publishers 3 --in-flight 2 --text-bytes 65536"));
}

#[test]
fn an_open_loop_sends_all_that_was_due() {
    let report = measure_load("broadcast --members 10 --rate 500");
    assert_plausible(&report);
    // One second at 500 a second to 10 members.
    assert_eq!(report.expected + 10 * report.unsent, 5_000);
}

#[test]
fn echo_completes_with_ack_and_broadcast() {
    let report = measure_load("echo --connections 30 --in-flight 20");
    assert_plausible(&report);
    assert_eq!((report.rooms, report.unit), (30, "round trip"));
}

#[test]
fn churn_goes_round_and_ends() {
    let report = measure_load("churn --connections 8");
    assert_plausible(&report);
    assert!(report.completed > 8, "each connection goes round more than once: {report:?}");
}

#[test]
fn idle_connections_answer_heartbeats() {
    let report = measure_idle("idle --connections 200 --rooms 7 --hold 500ms --source-spread 3");
    assert_eq!((report.connections, report.rooms), (200, 7));
    assert!(report.traffic.pings >= 200, "{report:?}");
    assert!(report.server.is_some_and(|server| server.rss_joined_bytes > 0), "{report:?}");
}

#[test]
fn reports_are_text_or_one_json_object() {
    let report = measure("broadcast --members 5 --warm-up 1ms --duration 100ms");
    let (mut text, mut json) = (Vec::new(), Vec::new());
    report.print(&mut text, false).unwrap();
    report.print(&mut json, true).unwrap();
    let text = String::from_utf8(text).unwrap();
    for wanted in ["broadcast: 5 connections, 1 rooms", "0 lost, 0 duplicated", "p99.9", "us per delivery", "resident"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for wanted in
        ["/per_s", "/lost", "/latency_us/p99_9", "/server/cpu_us_each", "/server/per_cpu_s", "/server_rss_bytes"]
    {
        assert!(json.pointer(wanted).is_some_and(serde_json::Value::is_number), "{wanted} in {json}");
    }
}

/// A server that answers every connection with `answer` and closes it.
fn start_server_answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    address
}

#[test]
fn a_server_that_does_not_let_clients_in_is_quoted() {
    let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x110{\"sid\":\"longer\"}\x88\x00";
    for (answer, quoted) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n{\"code\":5}".as_slice(),
            "waiting for the WebSocket upgrade, got from the server: HTTP/1.1 400",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            "WebSocket upgrade",
        ),
        (upgraded, "waiting for the Socket.IO CONNECT, got from the server: it disconnected"),
        (b"", "waiting for the WebSocket upgrade, got from the server: it closed the connection"),
    ] {
        let target = start_server_answering(answer);
        let error = bench::measure(&scenario(&format!("broadcast --members 1 --target {target}"))).unwrap_err();
        assert!(matches!(error, BenchError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(quoted), "{quoted} in {error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bench::measure(&scenario(&format!("idle --connections 1 --target {target}"))).unwrap_err();
    assert!(matches!(error, BenchError::Connect { .. }), "{error:?}");
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    assert!(Flags::try_parse_from("bench broadcast --rate 5 --in-flight 5".split(' ')).is_err());
    assert!(Flags::try_parse_from("bench broadcast --text-bytes 39".split(' ')).is_err());
    for flags in ["broadcast --members 3 --publishers 4", "broadcast --rooms 1001 --members 1000"] {
        let error = bench::measure(&scenario(flags)).unwrap_err();
        assert!(matches!(error, BenchError::Arguments(_)), "{error:?}");
    }
}
