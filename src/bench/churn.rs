//! Connect, join, send one message, receive it, close, again and again.

use super::BenchError;
use super::clients::{Clients, Scenario};
use super::latency::Latencies;
use super::run::{Load, Window};
use super::sequence::Faults;
use super::stamp::Stamp;

#[derive(Clone, Copy, Debug, Default)]
struct Cycle {
    begin_ns: u64,
    /// Cycles begun.
    begun: u32,
    /// The message of this cycle has come back.
    delivered: bool,
}

#[derive(Debug)]
pub(super) struct Churn {
    cycles: Vec<Cycle>,
    running: bool,
    window: Window,
    completed: u64,
    faults: Faults,
    pub latencies: Latencies,
}

impl Churn {
    pub fn new(connections: u32) -> Self {
        Self {
            cycles: vec![Cycle::default(); connections as usize],
            running: false,
            window: Window::default(),
            completed: 0,
            faults: Faults::default(),
            latencies: Latencies::new(),
        }
    }

    /// Cycles begun.
    pub fn begun(&self) -> u64 {
        self.cycles.iter().map(|cycle| u64::from(cycle.begun)).sum()
    }

    /// A cycle that did not complete counts as lost.
    pub fn faults(&self) -> Faults {
        Faults { lost: self.begun() - self.completed, ..self.faults }
    }

    fn begin(&mut self, clients: &mut Clients, client: u32) -> Result<(), BenchError> {
        let cycle = &mut self.cycles[client as usize];
        *cycle = Cycle { begin_ns: clients.now_ns(), begun: cycle.begun + 1, delivered: false };
        clients.open(client)
    }
}

impl Scenario for Churn {
    fn room(&self, client: u32) -> u32 {
        client
    }

    fn joined(&mut self, clients: &mut Clients, client: u32) {
        let sequence = self.cycles[client as usize].begun;
        let stamp = Stamp { sent_ns: clients.now_ns(), room: client, publisher: 0, sequence };
        // It has just joined and sent nothing yet, so it can.
        clients.send_message(client, None, &stamp);
    }

    fn delivered(&mut self, clients: &mut Clients, client: u32, stamp: &Stamp) {
        let cycle = &mut self.cycles[client as usize];
        if stamp.room != client || stamp.sequence != cycle.begun {
            self.faults.foreign += 1;
        } else if cycle.delivered {
            self.faults.duplicated += 1;
        } else {
            cycle.delivered = true;
            clients.close(client);
        }
    }

    fn closed(&mut self, clients: &mut Clients, client: u32, asked: bool) -> Result<(), BenchError> {
        let cycle = self.cycles[client as usize];
        if asked {
            self.completed += 1;
            if self.window.contains(cycle.begin_ns) {
                self.latencies.record(clients.now_ns().saturating_sub(cycle.begin_ns));
            }
        }
        if self.running { self.begin(clients, client) } else { Ok(()) }
    }
}

impl Load for Churn {
    fn start(&mut self, clients: &mut Clients, window: Window) -> Result<(), BenchError> {
        self.window = window;
        self.running = true;
        (0..).zip(0..self.cycles.len()).try_for_each(|(client, _)| self.begin(clients, client))
    }

    fn stop(&mut self, _clients: &mut Clients) {
        self.running = false;
    }

    fn is_drained(&self, clients: &Clients) -> bool {
        clients.joined() == 0 && clients.handshaking() == 0
    }

    fn completed(&self) -> u64 {
        self.completed
    }
}
