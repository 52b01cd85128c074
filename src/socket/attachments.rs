//! Binary packets: a text part, then as many binary messages as it announces.

use super::SocketKey;
use crate::engine::SessionKey;
use crate::shrink::Shrink;
use crate::wire::socket::DecodeError;
use std::collections::HashMap;

/// The packets of a shard that wait for attachments; a session has at most one.
#[derive(Debug)]
pub struct Assembly {
    waiting: HashMap<SessionKey, Waiting, foldhash::fast::RandomState>,
    max_payload: usize,
}

#[derive(Debug)]
struct Waiting {
    packet: Assembled,
    missing: u32,
    bytes: usize,
}

/// A packet with all of its attachments.
#[derive(Debug)]
pub struct Assembled {
    /// Whose it is.
    pub socket: SocketKey,
    /// An event, rather than an acknowledgement.
    pub is_event: bool,
    /// The acknowledgement asked for, or given.
    pub ack_id: Option<u64>,
    /// The text part's data.
    pub json: Vec<u8>,
    /// The binary messages, in order.
    pub attachments: Vec<Vec<u8>>,
}

impl Assembly {
    /// Nothing waits. `max_payload`: bytes of one packet, all parts together.
    pub fn new(max_payload: usize) -> Self {
        Self { waiting: HashMap::default(), max_payload }
    }

    /// Gives back what the table needed once and needs no more.
    pub(super) fn shrink(&mut self) {
        self.waiting.shrink();
    }

    /// A packet's text part came; `attachments` (at least one, the decoder sees to it) are to follow.
    pub fn begin(
        &mut self,
        session: SessionKey,
        socket: SocketKey,
        is_event: bool,
        ack_id: Option<u64>,
        json: &[u8],
        attachments: u32,
    ) -> Result<(), DecodeError> {
        if attachments == 0 {
            return Err(DecodeError::Attachments);
        }
        let packet = Assembled { socket, is_event, ack_id, json: json.to_vec(), attachments: Vec::new() };
        self.waiting.insert(session, Waiting { packet, missing: attachments, bytes: json.len() });
        Ok(())
    }

    /// A binary message came. `Err(true)`: the packet is too large; `Err(false)`: none was due.
    pub fn add(&mut self, session: SessionKey, bytes: &[u8]) -> Result<Option<Assembled>, bool> {
        let waiting = self.waiting.get_mut(&session).ok_or(false)?;
        waiting.bytes += bytes.len();
        if waiting.bytes > self.max_payload {
            self.waiting.remove(&session);
            return Err(true);
        }
        waiting.packet.attachments.push(bytes.to_vec());
        waiting.missing -= 1;
        if waiting.missing > 0 {
            return Ok(None);
        }
        Ok(self.waiting.remove(&session).map(|w| w.packet))
    }

    /// Whether attachments of the session are due.
    pub fn is_waiting(&self, session: SessionKey) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&session)
    }

    /// Bytes kept of the session's packet.
    pub fn held(&self, session: SessionKey) -> usize {
        if self.waiting.is_empty() { 0 } else { self.waiting.get(&session).map_or(0, |waiting| waiting.bytes) }
    }

    /// The session ended.
    pub fn forget(&mut self, session: SessionKey) {
        self.waiting.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionKey = SessionKey { slot: 1, generation: 2 };
    const SOCKET: SocketKey = SocketKey { slot: 3, generation: 4 };

    #[test]
    fn gives_the_packet_with_its_last_attachment() {
        let mut assembly = Assembly::new(100);
        assembly.begin(SESSION, SOCKET, true, Some(7), b"[]", 2).expect("begins");
        assert!(assembly.is_waiting(SESSION));
        assert!(assembly.add(SESSION, b"a").expect("first").is_none());
        let packet = assembly.add(SESSION, b"bc").expect("second").expect("complete");
        assert_eq!(packet.attachments, [b"a".to_vec(), b"bc".to_vec()]);
        assert!(!assembly.is_waiting(SESSION));
    }

    #[test]
    fn bounds_the_sum_of_all_parts() {
        let mut assembly = Assembly::new(10);
        assembly.begin(SESSION, SOCKET, true, None, b"[1,2]", 3).expect("begins");
        assert!(assembly.add(SESSION, b"12345").expect("exactly the limit").is_none());
        assert_eq!(assembly.add(SESSION, b"6").err(), Some(true));
        assert_eq!(assembly.add(SESSION, b"6").err(), Some(false), "nothing waits any more");
    }
}
