//! What travels between shards.

use std::os::fd::OwnedFd;

use crate::shard::seam::Handover;

/// One thing sent from a shard to another.
#[derive(Debug)]
pub enum Envelope<M> {
    /// The shards' own words.
    Mail(M),
    /// A connection that changes its shard.
    Connection {
        /// Its socket, watched by nobody while it travels.
        socket: OwnedFd,
        /// What goes with it.
        handover: Handover,
    },
}
