//! Rooms whose members all receive every message.

use std::collections::VecDeque;

use super::BenchError;
use super::clients::{Clients, Scenario};
use super::latency::Latencies;
use super::run::{Load, Window};
use super::sequence::{Faults, Layout, Sequences};
use super::stamp::Stamp;

/// Overdue messages sent before looking at the connections again.
const BURST_MAX: u32 = 64;
/// When the publisher whose turn it is cannot send, it is tried again after this time.
const RETRY_NS: u64 = 1_000_000;

/// When the next message is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// So many messages are in flight; one that came back to its publisher is followed by another.
    Closed { in_flight: u32 },
    /// So many messages a second, whatever comes back.
    Open { per_second: u32 },
}

#[derive(Debug)]
struct Publisher {
    client: u32,
    room: u32,
    /// Index within the room.
    publisher: u16,
    /// Messages sent.
    sent: u32,
}

#[derive(Debug)]
pub(super) struct Broadcast {
    layout: Layout,
    pace: Pace,
    /// All publishers of room 0, then all of room 1, and so on.
    publishers: Vec<Publisher>,
    /// Indices of publishers in the order in which they send next.
    turns: VecDeque<usize>,
    /// Closed loop: messages that may be sent and are not yet.
    owed: u32,
    sending: bool,
    /// Messages sent to all rooms.
    pub sent: u64,
    /// Open loop: messages that were due before the end and could not be sent.
    pub unsent: u64,
    window: Window,
    sequences: Sequences,
    received: u64,
    pub latencies: Latencies,
}

impl Broadcast {
    pub fn new(layout: Layout, pace: Pace) -> Self {
        let new = |room, publisher| Publisher { client: layout.publisher(room, publisher), room, publisher, sent: 0 };
        let publishers: Vec<_> = (0..layout.rooms)
            .flat_map(|room| (0..layout.publishers).map(move |publisher| new(room, publisher)))
            .collect();
        let each = usize::from(layout.publishers);
        // Room after room, so that the messages in flight are spread over as many rooms as there are.
        let order = (0..each).flat_map(|first| (first..publishers.len()).step_by(each));
        let turns = match pace {
            Pace::Closed { in_flight } => publishers.len().max(in_flight as usize),
            Pace::Open { .. } => publishers.len(),
        };
        Self {
            layout,
            pace,
            turns: order.cycle().take(turns).collect(),
            publishers,
            owed: 0,
            sending: false,
            sent: 0,
            unsent: 0,
            window: Window::default(),
            sequences: Sequences::new(layout),
            received: 0,
            latencies: Latencies::new(),
        }
    }

    /// Deliveries that the messages sent must cause.
    pub fn expected(&self) -> u64 {
        self.sent * u64::from(self.layout.members)
    }

    pub fn faults(&self) -> Faults {
        let sent: Vec<u32> = self.publishers.iter().map(|publisher| publisher.sent).collect();
        self.sequences.faults(&sent)
    }

    /// Lets the publisher with this index send. `false`: it cannot.
    fn send(&mut self, clients: &mut Clients, index: usize, sent_ns: u64) -> bool {
        let publisher = &mut self.publishers[index];
        let stamp = Stamp { sent_ns, room: publisher.room, publisher: publisher.publisher, sequence: publisher.sent };
        let sent = clients.send_message(publisher.client, None, &stamp);
        publisher.sent += u32::from(sent);
        self.sent += u64::from(sent);
        sent
    }

    /// Lets the next publisher that can send do so; if it is to `stay`, it goes to the end of the queue.
    fn send_next(&mut self, clients: &mut Clients, sent_ns: u64, stay: bool) -> bool {
        for _ in 0..self.turns.len() {
            let Some(index) = self.turns.pop_front() else {
                break;
            };
            let sent = self.send(clients, index, sent_ns);
            if !sent || stay {
                self.turns.push_back(index);
            }
            if sent {
                return true;
            }
        }
        false
    }

    /// Closed loop: sends what may be sent.
    fn send_owed(&mut self, clients: &mut Clients) {
        clients.set_due(u64::MAX);
        while self.owed > 0 && self.sending {
            if !self.send_next(clients, clients.now_ns(), false) {
                clients.set_due(clients.now_ns() + RETRY_NS);
                return;
            }
            self.owed -= 1;
        }
    }

    /// Open loop: sends what is due.
    fn send_due(&mut self, clients: &mut Clients, per_second: u32) {
        for _ in 0..BURST_MAX {
            let due_ns = self.window.begin_ns + schedule_ns(self.sent, per_second);
            if due_ns >= self.window.until_ns {
                clients.set_due(u64::MAX);
                return;
            }
            if due_ns > clients.now_ns() {
                clients.set_due(due_ns);
                return;
            }
            if !self.send_next(clients, due_ns, true) {
                clients.set_due(clients.now_ns() + RETRY_NS);
                return;
            }
        }
        clients.set_due(clients.now_ns());
    }
}

/// How long after the first message the one after `count` others is due.
fn schedule_ns(count: u64, per_second: u32) -> u64 {
    let per_second = u64::from(per_second);
    count / per_second * 1_000_000_000 + count % per_second * 1_000_000_000 / per_second
}

impl Scenario for Broadcast {
    fn room(&self, client: u32) -> u32 {
        client % self.layout.rooms
    }

    #[inline]
    fn delivered(&mut self, clients: &mut Clients, client: u32, stamp: &Stamp) {
        if !self.sequences.received(client, stamp) {
            return;
        }
        self.received += 1;
        if self.window.contains(stamp.sent_ns) {
            self.latencies.record(clients.now_ns().saturating_sub(stamp.sent_ns));
        }
        let index = stamp.room as usize * usize::from(self.layout.publishers) + usize::from(stamp.publisher);
        if matches!(self.pace, Pace::Closed { .. }) && self.publishers[index].client == client {
            self.turns.push_back(index);
            self.owed += 1;
            self.send_owed(clients);
        }
    }

    fn due(&mut self, clients: &mut Clients) {
        match self.pace {
            Pace::Closed { .. } => self.send_owed(clients),
            Pace::Open { per_second } => self.send_due(clients, per_second),
        }
    }
}

impl Load for Broadcast {
    fn start(&mut self, clients: &mut Clients, window: Window) -> Result<(), BenchError> {
        self.window = window;
        self.sending = true;
        if let Pace::Closed { in_flight } = self.pace {
            self.owed = in_flight;
        }
        clients.set_due(window.begin_ns);
        Ok(())
    }

    fn stop(&mut self, clients: &mut Clients) {
        clients.set_due(u64::MAX);
        self.sending = false;
        if let Pace::Open { per_second } = self.pace {
            let end_ns = self.window.until_ns - self.window.begin_ns;
            self.unsent = (self.sent..).take_while(|&count| schedule_ns(count, per_second) < end_ns).count() as u64;
        }
    }

    fn is_drained(&self, _clients: &Clients) -> bool {
        self.received >= self.expected()
    }

    fn completed(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_keeps_its_rate_without_drift() {
        assert_eq!(schedule_ns(0, 3), 0);
        assert_eq!(schedule_ns(1, 3), 333_333_333);
        assert_eq!(schedule_ns(3, 3), 1_000_000_000);
        assert_eq!(schedule_ns(3_000_000_001, 3), 1_000_000_000_333_333_333);
    }

    #[test]
    fn publishers_take_turns_room_after_room() {
        let layout = Layout { rooms: 3, members: 4, publishers: 2 };
        let broadcast = Broadcast::new(layout, Pace::Closed { in_flight: 8 });
        let turns: Vec<_> = broadcast
            .turns
            .iter()
            .map(|&index| (broadcast.publishers[index].room, broadcast.publishers[index].publisher))
            .collect();
        assert_eq!(turns, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 0), (1, 0)]);
        let clients: Vec<_> = broadcast.publishers.iter().map(|publisher| publisher.client).collect();
        assert!(clients.iter().zip(&broadcast.publishers).all(|(client, publisher)| client % 3 == publisher.room));
    }
}
