//! Private rooms: each client alone in its room, one message at a time to its ack and its own broadcast.

use std::collections::VecDeque;

use super::BenchError;
use super::clients::{Clients, Scenario};
use super::latency::Latencies;
use super::packets::JOIN_ACK;
use super::run::{Load, Window};
use super::sequence::{Faults, Layout, Sequences};
use super::stamp::Stamp;

#[derive(Clone, Copy, Debug, Default)]
struct RoundTrip {
    sent_ns: u64,
    /// Messages sent, acks and broadcasts received.
    sent: u32,
    acknowledged: u32,
    delivered: u32,
}

#[derive(Debug)]
pub(super) struct Echo {
    in_flight: u32,
    trips: Vec<RoundTrip>,
    /// Clients to send next.
    waiting: VecDeque<u32>,
    sending: bool,
    window: Window,
    sequences: Sequences,
    completed: u64,
    /// Acks of no message in flight.
    stray_acks: u64,
    pub latencies: Latencies,
}

impl Echo {
    /// `in_flight` is at most `connections`.
    pub fn new(connections: u32, in_flight: u32) -> Self {
        Self {
            in_flight,
            trips: vec![RoundTrip::default(); connections as usize],
            waiting: (0..connections).collect(),
            sending: false,
            window: Window::default(),
            sequences: Sequences::new(Layout { rooms: connections, members: 1, publishers: 1 }),
            completed: 0,
            stray_acks: 0,
            latencies: Latencies::new(),
        }
    }

    /// Messages sent.
    pub fn sent(&self) -> u64 {
        self.trips.iter().map(|trip| u64::from(trip.sent)).sum()
    }

    /// A missing ack counts as lost, like a missing broadcast; a second one as foreign.
    pub fn faults(&self) -> Faults {
        let sent: Vec<u32> = self.trips.iter().map(|trip| trip.sent).collect();
        let mut faults = self.sequences.faults(&sent);
        faults.lost += self.trips.iter().map(|trip| u64::from(trip.sent - trip.acknowledged)).sum::<u64>();
        faults.foreign += self.stray_acks;
        faults
    }

    /// Lets the client that has waited longest send.
    fn send_next(&mut self, clients: &mut Clients) {
        let sent_ns = clients.now_ns();
        // A client that cannot send has lost its connection; it does not come back.
        while let Some(client) = self.waiting.pop_front() {
            let trip = &mut self.trips[client as usize];
            let stamp = Stamp { sent_ns, room: client, publisher: 0, sequence: trip.sent };
            if clients.send_message(client, Some(JOIN_ACK + 1 + u64::from(trip.sent)), &stamp) {
                trip.sent_ns = sent_ns;
                trip.sent += 1;
                return;
            }
        }
    }

    /// After an ack or a broadcast of `client`: is the round trip complete?
    fn progressed(&mut self, clients: &mut Clients, client: u32) {
        let trip = self.trips[client as usize];
        if trip.acknowledged != trip.sent || trip.delivered != trip.sent {
            return;
        }
        self.completed += 1;
        if self.window.contains(trip.sent_ns) {
            self.latencies.record(clients.now_ns().saturating_sub(trip.sent_ns));
        }
        self.waiting.push_back(client);
        if self.sending {
            self.send_next(clients);
        }
    }
}

impl Scenario for Echo {
    fn room(&self, client: u32) -> u32 {
        client
    }

    fn delivered(&mut self, clients: &mut Clients, client: u32, stamp: &Stamp) {
        if self.sequences.received(client, stamp) {
            self.trips[client as usize].delivered += 1;
            self.progressed(clients, client);
        }
    }

    fn acknowledged(&mut self, clients: &mut Clients, client: u32, id: u64) {
        let trip = &mut self.trips[client as usize];
        if trip.acknowledged < trip.sent && id == JOIN_ACK + 1 + u64::from(trip.acknowledged) {
            trip.acknowledged += 1;
            self.progressed(clients, client);
        } else {
            self.stray_acks += 1;
        }
    }

    fn due(&mut self, clients: &mut Clients) {
        clients.set_due(u64::MAX);
        for _ in 0..self.in_flight {
            self.send_next(clients);
        }
    }
}

impl Load for Echo {
    fn start(&mut self, clients: &mut Clients, window: Window) -> Result<(), BenchError> {
        self.window = window;
        self.sending = true;
        clients.set_due(0);
        Ok(())
    }

    fn stop(&mut self, _clients: &mut Clients) {
        self.sending = false;
    }

    fn is_drained(&self, _clients: &Clients) -> bool {
        self.completed == self.sent()
    }

    fn completed(&self) -> u64 {
        self.completed
    }
}
