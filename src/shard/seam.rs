//! The seam between a shard and what drives it: a driver in production, the simulation in tests.
//!
//! Inputs are the methods of [`Core`]; effects are the methods of [`Wire`], called only from within
//! [`Core::flush`], which the driver calls once at the end of every turn.

use std::io::{self, IoSlice};
use std::net::IpAddr;

pub use crate::connection::{Handover, Security};
pub use crate::engine::{ConnectionKey, Now};
pub use crate::metrics::Snapshot;

/// How the receiving side of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer sent FIN: nothing more will be received, sending may still work.
    Eof,
    /// The connection failed (reset, timed out): nothing can be sent either.
    Reset,
}

/// What a flush has to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pending {
    /// Bytes queued for clients, each recipient's counted.
    pub bytes: usize,
    /// Mail for other shards.
    pub mail: usize,
    /// Bytes that the mail will have queued for clients in the end, as far as is known.
    pub mail_bytes: usize,
}

impl Pending {
    /// Whether anything of it is as much as `most` says.
    pub fn reaches(self, most: Self) -> bool {
        self.bytes >= most.bytes || self.mail >= most.mail || self.mail_bytes >= most.mail_bytes
    }
}

/// What a driver feeds. No method blocks, reads a clock or touches a socket.
pub trait Core {
    /// What shards send one another.
    type Mail: Send + 'static;

    /// A connection was accepted by a listener for `security`. `None`: refused (a limit is reached), close it at once.
    fn accepted(&mut self, peer: IpAddr, security: Security, now: Now) -> Option<ConnectionKey>;

    /// A connection arrived from another shard; its unread bytes are processed at once. `None` as in [`Core::accepted`].
    fn adopted(&mut self, handover: Handover, now: Now) -> Option<ConnectionKey>;

    /// Bytes arrived. The shard takes all of them and may scribble over `bytes` (unmasking, unescaping in place).
    fn received(&mut self, key: ConnectionKey, bytes: &mut [u8], now: Now);

    /// A connection whose last [`Wire::send`] took less than offered can be written again.
    fn writable(&mut self, key: ConnectionKey, now: Now);

    /// The receiving side ended. The shard will call [`Wire::close`] for the connection in this turn or a later one;
    /// until then the key stays valid. The driver reports it once and stops reading. Unless the connection failed there was
    /// a flush since the last bytes arrived.
    fn ended(&mut self, key: ConnectionKey, how: Ended, now: Now);

    /// Mail from shard `from`; per sender in the order it was posted.
    fn mail(&mut self, from: usize, mail: Self::Mail, now: Now);

    /// Lets timers due at `now` fire. Called once a turn, before [`Core::flush`].
    fn tick(&mut self, now: Now);

    /// When [`Core::tick`] is wanted next, in `mono_ms`; 0: in a turn of its own, at once; `None`: no timer is armed.
    fn deadline_ms(&self) -> Option<u64>;

    /// What awaits the next [`Core::flush`].
    fn pending(&self) -> Pending;

    /// The end of the turn: each connection with something to send is written once, then all other effects are given.
    fn flush<W: Wire<Self::Mail>>(&mut self, wire: &mut W, now: Now);

    /// Begins the orderly end: the driver accepts no more; everything is told, flushed and closed. Called once.
    fn drain(&mut self, now: Now);

    /// What happened so far and is there now. The driver asks at most once a second.
    fn snapshot(&self) -> Snapshot;

    /// Gives back what tables needed once and need no more. The driver asks at most once a second, at the end of a turn
    /// whose flush may have been put off.
    fn shrink(&mut self, now: Now);

    /// Whether, after [`Core::drain`], nothing is left: no connection, no mail awaited.
    fn is_drained(&self) -> bool;
}

/// What a shard asks of its driver during [`Core::flush`].
pub trait Wire<M> {
    /// Writes as much as the socket takes now, never blocks. Fewer bytes than offered (0 when it takes none): the driver
    /// watches the socket and calls [`Core::writable`] once it can go on. An error: the connection is broken; the shard
    /// closes it, the driver does not report it again.
    fn send(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// As [`Wire::send`], for the last bytes of a connection: in this very flush, once all of them are taken, it is shut
    /// down or closed, and its end may travel with them.
    fn send_last(&mut self, key: ConnectionKey, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(key, slices)
    }

    /// Stops (`false`) or resumes (`true`) reading the connection. Reading is on at first.
    fn set_reading(&mut self, key: ConnectionKey, on: bool);

    /// Half-closes: FIN after what was sent; receiving goes on.
    fn shutdown(&mut self, key: ConnectionKey);

    /// Ends the connection. The key is invalid from here on. `abort`: unsent bytes are of no use, reset the peer.
    fn close(&mut self, key: ConnectionKey, abort: bool);

    /// Takes the connection away from this shard and to shard `to`; the key is invalid from here on.
    fn hand_over(&mut self, key: ConnectionKey, to: usize, handover: Handover);

    /// Sends `mail` to shard `to` (never to the own shard). Never blocks, never loses, keeps the order.
    fn post(&mut self, to: usize, mail: M);
}
