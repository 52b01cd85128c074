//! Connections that come: accepted here, or from another shard.

use super::wheel::{Timer, TimerKind};
use super::{ConnectionKey, Engine};
use crate::connection::addresses::{Excess, Ticket};
use crate::connection::outbound::Owner;
use crate::connection::tls::Tls;
use crate::connection::{Connection, Front, Http, Security, Stage};
use crate::metrics::CutOff;
use std::net::IpAddr;

/// How a new connection is let in.
pub(super) struct Admission {
    pub(super) ticket: Option<Ticket>,
    pub(super) is_too_fast: bool,
}

impl Engine {
    /// Takes up a new connection that speaks HTTP, within TLS or not; `None` at a limit.
    pub fn accept(&mut self, peer: IpAddr, security: Security) -> Option<ConnectionKey> {
        let is_proxy = self.settings.proxies.trust(peer);
        let Admission { ticket, is_too_fast } = self.admit(peer)?;
        let front = Front {
            ticket,
            is_too_fast,
            header: (is_proxy && self.settings.proxies.send_header).then(Box::default),
            proxy: (is_proxy && !self.settings.proxies.send_header).then_some(peer),
            tls: match security {
                Security::Plain => None,
                Security::Tls => Some(Box::new(Tls::new(self.settings.certificates.as_deref()?).ok()?)),
            },
        };
        let is_needed = is_proxy || front.ticket.is_some() || front.tls.is_some();
        self.insert_connection(peer, is_needed.then(|| Box::new(front)))
    }

    /// Takes up a connection of another shard; `None` at a limit.
    pub fn adopt(&mut self, peer: IpAddr, front: Option<Box<Front>>) -> Option<ConnectionKey> {
        self.insert_connection(peer, front)
    }

    /// Lets in a new connection of `address`, be it to tell it that it came too fast. `None`: it is to be closed.
    pub(super) fn admit(&mut self, address: IpAddr) -> Option<Admission> {
        match self.ticket_of(address) {
            Ok(ticket) => Some(Admission { ticket, is_too_fast: false }),
            Err(Excess::Connections) => None,
            Err(Excess::Rate) => {
                let addresses = self.settings.addresses.as_ref()?;
                let ticket = addresses.enter_to_be_told(address, self.now.mono_ms).ok()?;
                Some(Admission { ticket: Some(ticket), is_too_fast: true })
            }
        }
    }

    /// A place for a connection of `address`, if places are limited, which they are not for a trusted proxy itself.
    pub(super) fn ticket_of(&mut self, address: IpAddr) -> Result<Option<Ticket>, Excess> {
        let Some(addresses) = &self.settings.addresses else { return Ok(None) };
        if self.settings.proxies.trust(address) {
            return Ok(None);
        }
        let entered = addresses.enter(address, self.now.mono_ms);
        if let Err(excess) = entered {
            tracing::debug!(%address, ?excess, "refused");
            self.counters.connections_refused += 1;
            self.counters.cut_off(match excess {
                Excess::Connections => CutOff::AddressConnections,
                Excess::Rate => CutOff::AddressRate,
            });
        }
        entered.map(Some)
    }

    fn insert_connection(&mut self, peer: IpAddr, front: Option<Box<Front>>) -> Option<ConnectionKey> {
        if self.connections.len() >= self.settings.max_connections {
            self.counters.connections_refused += 1;
            return None;
        }
        let slot = u32::try_from(self.connections.vacant_key()).ok()?;
        let generation = self.next_generation();
        let deadline_ms = self.now.mono_ms + self.time_to_begin(front.as_deref());
        let http = Http { deadline_ms, armed_ms: deadline_ms, ..Http::default() };
        let sink = self.out.open(Owner::Connection(slot));
        let stage = Stage::Http(Box::new(http));
        self.connections.insert(Connection { generation, sink, stage, peer, reading: true, front });
        self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot, generation });
        self.counters.connections_opened += 1;
        Some(ConnectionKey { slot, generation })
    }

    /// How long a connection may take for the first that is to be seen of it.
    fn time_to_begin(&self, front: Option<&Front>) -> u64 {
        match front {
            Some(front) if front.is_beginning() => self.settings.handshake_timeout_ms,
            _ => self.settings.request_timeout_ms,
        }
    }
}
