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

    fn receive_encrypted(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.engine.connection(key) else { return };
        if let Stage::Ending { finish: Finish::Close | Finish::Linger | Finish::Lingering, .. } = connection.stage {
            return;
        }
        let mut plain = std::mem::take(&mut self.decrypted);
        let is_sound = self.engine.decrypt(key, bytes, &mut plain);
        if is_sound && !plain.is_empty() {
            self.receive(key, &mut plain);
        }
        if is_sound && self.engine.tls_mut(key).is_some_and(|tls| tls.has_ended()) {
            self.closed_by_client.push(key);
        }
        plain.clear();
        plain.shrink_to(DECRYPTED_KEEP);
        self.decrypted = plain;
    }
}
