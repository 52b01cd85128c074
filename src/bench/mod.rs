//! `sockeye bench`: a load generator for servers of the documented API, and the floor to compare them with.
//!
//! One thread plays thousands of clients that speak Socket.IO over WebSocket. It measures what an operator must know to
//! size a machine: deliveries per second, latency, and the server's CPU time and memory for them; and it checks what the
//! server promises: every member receives every message of its room once, all in one order.
//!
//! - [`args`] the flags; [`floor`] the yardstick: a server that does no protocol work
//! - `clients` connections, epoll, reading; on `frame`, `packets`, `stamp`
//! - `broadcast`, `echo`, `idle`, `churn` the scenarios; on `sequence` (the checks), `run` (connect, warm-up, window,
//!   drain), `latency` and `process` (CPU and memory)
//! - [`report`] what is printed at the end
//!
//! How to read the figures: server and load generator should run on different cores. On loopback the receiver's TCP work
//! is done inside the sender's `send()`, so most of a server's CPU time per delivery is the kernel's; the ratio to the floor
//! tells how much the server adds to it.

pub mod args;
mod broadcast;
mod churn;
mod clients;
mod echo;
mod error;
pub mod floor;
mod frame;
mod idle;
mod latency;
mod packets;
mod process;
pub mod report;
mod run;
mod sequence;
mod stamp;

use std::io;

use rustix::io::Errno;

pub use args::BenchArgs;
use args::{Command, Scenario};
use broadcast::{Broadcast, Pace};
use churn::Churn;
pub use clients::Traffic;
use clients::{Clients, Route};
use echo::Echo;
pub use error::BenchError;
use floor::Floor;
pub use frame::FrameError;
use packets::Script;
use process::Server;
use report::{LoadReport, Outcome, Report};
use run::Run;
pub use sequence::Faults;
use sequence::Layout;

/// Does what the flags say: makes a run and prints its report, as text or as one JSON object; or serves the floor until
/// killed.
///
/// # Errors
/// The run could not be made; or, after its report, [`BenchError::Faults`] when anything was wrong in it.
pub fn run(args: BenchArgs) -> Result<(), BenchError> {
    match args.command {
        Command::Measure(scenario) => {
            let report = measure(&scenario)?;
            report.print(&mut io::stdout().lock(), scenario.common().json).map_err(BenchError::Output)?;
            report.verdict()
        }
        Command::Floor(args) => {
            let floor = Floor::bind(&args)?;
            eprintln!("the floor listens on {}", floor.local_address()?);
            floor.serve()
        }
    }
}

/// Makes a run. What it is doing is said on standard error.
///
/// # Errors
/// The run could not be made. What it found wrong is in the report.
pub fn measure(scenario: &Scenario) -> Result<Report, BenchError> {
    match scenario {
        Scenario::Broadcast(args) => run_broadcast(args),
        Scenario::Echo(args) => run_echo(args),
        Scenario::Idle(args) => run_idle(args),
        Scenario::Churn(args) => run_churn(args),
    }
}

fn run_broadcast(args: &args::Broadcast) -> Result<Report, BenchError> {
    let &args::Broadcast { rooms, members, publishers, in_flight, .. } = args;
    if u32::from(publishers) > members {
        return Err(BenchError::Arguments("a room has at most as many publishers as members"));
    }
    let connections = rooms.checked_mul(members).filter(|&connections| connections <= args::CONNECTIONS_MAX);
    let connections = connections.ok_or(BenchError::Arguments("at most 1,000,000 connections are made"))?;
    let mut run = prepare(&args.common, connections, args.span.text_bytes)?;
    let pace = match args.rate {
        Some(per_second) => Pace::Open { per_second },
        None => Pace::Closed { in_flight },
    };
    let mut load = Broadcast::new(Layout { rooms, members, publishers }, pace);
    run.connect_all(&mut load)?;
    let measured = run.measure(&mut load, &args.span)?;
    let outcome = Outcome {
        scenario: "broadcast",
        unit: "delivery",
        rooms,
        expected: load.expected(),
        unsent: load.unsent,
        faults: load.faults(),
        latencies: &load.latencies,
    };
    Ok(Report::Load(Box::new(LoadReport::new(&run, measured, outcome))))
}

fn run_echo(args: &args::Echo) -> Result<Report, BenchError> {
    let connections = args.connections;
    let mut run = prepare(&args.common, connections, args.span.text_bytes)?;
    let mut load = Echo::new(connections, args.in_flight.map_or(connections, |in_flight| in_flight.min(connections)));
    run.connect_all(&mut load)?;
    let measured = run.measure(&mut load, &args.span)?;
    let outcome = Outcome {
        scenario: "echo",
        unit: "round trip",
        rooms: connections,
        expected: load.sent(),
        unsent: 0,
        faults: load.faults(),
        latencies: &load.latencies,
    };
    Ok(Report::Load(Box::new(LoadReport::new(&run, measured, outcome))))
}

fn run_churn(args: &args::Churn) -> Result<Report, BenchError> {
    let connections = args.connections;
    let mut run = prepare(&args.common, connections, args.span.text_bytes)?;
    let mut load = Churn::new(connections);
    let measured = run.measure(&mut load, &args.span)?;
    let outcome = Outcome {
        scenario: "churn",
        unit: "cycle",
        rooms: connections,
        expected: load.begun(),
        unsent: 0,
        faults: load.faults(),
        latencies: &load.latencies,
    };
    Ok(Report::Load(Box::new(LoadReport::new(&run, measured, outcome))))
}

fn run_idle(args: &args::Idle) -> Result<Report, BenchError> {
    let run = prepare(&args.common, args.connections, args::TEXT_BYTES_MIN)?;
    idle::measure(run, args.rooms.min(args.connections), args.hold_ms).map(Report::Idle)
}

/// A run whose clients are not connected yet.
fn prepare(common: &args::Common, connections: u32, text_bytes: u32) -> Result<Run, BenchError> {
    process::raise_descriptor_limit(connections.into())?;
    let run_id = getrandom::u64().map_err(|_| BenchError::System { during: "getrandom", source: Errno::IO })?;
    let script = Script::new(run_id, (text_bytes - args::TEXT_BYTES_MIN) as usize);
    let route = Route { target: common.target, sources: common.sources(connections as usize), tls: common.tls };
    let clients = Clients::new(route, script, connections as usize)?;
    Ok(Run { clients, server: common.pid.map(|pid| Server { pid }) })
}
