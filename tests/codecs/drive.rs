//! Feeds the decoders and collects what they give, owned.

use sockeye::connection::http::{self, BodyError};
use sockeye::connection::websocket::{self, Limits, Message};
use sockeye::wire::engine;
use sockeye::wire::websocket::{put_header, unmask};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Small, so that inputs reach them.
pub const LIMITS: Limits = Limits { max_payload: 300, max_fragments: 8 };
const MAX_BODY: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Feeds the pieces; the messages, and the close code of the violation that ended it.
pub fn websocket_messages<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Got>, Option<u16>) {
    let (mut decoder, mut got) = (websocket::Decoder::new(), Vec::new());
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            match decoder.next(rest, &LIMITS) {
                Err(violation) => return (got, Some(violation.code)),
                Ok((None, after)) => {
                    assert!(after.is_empty());
                    break;
                }
                Ok((Some(message), after)) => {
                    got.push(match message {
                        Message::Text(bytes) => {
                            assert!(std::str::from_utf8(bytes).is_ok());
                            Got::Text(bytes.to_vec())
                        }
                        Message::Binary(bytes) => Got::Binary(bytes.to_vec()),
                        Message::Ping(bytes) => Got::Ping(bytes.to_vec()),
                        Message::Pong => Got::Pong,
                        Message::Close(code) => Got::Close(code),
                    });
                    rest = after;
                }
            }
        }
        assert!(decoder.buffered() <= LIMITS.max_payload + 150);
    }
    (got, None)
}

/// Target and body of a request.
pub type Request = (String, Vec<u8>);

/// Feeds the pieces; the requests, and the status of the error that ended it.
pub fn http_requests<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Request>, Option<u16>) {
    let (mut decoder, mut requests, mut in_body) = (http::Decoder::default(), Vec::new(), false);
    for piece in pieces {
        decoder.push(piece);
        loop {
            match http_step(&mut decoder, &mut in_body) {
                Ok(None) => break,
                Ok(Some(request)) => requests.push(request),
                Err(status) => return (requests, Some(status)),
            }
        }
    }
    (requests, None)
}

fn http_step(decoder: &mut http::Decoder, in_body: &mut bool) -> Result<Option<Request>, u16> {
    let status = |error: BodyError| {
        if error == BodyError::TooLarge { 413u16 } else { 400 }
    };
    if !*in_body {
        let Some(head) = decoder.head().map_err(|error| error.status())? else {
            return Ok(None);
        };
        assert!(head.header("host").is_some() || head.http_10);
        assert!(head.path.starts_with('/') || head.path == "*");
        decoder.begin_body(MAX_BODY).map_err(status)?;
        *in_body = true;
    }
    if !decoder.poll_body().map_err(status)? {
        assert!(decoder.in_request());
        return Ok(None);
    }
    let (head, body) = decoder.request().expect("complete");
    let request = (format!("{}?{}", head.path, head.query_param("q").unwrap_or_default()), body.to_vec());
    decoder.finish();
    *in_body = false;
    Ok(Some(request))
}

pub type EnginePacket = (Option<engine::PacketType>, Vec<u8>);

pub fn engine_packets(body: &[u8]) -> Result<Vec<EnginePacket>, engine::PayloadError> {
    let mut body = body.to_vec();
    engine::split_payload(&mut body)
        .map(|packet| {
            Ok(match packet? {
                engine::Packet::Text(kind, data) => {
                    assert!(std::str::from_utf8(data).is_ok());
                    (Some(kind), data.to_vec())
                }
                engine::Packet::Binary(data) => (None, data.to_vec()),
            })
        })
        .collect()
}

/// A masked client frame; `first` is its first byte.
pub fn put_client_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    let start = out.len();
    put_header(out, OpCode::Data(Data::Binary), payload.len());
    out[start] = first;
    out[start + 1] |= 0x80;
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
}

/// Cuts `input` into pieces whose lengths go round in `lens`.
pub fn pieces<'a>(input: &'a [u8], lens: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = input;
    let mut lens = lens.iter().cycle();
    std::iter::from_fn(move || {
        let len = rest.len().min(*lens.next()?);
        let (piece, after) = rest.split_at(len);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
