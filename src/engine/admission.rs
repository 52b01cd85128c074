//! Connections that come: accepted here, or from another shard.

use super::wheel::{Timer, TimerKind};
use super::{ConnectionKey, Engine};
use crate::connection::addresses::{Excess, Ticket};
use crate::connection::outbound::Owner;
use crate::connection::{Connection, Front, Http, Stage};
use crate::metrics::CutOff;
use std::net::IpAddr;

impl Engine {
    /// Takes up a new connection that speaks HTTP; `None` at a limit.
    pub fn accept(&mut self, peer: IpAddr) -> Option<ConnectionKey> {
        let ticket = self.enter(peer).ok()?;
        let front = ticket.map(|ticket| Box::new(Front { ticket }));
        self.insert_connection(peer, front)
    }

    /// Takes up a connection of another shard; `None` at a limit.
    pub fn adopt(&mut self, peer: IpAddr, front: Option<Box<Front>>) -> Option<ConnectionKey> {
        self.insert_connection(peer, front)
    }

    /// A place for a new connection of `address`, if places are limited.
    fn enter(&mut self, address: IpAddr) -> Result<Option<Ticket>, Excess> {
        let Some(addresses) = &self.settings.addresses else { return Ok(None) };
        let entered = addresses.enter(address, self.now.mono_ms);
        if let Err(excess) = entered {
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
        let deadline_ms = self.now.mono_ms + self.settings.request_timeout_ms;
        let http = Http { deadline_ms, armed_ms: deadline_ms, ..Http::default() };
        let sink = self.out.open(Owner::Connection(slot));
        let stage = Stage::Http(Box::new(http));
        self.connections.insert(Connection { generation, sink, stage, peer, reading: true, front });
        self.wheel.arm(deadline_ms, Timer { kind: TimerKind::Connection, slot, generation });
        self.counters.connections_opened += 1;
        Some(ConnectionKey { slot, generation })
    }
}
