//! The stamp at the start of every message text: what a delivery must carry to be measured and checked.

/// Marks a text as one of the load generator's.
const MAGIC: &[u8; 4] = b"@sb:";

/// Length of a stamp in a text, in bytes: the least `--text-bytes`.
pub(super) const STAMP_BYTES: usize = 4 + 16 + 8 + 4 + 8;

/// What stands before the text in a broadcast's JSON, up to the end of the magic.
const NEEDLE: &[u8; 12] = b"\"text\":\"@sb:";

/// When and by whom a message was sent. Written as lower-case hex of fixed width, so that no JSON writer changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Nanoseconds of the client's monotonic clock: when it was sent, or in an open loop should have been.
    pub sent_ns: u64,
    /// Index of the room.
    pub room: u32,
    /// Index of the publisher within the room.
    pub publisher: u16,
    /// Counts the messages of this publisher from 0.
    pub sequence: u32,
}

impl Stamp {
    pub fn encode(&self) -> [u8; STAMP_BYTES] {
        let mut out = [0; STAMP_BYTES];
        out[..4].copy_from_slice(MAGIC);
        write_hex(&mut out[4..20], self.sent_ns);
        write_hex(&mut out[20..28], self.room.into());
        write_hex(&mut out[28..32], self.publisher.into());
        write_hex(&mut out[32..40], self.sequence.into());
        out
    }

    /// Reads the digits that follow the magic.
    #[inline]
    fn decode(digits: &[u8; STAMP_BYTES - 4]) -> Option<Self> {
        Some(Self {
            sent_ns: read_hex(&digits[..16])?,
            room: u32::try_from(read_hex(&digits[16..24])?).ok()?,
            publisher: u16::try_from(read_hex(&digits[24..28])?).ok()?,
            sequence: u32::try_from(read_hex(&digits[28..36])?).ok()?,
        })
    }
}

/// Finds stamps. All frames of a run have theirs at the same offset, so after the first one no search is needed.
#[derive(Debug, Default)]
pub(super) struct StampFinder {
    digits_at: usize,
}

impl StampFinder {
    /// The stamp of a `messageBroadcast` packet; `None`: not a message of the load generator.
    #[inline]
    pub fn find(&mut self, packet: &[u8]) -> Option<Stamp> {
        if !packet.get(..self.digits_at).is_some_and(|before| before.ends_with(NEEDLE)) {
            let needle_at = packet.windows(NEEDLE.len()).position(|window| window == NEEDLE)?;
            self.digits_at = needle_at + NEEDLE.len();
        }
        Stamp::decode(packet.get(self.digits_at..)?.first_chunk()?)
    }
}

fn write_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 0xF) as usize];
        value >>= 4;
    }
}

/// Reads lower-case hex digits, at most 16; `None`: another character.
#[inline]
fn read_hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut seen = 0;
    for &digit in digits {
        let nibble = NIBBLES[usize::from(digit)];
        seen |= nibble;
        value = value << 4 | u64::from(nibble & 0xF);
    }
    (seen & 0xF0 == 0).then_some(value)
}

/// The value of each hex digit, 0xF0 for every other byte.
const NIBBLES: [u8; 256] = {
    let mut table = [0xF0; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sent_ns: 0x0123_4567_89ab_cdef, room: 99_999, publisher: 31, sequence: u32::MAX };

    fn packet(name: &str, text: &[u8]) -> Vec<u8> {
        let mut packet = format!(r#"42["messageBroadcast",{{"senderName":"{name}","text":""#).into_bytes();
        packet.extend_from_slice(text);
        packet.extend_from_slice(br#"","roomId":"x"}]"#);
        packet
    }

    #[test]
    fn finds_the_stamp_it_wrote_at_any_offset() {
        let mut finder = StampFinder::default();
        for name in ["Bench", "Bench", "a longer name", ""] {
            assert_eq!(finder.find(&packet(name, &STAMP.encode())), Some(STAMP), "{name:?}");
        }
    }

    #[test]
    fn a_text_without_a_whole_stamp_has_none() {
        let mut finder = StampFinder::default();
        assert_eq!(finder.find(&packet("Bench", b"hello")), None);
        assert_eq!(finder.find(&packet("Bench", &STAMP.encode()[..STAMP_BYTES - 1])), None);
        let mut spoiled = STAMP.encode();
        for at in 4..STAMP_BYTES {
            let digit = std::mem::replace(&mut spoiled[at], b'g');
            assert_eq!(finder.find(&packet("Bench", &spoiled)), None, "at {at}");
            spoiled[at] = digit;
        }
        assert_eq!(finder.find(b""), None);
    }
}
