//! Engine.IO v4 over both transports: heartbeats are answered, packets come one by one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::http::{self, Http, Response};
use super::websocket::{BINARY, Frame, TEXT, WebSocket};
use super::{LIMIT, Server};

/// The packets of a polling payload are separated by this.
pub const SEPARATOR: char = '\x1e';

/// A whole packet as it is written on a WebSocket: `4text`, or the bytes of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Polling,
    WebSocket,
}

/// Both transports, for rules that hold on either.
pub const BOTH: [Via; 2] = [Via::Polling, Via::WebSocket];

impl Packet {
    pub fn text(&self) -> &str {
        match self {
            Packet::Text(text) => text,
            Packet::Binary(bytes) => panic!("binary: {bytes:?}"),
        }
    }
}

impl From<&str> for Packet {
    fn from(text: &str) -> Packet {
        Packet::Text(text.to_string())
    }
}

/// A polling session. Each request has a connection of its own unless [`Polling::keep_alive`] was called: with several
/// workers the kernel spreads them over the shards.
pub struct Polling<'a> {
    pub server: &'a Server,
    /// `/engine.io/` or `/socket.io/`.
    pub path: String,
    pub sid: String,
    /// The open packet's JSON.
    pub open: String,
    inbox: VecDeque<Packet>,
    keeps_alive: bool,
    kept: Option<Http>,
    /// A poll that was not answered yet when its time was up.
    pending: Option<Http>,
}

impl<'a> Polling<'a> {
    pub fn open(server: &'a Server, path: &str) -> Polling<'a> {
        Polling::open_with(server, path, "")
    }

    /// As [`Polling::open`], with more headers in the handshake.
    pub fn open_with(server: &'a Server, path: &str, headers: &str) -> Polling<'a> {
        let target = format!("{path}?EIO=4&transport=polling");
        let response = http::once(server, "GET", &target, headers, b"").expect(200);
        let mut packets = response.text().split(SEPARATOR);
        let open = packets.next().unwrap_or("");
        let open = open.strip_prefix('0').expect("an open packet");
        let sid = super::json::parse(open)["sid"].as_str().map(str::to_string);
        Polling {
            server,
            path: path.to_string(),
            sid: sid.expect("a sid"),
            open: open.to_string(),
            inbox: packets.map(decode).collect(),
            keeps_alive: false,
            kept: None,
            pending: None,
        }
    }

    /// From now on all requests but delayed ones share one connection.
    pub fn keep_alive(mut self) -> Polling<'a> {
        self.keeps_alive = true;
        self.kept = Some(Http::connect(self.server));
        self
    }

    pub fn target(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.sid)
    }

    /// The target of the WebSocket this session upgrades to.
    pub fn upgrade_target(&self) -> String {
        format!("{}?EIO=4&transport=websocket&sid={}", self.path, self.sid)
    }

    fn request(&mut self, method: &str, body: &[u8]) -> Response {
        let headers = match method {
            "POST" => "Content-Type: text/plain;charset=UTF-8\r\n",
            _ => "",
        };
        let target = self.target();
        match &mut self.kept {
            Some(http) => {
                http.request(method, &target, headers, body);
                http.response()
            }
            None => http::once(self.server, method, &target, headers, body),
        }
    }

    /// One poll: its answer, whatever it is.
    pub fn get(&mut self) -> Response {
        self.request("GET", b"")
    }

    /// Starts a poll whose answer is read later.
    pub fn get_pending(&self) -> Http {
        let mut http = Http::connect(self.server);
        http.request("GET", &self.target(), "", b"");
        http
    }

    /// Starts the poll that the next [`Polling::recv`] reads.
    pub fn park(&mut self) {
        self.pending = Some(self.take_poll());
    }

    /// Starts a poll and waits until the server has surely got it.
    pub fn get_parked(&self) -> Http {
        let mut http = self.get_pending();
        http.is_quiet(Duration::from_millis(60));
        http
    }

    /// One post: its answer, whatever it is.
    pub fn post(&mut self, payload: impl AsRef<[u8]>) -> Response {
        self.request("POST", payload.as_ref())
    }

    /// Posts text packets and asserts that they were taken.
    #[track_caller]
    pub fn send(&mut self, payload: &str) {
        let response = self.post(payload).expect(200);
        assert_eq!(response.text(), "ok");
    }

    /// The next packet; heartbeats are answered and left out.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        self.recv_by(Instant::now() + LIMIT).expect("a packet in time")
    }

    /// As [`Polling::recv`], up to a deadline. A poll that is still pending then is kept: to cancel it would end the session.
    #[track_caller]
    fn recv_by(&mut self, deadline: Instant) -> Option<Packet> {
        loop {
            match self.inbox.pop_front() {
                Some(packet) if packet == "2".into() => self.send("3"),
                Some(packet) if packet == "6".into() => {}
                Some(packet) => return Some(packet),
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let mut poll = self.take_poll();
                    match poll.try_response(false, left) {
                        Ok(response) => {
                            self.inbox.extend(packets(&response));
                            self.give_back(poll);
                        }
                        Err(http::End::TimedOut) => {
                            self.pending = Some(poll);
                            return None;
                        }
                        Err(http::End::Closed) => panic!("the connection ended"),
                    }
                }
            }
        }
    }

    /// Keeps the connection of an answered poll for the next one.
    fn give_back(&mut self, poll: Http) {
        if self.keeps_alive {
            self.kept = Some(poll);
        }
    }

    /// The poll that is still pending, or a new one.
    fn take_poll(&mut self) -> Http {
        if let Some(poll) = self.pending.take() {
            return poll;
        }
        let mut http = match self.kept.take() {
            Some(kept) => kept,
            None => Http::connect(self.server),
        };
        http.request("GET", &self.target(), "", b"");
        http
    }

    /// Whether the server still knows the session.
    pub fn is_known(&mut self) -> bool {
        self.post("3").status == 200
    }
}

/// The packets of a poll's answer.
#[track_caller]
pub fn packets(response: &Response) -> Vec<Packet> {
    assert_eq!(response.status, 200, "{response:?}");
    let packets: Vec<Packet> = response.text().split(SEPARATOR).map(decode).collect();
    // Other implementations answer with more: see the contract about python-socketio.
    if std::env::var_os("SOCKEYE_TEST_URL").is_none() {
        assert!(packets.len() <= 16, "{} packets in one answer", packets.len());
    }
    packets
}

fn decode(packet: &str) -> Packet {
    match packet.strip_prefix('b') {
        Some(base64) => Packet::Binary(STANDARD.decode(base64).expect("base64")),
        None => packet.into(),
    }
}

/// A binary packet as it is written in a payload.
pub fn base64_packet(bytes: &[u8]) -> String {
    format!("b{}", STANDARD.encode(bytes))
}

/// An Engine.IO session on either transport.
pub enum Session<'a> {
    Polling(Polling<'a>),
    WebSocket { ws: WebSocket, open: String },
}

impl<'a> Session<'a> {
    pub fn open(server: &'a Server, via: Via, path: &str) -> Session<'a> {
        match via {
            Via::Polling => Session::Polling(Polling::open(server, path)),
            Via::WebSocket => {
                let target = format!("{path}?EIO=4&transport=websocket");
                Session::on(WebSocket::open(server, &target))
            }
        }
    }

    /// Takes over a WebSocket that was just opened.
    pub fn on(mut ws: WebSocket) -> Session<'a> {
        let open = ws.expect_text();
        let open = open.strip_prefix('0').expect("an open packet").to_string();
        Session::WebSocket { ws, open }
    }

    /// The open packet's JSON.
    pub fn open_packet(&self) -> &str {
        match self {
            Session::Polling(polling) => &polling.open,
            Session::WebSocket { open, .. } => open,
        }
    }

    pub fn sid(&self) -> String {
        let open: Value = super::json::parse(self.open_packet());
        open["sid"].as_str().expect("a sid").to_string()
    }

    /// Sends packets, in one post or one write.
    #[track_caller]
    pub fn send_all(&mut self, packets: &[Packet]) {
        match self {
            Session::Polling(polling) => {
                let encoded: Vec<String> = packets
                    .iter()
                    .map(|packet| match packet {
                        Packet::Text(text) => text.clone(),
                        Packet::Binary(bytes) => base64_packet(bytes),
                    })
                    .collect();
                polling.send(&encoded.join("\x1e"));
            }
            Session::WebSocket { ws, .. } => {
                let frames: Vec<Frame> = packets
                    .iter()
                    .map(|packet| match packet {
                        Packet::Text(text) => Frame::text(text),
                        Packet::Binary(bytes) => Frame::binary(bytes),
                    })
                    .collect();
                ws.send_all(&frames);
            }
        }
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_all(&[text.into()]);
    }

    /// The next packet; heartbeats are answered and left out.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        self.recv_within(LIMIT).expect("a packet in time")
    }

    /// Sends what a server may not survive unpunished, and asserts that the session is over.
    #[track_caller]
    pub fn ends_after(&mut self, packet: &str) {
        match self {
            Session::Polling(polling) => {
                polling.post(packet);
            }
            Session::WebSocket { ws, .. } => ws.text(packet),
        }
        self.expect_end();
    }

    /// Asserts that the session ends (at once, or for the reason the caller knows), whatever comes before.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self {
            Session::WebSocket { ws, .. } => ws.expect_end(),
            Session::Polling(polling) => {
                let start = Instant::now();
                loop {
                    assert!(start.elapsed() < LIMIT, "the session is still there");
                    let response = polling.take_poll().response();
                    if response.status == 400 {
                        return;
                    }
                    // A close packet is the end as well; what else was queued may come first.
                    if packets(&response).contains(&"1".into()) {
                        assert_eq!(polling.get().status, 400, "after the close packet");
                        return;
                    }
                }
            }
        }
    }

    /// Asserts that the connection has ended or ends, unread bytes or not.
    pub fn is_gone(&mut self) {
        match self {
            Session::WebSocket { ws, .. } => {
                ws.http.rest();
            }
            Session::Polling(polling) => {
                std::net::TcpStream::connect(polling.server.addr()).expect_err("nobody listens");
            }
        }
    }

    /// The next packet if one comes in time; heartbeats are answered and left out.
    #[track_caller]
    pub fn recv_within(&mut self, duration: Duration) -> Option<Packet> {
        let deadline = Instant::now() + duration;
        match self {
            Session::WebSocket { ws, .. } => ws.data_frame_by(deadline).map(|frame| match frame.opcode {
                TEXT => Packet::Text(String::from_utf8(frame.payload).expect("UTF-8")),
                BINARY => Packet::Binary(frame.payload),
                _ => panic!("unexpected {frame:?}"),
            }),
            Session::Polling(polling) => polling.recv_by(deadline),
        }
    }

    /// Asserts that nothing but heartbeats comes; those are answered.
    #[track_caller]
    pub fn is_quiet(&mut self, duration: Duration) {
        if let Some(packet) = self.recv_within(duration) {
            panic!("unexpected {packet:?}");
        }
    }
}
