//! RFC 9112 and RFC 9110 as far as a server of few resources needs them: routing, methods, connections.

mod common;

use std::time::Duration;

use common::http::{self, Http};
use common::websocket::upgrade_request;
use common::{ECHO_CALM, Polling, Server, WebSocket, each_cell, each_driver};

const HANDSHAKE: &str = "/engine.io/?EIO=4&transport=polling";

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn other_paths_are_404_with_json() {
    each_driver(ECHO_CALM, |server| {
        for target in [
            "/",
            "/index.html",
            "/engine.iox/?EIO=4&transport=polling",
            "/socket.io/socket.io.js",
            "/socket.iox",
            "/SOCKET.IO/?EIO=4&transport=polling",
            "/a/../socket.io/?EIO=4&transport=polling",
            "//socket.io/?EIO=4&transport=polling",
            "/%73ocket.io%2f",
        ] {
            let response = http::get(server, target).expect(404);
            let content_type = response.header("content-type").unwrap_or("");
            assert!(content_type.starts_with("application/json"), "{target}: {content_type}");
            assert!(response.json().is_object(), "{target}");
        }
    });
}

#[test]
fn path_works_without_its_last_slash() {
    each_driver(ECHO_CALM, |server| {
        for path in ["/socket.io", "/engine.io"] {
            let target = format!("{path}?EIO=4&transport=polling");
            assert!(http::get(server, &target).expect(200).text().starts_with("0{"));
            WebSocket::open(server, &format!("{path}?EIO=4&transport=websocket")).expect_text();
        }
    });
}

#[test]
fn head_is_answered_without_a_body() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        for target in ["/", HANDSHAKE] {
            http.request("HEAD", target, "", b"");
            let response = http.head_response();
            assert!(matches!(response.status, 400 | 404 | 405), "{target}: {response:?}");
        }
        // Had a body been sent, this answer would not parse.
        http.request("GET", HANDSHAKE, "", b"");
        http.response().expect(200);
    });
}

#[test]
fn options_is_answered_as_a_cors_preflight() {
    each_driver(ECHO_CALM, |server| {
        for target in [HANDSHAKE, "/socket.io/?EIO=4&transport=polling"] {
            let headers = "Origin: http://example.com\r\nAccess-Control-Request-Method: POST\r\n\
                           Access-Control-Request-Headers: content-type,x-api-key\r\n";
            let response = http::once(server, "OPTIONS", target, headers, b"");
            assert!(matches!(response.status, 200 | 204), "{response:?}");
            assert_eq!(response.header("access-control-allow-origin"), Some("*"));
            assert_eq!(response.header("access-control-allow-credentials"), None);
            let allowed = |name| response.header(name).unwrap_or("").to_lowercase();
            assert!(allowed("access-control-allow-methods").contains("post"));
            let headers = allowed("access-control-allow-headers");
            assert!(headers.contains("content-type") && headers.contains("x-api-key"), "{headers}");
        }
    });
}

#[test]
fn any_origin_may_read_but_never_with_credentials() {
    each_driver(ECHO_CALM, |server| {
        for origin in ["http://example.com", "null", "https://evil.example:8443"] {
            let headers = format!("Origin: {origin}\r\n");
            let response = http::once(server, "GET", HANDSHAKE, &headers, b"").expect(200);
            assert_eq!(response.header("access-control-allow-origin"), Some("*"));
            assert_eq!(response.header("access-control-allow-credentials"), None);
        }
    });
}

#[test]
fn keep_alive_is_the_default_of_http_1_1() {
    each_cell(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        for _ in 0..20 {
            http.request("GET", HANDSHAKE, "", b"");
            assert!(!http.response().expect(200).closes());
            http.request("GET", "/nowhere", "", b"");
            assert!(!http.response().expect(404).closes());
            http.request("GET", "/engine.io/?EIO=4&transport=polling&sid=x", "", b"");
            assert!(!http.response().expect(400).closes());
        }
    });
}

#[test]
fn connection_close_is_honoured() {
    each_driver(ECHO_CALM, |server| {
        for header in ["close", "Close", "foo, close", "close\r\nConnection: bar"] {
            let mut http = Http::connect(server);
            http.request("GET", HANDSHAKE, &format!("Connection: {header}\r\n"), b"");
            assert!(http.response().expect(200).closes(), "{header:?}");
            http.ends();
        }
    });
}

#[test]
fn requests_are_answered_though_the_client_will_send_nothing_more() {
    let are_answered = |server: &Server| {
        for _ in 0..50 {
            let mut http = Http::connect(server);
            http.send([request(HANDSHAKE), request("/nowhere")].concat());
            http.finish();
            http.response().expect(200);
            http.response().expect(404);
            http.ends();
        }
    };
    each_cell(ECHO_CALM, are_answered);
    each_driver(&["--app", "echo", "--flush-window", "5ms"], are_answered);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        http.send(format!("GET {HANDSHAKE} HTTP/1.0\r\n\r\n"));
        assert!(http.response().expect(200).text().starts_with("0{"));
        http.ends();

        let mut http = Http::connect(server);
        for _ in 0..2 {
            http.send(format!("GET {HANDSHAKE} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
            let response = http.response().expect(200);
            if response.closes() {
                // Allowed, if it is said and done.
                return http.ends();
            }
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    each_cell(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        let targets = [HANDSHAKE, "/nowhere", HANDSHAKE, "/engine.io/?EIO=4", HANDSHAKE];
        http.send(targets.map(request).concat());
        let statuses = targets.map(|_| http.response().status);
        assert_eq!(statuses, [200, 404, 200, 400, 200]);
    });
}

#[test]
fn pipelined_requests_for_sessions_of_several_shards_are_answered_in_order() {
    each_cell(ECHO_CALM, |server| {
        let mut sessions: Vec<Polling> = (0..12).map(|_| Polling::open(server, "/engine.io/")).collect();
        for (n, polling) in sessions.iter_mut().enumerate() {
            polling.send(&format!("4{n}"));
        }
        let mut http = Http::connect(server);
        let requests: Vec<String> = sessions.iter().map(|polling| request(&polling.target())).collect();
        http.send(requests.concat());
        for n in 0..sessions.len() {
            assert_eq!(http.response().expect(200).text(), format!("4{n}"));
        }
    });
}

#[test]
fn request_behind_a_pending_poll_waits_for_it() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, "/engine.io/");
        let mut http = Http::connect(server);
        http.send(request(&polling.target()) + &request("/nowhere"));
        http.is_quiet(Duration::from_millis(100));
        polling.send("4now");
        assert_eq!(http.response().expect(200).text(), "4now");
        http.response().expect(404);
    });
}

#[test]
fn pipelined_upgrade_waits_for_the_request_in_front_of_it() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, "/engine.io/");
        let mut http = Http::connect(server);
        let upgrade = upgrade_request(common::websocket::ENGINE_ECHO);
        http.send(format!("{}{upgrade}\r\n", request(&polling.target())));
        http.is_quiet(Duration::from_millis(100));
        polling.send("4first");
        assert_eq!(http.response().expect(200).text(), "4first");
        let mut ws = WebSocket::opened(http).expect("101");
        assert!(ws.expect_text().starts_with("0{"));
    });
}

#[test]
fn request_may_arrive_byte_by_byte() {
    each_driver(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, "/engine.io/");
        let request =
            format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n4hello", polling.target());
        let mut http = Http::connect(server);
        for byte in request.as_bytes() {
            http.send([*byte]);
        }
        http.response().expect(200);
        assert_eq!(polling.recv().text(), "4hello");
    });
}

#[test]
fn empty_line_before_a_request_is_ignored() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        http.send(format!("\r\n{}", request(HANDSHAKE)));
        http.response().expect(200);
        http.send(format!("\r\n{}", request(HANDSHAKE)));
        http.response().expect(200);
    });
}

#[test]
fn absolute_form_of_the_target_is_accepted() {
    each_driver(ECHO_CALM, |server| {
        let target = format!("http://localhost{HANDSHAKE}");
        assert!(http::get(server, &target).expect(200).text().starts_with("0{"));
    });
}

#[test]
fn body_of_a_request_that_needs_none_is_read_over() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        let smuggled = request("/engine.io/?EIO=4");
        for (target, status) in [(HANDSHAKE, 200), ("/nowhere", 404)] {
            http.request("GET", target, &format!("Content-Length: {}\r\n", smuggled.len()), b"");
            http.send(&smuggled);
            assert_eq!(http.response().status, status);
            // Not the answer to the body: that would be 400.
            http.request("GET", "/elsewhere", "", b"");
            http.response().expect(404);
        }
    });
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    each_cell(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, "/engine.io/");
        let mut http = Http::connect(server);
        http.send(format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n",
            polling.target()
        ));
        assert_eq!(http.any_response(false).status, 100);
        http.send("4hello");
        assert_eq!(http.response().expect(200).text(), "ok");
        assert_eq!(polling.recv().text(), "4hello");
    });
}

#[test]
fn expect_100_continue_is_refused_where_the_body_would_be() {
    each_driver(ECHO_CALM, |server| {
        let polling = Polling::open(server, "/engine.io/");
        let mut http = Http::connect(server);
        http.send(format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n",
            polling.target()
        ));
        assert_eq!(http.any_response(false).status, 413);
    });
}

#[test]
fn other_expectations_are_417() {
    each_driver(ECHO_CALM, |server| {
        for value in ["the-unexpected", "100-continue, more", "100-continue;q=1"] {
            let mut http = Http::connect(server);
            http.request("GET", HANDSHAKE, &format!("Expect: {value}\r\n"), b"");
            assert!(http.any_response(false).expect(417).closes(), "{value}");
            http.ends();
        }
    });
}

#[test]
fn half_closed_connection_still_gets_its_answer() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        http.send(request(HANDSHAKE));
        http.finish();
        assert!(http.response().expect(200).text().starts_with("0{"));
        http.ends();
    });
}

#[test]
fn answers_of_a_session_are_not_cached() {
    each_driver(ECHO_CALM, |server| {
        let mut polling = Polling::open(server, "/engine.io/");
        let post = polling.post("4x").expect(200);
        assert_eq!(post.header("cache-control"), Some("no-store"));
        let get = polling.get().expect(200);
        assert_eq!(get.header("cache-control"), Some("no-store"));
    });
}
