//! Requests to the API on connections of a fleet.

use super::fleet::{Fleet, Peer};
use serde_json::Value;

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub json: Value,
}

/// A request with a JSON body, as bytes. `headers`: each with CRLF.
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    let head = format!("{method} /api/messaging{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {len}\r\n{headers}\r\n{body}").into_bytes()
}

impl Fleet {
    /// Makes a call on a connection of its own to the `n`-th shard, counted round and round.
    pub fn api(&mut self, n: usize, method: &str, path: &str, body: &Value) -> Response {
        self.api_with(n, method, path, "", body)
    }

    /// The same with more headers, each with CRLF.
    pub fn api_with(&mut self, n: usize, method: &str, path: &str, headers: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_request(n, &mut request(method, path, headers, &body))
    }

    pub fn send_request(&mut self, n: usize, request: &mut [u8]) -> Response {
        let peer = self.accept(n % self.shards());
        self.receive(peer, request);
        self.settle();
        let mut responses = self.responses(peer);
        assert_eq!(responses.len(), 1, "{responses:?}");
        responses.remove(0)
    }

    /// The responses that came since the last call.
    pub fn responses(&mut self, peer: Peer) -> Vec<Response> {
        let bytes = self.take_bytes(peer);
        let mut rest = std::str::from_utf8(&bytes).expect("UTF-8");
        let mut responses = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_once("\r\n\r\n").expect("a head");
            let status = head.get(9..12).and_then(|s| s.parse().ok()).expect("a status");
            let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
            let (body, after) = after.split_at(len.parse().expect("a number"));
            let json = serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body}"));
            responses.push(Response { status, head: head.to_owned(), json });
            rest = after;
        }
        responses
    }
}

impl Response {
    /// The `data` of a success with this status.
    #[track_caller]
    pub fn data(self, status: u16) -> Value {
        assert_eq!((self.status, &self.json["success"]), (status, &Value::Bool(true)), "{:?}", self.json);
        self.json["data"].clone()
    }

    /// The message of a failure with this status and code; it has nothing else in it.
    #[track_caller]
    pub fn refusal(self, status: u16, code: &str) -> String {
        let error = &self.json["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{:?}", self.json);
        let message = error["message"].as_str().expect("a message").to_owned();
        let expected = serde_json::json!({"success": false, "error": {"code": code, "message": message}});
        assert_eq!(self.json, expected);
        message
    }
}
