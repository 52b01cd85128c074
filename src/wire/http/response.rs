//! Responses.

use crate::wire::put_decimal;

/// The interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response whose body is known in whole.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Status code, 200 or more.
    pub status: u16,
    /// `Content-Type`; empty: none.
    pub content_type: &'a str,
    /// The body; must be empty with 204 and 304, which have none.
    pub body: &'a [u8],
    /// Further header lines, each ending in CRLF.
    pub extra: &'a str,
    /// Whether the connection closes after it.
    pub close: bool,
    /// Whether it answers HEAD: all of the headers, but no body.
    pub head_only: bool,
}

impl Response<'_> {
    /// Appends the response.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        put_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        if !self.content_type.is_empty() {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(self.content_type.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // RFC 9110 §8.6: 204 has no Content-Length, and in 304 it would be that of the 200 response.
        if !matches!(self.status, 204 | 304) {
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(out, self.body.len() as u64);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(self.extra.as_bytes());
        let connection = if self.close { "Connection: close\r\n\r\n" } else { "Connection: keep-alive\r\n\r\n" };
        out.extend_from_slice(connection.as_bytes());
        if !self.head_only {
            out.extend_from_slice(self.body);
        }
    }
}

/// Appends `101 Switching Protocols` (RFC 6455 §4.2.2). `accept`: from [`crate::wire::websocket::accept_key`]; `extra`:
/// further header lines, each ending in CRLF.
pub fn put_switching_protocols(out: &mut Vec<u8>, accept: &str, extra: &str) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrases of the statuses in use; it may be empty (RFC 9112 §4).
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let put = |response: Response<'_>| {
            let mut out = Vec::new();
            response.put(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        let ok =
            Response { status: 200, content_type: "text/html", body: b"ok", extra: "", close: false, head_only: false };
        assert_eq!(
            put(ok),
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
        );
        assert_eq!(
            put(Response { status: 404, extra: "X: y\r\n", close: true, head_only: true, ..ok }),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\nX: y\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            put(Response { status: 204, content_type: "", body: b"", ..ok }),
            "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"
        );
        let mut out = Vec::new();
        put_switching_protocols(&mut out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "X: y\r\n");
        assert_eq!(
            String::from_utf8(out).as_deref(),
            Ok(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX: y\r\n\r\n"
            )
        );
    }
}
