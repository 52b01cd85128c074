//! WebSocket messages of one connection: the receiving side of RFC 6455.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::wire::websocket::{Violation, check_client_start, close_code, declared_len, unmask};

#[cfg(test)]
mod tests;

/// Longest header of a client frame: 64-bit length and mask (RFC 6455 §5.2).
const MAX_CLIENT_HEADER: usize = 14;

/// One complete message or control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a mut [u8]),
    /// Any bytes.
    Binary(&'a mut [u8]),
    /// To be answered with a pong of the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// Its payload is of no interest.
    Pong,
    /// The close code, if one was given. Nothing that follows is to be decoded.
    Close(Option<u16>),
}

/// Bounds on one message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a message, over all of its fragments.
    pub max_payload: usize,
    /// Frames of a message, empty ones included.
    pub max_fragments: u32,
}

/// Incremental decoder of the frames a client sends.
///
/// Between messages it owns no heap memory. What it holds of an unfinished message is at most `max_payload` bytes and a
/// small constant, and grows with what arrived, never on the word of a length field.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What is held of an unfinished header, control frame or message.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; MAX_CLIENT_HEADER],
    header_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    message: Option<Open>,
    data: Vec<u8>,
    /// How much of `data` is known to be whole characters; text only.
    valid: usize,
    /// Payload of a control frame that arrives in pieces, possibly between two fragments.
    control: Vec<u8>,
    /// Whether the previous call gave out `data` or `control`, so that this one drops it.
    given: bool,
}

/// A data message of which a first frame has begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    text: bool,
    fragments: u32,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// Rotated so that it begins with the byte for the next one of the payload.
    mask: [u8; 4],
    remaining: usize,
}

impl Decoder {
    /// An idle decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off the front of `input` until one message is complete or `input` is used up; returns the rest.
    ///
    /// An unfragmented frame that lies whole in `input` is unmasked there and not copied. What held a message that came in
    /// pieces is freed by the next call, or by [`Decoder::release`].
    ///
    /// # Errors
    /// The first [`Violation`]; nothing further is to be decoded.
    pub fn next<'m, 'i: 'm>(
        &'m mut self,
        input: &'i mut [u8],
        limits: &Limits,
    ) -> Result<(Option<Message<'m>>, &'i mut [u8]), Violation> {
        self.release();
        let mut rest = input;
        loop {
            if self.partial.as_ref().is_none_or(|partial| partial.frame.is_none()) {
                let Some((frame, taken)) = self.header(rest, limits)? else {
                    return Ok((None, &mut []));
                };
                rest = rest.get_mut(taken..).unwrap_or_default();
                if !frame.is_fragment() && frame.remaining <= rest.len() {
                    self.forget_header();
                    let (payload, after) = rest.split_at_mut(frame.remaining);
                    unmask(payload, frame.mask);
                    return Ok((Some(in_place(frame.opcode, payload)?), after));
                }
                self.partial.get_or_insert_default().begin(frame);
            }
            let Some(partial) = self.partial.as_deref_mut() else {
                return Ok((None, rest));
            };
            let (frame, after) = partial.absorb(rest, limits)?;
            rest = after;
            match frame {
                None => return Ok((None, rest)),
                Some(frame) if frame.is_final => return Ok((self.complete(&frame)?, rest)),
                Some(_) => {}
            }
        }
    }

    /// Payload bytes held, those of a message just given out included.
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.header_len + partial.data.len() + partial.control.len())
    }

    /// Whether a message or frame has begun and is not complete.
    pub fn in_message(&self) -> bool {
        self.partial
            .as_ref()
            .is_some_and(|partial| partial.header_len > 0 || partial.frame.is_some() || partial.message.is_some())
    }

    /// Drops what the previous call gave out.
    pub fn release(&mut self) {
        let Some(partial) = self.partial.as_mut().filter(|partial| partial.given) else {
            return;
        };
        partial.given = false;
        partial.control = Vec::new();
        if partial.message.is_none() {
            self.partial = None;
        }
    }

    /// Reads a frame header that may have begun in earlier input; with it comes how much of `input` it took. `None`: all
    /// of `input` was taken and the header is not complete.
    fn header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(Frame, usize)>, Violation> {
        let held = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        let fitting = input.len().min(MAX_CLIENT_HEADER.saturating_sub(held));
        let mut joined;
        let present = match &self.partial {
            Some(partial) if held > 0 => {
                joined = partial.header;
                joined.iter_mut().skip(held).zip(input).for_each(|(to, from)| *to = *from);
                joined.get(..held + fitting).unwrap_or_default()
            }
            _ => input.get(..fitting).unwrap_or_default(),
        };

        let message = self.partial.as_ref().and_then(|partial| partial.message);
        check_client_start(present, message.is_some())?;
        let mut cursor = Cursor::new(present);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::protocol("invalid frame header"))?;
        let Some((header, len)) = parsed else {
            self.judge_early(present, limits)?;
            if fitting > 0 {
                let partial = self.partial.get_or_insert_default();
                partial.header.iter_mut().zip(present).for_each(|(to, from)| *to = *from);
                partial.header_len = held + fitting;
            }
            return Ok(None);
        };
        let header_len = header.len(len);
        if cursor.position() != header_len as u64 || len > i64::MAX as u64 {
            // `FrameHeader::len` is the shortest form's.
            return Err(Violation::protocol("invalid payload length"));
        }
        let frame = Frame {
            opcode: header.opcode,
            is_final: header.is_final,
            mask: header.mask.unwrap_or_default(),
            remaining: usize::try_from(len).map_err(|_| Violation::TOO_BIG)?,
        };
        self.judge(&frame, limits)?;
        Ok(Some((frame, header_len.saturating_sub(held))))
    }

    /// Judges the size of a message as soon as the length field is there: the mask may never come.
    fn judge_early(&self, header: &[u8], limits: &Limits) -> Result<(), Violation> {
        let Some(len) = declared_len(header) else {
            return Ok(());
        };
        let shortest = match header.get(1).map(|second| second & 0x7f) {
            Some(126) => len > 125,
            Some(127) => len > u64::from(u16::MAX),
            _ => true,
        };
        if len > i64::MAX as u64 || !shortest {
            return Err(Violation::protocol("invalid payload length"));
        }
        let held = self.partial.as_ref().map_or(0, |partial| partial.data.len());
        if len > limits.max_payload.saturating_sub(held) as u64 {
            return Err(Violation::TOO_BIG);
        }
        Ok(())
    }

    /// Judges the size of a message from the header of its next frame.
    fn judge(&self, frame: &Frame, limits: &Limits) -> Result<(), Violation> {
        if let OpCode::Control(_) = frame.opcode {
            return Ok(());
        }
        let (held, fragments) = self
            .partial
            .as_ref()
            .map_or((0, 0), |partial| (partial.data.len(), partial.message.map_or(0, |message| message.fragments)));
        if frame.remaining > limits.max_payload.saturating_sub(held) {
            return Err(Violation::TOO_BIG);
        }
        if fragments >= limits.max_fragments {
            return Err(Violation::TOO_MANY_FRAGMENTS);
        }
        Ok(())
    }

    /// Drops what was held of a header whose frame is given out in place.
    fn forget_header(&mut self) {
        match &mut self.partial {
            Some(partial) if partial.message.is_some() => partial.header_len = 0,
            partial => *partial = None,
        }
    }

    /// What a final frame completes, from what was held of it.
    fn complete(&mut self, frame: &Frame) -> Result<Option<Message<'_>>, Violation> {
        let Some(partial) = self.partial.as_deref_mut() else {
            return Ok(None);
        };
        partial.given = true;
        if let OpCode::Control(control) = frame.opcode {
            return control_message(control, &partial.control).map(Some);
        }
        let is_text = partial.message.take().is_some_and(|message| message.text);
        if !is_text {
            return Ok(Some(Message::Binary(&mut partial.data)));
        }
        if partial.valid != partial.data.len() {
            return Err(Violation::INVALID_UTF8);
        }
        Ok(Some(Message::Text(&mut partial.data)))
    }
}

impl Frame {
    fn is_fragment(&self) -> bool {
        !self.is_final || self.opcode == OpCode::Data(Data::Continue)
    }
}

impl Partial {
    /// A frame's header is complete and its payload is to come.
    fn begin(&mut self, frame: Frame) {
        self.header_len = 0;
        self.frame = Some(frame);
        if let OpCode::Data(data) = frame.opcode {
            self.message.get_or_insert(Open { text: data == Data::Text, fragments: 0 }).fragments += 1;
        }
    }

    /// Takes what `input` has of the payload of the present frame; gives the frame once that is complete.
    fn absorb<'i>(&mut self, input: &'i mut [u8], limits: &Limits) -> Result<(Option<Frame>, &'i mut [u8]), Violation> {
        let Some(mut frame) = self.frame.take() else {
            return Ok((None, input));
        };
        let (bytes, rest) = input.split_at_mut(frame.remaining.min(input.len()));
        unmask(bytes, frame.mask);
        if let OpCode::Control(_) = frame.opcode {
            self.control.extend_from_slice(bytes);
        } else {
            self.reserve(&frame, bytes.len(), limits);
            self.data.extend_from_slice(bytes);
            if self.message.is_some_and(|message| message.text) {
                self.validate()?;
            }
        }
        frame.mask.rotate_left(bytes.len() % 4);
        frame.remaining -= bytes.len();
        if frame.remaining == 0 {
            return Ok((Some(frame), rest));
        }
        self.frame = Some(frame);
        Ok((None, rest))
    }

    /// Makes room for `more` bytes that arrived: doubles, but never beyond what the message can still become.
    fn reserve(&mut self, frame: &Frame, more: usize, limits: &Limits) {
        let (len, capacity) = (self.data.len(), self.data.capacity());
        if capacity - len >= more {
            return;
        }
        let ceiling = if frame.is_final { len + frame.remaining } else { limits.max_payload };
        let wanted = capacity.saturating_mul(2).min(ceiling).max(len + more);
        self.data.reserve_exact(wanted - len);
    }

    /// Checks what arrived of a text; a character may be unfinished at the end.
    fn validate(&mut self) -> Result<(), Violation> {
        let unchecked = self.data.get(self.valid..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(text) => self.valid += text.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::INVALID_UTF8),
        }
        Ok(())
    }
}

/// The message that is one frame, already unmasked.
fn in_place(opcode: OpCode, payload: &mut [u8]) -> Result<Message<'_>, Violation> {
    match opcode {
        OpCode::Control(control) => control_message(control, payload),
        OpCode::Data(Data::Text) if std::str::from_utf8(payload).is_err() => Err(Violation::INVALID_UTF8),
        OpCode::Data(Data::Text) => Ok(Message::Text(payload)),
        OpCode::Data(_) => Ok(Message::Binary(payload)),
    }
}

fn control_message(control: Control, payload: &[u8]) -> Result<Message<'_>, Violation> {
    match control {
        Control::Ping => Ok(Message::Ping(payload)),
        Control::Pong => Ok(Message::Pong),
        _ => close_code(payload).map(Message::Close),
    }
}
