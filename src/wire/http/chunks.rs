//! Chunked transfer coding (RFC 9112 §7.1).

use super::{BodyError, hex};

#[cfg(test)]
mod tests;

/// Most bytes of chunk extensions in a body; they are skipped.
const MAX_EXTENSIONS: usize = 1024;
/// Most bytes of trailer lines behind a body; they are skipped.
const MAX_TRAILERS: usize = 4096;
/// Most digits of a chunk size; 16 hold any 64-bit number.
const MAX_SIZE_DIGITS: u8 = 16;

/// Incremental decoder of a chunked body. It holds no bytes itself.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    state: State,
    /// Bytes that the decoded body may still have.
    room: usize,
    extensions: usize,
    trailers: usize,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        remaining: usize,
    },
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

const SIZE: State = State::Size { size: 0, digits: 0 };

impl Chunks {
    /// A decoder of a body of at most `limit` bytes when decoded.
    pub fn new(limit: usize) -> Self {
        Self { state: SIZE, room: limit, extensions: 0, trailers: 0 }
    }

    /// Whether the whole body was decoded.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next `bytes` of the body onto themselves. Gives how many bytes of the decoded body are now at their front,
    /// and how many of the coded ones were taken: all of them, unless the body ends before.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as a chunk's size says so.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), BodyError> {
        let (mut decoded, mut taken) = (0, 0);
        while let Some(&byte) = bytes.get(taken) {
            if let State::Data { remaining } = self.state {
                let len = remaining.min(bytes.len() - taken);
                bytes.copy_within(taken..taken + len, decoded);
                decoded += len;
                taken += len;
                self.state = if len == remaining { State::DataCr } else { State::Data { remaining: remaining - len } };
                continue;
            }
            if self.is_done() {
                break;
            }
            self.state = self.step(byte)?;
            taken += 1;
        }
        Ok((decoded, taken))
    }

    /// Takes one byte of the coding, which is none of the data.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) if hex(byte).is_some() => {
                if digits == MAX_SIZE_DIGITS {
                    return Err(BodyError::Malformed("chunk size too long"));
                }
                let size = size << 4 | u64::from(hex(byte).unwrap_or_default());
                Ok(State::Size { size, digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err(BodyError::Malformed("invalid chunk size")),
            (State::Size { size, .. }, b';') => Ok(State::Extension { size }),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => Ok(State::SizeLf { size }),
            (State::Extension { .. }, _) if is_text(byte) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(BodyError::Malformed("chunk extensions too long"));
                }
                Ok(self.state)
            }
            (State::SizeLf { size }, b'\n') => self.begin_chunk(size),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(SIZE),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => self.trailer(State::TrailerName),
            (State::TrailerName, b':') => self.trailer(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => self.trailer(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(BodyError::Malformed("invalid chunked coding")),
        }
    }

    /// A byte of a trailer line.
    fn trailer(&mut self, next: State) -> Result<State, BodyError> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(BodyError::Malformed("trailers too long"));
        }
        Ok(next)
    }

    fn begin_chunk(&mut self, size: u64) -> Result<State, BodyError> {
        let size = usize::try_from(size).map_err(|_| BodyError::TooLarge)?;
        self.room = self.room.checked_sub(size).ok_or(BodyError::TooLarge)?;
        Ok(if size == 0 { State::TrailerStart } else { State::Data { remaining: size } })
    }
}

/// Whether a byte may stand in the name of a header (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a byte may stand in a line of text: no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
