//! The course of a run: connect, warm up, measure, drain.

use super::BenchError;
use super::args::Span;
use super::clients::{Clients, Scenario};
use super::process::{Server, now_ns, own_cpu_ns};

/// Clients that connect at the same time.
const HANDSHAKES_MAX: usize = 256;
/// So long no client may get any further while connecting.
const HANDSHAKE_LIMIT_NS: u64 = 10_000_000_000;
/// So long deliveries are awaited after the last message was sent.
const DRAIN_LIMIT_NS: u64 = 5_000_000_000;
/// Time between progress lines.
const PROGRESS_NS: u64 = 1_000_000_000;

/// A scenario that loads the server.
pub(super) trait Load: Scenario {
    /// Begins to load the server. Latency counts for what is sent within `window`.
    fn start(&mut self, clients: &mut Clients, window: Window) -> Result<(), BenchError>;
    /// Sends nothing new from here on.
    fn stop(&mut self, clients: &mut Clients);
    /// Whether, after [`Load::stop`], everything sent has come back.
    fn is_drained(&self, clients: &Clients) -> bool;
    /// Deliveries, round trips or cycles so far.
    fn completed(&self) -> u64;
}

/// The times of a run, in nanoseconds of the monotonic clock: load from `begin_ns`, measured from `from_ns` on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub begin_ns: u64,
    pub from_ns: u64,
    pub until_ns: u64,
}

impl Window {
    #[inline]
    pub fn contains(&self, at_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&at_ns)
    }
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    pub at_ns: u64,
    pub completed: u64,
    pub bytes_received: u64,
    pub own_cpu_ns: u64,
    /// `None`: no server process was named.
    pub server_cpu_ns: Option<u64>,
}

/// What a run of a [`Load`] measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// At the start and the end of the window.
    pub first: Snapshot,
    pub last: Snapshot,
    /// At the end of the window.
    pub server_rss_bytes: Option<u64>,
}

/// Says on standard error what a run is doing.
#[derive(Debug)]
struct Progress {
    begin_ns: u64,
    next_ns: u64,
    server: Option<Server>,
    last: Snapshot,
}

/// The clients of a run and the server they load.
pub(super) struct Run {
    pub clients: Clients,
    pub server: Option<Server>,
}

impl Run {
    /// Connects all clients and lets them join.
    pub fn connect_all<S: Scenario>(&mut self, scenario: &mut S) -> Result<(), BenchError> {
        let clients = &mut self.clients;
        let wanted = clients.len();
        let (mut opened, mut joined) = (0, 0);
        let mut stalled_at = now_ns() + HANDSHAKE_LIMIT_NS;
        let mut progress_at = now_ns() + PROGRESS_NS;
        while clients.joined() < wanted {
            while opened < wanted && clients.handshaking() < HANDSHAKES_MAX {
                clients.open(u32::try_from(opened).unwrap_or(u32::MAX))?;
                opened += 1;
            }
            clients.wake_at(stalled_at.min(progress_at))?;
            clients.turn(scenario)?;
            let now = now_ns();
            if clients.joined() > joined {
                joined = clients.joined();
                stalled_at = now + HANDSHAKE_LIMIT_NS;
            } else if now >= stalled_at {
                return Err(BenchError::Stalled { joined, wanted });
            }
            if now >= progress_at {
                eprintln!("connecting: {joined} of {wanted} clients have joined");
                progress_at = now + PROGRESS_NS;
            }
        }
        eprintln!("{wanted} clients have joined");
        Ok(())
    }

    /// Warms up, measures, and drains.
    pub fn measure<L: Load>(&mut self, load: &mut L, span: &Span) -> Result<Measured, BenchError> {
        let begin_ns = now_ns();
        let from_ns = begin_ns + span.warm_up_ms * 1_000_000;
        let window = Window { begin_ns, from_ns, until_ns: from_ns + span.duration_ms * 1_000_000 };
        load.start(&mut self.clients, window)?;
        let last = snapshot(&self.clients, 0, self.server)?;
        let mut progress = Progress { begin_ns, next_ns: begin_ns + PROGRESS_NS, server: self.server, last };
        self.run_until(load, window.from_ns, &mut progress)?;
        let first = snapshot(&self.clients, load.completed(), self.server)?;
        self.run_until(load, window.until_ns, &mut progress)?;
        let last = snapshot(&self.clients, load.completed(), self.server)?;
        load.stop(&mut self.clients);
        let server_rss_bytes = self.server.map(|server| server.rss_bytes()).transpose()?;
        let deadline_ns = now_ns() + DRAIN_LIMIT_NS;
        while !load.is_drained(&self.clients) && now_ns() < deadline_ns {
            self.clients.wake_at(deadline_ns)?;
            self.clients.turn(load)?;
        }
        Ok(Measured { first, last, server_rss_bytes })
    }

    fn run_until<L: Load>(&mut self, load: &mut L, until_ns: u64, progress: &mut Progress) -> Result<(), BenchError> {
        loop {
            let now = now_ns();
            if now >= progress.next_ns {
                progress.line(&self.clients, load.completed())?;
            }
            if now >= until_ns {
                return Ok(());
            }
            self.clients.wake_at(until_ns.min(progress.next_ns).min(self.clients.due_ns()))?;
            self.clients.turn(load)?;
        }
    }

    /// Does nothing but answer heartbeats until `until_ns`.
    pub fn hold<S: Scenario>(&mut self, scenario: &mut S, until_ns: u64) -> Result<(), BenchError> {
        while now_ns() < until_ns {
            self.clients.wake_at(until_ns)?;
            self.clients.turn(scenario)?;
        }
        Ok(())
    }
}

/// The counters of now, `completed` among them.
pub(super) fn snapshot(clients: &Clients, completed: u64, server: Option<Server>) -> Result<Snapshot, BenchError> {
    Ok(Snapshot {
        at_ns: now_ns(),
        completed,
        bytes_received: clients.traffic.bytes_received,
        own_cpu_ns: own_cpu_ns(),
        server_cpu_ns: server.map(|server| server.cpu_ns()).transpose()?,
    })
}

impl Progress {
    fn line(&mut self, clients: &Clients, completed: u64) -> Result<(), BenchError> {
        let now = snapshot(clients, completed, self.server)?;
        let elapsed_ns = now.at_ns - self.last.at_ns;
        let per_s = (now.completed - self.last.completed) as f64 * 1e9 / elapsed_ns as f64;
        let cpu = |after: u64, before: u64| (after - before) as f64 * 100.0 / elapsed_ns as f64;
        let own = cpu(now.own_cpu_ns, self.last.own_cpu_ns);
        let at_s = (now.at_ns - self.begin_ns) / 1_000_000_000;
        match (now.server_cpu_ns, self.last.server_cpu_ns) {
            (Some(after), Some(before)) => {
                let server = cpu(after, before);
                eprintln!("{at_s:4} s  {per_s:9.0} /s  CPU: server {server:3.0} %, clients {own:3.0} %");
            }
            _ => eprintln!("{at_s:4} s  {per_s:9.0} /s  CPU: clients {own:3.0} %"),
        }
        self.last = now;
        self.next_ns = now.at_ns + PROGRESS_NS;
        Ok(())
    }
}
