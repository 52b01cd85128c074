//! HTTP/1.1 requests of one connection.

pub use crate::wire::http::{BodyError, HeadError};
use crate::wire::http::{Chunks, Framing, Head, HeadEnd, MAX_HEAD, parse_complete};

#[cfg(test)]
mod tests;

/// By how many bytes the memory grows that pipelined requests need.
const PIPELINE_STEP: usize = 4096;

/// Incremental decoder of the requests a client sends. Between requests it owns no heap memory.
///
/// The way of a request: [`push`](Self::push) what arrives, [`head`](Self::head) until it is there,
/// [`begin_body`](Self::begin_body) once, [`poll_body`](Self::poll_body) until it is `true`, [`request`](Self::request),
/// [`finish`](Self::finish). An error of any of them is final for the connection.
///
/// It holds at most what one request may have, its memory growing with what arrived, and what the client pipelined behind
/// it. The latter is for the caller to bound: by not reading while [`buffered`](Self::buffered) is too much.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where the current request begins in `bytes`.
    start: usize,
    end: HeadEnd,
    /// Length of the current head, once it is complete.
    head_len: Option<usize>,
    body: Body,
    /// Bytes that the current request can at most have, as far as is known.
    ceiling: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum Body {
    /// Its framing is not fixed.
    #[default]
    Pending,
    Length(usize),
    Chunked {
        chunks: Chunks,
        decoded: usize,
    },
    Complete(usize),
}

impl Decoder {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.held.get_or_insert_default().push(bytes);
        }
    }

    /// Bytes held, coded chunks decoded.
    pub fn buffered(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes.len() - held.start)
    }

    /// The head at the front, once complete. It is not consumed; may be called repeatedly.
    pub fn head(&mut self) -> Result<Option<Head<'_>>, HeadError> {
        let Some(held) = self.held.as_deref_mut() else {
            return Ok(None);
        };
        if held.head_len.is_none() {
            held.head_len = held.end.find(held.bytes.get(held.start..).unwrap_or_default())?;
        }
        let Some(len) = held.head_len else {
            return Ok(None);
        };
        let head = held.bytes.get(held.start + held.end.start()..held.start + len);
        parse_complete(head.unwrap_or_default()).map(Some)
    }

    /// Fixes the framing of the body. To be called once, after [`Decoder::head`] gave the head; `limit`: bytes of the body when
    /// decoded.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] if `Content-Length` is over the limit.
    pub fn begin_body(&mut self, limit: usize) -> Result<(), BodyError> {
        let framing = match self.head() {
            Ok(Some(head)) => head.framing,
            _ => return Err(BodyError::Malformed("there is no request head")),
        };
        let Some(held) = self.held.as_deref_mut() else {
            return Ok(());
        };
        let max_len = match framing {
            Framing::None => 0,
            Framing::Length(len) => usize::try_from(len).map_err(|_| BodyError::TooLarge)?,
            Framing::Chunked => limit,
        };
        if max_len > limit {
            return Err(BodyError::TooLarge);
        }
        held.body = match framing {
            Framing::Chunked => Body::Chunked { chunks: Chunks::new(limit), decoded: 0 },
            Framing::None | Framing::Length(_) => Body::Length(max_len),
        };
        held.ceiling = held.head_len.unwrap_or(0).saturating_add(max_len);
        Ok(())
    }

    /// Whether the whole body has arrived; a chunked one is decoded in place.
    pub fn poll_body(&mut self) -> Result<bool, BodyError> {
        self.held.as_deref_mut().map_or(Ok(false), Held::poll_body)
    }

    /// The head and the whole body, after [`Decoder::poll_body`] gave `true`.
    pub fn request(&mut self) -> Option<(Head<'_>, &mut [u8])> {
        let held = self.held.as_deref_mut()?;
        let (Some(head_len), Body::Complete(body_len)) = (held.head_len, held.body) else {
            return None;
        };
        let (head, rest) = held.bytes.get_mut(held.start..)?.split_at_mut_checked(head_len)?;
        let head = parse_complete(head.get(held.end.start()..)?).ok()?;
        Some((head, rest.get_mut(..body_len)?))
    }

    /// Drops the current request and keeps what was pipelined behind it. A request that is not complete takes everything
    /// behind it along, since it is not known where it ends.
    pub fn finish(&mut self) {
        let is_empty = self.held.as_deref_mut().is_none_or(|held| !held.finish());
        if is_empty {
            self.held = None;
        }
    }

    /// Everything from the current request's first byte on. Only before [`Decoder::begin_body`], which may decode it.
    pub fn into_unread(self) -> Vec<u8> {
        self.into_bytes_after(0)
    }

    /// The bytes after the head, for switching to WebSocket.
    pub fn into_after_head(self) -> Vec<u8> {
        let head_len = self.held.as_ref().and_then(|held| held.head_len);
        self.into_bytes_after(head_len.unwrap_or(0))
    }

    /// Whether a request has begun to arrive and is not complete.
    pub fn in_request(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !matches!(held.body, Body::Complete(_)))
    }

    fn into_bytes_after(self, offset: usize) -> Vec<u8> {
        let Some(mut held) = self.held else {
            return Vec::new();
        };
        held.bytes.drain(..(held.start + offset).min(held.bytes.len()));
        held.bytes
    }
}

impl Held {
    fn push(&mut self, more: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        let needed = len + more.len();
        if needed > capacity {
            // Doubles, but never beyond what the request can still become; pipelined bytes come on top in small steps.
            let ceiling = self.ceiling.max(MAX_HEAD);
            let wanted = if needed > ceiling {
                needed.next_multiple_of(PIPELINE_STEP)
            } else {
                capacity.saturating_mul(2).clamp(needed, ceiling)
            };
            self.bytes.reserve_exact(wanted - len);
        }
        self.bytes.extend_from_slice(more);
    }

    fn poll_body(&mut self) -> Result<bool, BodyError> {
        let body_start = self.start + self.head_len.unwrap_or(0);
        match &mut self.body {
            Body::Pending => return Ok(false),
            Body::Complete(_) => return Ok(true),
            Body::Length(len) => {
                if self.bytes.len() - body_start < *len {
                    return Ok(false);
                }
                self.body = Body::Complete(*len);
            }
            Body::Chunked { chunks, decoded } => {
                // What was not decoded is removed, so that tiny chunks take no more memory than large ones.
                let from = body_start + *decoded;
                let (new, taken) = chunks.decode(self.bytes.get_mut(from..).unwrap_or_default())?;
                self.bytes.drain(from + new..from + taken);
                *decoded += new;
                if !chunks.is_done() {
                    return Ok(false);
                }
                self.body = Body::Complete(*decoded);
            }
        }
        Ok(true)
    }

    /// Whether anything is left.
    fn finish(&mut self) -> bool {
        let (Some(head_len), Body::Complete(body_len)) = (self.head_len, self.body) else {
            return false;
        };
        let bytes = std::mem::take(&mut self.bytes);
        let start = self.start + head_len + body_len;
        let is_left = start < bytes.len();
        *self = Self { bytes, start, ..Self::default() };
        is_left
    }
}
