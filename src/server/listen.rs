//! The ports the server listens on: one without TLS, one with it.

use super::StartError;
use crate::config::{Config, Switch};
use crate::driver::Listener;
use crate::driver::accept::{Listeners, listeners};
use crate::shard::seam::Security;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// What listens where.
pub struct Ports {
    /// Without TLS, if at all.
    pub plain: Option<SocketAddr>,
    /// With TLS, if at all.
    pub tls: Option<SocketAddr>,
    /// Those of each shard.
    pub listeners: Vec<Vec<Listener>>,
    /// To be kept as long as the ports are to be kept.
    pub locks: Vec<OwnedFd>,
}

/// Listens as far as the flags ask for it.
pub fn ports(config: &Config, shards: usize) -> Result<Ports, StartError> {
    let on = |port| listeners(SocketAddr::new(config.host, port), shards).map_err(StartError::Listen);
    let plain = (config.plain == Switch::On).then(|| on(config.port)).transpose()?;
    let tls = config.tls_cert.is_some().then(|| on(config.tls_port)).transpose()?;
    let mut ports = Ports {
        plain: plain.as_ref().map(|listeners| listeners.address),
        tls: tls.as_ref().map(|listeners| listeners.address),
        listeners: (0..shards).map(|_| Vec::new()).collect(),
        locks: Vec::new(),
    };
    for (opened, security) in [(plain, Security::Plain), (tls, Security::Tls)] {
        let Some(Listeners { sockets, lock, .. }) = opened else { continue };
        ports.locks.push(lock);
        for (of_shard, socket) in ports.listeners.iter_mut().zip(sockets) {
            of_shard.push(Listener { socket, security });
        }
    }
    Ok(ports)
}
