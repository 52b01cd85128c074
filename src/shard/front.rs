//! What is in front of HTTP on a connection: a PROXY header, TLS.

use super::{ConnectionKey, Shard};
use crate::connection::{Finish, Front, Stage};
use crate::engine::Protocol;

/// Capacity that is kept for what TLS decrypts: that of one read of the driver.
const DECRYPTED_KEEP: usize = 64 * 1024;

impl<P: Protocol> Shard<P> {
    /// Takes bytes of a connection that may have something in front of HTTP.
    pub(super) fn receive_front(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.engine.connection(key) else { return };
        match connection.front.as_deref() {
            Some(Front { header: Some(_), .. }) => {
                let rest = self.engine.take_header(key, bytes);
                if let Some(mut rest) = rest.filter(|rest| !rest.is_empty()) {
                    self.receive_front(key, &mut rest);
                }
            }
            Some(Front { tls: Some(_), .. }) => self.receive_encrypted(key, bytes),
            _ => self.receive(key, bytes),
        }
    }

    /// Whether the client said with TLS that it sends no more.
    pub(super) fn has_ended(&mut self, key: ConnectionKey) -> bool {
        self.engine.tls_mut(key).is_some_and(|tls| tls.has_ended())
    }

    /// Ends the connections whose clients send no more, but for those that are still not to be read: what they sent before
    /// is not all answered. Returns whether there was one to be ended.
    pub(super) fn end_closed(&mut self) -> bool {
        let Self { closed_by_client, engine, .. } = self;
        let mut ended = false;
        closed_by_client.retain(|&key| match engine.connection(key) {
            Some(connection) if !connection.reading => true,
            _ => {
                engine.ended(key);
                ended = true;
                false
            }
        });
        ended
    }

    fn receive_encrypted(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.engine.connection(key) else { return };
        if let Stage::Ending { finish: Finish::Close | Finish::Linger | Finish::Lingering, .. } = connection.stage {
            return;
        }
        if self.has_ended(key) {
            return;
        }
        let mut plain = std::mem::take(&mut self.decrypted);
        let is_sound = self.engine.decrypt(key, bytes, &mut plain);
        if is_sound && !plain.is_empty() {
            self.receive(key, &mut plain);
        }
        if is_sound && self.has_ended(key) {
            self.closed_by_client.push(key);
        }
        plain.clear();
        plain.shrink_to(DECRYPTED_KEEP);
        self.decrypted = plain;
    }
}
