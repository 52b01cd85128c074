use super::*;

/// Parses a head with `lines` behind the request line, `Host: a` not included.
fn parse(request_line: &str, lines: &str) -> Result<(), HeadError> {
    let text = format!("{request_line}\r\n{lines}\r\n");
    parse_head(text.as_bytes()).map(|head| assert_eq!(head.map(|(_, len)| len), Some(text.len())))
}

/// The status a request with these header lines, beside a valid Host, is refused with.
fn refused(lines: &str) -> Option<u16> {
    parse("POST / HTTP/1.1", &format!("Host: a\r\n{lines}")).err().map(|error| error.status())
}

fn with_head<T>(text: &str, check: impl FnOnce(Head<'_>) -> T) -> T {
    let (head, len) = parse_head(text.as_bytes()).expect("valid").expect("complete");
    assert_eq!(len, text.len());
    check(head)
}

#[test]
fn a_handshake_is_parsed() {
    let text = "GET /socket.io/?EIO=4&transport=polling&t=N8hyd6w HTTP/1.1\r\nHost: localhost:3000\r\nuser-AGENT:  curl  \r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n";
    with_head(text, |head| {
        assert_eq!((head.method, head.path), (Method::Get, "/socket.io/"));
        assert_eq!(head.query, "EIO=4&transport=polling&t=N8hyd6w");
        assert!(!head.http_10 && head.keep_alive && !head.expect_continue);
        assert_eq!((head.framing, head.upgrade), (Framing::None, Upgrade::No));
        assert_eq!(head.header("User-Agent"), Some(&b"curl"[..]));
        assert_eq!(head.header("x-empty"), Some(&b""[..]));
        assert_eq!(head.header("X-TWICE"), Some(&b"1"[..]));
        assert!(head.headers("X-TWICE").eq([&b"1"[..], b"2"]));
        assert_eq!(head.header("X-Twic"), None);
        assert_eq!(head.header(""), None);
        assert_eq!(head.query_param("transport").as_deref(), Some("polling"));
    });
}

#[test]
fn methods_are_told_apart_and_case_matters() {
    let cases = [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("get", Method::Other),
        ("TRACE", Method::Other),
    ];
    for (name, method) in cases {
        with_head(&format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n"), |head| assert_eq!(head.method, method));
    }
}

#[test]
fn query_parameters_are_decoded() {
    let text = "GET /?a=1&b=x%20y+z&a=2&c&d=&e=%E2%82%AC&%66=g&h=%zz%2&i=%ff&j=k=l HTTP/1.1\r\nHost: a\r\n\r\n";
    with_head(text, |head| {
        let cases = [
            ("a", Some("1")),
            ("b", Some("x y z")),
            ("c", Some("")),
            ("d", Some("")),
            ("e", Some("€")),
            ("f", Some("g")),
            ("h", Some("%zz%2")),
            ("i", Some("\u{fffd}")),
            ("j", Some("k=l")),
            ("k", None),
            ("__proto__", None),
        ];
        for (name, value) in cases {
            assert_eq!(head.query_param(name).as_deref(), value, "{name}");
        }
        assert!(matches!(head.query_param("a"), Some(Cow::Borrowed("1"))));
    });
}

#[test]
fn targets() {
    let good = [
        ("GET", "/", "/", ""),
        ("GET", "/a/b?c?d", "/a/b", "c?d"),
        ("GET", "/?", "/", ""),
        ("GET", "//a//", "//a//", ""),
        ("GET", "http://example.org/a?b=c", "/a", "b=c"),
        ("GET", "HTTP://[::1]:80", "/", ""),
        ("GET", "https://a:1?b", "/", "b"),
        ("OPTIONS", "*", "*", ""),
    ];
    for (method, target, path, query) in good {
        with_head(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"), |head| {
            assert_eq!((head.path, head.query), (path, query), "{target}");
        });
    }
    let bad = [
        "*",
        "a",
        "a:80",
        "ftp://a/",
        "http:///a",
        "http://u@a/",
        "http://a b/",
        "/é",
        "/\u{7f}",
        "/\t",
        "/a#b",
        "?a",
        "",
    ];
    for target in bad {
        let result = parse(&format!("GET {target} HTTP/1.1"), "Host: a\r\n");
        assert_eq!(result.map_err(|error| error.status()), Err(400), "{target}");
    }
}

#[test]
fn request_lines_that_are_none_are_400_and_other_versions_505() {
    let cases = [
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/11.1", 505),
        ("GET / http/1.1", 400),
        ("GET / HTTP/x.y", 400),
        ("GET / HTTP/", 400),
        ("GET / HTTX/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("G\u{1}T / HTTP/1.1", 400),
        ("(GET) / HTTP/1.1", 400),
    ];
    for (line, status) in cases {
        assert_eq!(parse(line, "Host: a\r\n").map_err(|error| error.status()), Err(status), "{line}");
    }
}

#[test]
fn hosts() {
    for host in ["a", "localhost:3000", "127.0.0.1", "[::1]", "[::1]:80", "a:", "a-b_c.d", "%61", "xn--e1a"] {
        assert_eq!(parse("GET / HTTP/1.1", &format!("Host: {host}\r\n")), Ok(()), "{host}");
    }
    let bad = [
        "", "a b", "a/b", "a@b", "a:b", "a:1:2", "a:65536", "a:+1", "[::1", "::1", "[g]", "[::1]x", "a,b", "a?b",
        "a#b", "é", ":80", "a\\b", "<a>",
    ];
    for host in bad {
        for version in ["1.0", "1.1"] {
            let result = parse(&format!("GET / HTTP/{version}"), &format!("Host: {host}\r\n"));
            assert_eq!(result.map_err(|error| error.status()), Err(400), "{host}");
        }
    }
    assert_eq!(parse("GET / HTTP/1.0", ""), Ok(()));
    assert_eq!(parse("GET / HTTP/1.1", "").map_err(|error| error.status()), Err(400));
    assert_eq!(parse("GET http://a/ HTTP/1.1", "").map_err(|error| error.status()), Err(400));
    assert_eq!(refused("Host: a\r\n"), Some(400), "a second Host");
    assert_eq!(parse("GET / HTTP/1.0", "Host: a\r\nhost: a\r\n").map_err(|error| error.status()), Err(400));
}

#[test]
fn framing() {
    let good = [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:\t12 \r\n", Framing::Length(12)),
        ("Content-Length: 007\r\n", Framing::Length(7)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding: Chunked\r\n", Framing::Chunked),
    ];
    for (lines, framing) in good {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        with_head(&text, |head| assert_eq!(head.framing, framing, "{lines}"));
    }
    let bad = [
        ("Content-Length: +3\r\n", 400),
        ("Content-Length: -3\r\n", 400),
        ("Content-Length: 0x3\r\n", 400),
        ("Content-Length: 3 3\r\n", 400),
        ("Content-Length: 3.0\r\n", 400),
        ("Content-Length: 1e3\r\n", 400),
        ("Content-Length: 1,1\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: \u{ff11}\r\n", 400),
        ("Content-Length: 18446744073709551616\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: chunked;q=1\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 501),
        ("Transfer-Encoding:\u{b}chunked\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Content-Length : 3\r\n", 400),
        (" Content-Length: 3\r\n", 400),
        ("X: y\r\n folded\r\n", 400),
        ("X: a\rb\r\n", 400),
        ("X: a\nY: b\r\n", 400),
        ("X: a\0b\r\n", 400),
        ("X: a\u{7f}b\r\n", 400),
        ("X\0: a\r\n", 400),
        ("X\u{e9}: a\r\n", 400),
        (": a\r\n", 400),
        ("no colon\r\n", 400),
    ];
    for (lines, status) in bad {
        assert_eq!(refused(lines), Some(status), "{lines:?}");
    }
    let old = parse("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n");
    assert_eq!(old.map_err(|error| error.status()), Err(400));
}

#[test]
fn keep_alive_and_expectations() {
    let cases = [
        ("1.1", "", true, false),
        ("1.1", "Connection: close\r\n", false, false),
        ("1.1", "Connection: Upgrade, CLOSE\r\n", false, false),
        ("1.1", "Connection: upgrade\r\nConnection:close\r\n", false, false),
        ("1.1", "Connection: closed\r\n", true, false),
        ("1.0", "", false, false),
        ("1.0", "Connection: Keep-Alive\r\n", true, false),
        ("1.0", "Connection: keep-alive, close\r\n", false, false),
        ("1.1", "Expect: 100-Continue\r\n", true, true),
        ("1.0", "Expect: 100-continue\r\n", false, false),
    ];
    for (version, lines, keep_alive, expect_continue) in cases {
        with_head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"), |head| {
            assert_eq!((head.keep_alive, head.expect_continue), (keep_alive, expect_continue), "{version} {lines}");
        });
    }
}

#[test]
fn unknown_expectations_are_refused() {
    for (version, value, expected) in [
        ("1.1", "100-continue", None),
        ("1.1", "", None),
        ("1.1", "100-CONTINUE, ,100-continue", None),
        ("1.1", "other", Some(HeadError::ExpectationFailed)),
        ("1.1", "100-continue, other", Some(HeadError::ExpectationFailed)),
        ("1.0", "other", None),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n");
        assert_eq!(parse_head(head.as_bytes()).err(), expected, "{version} {value:?}");
    }
}

#[test]
fn websocket_handshakes() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
    let upgrade = |line: &str, lines: &[&str]| {
        with_head(&format!("{line}\r\nHost: a\r\n{}\r\n", lines.concat()), |head| match head.upgrade {
            Upgrade::No => "no".to_owned(),
            Upgrade::WebSocket { key } => String::from_utf8_lossy(key).into_owned(),
            Upgrade::UnsupportedVersion => "version".to_owned(),
            Upgrade::BadHandshake(reason) => format!("bad: {reason}"),
        })
    };
    let get = "GET / HTTP/1.1";
    assert_eq!(upgrade(get, &[UPGRADE, KEY, VERSION]), "dGhlIHNhbXBsZSBub25jZQ==");
    let odd = "upgrade: h2c, WebSocket\r\nCONNECTION: UPGRADE\r\n";
    assert_eq!(upgrade(get, &[odd, KEY, VERSION, "Content-Length: 0\r\n"]), "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(upgrade(get, &["Upgrade: h2c\r\nConnection: Upgrade\r\n", KEY, VERSION]), "no");
    assert_eq!(upgrade(get, &[KEY, VERSION, "Connection: Upgrade\r\n"]), "no");
    for version in
        ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n", "Sec-WebSocket-Version: 14\r\n"]
    {
        assert_eq!(upgrade(get, &[UPGRADE, KEY, version]), "version", "{version}");
    }
    assert_eq!(upgrade(get, &[UPGRADE, KEY, VERSION, VERSION]), "version");
    let bad: [(&str, &[&str]); 11] = [
        ("POST / HTTP/1.1", &[UPGRADE, KEY, VERSION]),
        ("GET / HTTP/1.0", &[UPGRADE, KEY, VERSION]),
        (get, &["Upgrade: websocket\r\n", KEY, VERSION]),
        (get, &["Upgrade: websocket\r\nConnection: keep-alive\r\n", KEY, VERSION]),
        (get, &[UPGRADE, VERSION]),
        (get, &[UPGRADE, KEY, KEY, VERSION]),
        (get, &[UPGRADE, VERSION, "Sec-WebSocket-Key: AQIDBA==\r\n"]),
        (get, &[UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"]),
        (get, &[UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSB-b25jZQ==\r\n"]),
        (get, &[UPGRADE, KEY, VERSION, "Content-Length: 5\r\n"]),
        (get, &[UPGRADE, KEY, VERSION, "Transfer-Encoding: chunked\r\n"]),
    ];
    for (line, lines) in bad {
        assert!(upgrade(line, lines).starts_with("bad: "), "{line} {lines:?}");
    }
}

#[test]
fn empty_lines_in_front_are_tolerated_but_few() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    with_head(&format!("\r\n\r\n{head}"), |head| assert_eq!(head.header("host"), Some(&b"a"[..])));
    for front in ["\r\n\r\n\r\n", "\n", "\r", "\r\r\n"] {
        let text = format!("{front}{head}");
        assert_eq!(parse_head(text.as_bytes()).map_err(|error| error.status()).err(), Some(400), "{front:?}");
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_before_a_line_ends() {
    for bytes in [&b"\x16\x03\x01\x02\0"[..], b"\0", b" GET", b"\r\n\xff", b"\r\n\r\n("] {
        assert_eq!(parse_head(bytes).map_err(|error| error.status()).err(), Some(400), "{bytes:?}");
    }
    for bytes in [&b"\r"[..], b"\r\n\r", b"g", b"\r\n!"] {
        assert!(matches!(parse_head(bytes), Ok(None)), "{bytes:?}");
    }
}

#[test]
fn incomplete_heads_are_awaited_and_large_ones_refused() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for len in 0..text.len() {
        assert!(matches!(parse_head(&text.as_bytes()[..len]), Ok(None)), "{len}");
    }
    let (head, len) = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b").expect("valid").expect("complete");
    assert_eq!((head.path, len), ("/", text.len()));

    let front = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let padded = |len: usize| format!("{front}{}\r\n\r\n", "x".repeat(len - front.len() - 4));
    with_head(&padded(MAX_HEAD), |head| assert_eq!(head.path, "/"));
    assert_eq!(parse_head(padded(MAX_HEAD + 1).as_bytes()).err(), Some(HeadError::TooLarge));
    assert!(matches!(parse_head("x".repeat(MAX_HEAD - 1).as_bytes()), Ok(None)));
    assert_eq!(parse_head("x".repeat(MAX_HEAD).as_bytes()).err(), Some(HeadError::TooLarge));

    assert_eq!(parse("GET / HTTP/1.1", &format!("Host: a\r\n{}", "x: y\r\n".repeat(MAX_HEADERS - 1))), Ok(()));
    assert_eq!(refused(&"x: y\r\n".repeat(MAX_HEADERS)), Some(431));
}
