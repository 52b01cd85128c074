//! Session ids: 20 base64url characters that name a session's shard and slot and carry 96 random bits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Characters of an id in text.
pub const SID_LEN: usize = 20;
const PLACE_BITS: u32 = 24;

/// An Engine.IO session id, or a Socket.IO socket id: 24 bits of place, then 96 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; 15]);

/// How the 24 bits of place are divided: as many bits as the shards need, the rest for slots.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    slot_bits: u32,
}

impl Layout {
    /// The division for `shards` shards (1 to 64).
    pub fn new(shards: usize) -> Self {
        let shard_bits = shards.max(1).next_power_of_two().trailing_zeros();
        Self { slot_bits: PLACE_BITS - shard_bits.min(8) }
    }

    /// How many sessions one shard can name.
    pub fn slots(self) -> usize {
        1 << self.slot_bits
    }

    /// An id for `slot` of `shard` with the given random bits.
    pub fn sid(self, shard: usize, slot: u32, random: [u8; 12]) -> Sid {
        let place = ((shard as u32) << self.slot_bits) | slot;
        let mut bytes = [0; 15];
        let (head, tail) = bytes.split_at_mut(3);
        // The place goes behind a mask of the random bits, so that ids do not count connections in plain sight.
        let mask = u32::from_be_bytes([0, random[0], random[1], random[2]]);
        head.copy_from_slice(&(place ^ mask).to_be_bytes()[1..]);
        tail.copy_from_slice(&random);
        Sid(bytes)
    }

    /// Shard and slot that `sid` names, whoever made it.
    pub fn place(self, sid: &Sid) -> (usize, u32) {
        let [a, b, c, x, y, z, ..] = sid.0;
        let place = u32::from_be_bytes([0, a ^ x, b ^ y, c ^ z]);
        ((place >> self.slot_bits) as usize, place & ((1 << self.slot_bits) - 1))
    }
}

impl Sid {
    /// Parses the text form; `None` unless it is exactly 20 base64url characters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != SID_LEN {
            return None;
        }
        let mut bytes = [0; 15];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (len == bytes.len()).then_some(Self(bytes))
    }

    /// The text form.
    pub fn text(&self) -> SidText {
        let mut text = [b'A'; SID_LEN];
        // 15 bytes always make 20 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        SidText(text)
    }
}

impl std::fmt::Debug for Sid {
    /// Ids are bearer tokens: they never reach a log whole.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sid({}…)", self.text().as_str().get(..4).unwrap_or_default())
    }
}

/// The text form of a [`Sid`], without allocation.
#[derive(Clone, Copy)]
pub struct SidText([u8; SID_LEN]);

impl SidText {
    /// The 20 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_its_place_and_survives_text() {
        for shards in [1, 2, 3, 4, 64] {
            let layout = Layout::new(shards);
            for (shard, slot) in [(0, 0), (shards - 1, 7), (shards / 2, layout.slots() as u32 - 1)] {
                let sid = layout.sid(shard, slot, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 255, 254]);
                let text = sid.text();
                assert_eq!(text.as_str().len(), SID_LEN);
                let back = Sid::parse(text.as_str()).expect("own text parses");
                assert_eq!(back, sid);
                assert_eq!(layout.place(&back), (shard, slot));
            }
        }
    }

    #[test]
    fn refuses_other_text() {
        for text in ["", "abc", "AAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAA", "__proto__"] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let sid = Layout::new(1).sid(0, 1, [1; 12]);
        assert!(!format!("{sid:?}").contains(sid.text().as_str()));
    }
}
