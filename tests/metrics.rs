//! What can be read about a running server.

mod common;

use common::http::{Http, Response};
use common::rooms::{join, member, message, uuid};
use common::{Client, Server, Via, eventually};
use rustix::process::Signal;
use std::time::Duration;

/// Runs `body` with a server of its own, with metrics, for each driver and worker count.
fn each_own(flags: &[&str], body: impl Fn(Server)) {
    for (io, workers) in common::matrix::cells(&[1, 2, 4]) {
        eprintln!("{io}, {workers} workers");
        let workers = workers.to_string();
        body(Server::start(&[&["--io", io, "--workers", &workers, "--metrics-port", "0"], flags].concat()));
    }
}

fn metrics(server: &Server) -> Http {
    let log = server.log();
    let (_, after) = log.split_once("http://").expect("an address");
    Http::connect_to(after.split('/').next().expect("an address").parse().expect("an address"))
}

fn get(server: &Server, path: &str) -> Response {
    let mut http = metrics(server);
    http.request("GET", path, "", b"");
    http.response()
}

/// The sum over all shards of what begins with `series`.
fn value(server: &Server, series: &str) -> u64 {
    let response = get(server, "/metrics").expect(200);
    let of = |line: &&str| {
        let (name, rest) = line.split_once('{').unwrap_or((line, ""));
        let label = series.split_once('{').map_or("", |(_, label)| label);
        name == series.split('{').next().unwrap_or("") && rest.contains(label)
    };
    let lines = response.text().lines().filter(of);
    lines.map(|line| line.rsplit(' ').next().unwrap_or("").parse::<u64>().expect("a number")).sum()
}

fn reaches(server: &Server, series: &str, wanted: u64) {
    eventually(&format!("{series} is {wanted}"), || value(server, series) == wanted);
}

#[test]
fn values_follow_what_happens() {
    each_own(&[], |server| {
        let room = uuid();
        let mut members: Vec<Client> = (0..3).map(|_| member(&server, Via::WebSocket, &room)).collect();
        let ack = members[0].call("message", message(&room, &uuid(), "hello"));
        assert_eq!(ack["ok"], true);
        reaches(&server, "sockeye_sessions", 3);
        reaches(&server, "sockeye_connections", 3);
        reaches(&server, "sockeye_deliveries_total", 3);
        reaches(&server, "sockeye_websockets_opened_total", 3);
        assert!((1..=3).contains(&value(&server, "sockeye_rooms")));
        assert!(value(&server, "sockeye_sent_bytes_total") > 1000);
        drop(members);
        reaches(&server, "sockeye_connections", 0);
        reaches(&server, "sockeye_sessions_closed_total{reason=\"transport", 3);
        let ends = value(&server, "sockeye_connections_closed_total{reason=\"");
        assert_eq!(ends, value(&server, "sockeye_connections_opened_total"), "a reason for each");
    });
}

#[test]
fn limit_that_strikes_is_counted_by_name() {
    each_own(&["--max-connections-per-ip", "2"], |server| {
        let _kept = [Http::connect(&server), Http::connect(&server)];
        reaches(&server, "sockeye_connections", 2);
        // It may be reset before connect() has returned.
        let _third = std::net::TcpStream::connect(server.addr());
        reaches(&server, "sockeye_cut_offs_total{limit=\"address connections\"", 1);
    });
    each_own(&["--rate-connections", "1"], |server| {
        let series = "sockeye_cut_offs_total{limit=\"address rate\"";
        // Those that are told count as those that are reset.
        let served = (0..10).filter(|_| {
            let Ok(stream) = std::net::TcpStream::connect(server.addr()) else { return false };
            let mut http = Http { stream, buffer: Vec::new() };
            http.request("GET", "/", "", b"");
            http.try_response(false, common::LIMIT).is_ok_and(|response| response.status != 429)
        });
        reaches(&server, series, 10 - served.count() as u64);
    });
    each_own(&["--request-timeout", "300ms"], |server| {
        let mut slow = Http::connect(&server);
        slow.send("GET / HT");
        assert_eq!(slow.response().status, 408);
        reaches(&server, "sockeye_cut_offs_total{limit=\"slow request\"", 1);
    });
}

#[test]
fn text_is_well_formed() {
    each_own(&[], |server| {
        let response = get(&server, "/metrics").expect(200);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let mut typed = Vec::new();
        for line in response.text().lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a kind");
                assert!(matches!(kind, "counter" | "gauge"), "{line}");
                assert!(!typed.contains(&name.to_owned()), "{name} comes twice");
                typed.push(name.to_owned());
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                value.parse::<u64>().expect("a number");
                let name = series.split('{').next().expect("a name");
                assert_eq!(typed.last().map(String::as_str), Some(name), "in one piece, below its type");
                assert!(series.ends_with('}') && series.contains("shard=\""), "{line}");
            }
        }
        assert!(typed.len() > 20);
    });
}

#[test]
fn health_is_told_also_while_draining() {
    each_own(&["--drain-limit", "2s"], |server| {
        assert_eq!(get(&server, "/healthz").expect(200).text(), "serving\n");
        assert_eq!(get(&server, "/").status, 404);
        let mut other = metrics(&server);
        other.request("POST", "/metrics", "", b"x");
        assert_eq!(other.response().status, 405);
        let mut client = Client::connect(&server, Via::WebSocket);
        join(&mut client, &uuid());
        // The client does not answer the close frame, so the drain lasts.
        server.signal(Signal::TERM);
        eventually("it drains", || get(&server, "/healthz").status == 503);
        drop(client);
        assert_eq!(server.exit_status(Duration::from_secs(5)).code(), Some(0));
        let log = server.log();
        let last = log.lines().last().expect("a line");
        assert!(last.contains("stopped") && last.contains("sessions=1") && last.contains("cut_offs=0"), "{last}");
    });
}

#[test]
fn silent_reader_of_metrics_does_not_keep_others_from_them() {
    each_own(&[], |server| {
        let _silent = metrics(&server);
        assert_eq!(get(&server, "/healthz").status, 200);
    });
}

#[test]
fn taken_port_for_metrics_is_a_start_up_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let exited = Server::try_start(&["--metrics-port", &port]).err().expect("must not start");
    assert!(!exited.status.success() && exited.output.contains("for metrics"), "{}", exited.output);
}
