//! What is printed at the end of a run.

use std::io::{self, Write};

use serde::Serialize;

use super::BenchError;
use super::clients::Traffic;
use super::latency::Latencies;
pub use super::latency::LatencyReport;
use super::run::{Measured, Run, Snapshot};
use super::sequence::Faults;

/// CPU time within the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuReport {
    pub cpu_s: f64,
    /// Of one core.
    pub cpu_percent: f64,
    /// Per delivery, round trip or cycle.
    pub cpu_us_each: f64,
    /// Deliveries, round trips or cycles per second of CPU time.
    pub per_cpu_s: f64,
}

/// The report of a run under load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// `broadcast`, `echo` or `churn`.
    pub scenario: &'static str,
    /// What is counted: `delivery`, `round trip` or `cycle`.
    pub unit: &'static str,
    pub connections: usize,
    pub rooms: u32,
    pub measured_s: f64,
    /// Within the measured time.
    pub completed: u64,
    pub per_s: f64,
    /// Bytes received per unit, frame headers included.
    pub bytes_each: f64,
    /// From start to drain: what the messages sent must cause, and what was not even sent because the server took no more.
    pub expected: u64,
    pub unsent: u64,
    #[serde(flatten)]
    pub faults: Faults,
    #[serde(flatten)]
    pub traffic: Traffic,
    pub latency_us: LatencyReport,
    pub clients: CpuReport,
    /// `None`: no `--pid`.
    pub server: Option<CpuReport>,
    pub server_rss_bytes: Option<u64>,
}

/// What a scenario knows at the end, besides what the [`Run`] measured.
pub(super) struct Outcome<'a> {
    pub scenario: &'static str,
    pub unit: &'static str,
    pub rooms: u32,
    pub expected: u64,
    pub unsent: u64,
    pub faults: Faults,
    pub latencies: &'a Latencies,
}

impl LoadReport {
    pub(super) fn new(run: &Run, measured: Measured, outcome: Outcome<'_>) -> Self {
        let Measured { first, last, server_rss_bytes } = measured;
        let measured_s = seconds(last.at_ns - first.at_ns);
        let completed = last.completed - first.completed;
        let cpu = |before: u64, after: u64| CpuReport::new(seconds(after - before), measured_s, completed);
        Self {
            scenario: outcome.scenario,
            unit: outcome.unit,
            connections: run.clients.len(),
            rooms: outcome.rooms,
            measured_s,
            completed,
            per_s: completed as f64 / measured_s,
            bytes_each: (last.bytes_received - first.bytes_received) as f64 / completed as f64,
            expected: outcome.expected,
            unsent: outcome.unsent,
            faults: outcome.faults,
            traffic: run.clients.traffic.clone(),
            latency_us: outcome.latencies.summary(),
            clients: cpu(first.own_cpu_ns, last.own_cpu_ns),
            server: first.server_cpu_ns.zip(last.server_cpu_ns).map(|(before, after)| cpu(before, after)),
            server_rss_bytes,
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { unit, traffic, faults, latency_us: latency, .. } = self;
        writeln!(
            out,
            "{}: {} connections, {} rooms, {:.2} s",
            self.scenario, self.connections, self.rooms, self.measured_s
        )?;
        writeln!(out, "  {:.0} per second, each a {unit} of {:.0} bytes", self.per_s, self.bytes_each)?;
        writeln!(
            out,
            "  of {} expected: {} lost, {} duplicated, {} reordered, {} foreign, {} members in another order; {} unsent",
            self.expected,
            faults.lost,
            faults.duplicated,
            faults.reordered,
            faults.foreign,
            faults.members_in_other_order,
            self.unsent,
        )?;
        writeln!(
            out,
            "  latency in us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0} ({} samples)",
            latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max, latency.samples,
        )?;
        print_traffic(traffic, out)?;
        self.clients.print("clients", unit, out)?;
        if let (Some(server), Some(rss)) = (&self.server, self.server_rss_bytes) {
            server.print("server", unit, out)?;
            writeln!(out, "  server memory: {:.1} MiB resident", mebibytes(rss))?;
        }
        Ok(())
    }
}

impl CpuReport {
    fn new(cpu_s: f64, measured_s: f64, completed: u64) -> Self {
        let completed = completed as f64;
        Self {
            cpu_s,
            cpu_percent: 100.0 * cpu_s / measured_s,
            cpu_us_each: cpu_s * 1e6 / completed,
            per_cpu_s: completed / cpu_s,
        }
    }

    fn print(&self, whose: &str, unit: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "  {whose} CPU: {:.2} s ({:.0} %), {:.2} us per {unit}, {:.0} per CPU second",
            self.cpu_s, self.cpu_percent, self.cpu_us_each, self.per_cpu_s,
        )
    }
}

/// The report of `idle`.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// `idle`.
    pub scenario: &'static str,
    pub connections: usize,
    pub rooms: u32,
    /// Time to connect and join all.
    pub connect_s: f64,
    pub hold_s: f64,
    #[serde(flatten)]
    pub traffic: Traffic,
    pub clients_cpu_percent: f64,
    /// `None`: no `--pid`.
    pub server: Option<IdleServerReport>,
}

/// What idle connections cost the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IdleServerReport {
    pub rss_before_bytes: u64,
    /// After all had joined, and at the end of the hold.
    pub rss_joined_bytes: u64,
    pub rss_end_bytes: u64,
    /// Of the hold's end over the time before the first connection.
    pub rss_bytes_per_connection: f64,
    pub cpu_s: f64,
    /// Of one core.
    pub cpu_percent: f64,
}

impl IdleReport {
    pub(super) fn new(
        run: &Run,
        rooms: u32,
        connect_ns: u64,
        first: Snapshot,
        last: Snapshot,
        rss_bytes: [Option<u64>; 3],
    ) -> Self {
        let connections = run.clients.len();
        let hold_s = seconds(last.at_ns - first.at_ns);
        let cpu_s = first.server_cpu_ns.zip(last.server_cpu_ns).map(|(before, after)| seconds(after - before));
        let server = match (cpu_s, rss_bytes) {
            (Some(cpu_s), [Some(rss_before_bytes), Some(rss_joined_bytes), Some(rss_end_bytes)]) => {
                Some(IdleServerReport {
                    rss_before_bytes,
                    rss_joined_bytes,
                    rss_end_bytes,
                    rss_bytes_per_connection: (rss_end_bytes as f64 - rss_before_bytes as f64) / connections as f64,
                    cpu_s,
                    cpu_percent: 100.0 * cpu_s / hold_s,
                })
            }
            _ => None,
        };
        Self {
            scenario: "idle",
            connections,
            rooms,
            connect_s: seconds(connect_ns),
            hold_s,
            traffic: run.clients.traffic.clone(),
            clients_cpu_percent: 100.0 * seconds(last.own_cpu_ns - first.own_cpu_ns) / hold_s,
            server,
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (connections, rooms) = (self.connections, self.rooms);
        writeln!(out, "idle: {connections} connections in {rooms} rooms, held {:.1} s", self.hold_s)?;
        writeln!(out, "  connected and joined in {:.2} s", self.connect_s)?;
        print_traffic(&self.traffic, out)?;
        writeln!(out, "  clients CPU: {:.2} %", self.clients_cpu_percent)?;
        let Some(server) = &self.server else {
            return Ok(());
        };
        writeln!(
            out,
            "  server memory: {:.1} MiB before, {:.1} MiB joined, {:.1} MiB at the end: {:.0} bytes per connection",
            mebibytes(server.rss_before_bytes),
            mebibytes(server.rss_joined_bytes),
            mebibytes(server.rss_end_bytes),
            server.rss_bytes_per_connection,
        )?;
        writeln!(out, "  server CPU: {:.2} s, {:.2} %", server.cpu_s, server.cpu_percent)
    }
}

fn print_traffic(traffic: &Traffic, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "  {} pings answered, {} other events, {} errors, {} connections closed by the server",
        traffic.pings, traffic.other_events, traffic.errors, traffic.closed_by_server,
    )?;
    match &traffic.first_error {
        Some(error) => writeln!(out, "  first error: {error}"),
        None => Ok(()),
    }
}

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    Load(Box<LoadReport>),
    Idle(IdleReport),
}

impl Report {
    /// Writes the report: as text, or as one line with one JSON object.
    ///
    /// # Errors
    /// `out` took no more.
    pub fn print(&self, out: &mut impl Write, json: bool) -> io::Result<()> {
        match self {
            _ if json => {
                serde_json::to_writer(&mut *out, self)?;
                writeln!(out)
            }
            Self::Load(report) => report.print(out),
            Self::Idle(report) => report.print(out),
        }
    }

    /// # Errors
    /// [`BenchError::Faults`]: something was lost, doubled, out of order or refused.
    pub fn verdict(&self) -> Result<(), BenchError> {
        let (faults, traffic) = match self {
            Self::Load(report) => (report.faults, &report.traffic),
            Self::Idle(report) => (Faults::default(), &report.traffic),
        };
        let Traffic { errors, closed_by_server, .. } = *traffic;
        if faults.any() || errors > 0 || closed_by_server > 0 {
            return Err(BenchError::Faults { faults, errors, closed_by_server });
        }
        Ok(())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_told_per_unit_and_per_second() {
        let cpu = CpuReport::new(2.5, 5.0, 1_000_000);
        assert_eq!((cpu.cpu_percent, cpu.cpu_us_each, cpu.per_cpu_s), (50.0, 2.5, 400_000.0));
    }
}
