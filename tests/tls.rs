//! `https://` and `wss://`: what holds without TLS holds with it, and who breaks its rules harms itself only.

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use common::engine::BOTH;
use common::http::{self, Http};
use common::rooms::{member, message, texts, uuid};
use common::scripts::node_with;
use common::tls::{Identity, Stream, certificate_of, connect, tunnel};
use common::websocket::{ENGINE_ECHO, Frame, WebSocket, upgrade_request};
use common::{Client, ECHO_CALM, ECHO_PINGING, LIMIT, Polling, ROOMS, Server, Via, eventually};
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig};

/// Runs `body` with a server of its own that has a certificate, for each driver and worker count.
fn each_own(workers: &[usize], flags: &[&str], body: impl Fn(Server, &Identity)) {
    for (io, workers) in common::matrix::cells(workers) {
        eprintln!("{io}, {workers} workers");
        let (identity, workers) = (Identity::new(), workers.to_string());
        let own = ["--io", io, "--workers", &workers, "--metrics-port", "0"];
        body(Server::start(&[&own, flags, &identity.flags()].concat()), &identity);
    }
}

/// The sum over all shards of the series that begin with `series`.
fn value(server: &Server, series: &str) -> u64 {
    let log = server.log();
    let (_, after) = log.split_once("http://").expect("an address");
    let address = after.split('/').next().expect("an address").parse().expect("an address");
    let mut http = Http::connect_to(address);
    http.request("GET", "/metrics", "", b"");
    let response = http.response();
    let (name, label) = series.split_once('{').unwrap_or((series, ""));
    let of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    response.text().lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn script(name: &str, server: &Server, identity: &Identity) {
    let authority = identity.authority.display().to_string();
    node_with(name, &server.with_tls(), &[("NODE_EXTRA_CA_CERTS", &authority)]);
}

#[test]
fn socket_io_client_talks_in_rooms_over_tls() {
    each_own(&[1, 4], ROOMS, |server, identity| script("rooms.mjs", &server, identity));
}

#[test]
fn socket_io_client_recovers_over_tls() {
    each_own(&[4], ROOMS, |server, identity| script("recovery.mjs", &server, identity));
}

#[test]
fn socket_io_client_gets_binary_back_over_tls() {
    each_own(&[1, 4], ECHO_PINGING, |server, identity| script("echo.mjs", &server, identity));
}

#[test]
fn polling_sessions_and_upgrades_go_from_shard_to_shard_with_their_encryption() {
    each_own(&[1, 4], ROOMS, |server, identity| {
        for version in [&TLS12, &TLS13] {
            let through = tunnel(&server, identity.client_config(&[version]));
            let room = uuid();
            // Each request of these is a connection of its own; most are accepted by another shard than the session's.
            let mut members: Vec<Client> = (0..4).flat_map(|_| BOTH.map(|via| member(&through, via, &room))).collect();
            for n in 0..10 {
                let ack = members[n % 8].call("message", message(&room, &uuid(), &format!("message {n}")));
                assert_eq!(ack["ok"], true);
            }
            let wanted: Vec<String> = (0..10).map(|n| format!("message {n}")).collect();
            for member in &mut members {
                assert_eq!(texts(member, 10), wanted);
            }
            // One connection for all requests: it moves once and goes on where it is then.
            for _ in 0..8 {
                let mut session = Polling::open(&through, "/socket.io/").keep_alive();
                session.send("40");
                assert!(session.recv().text().starts_with("40"));
            }
        }
        eventually("the handshakes are counted", || value(&server, "sockeye_tls_handshakes_total") > 50);
        eventually("the resumed ones are counted", || value(&server, "sockeye_tls_resumed_total") > 0);
        let moved = value(&server, "sockeye_connections_moved_total");
        assert_eq!(moved > 0, server.flag("--workers") != Some("1"), "{moved} connections moved");
        assert_eq!(value(&server, "sockeye_cut_offs_total"), 0);
    });
}

/// Sends `n` numbered messages with one client, each once the one before is acknowledged, and expects them at the other.
fn talk(sender: &mut Client, reader: &mut Client, room: &str, n: usize) {
    let wanted: Vec<String> = (0..n).map(|n| format!("message {n}")).collect();
    for text in &wanted {
        assert_eq!(sender.call("message", message(room, &uuid(), text))["ok"], true);
    }
    assert_eq!(texts(reader, n), wanted);
}

#[test]
fn certificate_is_reloaded_under_traffic() {
    each_own(&[1, 4], ROOMS, |server, identity| {
        let other = Identity::new();
        let config = identity.client_config_with(&other);
        let (through, room) = (tunnel(&server, config.clone()), uuid());
        let mut members = BOTH.map(|via| member(&through, via, &room));
        let [polling, websocket] = &mut members;
        assert_eq!(certificate_of(server.tls_addr(), &config), identity.der);
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| talk(websocket, polling, &room, 100));
            other.replaces(identity);
            server.signal(Signal::HUP);
            eventually("the new certificate", || certificate_of(server.tls_addr(), &config) == other.der);
            traffic.join().expect("nobody notices");
        });

        for damage in [|key| fs::write(key, "nonsense"), |key| fs::remove_file(key)] {
            let complaints = server.log().matches("the certificate stays as it is").count();
            damage(&identity.key).expect("a file of our own");
            server.signal(Signal::HUP);
            eventually("a complaint", || server.log().matches("the certificate stays as it is").count() > complaints);
            assert_eq!(certificate_of(server.tls_addr(), &config), other.der);
        }
        talk(websocket, polling, &room, 3);
    });
}

/// The first bytes of a client.
fn client_hello() -> Vec<u8> {
    let config = Identity::new().client_config(ALL_VERSIONS);
    let mut client = rustls::ClientConnection::new(config, "localhost".try_into().expect("a name")).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    bytes
}

#[test]
fn handshakes_that_take_too_long_are_cut_off() {
    let flags = ["--handshake-timeout", "600ms"];
    each_own(&[1, 4], &flags, |server, identity| {
        let through = tunnel(&server, identity.client_config(ALL_VERSIONS));
        let room = uuid();
        let mut members = BOTH.map(|via| member(&through, via, &room));
        let hello = client_hello();
        let start = Instant::now();
        let mut slow: Vec<Http> = (0..60).map(|_| Http::connect_to(server.tls_addr())).collect();
        for (n, http) in slow.iter_mut().enumerate() {
            // Nothing, a part, and everything but an answer to the server's first messages.
            http.send([&hello[..0], &hello[..100], &hello][n % 3]);
        }
        let [polling, websocket] = &mut members;
        talk(websocket, polling, &room, 20);
        for http in &mut slow {
            http.rest();
        }
        let took = start.elapsed();
        assert!((600..2_500).contains(&took.as_millis()), "{took:?}");
        talk(websocket, polling, &room, 5);
        eventually("all are counted", || value(&server, "sockeye_cut_offs_total{limit=\"slow handshake\"") == 60);
    });
}

#[test]
fn what_is_not_tls_harms_itself_only() {
    each_own(&[1, 4], ROOMS, |server, identity| {
        let config = identity.client_config(ALL_VERSIONS);
        let (through, room) = (tunnel(&server, config.clone()), uuid());
        let mut members = BOTH.map(|via| member(&through, via, &room));
        let address = server.tls_addr();

        let mut plain = Http::connect_to(address);
        plain.request("GET", "/socket.io/?EIO=4&transport=polling", "", b"");
        let answer = plain.response().expect(400);
        assert!(answer.text().contains("HTTPS"), "{}", answer.text());
        plain.ends();

        let hello = client_hello();
        for garbage in [&[0xff; 2000][..], &[0x80, 0x2e, 1, 3, 1], &[hello.as_slice(), &[0x17; 50]].concat()] {
            let mut http = Http::connect_to(address);
            http.send(garbage);
            let answer = http.rest();
            let alert = answer.windows(2).any(|bytes| bytes[0] == 0x15 && bytes[1] == 3);
            // In answer to a good ClientHello, the alert is encrypted.
            assert!(alert || answer.len() > 500, "{answer:?}");
        }
        // An open connection whose next record is not what was encrypted.
        let mut open = connect(address, &config);
        open.sock.write_all(&[0x17, 3, 3, 0, 40]).and_then(|()| open.sock.write_all(&[9; 40])).expect("it is open");
        assert!(open.read(&mut [0]).is_err(), "an alert");
        // The client goes in the middle of it; the server has to, too.
        for part in [&hello[..0], &hello[..100], &hello] {
            let mut http = Http::connect_to(address);
            http.send(part);
            http.stream.shutdown(Shutdown::Write).expect("it is open");
            http.rest();
        }
        let [polling, websocket] = &mut members;
        talk(websocket, polling, &room, 5);
        eventually("all are counted", || value(&server, "sockeye_cut_offs_total{limit=\"bad tls\"") == 5);
    });
}

#[test]
fn large_messages_pass_both_ways() {
    each_own(&[1], ECHO_CALM, |server, identity| {
        for version in [&TLS12, &TLS13] {
            let through = tunnel(&server, identity.client_config(&[version]));
            let mut ws = WebSocket::open(&through, ENGINE_ECHO);
            ws.frame();
            let text = |n: usize, len: usize| format!("4{n} {}", "x".repeat(len));
            ws.send(&Frame::text(text(0, 999_000)));
            assert!(ws.frame() == Frame::text(text(0, 999_000)));
            for n in 0..100 {
                ws.send(&Frame::text(text(n, 50_000)));
            }
            for n in 0..100 {
                assert!(ws.frame() == Frame::text(text(n, 50_000)), "message {n}");
            }
        }
    });
}

/// Sends `requests` and the end of what is sent in one piece, so that the shard reads all of it at once. Returns what came.
fn answers(server: &Server, config: &Arc<ClientConfig>, requests: &str) -> String {
    let mut stream = connect(server.tls_addr(), config);
    stream.conn.writer().write_all(requests.as_bytes()).expect("room for requests");
    stream.conn.send_close_notify();
    let mut bytes = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut bytes).expect("a list of bytes");
    }
    stream.sock.write_all(&bytes).expect("it is open");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("close_notify");
    answers
}

#[test]
fn client_that_says_it_sends_no_more_still_gets_its_answers() {
    each_own(&[1, 4], ECHO_CALM, |server, identity| {
        let handshake = "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
        for version in [&TLS12, &TLS13] {
            let config = identity.client_config(&[version]);
            for count in [1, 1, 1, 2, 5] {
                let heard = answers(&server, &config, &handshake.repeat(count));
                assert_eq!(heard.matches("HTTP/1.1 200 ").count(), count, "{heard}");
                assert_eq!(heard.matches("0{\"sid\"").count(), count, "{heard}");
            }
            let through = tunnel(&server, Arc::clone(&config));
            let session = Polling::open(&through, "/engine.io/");
            // Most of these move to the shard of the session.
            let post = format!(
                "POST /engine.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n4x",
                session.sid
            );
            for _ in 0..12 {
                let start = Instant::now();
                let heard = answers(&server, &config, &post);
                assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("ok"), "{heard}");
                assert!(start.elapsed().as_secs() < 2, "it was not ended");
            }
        }
    });
}

/// A connection that joined a room over WebSocket and has read nothing since.
fn silent_member(server: &Server, identity: &Identity, room: &str) -> Stream {
    let mut stream = connect(server.tls_addr(), &identity.client_config(ALL_VERSIONS));
    let upgrade = format!("{}\r\n", upgrade_request("/socket.io/?EIO=4&transport=websocket"));
    let join = format!(r#"42["join",{{"roomId":"{room}"}}]"#);
    let frames = [Frame::text("40").masked(), Frame::text(join).masked()].concat();
    stream.write_all(upgrade.as_bytes()).and_then(|()| stream.write_all(&frames)).expect("it is open");
    stream
}

#[test]
fn reader_that_does_not_read_is_cut_off() {
    each_own(&[1, 4], &["--max-queue", "256KiB"], |server, identity| {
        let room = uuid();
        let _silent = silent_member(&server, identity, &room);
        let mut sender = Client::connect(&server, Via::WebSocket);
        let text = "x".repeat(60_000);
        let cut_offs = || value(&server, "sockeye_cut_offs_total{limit=\"slow reader\"");
        let start = Instant::now();
        while cut_offs() == 0 {
            assert!(start.elapsed() < LIMIT, "it was not cut off");
            for _ in 0..20 {
                assert_eq!(sender.call("message", message(&room, &uuid(), &text))["ok"], true);
            }
        }
    });
}

#[test]
fn drain_says_goodbye_in_all_its_languages() {
    each_own(&[1, 4], ROOMS, |server, identity| {
        let config = identity.client_config(ALL_VERSIONS);
        let room = uuid();
        let mut reader = silent_member(&server, identity, &room);
        let mut idle = connect(server.tls_addr(), &config);
        let through = tunnel(&server, config);
        let mut sender = member(&through, Via::WebSocket, &room);
        eventually("both are in the room", || sender.call("join", serde_json::json!({"roomId": room}))["members"] == 2);
        assert_eq!(sender.call("message", message(&room, &uuid(), "the last words"))["ok"], true);
        server.signal(Signal::TERM);
        assert!(server.exit_status(LIMIT).success());
        let mut heard = Vec::new();
        // An end without `close_notify` would be an error.
        reader.read_to_end(&mut heard).expect("close_notify");
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains("the last words"), "{heard}");
        assert!(heard.contains("\u{3}\u{fffd}"), "a close frame with code 1001: {heard}");
        match idle.read(&mut [0]) {
            Ok(0) => {}
            // The server may be gone before this one is.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn certificate_that_cannot_be_used_is_a_start_up_error() {
    let (identity, other) = (Identity::new(), Identity::new());
    let (chain, key) = (identity.chain.to_str().expect("a path"), identity.key.to_str().expect("a path"));
    let other_key = other.key.to_str().expect("a path");
    for (flags, why) in [
        (&["--tls-cert", chain, "--tls-key", "/nonexistent"][..], "/nonexistent"),
        (&["--tls-cert", chain, "--tls-key", other_key], "private key is not that of the certificate"),
        (&["--tls-cert", key, "--tls-key", key], "no certificate"),
        (&["--tls-cert", chain, "--tls-key", chain], "no private key"),
        (&["--tls-cert", chain], "--tls-key"),
        (&["--tls-key", key], "--tls-cert"),
        (&["--plain", "off"], "--tls-cert"),
    ] {
        let exited = Server::try_start(flags).err().expect("must not start");
        assert!(!exited.status.success());
        assert!(exited.output.contains(why), "{flags:?}: {}", exited.output);
    }
}

#[test]
fn port_for_tls_that_is_taken_is_a_start_up_error() {
    each_own(&[2], ROOMS, |server, identity| {
        let port = server.tls_addr().port().to_string();
        let [_, _, files @ ..] = identity.flags();
        let exited = Server::try_start(&[&["--tls-port", &port][..], &files].concat()).err().expect("must not start");
        assert!(exited.output.contains(&port), "{}", exited.output);
    });
}

#[test]
fn server_can_do_without_a_port_without_tls() {
    each_own(&[2], &["--plain", "off"], |server, identity| {
        let through = tunnel(&server, identity.client_config(ALL_VERSIONS));
        http::get(&through, "/socket.io/?EIO=4&transport=polling").expect(200);
        assert!(!server.log().contains("listening on http:"), "{}", server.log());
    });
}

#[test]
fn load_generator_speaks_tls() {
    each_own(&[2], ROOMS, |server, _identity| {
        let target = server.tls_addr().to_string();
        for scenario in [
            "broadcast --members 20 --warm-up 100ms --duration 300ms --text-bytes 9000",
            "echo --connections 20 --warm-up 100ms --duration 300ms",
            "churn --connections 4 --warm-up 100ms --duration 300ms",
            "idle --connections 50 --rooms 5 --hold 200ms",
        ] {
            let mut bench = Command::new(env!("CARGO_BIN_EXE_sockeye"));
            bench.arg("bench").args(scenario.split(' ')).args(["--tls", "--json", "--target", &target]);
            let output = bench.output().expect("the built binary can be run");
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{scenario}: {text}");
        }
        assert_eq!(value(&server, "sockeye_cut_offs_total"), 0);
    });
}
