//! The encrypted connections of a shard: their handshake, their writing and their end.

use super::{ConnectionKey, Engine};
use crate::connection::outbound::{Flushed, Outbound, SinkKey};
use crate::connection::tls::{Scratch, Tls};
use crate::connection::{Finish, Stage};
use crate::engine::CloseReason;
use crate::metrics::CutOff;
use std::io::{self, IoSlice};

/// Writes everything queued in `sink` encrypted; what TLS itself has to say goes first.
pub(super) fn flush(
    out: &mut Outbound,
    sink: SinkKey,
    tls: &mut Tls,
    scratch: &mut Scratch,
    send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> Flushed {
    if tls.write_pending(send).is_err() {
        return Flushed::Broken;
    }
    if tls.pending() > 0 {
        out.absorb(sink);
        return Flushed::Blocked(out.backlog_bytes(sink) + tls.pending());
    }
    match out.flush(sink, &mut |slices| tls.write(slices, scratch, send)) {
        Flushed::All if tls.pending() > 0 => Flushed::Blocked(tls.pending()),
        Flushed::Blocked(left) => Flushed::Blocked(left + tls.pending()),
        flushed => flushed,
    }
}

impl Engine {
    /// The encryption of a connection, if it has any.
    pub fn tls_mut(&mut self, key: ConnectionKey) -> Option<&mut Tls> {
        self.front_mut(key)?.tls.as_deref_mut()
    }

    /// Decrypts what arrived on a connection and appends it to `plain`. `false`: the client broke the rules of TLS and is
    /// cut off.
    pub fn decrypt(&mut self, key: ConnectionKey, bytes: &mut [u8], plain: &mut Vec<u8>) -> bool {
        let Some(tls) = self.tls_mut(key) else { return false };
        let was_handshaking = tls.is_handshaking();
        let outcome = tls.receive(bytes, plain);
        let (pending, is_open) = (tls.pending() > 0, was_handshaking && !tls.is_handshaking());
        let is_resumed = tls.is_resumed();
        if pending && let Some(sink) = self.connection(key).map(|c| c.sink) {
            self.out.touch(sink);
        }
        if let Err(error) = outcome {
            let peer = self.connection(key).map(|connection| connection.peer);
            tracing::debug!(?peer, %error, "TLS failed");
            if was_handshaking && bytes.first().is_some_and(u8::is_ascii_uppercase) {
                self.answer_plain(key);
            }
            self.counters.cut_off(CutOff::BadTls);
            self.break_off(key, CloseReason::TransportError, Finish::Linger);
            return false;
        }
        if is_open {
            self.counters.tls_handshakes += 1;
            self.counters.tls_resumed += u64::from(is_resumed);
            self.set_deadline(key, self.now.mono_ms + self.settings.request_timeout_ms);
        }
        true
    }

    /// Tells a client that speaks HTTP, not TLS, what is wrong, in a way it understands.
    fn answer_plain(&mut self, key: ConnectionKey) {
        let Some(http) = self.http_mut(key) else { return };
        http.close = true;
        if let Some(front) = self.front_mut(key) {
            front.tls = None;
        }
        self.put_response(key, 400, "application/json", br#"{"error":"This port speaks HTTPS only."}"#, "");
    }

    /// Whether a connection that ends has something left to say by TLS: that it ends.
    pub(super) fn ends_tls(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.connection_mut(key) else { return false };
        let says_so = matches!(connection.stage, Stage::Ending { finish: Finish::Close | Finish::Linger, .. });
        let sink = connection.sink;
        let Some(tls) = connection.front.as_mut().and_then(|front| front.tls.as_mut()) else { return false };
        if says_so && tls.end() {
            self.out.touch(sink);
            return true;
        }
        tls.pending() > 0
    }
}
