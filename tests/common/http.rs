//! A raw HTTP/1.1 client: it sends exactly the bytes it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use serde_json::Value;

use super::{LIMIT, Server};

/// A TCP socket with a free port of `address`, which does not listen. A process that another test starts meanwhile has a copy
/// of it until it execs, and no longer: a server would keep the connection open.
pub fn bound_socket(address: Ipv4Addr) -> OwnedFd {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddr::from((address, 0))).expect("an address of this machine");
    socket
}

/// One TCP connection.
pub struct Http {
    pub stream: TcpStream,
    /// Received and not yet consumed.
    pub buffer: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Response {
    /// The minor version: `1` of HTTP/1.1.
    pub minor: u8,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why nothing more could be read.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum End {
    /// FIN or a reset.
    Closed,
    TimedOut,
}

impl Http {
    pub fn connect(server: &Server) -> Http {
        Http::connect_to(server.addr())
    }

    /// As [`Http::connect`], to any address.
    pub fn connect_to(address: SocketAddr) -> Http {
        let stream = TcpStream::connect_timeout(&address, LIMIT).expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_write_timeout(Some(LIMIT)).expect("a TCP socket");
        Http { stream, buffer: Vec::new() }
    }

    /// As [`Http::connect`], from another address of this machine (all of 127.0.0.0/8 are). The error is that of a
    /// connection that is reset at once.
    pub fn connect_from(server: &Server, address: &str) -> std::io::Result<Http> {
        let socket = bound_socket(address.parse().expect("an address"));
        rustix::net::connect(&socket, &server.addr())?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Http { stream, buffer: Vec::new() })
    }

    /// Sends bytes. That the server closed meanwhile is not an error: what it answered will tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(e) => panic!("sending: {e}"),
        }
    }

    /// Closes the sending half.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request with `Host` and what else its body needs.
    pub fn request(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}");
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes);
    }

    /// The next answer, interim ones (`100`) skipped.
    pub fn response(&mut self) -> Response {
        loop {
            let response = self.any_response(false);
            if response.status != 100 {
                return response;
            }
        }
    }

    /// The next answer to a `HEAD`.
    pub fn head_response(&mut self) -> Response {
        self.any_response(true)
    }

    /// The next answer, be it an interim one.
    pub fn any_response(&mut self, to_head: bool) -> Response {
        self.try_response(to_head, LIMIT).unwrap_or_else(|end| {
            panic!("no complete answer ({end:?}), only: {:?}", String::from_utf8_lossy(&self.buffer))
        })
    }

    /// Reads one answer; what has come of an incomplete one stays in the buffer.
    pub fn try_response(&mut self, to_head: bool, limit: Duration) -> Result<Response, End> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some((response, used)) = parse_response(&self.buffer, to_head, false) {
                self.buffer.drain(..used);
                return Ok(response);
            }
            if let Err(end) = self.fill(deadline) {
                // A body without a length reaches to the end of the connection.
                let at_end = end == End::Closed;
                let response = parse_response(&self.buffer, to_head, at_end).ok_or(end)?.0;
                self.buffer.clear();
                return Ok(response);
            }
        }
    }

    /// Reads more into the buffer.
    pub fn fill(&mut self, deadline: Instant) -> Result<(), End> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::TimedOut);
        }
        self.stream.set_read_timeout(Some(left)).expect("a TCP socket");
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(End::Closed),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(End::TimedOut),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(End::Closed),
        }
    }

    /// Asserts that the server closes the connection, and gives what it still sent.
    pub fn rest(&mut self) -> Vec<u8> {
        self.rest_within(LIMIT)
    }

    /// As [`Http::rest`] with another limit.
    pub fn rest_within(&mut self, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(End::Closed) => return std::mem::take(&mut self.buffer),
                Err(End::TimedOut) => panic!(
                    "the connection is still open after {limit:?}, having sent {:?}",
                    String::from_utf8_lossy(&self.buffer)
                ),
            }
        }
    }

    /// Asserts that the connection ends without another byte.
    pub fn ends(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "unexpected bytes: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Asserts that nothing comes for a while and the connection stays open.
    pub fn is_quiet(&mut self, duration: Duration) {
        let deadline = Instant::now() + duration;
        let mut outcome = self.fill(deadline);
        // A read that a signal interrupted has brought nothing: the end of a ring of this thread's is one.
        while outcome == Ok(()) && self.buffer.is_empty() {
            outcome = self.fill(deadline);
        }
        assert_eq!(outcome, Err(End::TimedOut), "unexpected: {:?}", String::from_utf8_lossy(&self.buffer));
        assert!(self.buffer.is_empty(), "unexpected: {:?}", String::from_utf8_lossy(&self.buffer));
    }
}

impl Response {
    /// A header's value; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        super::json::parse(self.text())
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "body: {:?}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Whether the server says that it will close.
    pub fn closes(&self) -> bool {
        let connection = self.header("connection").unwrap_or("").to_lowercase();
        connection.contains("close") || (self.minor == 0 && !connection.contains("keep-alive"))
    }
}

/// One request on a connection of its own.
pub fn once(server: &Server, method: &str, target: &str, headers: &str, body: &[u8]) -> Response {
    let mut http = Http::connect(server);
    http.request(method, target, headers, body);
    match method {
        "HEAD" => http.head_response(),
        _ => http.response(),
    }
}

pub fn get(server: &Server, target: &str) -> Response {
    once(server, "GET", target, "", b"")
}

pub fn post(server: &Server, target: &str, body: impl AsRef<[u8]>) -> Response {
    let headers = "Content-Type: text/plain;charset=UTF-8\r\n";
    once(server, "POST", target, headers, body.as_ref())
}

fn parse_response(bytes: &[u8], to_head: bool, at_end: bool) -> Option<(Response, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let head_len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return None,
        Err(e) => panic!("not HTTP ({e}): {:?}", String::from_utf8_lossy(bytes)),
    };
    let mut response = Response {
        minor: parsed.version?,
        status: parsed.code?,
        headers: parsed
            .headers
            .iter()
            .map(|h| {
                let value = String::from_utf8_lossy(h.value).into_owned();
                (h.name.to_string(), value)
            })
            .collect(),
        body: Vec::new(),
    };
    let rest = &bytes[head_len..];
    let bodiless = to_head || matches!(response.status, 100..=199 | 204 | 304);
    if bodiless {
        return Some((response, head_len));
    }
    if response.header("transfer-encoding").is_some() {
        let (body, used) = parse_chunked(rest)?;
        response.body = body;
        return Some((response, head_len + used));
    }
    let length: usize = match response.header("content-length") {
        Some(length) => length.parse().expect("a Content-Length"),
        None if !response.closes() => panic!("an answer without a length: {response:?}"),
        None if at_end => rest.len(),
        None => return None,
    };
    response.body = rest.get(..length)?.to_vec();
    Some((response, head_len + length))
}

fn parse_chunked(mut rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, total) = (Vec::new(), rest.len());
    loop {
        let line_end = rest.windows(2).position(|w| w == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).expect("a chunk size");
        let size = usize::from_str_radix(line, 16).expect("a chunk size");
        let chunk = rest.get(line_end + 2..line_end + 4 + size)?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends in CRLF");
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[line_end + 4 + size..];
        if size == 0 {
            return Some((body, total - rest.len()));
        }
    }
}
