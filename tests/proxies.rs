//! Trusted proxies in front: whose connections and requests are counted, and what others may not claim.

mod common;

use std::time::Duration;

use common::front::{Front, haproxy_is_here, nginx_is_here};
use common::http::Http;
use common::tls::{Identity, tunnel};
use common::{Client, LIMIT, Server, Via, each_cell, each_driver, eventually};
use rustls::ALL_VERSIONS;

const PROXY_PROTOCOL: &[&str] = &[
    "--trusted-proxy",
    "127.0.0.1",
    "--proxy-protocol",
    "--max-connections-per-ip",
    "2",
    "--handshake-timeout",
    "600ms",
];
const FORWARDED: &[&str] = &["--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--max-connections-per-ip", "2"];

/// Whether a request on this connection is answered; if not, the connection has ended.
fn is_served(http: &mut Http) -> bool {
    http.request("GET", "/nothing", "", b"");
    http.try_response(false, LIMIT).is_ok_and(|response| response.status == 404)
}

/// A header of version 2 for this client of IPv4.
fn binary_header(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[127, 0, 0, 1], &[0x10, 0, 0x20, 0]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f", &addresses[..], b"\x04\0\0"].concat()
}

/// A connection of the proxy that begins with these bytes, if a request on it is answered.
fn with_header(server: &Server, header: &[u8]) -> Option<Http> {
    let mut http = Http::connect(server);
    http.send(header);
    is_served(&mut http).then_some(http)
}

#[test]
fn connection_counts_for_the_client_that_its_header_names() {
    each_cell(PROXY_PROTOCOL, |server| {
        let text = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 1000 3000\r\n").into_bytes();
        let mut kept =
            vec![with_header(server, &text("192.0.2.1")), with_header(server, &binary_header([192, 0, 2, 1]))];
        assert!(kept.iter().all(Option::is_some), "both versions");
        assert!(with_header(server, &text("192.0.2.1")).is_none(), "a third connection was served");
        let other =
            [with_header(server, &text("192.0.2.2")), with_header(server, b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")];
        assert!(other.iter().all(Option::is_some), "other clients have to suffer");
        // Nobody is named: the proxy itself, which is not limited.
        let own: Vec<_> = (0..4).map(|_| with_header(server, b"PROXY UNKNOWN\r\n")).collect();
        assert!(own.iter().all(Option::is_some));
        assert!(kept.iter_mut().flatten().all(is_served));
        kept.pop();
        eventually("there is room again", || with_header(server, &text("192.0.2.1")).is_some());
    });
}

#[test]
fn header_may_come_in_any_pieces_and_with_a_request_behind_it() {
    each_driver(PROXY_PROTOCOL, |server| {
        for header in [b"PROXY TCP4 192.0.2.9 127.0.0.1 1 2\r\n".to_vec(), binary_header([192, 0, 2, 10])] {
            let bytes = [&header[..], b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            for size in [1, 7, bytes.len()] {
                let mut http = Http::connect(server);
                for piece in bytes.chunks(size) {
                    http.send(piece);
                    std::thread::sleep(Duration::from_millis(if size == 1 { 1 } else { 0 }));
                }
                http.response().expect(404);
            }
        }
    });
}

#[test]
fn connection_of_a_proxy_without_its_header_is_refused() {
    each_cell(PROXY_PROTOCOL, |server| {
        for bytes in
            [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31", &[0; 5000]]
        {
            let mut http = Http::connect(server);
            http.send(bytes);
            http.ends();
        }
        // One that does not come is not waited for.
        let mut slow: Vec<Http> = (0..10).map(|_| Http::connect(server)).collect();
        slow.iter_mut().enumerate().for_each(|(n, http)| http.send(&b"PROXY TCP4"[..n]));
        slow.iter_mut().for_each(|http| drop(http.rest_within(Duration::from_secs(3))));
        assert!(with_header(server, b"PROXY TCP4 192.0.2.20 127.0.0.1 1 2\r\n").is_some());
    });
}

#[test]
fn who_is_no_trusted_proxy_cannot_send_a_header() {
    each_driver(PROXY_PROTOCOL, |server| {
        let mut http = Http::connect_from(server, "127.0.0.2").expect("it is let in");
        assert!(is_served(&mut http), "a client without a proxy");
        http.send("PROXY TCP4 192.0.2.30 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = http.response().expect(400);
        assert!(answer.closes());
    });
}

#[test]
fn header_comes_before_tls() {
    for (io, workers) in common::matrix::cells(&[1, 4]) {
        let (identity, workers) = (Identity::new(), workers.to_string());
        let own = ["--io", io, "--workers", &workers];
        let server = Server::start(&[&own, PROXY_PROTOCOL, &identity.flags()].concat());
        let config = identity.client_config(ALL_VERSIONS);
        let through = |header: &'static [u8]| common::tls::tunnel_after(&server, config.clone(), header);
        let named = through(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n");
        let mut kept: Vec<Http> = (0..2).map(|_| Http::connect(&named)).collect();
        assert!(kept.iter_mut().all(is_served), "two connections of the client");
        let mut http = Http::connect_to(server.tls_addr());
        http.send("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n");
        http.ends();
        assert!(is_served(&mut Http::connect(&through(b"PROXY TCP4 192.0.2.2 127.0.0.1 1 2\r\n"))), "another client");
        // TLS without the header in front.
        let mut http = Http::connect_to(server.tls_addr());
        http.send([0x16, 3, 1, 0, 200]);
        http.ends();
        drop(tunnel(&server, config.clone()));
    }
}

#[test]
fn client_over_its_rate_is_told_so_behind_the_header_and_tls() {
    for (io, workers) in common::matrix::cells(&[1, 2]) {
        let (identity, workers) = (Identity::new(), workers.to_string());
        let own = ["--io", io, "--workers", &workers, "--rate-connections", "2"];
        let proxied = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
        let server = Server::start(&[&own, &proxied[..], &identity.flags()].concat());
        let config = identity.client_config(ALL_VERSIONS);
        let through = common::tls::tunnel_after(&server, config, b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n");
        let told = |begin: &dyn Fn() -> Http| {
            (0..100).find_map(|_| {
                let mut http = begin();
                http.request("GET", "/nothing", "", b"");
                let response = http.try_response(false, LIMIT).ok()?;
                (response.status != 404).then_some((response, http))
            })
        };
        let plainly = || {
            let mut http = Http::connect(&server);
            http.send("PROXY TCP4 192.0.2.2 127.0.0.1 1 2\r\n");
            http
        };
        for begin in [&plainly as &dyn Fn() -> Http, &|| Http::connect(&through)] {
            let (response, mut http) = told(begin).expect("an answer that is no 404");
            assert_eq!((response.status, response.header("retry-after")), (429, Some("1")));
            assert!(response.closes());
            http.ends();
        }
    }
}

fn forwarded(http: &mut Http, chain: &str) -> u16 {
    http.request("GET", "/nothing", &format!("X-Forwarded-For: {chain}\r\n"), b"");
    let response = http.response();
    assert_eq!((response.header("retry-after"), response.closes()), ((response.status == 429).then_some("1"), false));
    response.status
}

#[test]
fn requests_count_for_the_client_that_a_trusted_proxy_names() {
    each_cell(FORWARDED, |server| {
        let mut pool: Vec<Http> = (0..4).map(|_| Http::connect(server)).collect();
        assert_eq!(forwarded(&mut pool[0], "192.0.2.1"), 404);
        // What stands in front of the last address that is no proxy's is what the client says.
        assert_eq!(forwarded(&mut pool[1], "203.0.113.9, 192.0.2.1, 10.1.2.3"), 404);
        assert_eq!(forwarded(&mut pool[2], "192.0.2.1"), 429);
        assert_eq!(forwarded(&mut pool[2], "203.0.113.1, 192.0.2.1"), 429);
        assert_eq!(forwarded(&mut pool[2], "192.0.2.2"), 404, "another client has to suffer");
        assert_eq!(forwarded(&mut pool[0], "192.0.2.1"), 404, "one that was there before has to suffer");
        // The connection goes to another client, and leaves its place.
        assert_eq!(forwarded(&mut pool[0], "192.0.2.3"), 404);
        assert_eq!(forwarded(&mut pool[3], "192.0.2.1"), 404);
        assert_eq!(forwarded(&mut pool[2], "192.0.2.1"), 429);
        // Without the header it is the proxy's own, which is not limited.
        let mut own: Vec<Http> = (0..5).map(|_| Http::connect(server)).collect();
        assert!(own.iter_mut().all(is_served));
    });
}

#[test]
fn who_is_no_trusted_proxy_cannot_name_clients() {
    each_driver(FORWARDED, |server| {
        let mut kept: Vec<Http> =
            (0..2).map(|_| Http::connect_from(server, "127.0.0.7").expect("it is let in")).collect();
        for (n, http) in kept.iter_mut().enumerate() {
            assert_eq!(forwarded(http, &format!("192.0.2.10{n}")), 404);
        }
        let third = Http::connect_from(server, "127.0.0.7");
        assert!(third.is_err() || !is_served(&mut third.unwrap()), "a third connection was served");
    });
}

/// Three WebSockets of one client and two of another, by a proxy in front of a server that lets each have two. What the one
/// too many was answered; `None`: its connection has ended.
fn third_websocket(front: &Server) -> Option<u16> {
    let open = |address| {
        let mut http = Http::connect_from(front, address).expect("the proxy accepts");
        http.send(format!("{}\r\n", common::websocket::upgrade_request("/socket.io/?EIO=4&transport=websocket")));
        let status = http.try_response(false, LIMIT).ok().map(|response| response.status);
        (http, status)
    };
    let kept = [open("127.0.0.8"), open("127.0.0.8"), open("127.0.0.9")];
    assert_eq!(kept.each_ref().map(|(_, status)| *status), [Some(101); 3]);
    let (_, third) = open("127.0.0.8");
    assert_eq!(open("127.0.0.9").1, Some(101), "another client has to suffer");
    third
}

#[test]
fn clients_behind_nginx_are_told_apart() {
    if nginx_is_here() {
        each_cell(FORWARDED, |server| {
            let nginx = Front::nginx(server);
            assert_eq!(third_websocket(&nginx.as_server()), Some(429));
        });
    }
}

#[test]
fn clients_behind_haproxy_are_told_apart() {
    if haproxy_is_here() {
        each_cell(FORWARDED, |server| {
            let haproxy = Front::haproxy_http(server);
            assert_eq!(third_websocket(&haproxy.as_server()), Some(429));
        });
        each_cell(PROXY_PROTOCOL, |server| {
            let haproxy = Front::haproxy_tcp(server);
            let front = haproxy.as_server();
            assert_eq!(third_websocket(&front), None);
            let mut client = Client::connect(&front, Via::Polling);
            assert_eq!(client.call("join", serde_json::json!({"roomId": common::rooms::uuid()}))["ok"], true);
        });
    }
}

#[test]
fn proxy_protocol_needs_a_proxy_to_trust() {
    let exited = Server::try_start(&["--proxy-protocol"]).err().expect("must not start");
    assert!(exited.output.contains("--trusted-proxy"), "{}", exited.output);
    let exited = Server::try_start(&["--trusted-proxy", "10.0.0.0/33"]).err().expect("must not start");
    assert!(exited.output.contains("bits"), "{}", exited.output);
}
