//! The process: start-up, its errors, signals, the orderly end.

mod common;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use common::engine::{BOTH, Session, packets};
use common::http::{End, Http};
use common::rooms::{join, member, message, texts, uuid};
use common::websocket::CLOSE;
use common::{Client, Polling, Server, Via, WebSocket};

/// Runs `body` with a server of its own for each driver and worker count.
fn each_own(flags: &[&str], body: impl Fn(Server)) {
    for (io, workers) in common::matrix::cells(&[1, 4]) {
        eprintln!("{io}, {workers} workers");
        let workers = workers.to_string();
        body(Server::start(&[&["--io", io, "--workers", &workers], flags].concat()));
    }
}

fn output(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sockeye")).args(args).output().expect("the built binary can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn help_names_every_documented_flag() {
    let (ok, help) = output(&["--help"]);
    assert!(ok, "{help}");
    for flag in [
        "--host",
        "--port",
        "--path",
        "--workers",
        "--pin",
        "--io",
        "--ping-interval",
        "--ping-timeout",
        "--max-payload",
        "--connect-timeout",
        "--upgrade-timeout",
        "--max-connections",
        "--max-queue",
        "--cors-origin",
        "--server-id",
        "--app",
        "--log-level",
        "--drain-limit",
        "--require-join",
        "--text-max",
        "--recovery-window",
    ] {
        assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{flag}");
    }
}

#[test]
fn version_is_printed() {
    let (ok, version) = output(&["--version"]);
    assert!(ok);
    assert_eq!(version.trim(), format!("sockeye {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_flag_is_a_start_up_error_that_names_it() {
    for (flag, value) in [
        ("--port", "70000"),
        ("--port", "x"),
        ("--workers", "0"),
        ("--workers", "-1"),
        ("--io", "select"),
        ("--ping-interval", "25"),
        ("--ping-interval", "1e3ms"),
        ("--ping-timeout", "0s"),
        ("--max-payload", "lots"),
        ("--max-payload", "0"),
        ("--max-queue", "1"),
        ("--host", "not an address"),
        ("--path", "no-slash"),
        ("--server-id", "x"),
        ("--app", "other"),
        ("--log-level", "loud"),
        ("--no-such-flag", "1"),
    ] {
        let (ok, text) = output(&[flag, value]);
        assert!(!ok, "{flag} {value} was accepted");
        assert!(text.contains(flag.trim_start_matches('-')), "{flag} {value}: {text}");
    }
}

#[test]
fn taken_port_is_a_start_up_error() {
    for io in common::matrix::drivers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().unwrap().port().to_string();
        let exited = Server::try_start(&["--io", io, "--port", &port]).err().expect("must not start");
        assert!(!exited.status.success());
        assert!(exited.output.contains(&port), "{}", exited.output);
    }
}

#[test]
fn port_of_another_sockeye_is_a_start_up_error() {
    each_own(&[], |first| {
        let port = first.addr().port().to_string();
        for workers in ["1", "2"] {
            let flags = ["--port", &port, "--workers", workers];
            let exited = Server::try_start(&flags).err().expect("must not start");
            assert!(!exited.status.success());
            assert!(exited.output.contains(&port), "{}", exited.output);
        }
        assert!(first.is_alive());
    });
}

#[test]
fn address_of_no_interface_is_a_start_up_error() {
    let exited = Server::try_start(&["--host", "192.0.2.1"]).err().expect("must not start");
    assert!(!exited.status.success());
    assert!(exited.output.contains("192.0.2.1"), "{}", exited.output);
}

#[test]
fn start_up_prints_what_is_in_force() {
    each_own(&[], |server| {
        common::eventually("the last line is there", || server.log().contains("listening on "));
        let log = server.log();
        let io = if server.label.contains("uring") { "uring" } else { "epoll" };
        for part in [env!("CARGO_PKG_VERSION"), &server.url(), io, "max-payload", "max-queue", "max-connections"] {
            let flat = log.replace('_', "-");
            assert!(flat.contains(part), "{part}:\n{log}");
        }
    });
}

/// Asserts that the process exits with 0.
#[track_caller]
#[test]
fn huge_pages_are_used_only_when_asked_for() {
    for (flags, expected) in [(&[][..], "0"), (&["--huge-pages", "on"], "1")] {
        let server = Server::start(flags);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
        assert_eq!(line.map(str::trim), Some(expected), "{flags:?}");
    }
}

fn assert_exits(server: &Server, limit: Duration) {
    let status = server.exit_status(limit);
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.log());
}

#[test]
fn signal_ends_an_idle_server() {
    each_own(&[], |server| {
        server.signal(Signal::TERM);
        assert_exits(&server, Duration::from_secs(3));
    });
    each_own(&[], |server| {
        server.signal(Signal::INT);
        assert_exits(&server, Duration::from_secs(3));
    });
}

#[test]
fn signal_tells_every_client_and_exits() {
    each_own(&[], |server| {
        let room = uuid();
        let mut clients: Vec<Client> = (0..6).map(|n| member(&server, BOTH[n % 2], &room)).collect();
        let mut polls: Vec<Http> = Vec::new();
        for client in &clients {
            if let Session::Polling(polling) = &client.session {
                polls.push(polling.get_parked());
            }
        }
        // Not even half a request holds it up.
        let mut half = Http::connect(&server);
        half.send("GET / HT");
        server.signal(Signal::TERM);
        for mut poll in polls {
            let packets = packets(&poll.response());
            assert!(packets.contains(&"1".into()), "{packets:?}");
        }
        for client in &mut clients {
            if let Session::WebSocket { ws, .. } = &mut client.session {
                assert_told(ws);
            }
        }
        assert_exits(&server, Duration::from_secs(3));
        half.rest();
    });
}

/// Asserts that a WebSocket client gets a disconnect packet, then a close frame, then the end.
#[track_caller]
fn assert_told(ws: &mut WebSocket) {
    let mut disconnected = false;
    loop {
        let frame = ws.frame();
        if frame.opcode == CLOSE {
            ws.send(&frame);
            ws.http.ends();
            break;
        }
        disconnected |= frame.payload == b"41";
    }
    assert!(disconnected, "no disconnect packet came before the close frame");
}

#[test]
fn drain_ends_in_time_whatever_the_clients_do() {
    each_own(&["--drain-limit", "1s"], |server| {
        // One that never reads and never answers the close, one that waits with a poll unsent, one that is silent.
        let room = uuid();
        let mut deaf = member(&server, Via::WebSocket, &room);
        let mut sender = member(&server, Via::WebSocket, &room);
        for _ in 0..10 {
            sender.call("message", message(&room, &uuid(), &"x".repeat(60_000)));
        }
        let polling = Polling::open(&server, "/socket.io/");
        let silent = Http::connect(&server);
        let start = Instant::now();
        server.signal(Signal::TERM);
        assert_exits(&server, Duration::from_secs(4));
        assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
        drop((polling, silent, sender));
        deaf.session.is_gone();
    });
}

#[test]
fn acknowledged_message_reaches_a_reading_member_before_the_end() {
    each_own(&[], |server| {
        let room = uuid();
        let mut listener = member(&server, Via::WebSocket, &room);
        let mut sender = Client::connect(&server, Via::WebSocket);
        for n in 0..50 {
            let ack = sender.call("message", message(&room, &uuid(), &n.to_string()));
            assert_eq!(ack["ok"], true);
        }
        server.signal(Signal::TERM);
        let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        assert_eq!(texts(&mut listener, 50), expected);
        drop((listener, sender));
        assert_exits(&server, Duration::from_secs(12));
    });
}

#[test]
fn nothing_is_accepted_while_draining_and_the_port_is_free_after() {
    each_own(&["--drain-limit", "1s"], |server| {
        let port = server.addr().port().to_string();
        let holder = Client::connect(&server, Via::WebSocket);
        server.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(200));
        if let Ok(stream) = std::net::TcpStream::connect(server.addr()) {
            let mut http = Http { stream, buffer: Vec::new() };
            http.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            let end = http.try_response(false, Duration::from_secs(3)).err();
            assert_eq!(end, Some(End::Closed), "a new request was served");
        }
        assert_exits(&server, Duration::from_secs(4));
        drop(holder);
        let again = Server::start(&["--port", &port]);
        let mut client = Client::connect(&again, Via::WebSocket);
        join(&mut client, &uuid());
    });
}

#[test]
fn second_signal_is_no_crash() {
    each_own(&["--drain-limit", "1s"], |server| {
        let holder = Client::connect(&server, Via::WebSocket);
        server.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(50));
        if server.is_alive() {
            server.signal(Signal::TERM);
        }
        let status = server.exit_status(Duration::from_secs(4));
        assert!(status.code().is_some(), "{status}");
        drop(holder);
    });
}
