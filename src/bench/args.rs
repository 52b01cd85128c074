//! The flags of `sockeye bench`.

use std::net::SocketAddr;

use crate::config::values::{HOUR_MS, time};
use crate::wire::prepared::OFFSET_LEN;

use super::stamp::STAMP_BYTES;

/// Shortest text: the stamp alone.
pub(super) const TEXT_BYTES_MIN: u32 = STAMP_BYTES as u32;

/// Most connections of a run.
pub(super) const CONNECTIONS_MAX: u32 = 1_000_000;
/// Ports of an address that Linux gives to who connects, unless told otherwise (`net.ipv4.ip_local_port_range`).
const EPHEMERAL_PORTS: usize = 28_232;
/// Connections per source address when `--source-spread` is not given: a quarter of its ports. Linux looks among the ports
/// of one parity first, one after the other, which takes long once they run short; and those of a run that has just
/// ended are still taken (TIME-WAIT, RFC 9293 §3.3.2).
const CONNECTIONS_PER_SOURCE: usize = EPHEMERAL_PORTS / 4;

/// Flags of `sockeye bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Measure a server.
    #[command(flatten)]
    Measure(Scenario),
    /// Serve the yardstick: canned answers without any protocol work, one thread, one write per connection and turn
    Floor(Floor),
}

/// What to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Scenario {
    /// Rooms whose members all receive every message: deliveries per second, latency, CPU per delivery
    Broadcast(Broadcast),
    /// Private rooms: round trips of one message to its ack and its own broadcast
    Echo(Echo),
    /// Connections that joined and then say nothing: memory per connection, CPU for heartbeats
    Idle(Idle),
    /// Connect, join, send one message, receive it, close, again and again: cycles per second
    Churn(Churn),
}

impl Scenario {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Broadcast(Broadcast { common, .. })
            | Self::Echo(Echo { common, .. })
            | Self::Idle(Idle { common, .. })
            | Self::Churn(Churn { common, .. }) => common,
        }
    }
}

/// Which server, from where, and how to report.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Address of the server. Only loopback addresses are accepted: load on a network is felt by others, so the load
    /// generator runs on the server's machine, on cores of its own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = parse_loopback)]
    pub target: SocketAddr,
    /// Speak TLS; the server's certificate is not checked
    #[arg(long)]
    pub tls: bool,
    /// Process id of the server: its CPU time and memory are reported
    #[arg(long)]
    pub pid: Option<u32>,
    /// Report one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Number of source addresses, from 127.0.0.1 on, that connections are spread over; each has about 28,000 ports, of
    /// which the second half is slow to find. By default the system's choice up to 7,058 connections, then one
    /// address for every 7,058
    #[arg(long, value_name = "ADDRESSES", value_parser = clap::value_parser!(u16).range(1..))]
    pub source_spread: Option<u16>,
}

impl Common {
    /// Source addresses for `connections`; 0: the system's choice.
    pub(super) fn sources(&self, connections: usize) -> u16 {
        let sources = match self.source_spread {
            Some(sources) => sources,
            None if self.target.is_ipv6() || connections <= CONNECTIONS_PER_SOURCE => 0,
            None => u16::try_from(connections.div_ceil(CONNECTIONS_PER_SOURCE)).unwrap_or(u16::MAX),
        };
        if self.target.is_ipv4() { sources } else { 0 }
    }
}

/// How long to load the server.
#[derive(Clone, Debug, clap::Args)]
pub struct Span {
    /// How long to measure [1ms to 24h]
    #[arg(long = "duration", value_name = "TIME", default_value = "5s", value_parser = time(1..=24 * HOUR_MS))]
    pub duration_ms: u64,
    /// How long to load the server before measuring [0ms to 1h]
    #[arg(long = "warm-up", value_name = "TIME", default_value = "1s", value_parser = time(0..=HOUR_MS))]
    pub warm_up_ms: u64,
    /// Length of the message text in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(i64::from(TEXT_BYTES_MIN)..=65_536))]
    pub text_bytes: u32,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Broadcast {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub span: Span,
    /// Rooms
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rooms: u32,
    /// Members of each room
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: u32,
    /// Members of each room that send; at most all of them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub publishers: u16,
    /// Closed loop: messages in flight, over all rooms. The next one is sent when a publisher has received its own
    #[arg(long, value_name = "MESSAGES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Open loop instead: messages per second, over all rooms. Latency counts from when a message should have been sent
    #[arg(long, value_name = "MESSAGES", conflicts_with = "in_flight", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Echo {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub span: Span,
    /// Connections, each alone in its room
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub connections: u32,
    /// Messages in flight, at most one per connection [default: one per connection]
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Idle {
    #[command(flatten)]
    pub common: Common,
    /// Connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub connections: u32,
    /// Rooms they are spread over
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rooms: u32,
    /// How long to hold the connections [1ms to 24h]
    #[arg(long = "hold", value_name = "TIME", default_value = "30s", value_parser = time(1..=24 * HOUR_MS))]
    pub hold_ms: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Churn {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub span: Span,
    /// Cycles under way at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Floor {
    /// Port to listen on, at 127.0.0.1; 0: any, it is printed
    #[arg(long, default_value_t = 3001)]
    pub port: u16,
    /// Time between heartbeats [1ms to 1h]
    #[arg(long = "ping-interval", value_name = "TIME", default_value = "25s", value_parser = time(1..=HOUR_MS))]
    pub ping_interval_ms: u64,
    /// Length of the string added to each broadcast as its last argument, for connection state recovery; 0: none is added,
    /// as by a server without recovery
    #[arg(long, value_name = "BYTES", default_value_t = OFFSET_LEN as u16, value_parser = clap::value_parser!(u16).range(..=1_024))]
    pub offset_bytes: u16,
}

fn parse_loopback(value: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        value.parse().map_err(|_| "not an address and port, such as 127.0.0.1:3000".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err("not a loopback address".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_loopback_targets_only() {
        assert_eq!(parse_loopback("127.8.9.10:80"), Ok(SocketAddr::from(([127, 8, 9, 10], 80))));
        assert!(parse_loopback("[::1]:3000").is_ok());
        for other in ["192.0.2.1:3000", "0.0.0.0:3000", "localhost", "127.0.0.1", ""] {
            assert!(parse_loopback(other).is_err(), "{other}");
        }
    }

    #[test]
    fn two_runs_within_a_minute_find_their_ports_at_once() {
        let sources = |target: &str, connections| {
            let target = parse_loopback(target).unwrap();
            Common { target, tls: false, pid: None, json: false, source_spread: None }.sources(connections)
        };
        for connections in [1, 5_000, 7_058, 7_059, 14_117, 19_800, 100_000, CONNECTIONS_MAX as usize] {
            let of_one = connections.div_ceil(sources("127.0.0.1:3000", connections).max(1).into());
            assert!(2 * of_one <= EPHEMERAL_PORTS / 2, "{of_one} of {connections} from one address");
        }
        assert_eq!(sources("127.0.0.1:3000", 5_000), 0, "the system's choice");
        assert_eq!(sources("[::1]:3000", 100_000), 0, "there is one address only");
    }
}
