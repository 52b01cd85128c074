//! Why a run could not be made, or what it found.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use super::frame::FrameError;
use super::sequence::Faults;

/// Why a run could not be made, or what it found.
#[derive(Debug)]
pub enum BenchError {
    /// Flags that do not go together.
    Arguments(&'static str),
    /// The system refused something the load generator needs.
    System { during: &'static str, source: Errno },
    /// More descriptors are needed than this process may have.
    Descriptors { needed: u64, permitted: u64 },
    /// A connection could not be made.
    Connect { target: SocketAddr, source: Errno },
    /// The server did not let a client in; `answer` is the start of what it said.
    Refused { client: u32, joined: usize, during: &'static str, answer: String },
    /// No client got any further for the handshake limit.
    Stalled { joined: usize, wanted: usize },
    /// The server sent what is no frame of its.
    Frame { client: u32, error: FrameError },
    /// Nothing can be learnt about the server process.
    Server { pid: u32, source: io::Error },
    /// The report could not be written.
    Output(io::Error),
    /// The run is reported, and the server did not keep its promises.
    Faults { faults: Faults, errors: u64, closed_by_server: u64 },
}

impl fmt::Display for BenchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(why) => out.write_str(why),
            Self::System { during, source } => write!(out, "{during}: {source}"),
            Self::Descriptors { needed, permitted } => {
                write!(out, "{needed} open files are needed, {permitted} are permitted (ulimit -n)")
            }
            Self::Connect { target, source: Errno::ADDRNOTAVAIL } => {
                write!(out, "no port is left to connect to {target} from: raise --source-spread")
            }
            Self::Connect { target, source } => write!(out, "cannot connect to {target}: {source}"),
            Self::Refused { client, joined, during, answer } => {
                write!(
                    out,
                    "client {client} ({joined} were joined), waiting for {during}, got from the server: {answer}"
                )
            }
            Self::Stalled { joined, wanted } => {
                write!(out, "no more clients get in: {joined} of {wanted} have joined")
            }
            Self::Frame { client, error } => write!(out, "client {client} received {error}"),
            Self::Server { pid, source } => {
                write!(out, "cannot observe the server process {pid}: {source}")
            }
            Self::Output(source) => write!(out, "cannot write the report: {source}"),
            Self::Faults { faults, errors, closed_by_server } => write!(
                out,
                "the run is not faultless: {} lost, {} duplicated, {} reordered, {} foreign, {} members in another order, \
                 {errors} errors, {closed_by_server} connections closed by the server",
                faults.lost, faults.duplicated, faults.reordered, faults.foreign, faults.members_in_other_order,
            ),
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } | Self::Connect { source, .. } => Some(source),
            Self::Server { source, .. } | Self::Output(source) => Some(source),
            _ => None,
        }
    }
}
