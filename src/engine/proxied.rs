//! Connections and requests that trusted proxies pass on: whose they are, for limits and logs.

use super::admission::Admission;
use super::{ConnectionKey, Engine};
use crate::connection::Front;
use crate::connection::addresses::Ticket;
use crate::metrics::{ConnectionEnd, CutOff};
use crate::wire::http::Head;
use crate::wire::proxy::{self, NoHeader, Source};
use std::net::IpAddr;

impl Engine {
    /// What is in front of HTTP on a connection.
    pub(super) fn front_mut(&mut self, key: ConnectionKey) -> Option<&mut Front> {
        self.connection_mut(key)?.front.as_deref_mut()
    }

    /// Takes bytes of a connection that begins with a PROXY header. Returns what follows the header once it is whole. A
    /// connection that has none, or whose client is at a limit, is closed.
    pub fn take_header(&mut self, key: ConnectionKey, bytes: &[u8]) -> Option<Vec<u8>> {
        let front = self.front_mut(key)?;
        let header = front.header.as_mut()?;
        header.extend_from_slice(bytes);
        match proxy::parse(header) {
            Ok(None) => None,
            Ok(Some((source, len))) => {
                let rest = header.split_off(len);
                front.header = None;
                self.name_client(key, source).then_some(rest)
            }
            Err(NoHeader(why)) => {
                let peer = self.connection(key).map(|connection| connection.peer);
                tracing::debug!(?peer, why, "no PROXY header");
                self.counters.cut_off(CutOff::BadProxyHeader);
                self.kill_connection(key, ConnectionEnd::Refused);
                None
            }
        }
    }

    /// The header of a connection said whose it is. `false`: it may not have another one, and is closed.
    fn name_client(&mut self, key: ConnectionKey, source: Source) -> bool {
        if let Source::Client(client) = source {
            let Some(Admission { ticket, is_too_fast }) = self.admit(client) else {
                self.kill_connection(key, ConnectionEnd::Refused);
                return false;
            };
            let is_proxy = self.settings.proxies.trust(client);
            let Some(connection) = self.connection_mut(key) else { return false };
            connection.peer = client;
            if let Some(front) = &mut connection.front {
                front.ticket = ticket;
                front.is_too_fast = is_too_fast;
                front.proxy = is_proxy.then_some(client);
            }
        }
        if self.tls_mut(key).is_none() {
            self.set_deadline(key, self.now.mono_ms + self.settings.request_timeout_ms);
        }
        true
    }

    /// A request came: if a trusted proxy passes it on, the connection counts for its client from now on. `false`: that client
    /// is at a limit, or was when the connection began.
    pub fn attribute(&mut self, key: ConnectionKey, head: &Head<'_>) -> bool {
        let Some(connection) = self.connection(key) else { return true };
        let Some(front) = connection.front.as_deref() else { return true };
        if front.is_too_fast {
            return false;
        }
        let Some(proxy) = front.proxy else { return true };
        let client = self.settings.proxies.client(head.headers("x-forwarded-for")).unwrap_or(proxy);
        if connection.peer == client {
            return true;
        }
        // The place of the client before is free again, whatever becomes of this one.
        self.assign(key, proxy, None);
        let ticket = self.ticket_of(client);
        let is_let_in = ticket.is_ok();
        if let Ok(ticket) = ticket {
            self.assign(key, client, ticket);
        }
        is_let_in
    }

    fn assign(&mut self, key: ConnectionKey, client: IpAddr, ticket: Option<Ticket>) {
        let Some(connection) = self.connection_mut(key) else { return };
        connection.peer = client;
        if let Some(front) = &mut connection.front {
            front.ticket = ticket;
        }
    }
}
