//! RFC 9112: messages that two servers could read differently are refused, and numbers are parsed exactly.

mod common;

use std::time::{Duration, Instant};

use common::http::{End, Http};
use common::{ECHO_CALM, Polling, Server, each_driver};

const HANDSHAKE: &str = "/engine.io/?EIO=4&transport=polling";

/// What a smuggled request would be: its answer would be a second one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends bytes and asserts that they are answered with one of `statuses` and the connection then ends, with nothing
/// that follows answered. A client error may also end the connection without a word if `statuses` has a 0.
#[track_caller]
fn assert_refused(server: &Server, statuses: &[u16], what: &str, bytes: &[u8]) {
    let mut http = Http::connect(server);
    http.send(bytes);
    let status = match http.try_response(false, common::LIMIT) {
        Ok(response) => response.status,
        Err(End::Closed) => 0,
        Err(End::TimedOut) => panic!("{what}: no answer"),
    };
    assert!(statuses.contains(&status), "{what}: {status}");
    let rest = http.rest();
    assert!(rest.is_empty(), "{what}: {:?}", String::from_utf8_lossy(&rest));
}

/// A post to a fresh session with these header lines (each with its CRLF) and body.
fn post(server: &Server, headers: &str, body: &str) -> Vec<u8> {
    let target = Polling::open(server, "/engine.io/").target();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}{SMUGGLED}").into_bytes()
}

#[test]
fn ambiguous_length_is_400() {
    each_driver(ECHO_CALM, |server| {
        for headers in [
            "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
            "Content-Length: 6\r\nContent-Length: 6\r\n",
            "Content-Length: 6\r\nContent-Length: 7\r\n",
            "Content-Length: 6, 6\r\n",
            "Content-Length: 6, 7\r\n",
        ] {
            assert_refused(server, &[400], headers, &post(server, headers, "4hello"));
        }
    });
}

#[test]
fn content_length_that_is_no_number_is_400() {
    each_driver(ECHO_CALM, |server| {
        for value in [
            "+6",
            "-6",
            "-0",
            "0x6",
            "6e0",
            "6.0",
            "six",
            "",
            "6 6",
            "6;",
            "\"6\"",
            "６",
            "1_0",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            let headers = format!("Content-Length: {value}\r\n");
            // The last two are numbers, only too large ones.
            let statuses: &[u16] = if value.len() > 19 { &[400, 413] } else { &[400] };
            assert_refused(server, statuses, &headers, &post(server, &headers, "4hello"));
        }
    });
}

#[test]
fn content_length_may_have_leading_zeros_and_blanks_around() {
    each_driver(ECHO_CALM, |server| {
        for value in ["6", "  6", "6 ", "006"] {
            let mut polling = Polling::open(server, "/engine.io/");
            let mut http = Http::connect(server);
            let target = polling.target();
            http.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\ncontent-length:{value}\r\n\r\n4hello"));
            http.response().expect(200);
            assert_eq!(polling.recv().text(), "4hello");
        }
    });
}

#[test]
fn transfer_encoding_other_than_chunked_is_refused() {
    each_driver(ECHO_CALM, |server| {
        let body = "6\r\n4hello\r\n0\r\n\r\n";
        for value in [
            "identity",
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "xchunked",
            "chunkedx",
            "\"chunked\"",
            "chunked;q=1",
            "",
            ",chunked",
            "\u{b}chunked",
        ] {
            let headers = format!("Transfer-Encoding: {value}\r\n");
            assert_refused(server, &[400, 501], &headers, &post(server, &headers, body));
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_refused(server, &[400, 501], twice, &post(server, twice, body));
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
        assert_refused(server, &[400, 501], twice, &post(server, twice, body));
    });
}

#[test]
fn chunked_body_in_http_1_0_is_400() {
    each_driver(ECHO_CALM, |server| {
        let bytes = post(server, "Transfer-Encoding: chunked\r\n", "6\r\n4hello\r\n0\r\n\r\n");
        let bytes = String::from_utf8(bytes).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
        assert_refused(server, &[400, 501], "HTTP/1.0", bytes.as_bytes());
    });
}

#[test]
fn chunked_body_is_read() {
    each_driver(ECHO_CALM, |server| {
        for body in [
            "6\r\n4hello\r\n0\r\n\r\n",
            "1\r\n4\r\n5\r\nhello\r\n0\r\n\r\n",
            "06\r\n4hello\r\n000\r\n\r\n",
            "3;name=value\r\n4he\r\n3;x=\"y\"\r\nllo\r\n0;last\r\n\r\n",
            "6\r\n4hello\r\n0\r\nTrailer: value\r\nOther: value\r\n\r\n",
        ] {
            for piece in [1, 5, 1000] {
                let mut polling = Polling::open(server, "/engine.io/");
                let mut http = Http::connect(server);
                let target = polling.target();
                http.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n"));
                body.as_bytes().chunks(piece).for_each(|bytes| http.send(bytes));
                assert_eq!(http.response().expect(200).text(), "ok", "{body:?}");
                assert_eq!(polling.recv().text(), "4hello");
                http.request("GET", "/next", "", b"");
                http.response().expect(404);
            }
        }
    });
}

#[test]
fn malformed_chunk_is_refused() {
    each_driver(ECHO_CALM, |server| {
        for body in [
            "+6\r\n4hello\r\n0\r\n\r\n",
            "-6\r\n4hello\r\n0\r\n\r\n",
            "0x6\r\n4hello\r\n0\r\n\r\n",
            " 6\r\n4hello\r\n0\r\n\r\n",
            "6h\r\n4hello\r\n0\r\n\r\n",
            "\r\n4hello\r\n0\r\n\r\n",
            "6_\r\n4hello\r\n0\r\n\r\n",
            "6\n4hello\r\n0\r\n\r\n",
            "6\r\n4hello0\r\n\r\n",
            "6\r\n4helloXX0\r\n\r\n",
            "5\r\n4hello\r\n0\r\n\r\n",
            "6;a\rb\r\n4hello\r\n0\r\n\r\n",
            "6;a\nb\r\n4hello\r\n0\r\n\r\n",
            "10000000000000006\r\n4hello\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n4hello\r\n0\r\n\r\n",
        ] {
            let bytes = post(server, "Transfer-Encoding: chunked\r\n", body);
            assert_refused(server, &[400, 413], &format!("{body:?}"), &bytes);
        }
    });
}

#[test]
fn endless_chunk_extensions_and_trailers_are_cut_off() {
    each_driver(ECHO_CALM, |server| {
        let statuses = [0, 400, 413, 431];
        let long = "x".repeat(200_000);
        for body in [
            format!("6;{long}\r\n4hello\r\n0\r\n\r\n"),
            format!("6\r\n4hello\r\n0\r\nTrailer: {long}\r\n\r\n"),
            format!("6\r\n4hello\r\n0\r\n{}\r\n", "A: b\r\n".repeat(50_000)),
            "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n4\r\n".repeat(20_000),
        ] {
            let bytes = post(server, "Transfer-Encoding: chunked\r\n", &body);
            assert_refused(server, &statuses, &body[..20], &bytes);
        }
    });
}

#[test]
fn malformed_request_line_is_400() {
    each_driver(ECHO_CALM, |server| {
        let rest = "\r\nHost: localhost\r\n\r\n";
        for line in [
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1 x",
            "G(T / HTTP/1.1",
            "GET / http/1.1",
            "GET \u{0} HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}",
        ] {
            let bytes = format!("{line}{rest}{SMUGGLED}");
            assert_refused(server, &[400], &format!("{line:?}"), bytes.as_bytes());
        }
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "HTTP/1.", "HTTP/11", "HTTP/1.1.1"] {
            let bytes = format!("GET / {version}{rest}");
            assert_refused(server, &[400, 505], version, bytes.as_bytes());
        }
    });
}

#[test]
fn bytes_that_are_no_http_are_refused_at_once() {
    each_driver(ECHO_CALM, |server| {
        for bytes in [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], b"\0\0\0", b"\x80\x2e\x01"] {
            assert_refused(server, &[400], &format!("{bytes:?}"), bytes);
        }
    });
}

#[test]
fn malformed_header_is_400() {
    each_driver(ECHO_CALM, |server| {
        for header in [
            "Content-Length : 0",
            "Bad Name: x",
            "No colon",
            ": no name",
            " Leading: blank",
            "Folded: a\r\n b",
            "Folded: a\r\n\tb",
            "Nul: a\u{0}b",
            "Return: a\rb",
            "Delete: a\u{7f}b",
            "N\u{e9}: x",
            "Transfer-Encoding : chunked",
        ] {
            let bytes = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
            assert_refused(server, &[400], &format!("{header:?}"), bytes.as_bytes());
        }
    });
}

#[test]
fn host_is_needed_once_and_valid() {
    each_driver(ECHO_CALM, |server| {
        for headers in [
            "",
            "Host: a\r\nHost: b\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: a@b\r\n",
            "Host: a,b\r\n",
            "Host: a?b\r\n",
            "Host: a#b\r\n",
            "Host: a\\b\r\n",
            "Host: [::1\r\n",
            "Host: a:b\r\n",
            "Host: a:80:80\r\n",
            "Host: <a>\r\n",
        ] {
            let bytes = format!("GET {HANDSHAKE} HTTP/1.1\r\n{headers}\r\n{SMUGGLED}");
            assert_refused(server, &[400], headers, bytes.as_bytes());
        }
        let mut http = Http::connect(server);
        for host in ["localhost", "example.com:3000", "127.0.0.1", "[::1]:80", "a_b.c-d~e", "EXAMPLE"] {
            http.send(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            http.response().expect(200);
        }
    });
}

#[test]
fn headers_beyond_the_limits_are_refused() {
    each_driver(ECHO_CALM, |server| {
        let start = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: localhost\r\n");
        let long = "x".repeat(100_000);
        for (what, bytes) in [
            ("one long header", format!("{start}Long: {long}\r\n\r\n")),
            ("many headers", format!("{start}{}\r\n", "A: b\r\n".repeat(2_000))),
            ("a long name", format!("{start}{long}: x\r\n\r\n")),
            ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
            ("no end", format!("{start}{}", "A: bbbbbbbbbbbbbbbbbbbbb\r\n".repeat(10_000))),
            ("a long method", format!("{long} / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
            ("no line end", "y".repeat(300_000)),
        ] {
            assert_refused(server, &[400, 414, 431], what, bytes.as_bytes());
        }
    });
}

#[test]
fn dozens_of_headers_of_a_browser_are_accepted() {
    each_driver(ECHO_CALM, |server| {
        let mut http = Http::connect(server);
        let cookies = "name=value; ".repeat(300);
        let more: String = (0..40).map(|n| format!("X-Header-{n}: value\r\n")).collect();
        http.request("GET", HANDSHAKE, &format!("Cookie: {cookies}\r\n{more}"), b"");
        http.response().expect(200);
    });
}

#[test]
fn request_that_does_not_become_complete_is_cut_off() {
    each_driver(&[ECHO_CALM, &["--request-timeout", "1s"]].concat(), |server| {
        let target = Polling::open(server, "/engine.io/").target();
        let half_body = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n4hel");
        let unfinished = ["", "GET /eng", "GET / HTTP/1.1\r\nHost: loc", half_body.as_str()].map(|bytes| {
            let mut http = Http::connect(server);
            http.send(bytes);
            (bytes, http)
        });
        // A byte now and then must not keep a request alive.
        let start = Instant::now();
        let mut unfinished = unfinished;
        while start.elapsed() < Duration::from_millis(1500) {
            std::thread::sleep(Duration::from_millis(100));
            unfinished.iter_mut().skip(2).for_each(|(_, http)| http.send("x"));
        }
        for (bytes, mut http) in unfinished {
            let rest = http.rest_within(Duration::from_millis(700));
            let rest = String::from_utf8_lossy(&rest);
            assert!(rest.is_empty() || rest.contains(" 408 "), "{bytes:?}: {rest:?}");
        }
    });
}
