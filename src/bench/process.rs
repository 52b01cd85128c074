//! What the operating system says about the server and about this program: CPU, memory, descriptors, time.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::BenchError;

/// Clock ticks per second in `/proc/PID/stat` (`USER_HZ`): 100 on every architecture Rust supports.
const USER_HZ: u64 = 100;
/// Descriptors a run needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// Nanoseconds of the monotonic clock.
#[inline]
pub(super) fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this program so far, in nanoseconds.
pub(super) fn own_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock is ever negative.
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The server process, by its id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub pid: u32,
}

impl Server {
    /// CPU time of all threads so far, user and system, in nanoseconds; in steps of 10 ms.
    pub fn cpu_ns(&self) -> Result<u64, BenchError> {
        let stat = self.read("stat")?;
        parse_cpu_ticks(&stat)
            .map(|ticks| ticks * (1_000_000_000 / USER_HZ))
            .ok_or_else(|| self.unreadable(io::ErrorKind::InvalidData.into()))
    }

    /// Resident memory in bytes, without what the kernel holds for its sockets. Exact (`smaps_rollup`) where the
    /// process may be inspected, else from `status`.
    pub fn rss_bytes(&self) -> Result<u64, BenchError> {
        let (report, key) = match self.read("smaps_rollup") {
            Ok(report) => (report, "Rss:"),
            Err(_) => (self.read("status")?, "VmRSS:"),
        };
        parse_kib(&report, key).map(|kib| kib * 1024).ok_or_else(|| self.unreadable(io::ErrorKind::InvalidData.into()))
    }

    fn read(&self, file: &str) -> Result<String, BenchError> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> BenchError {
        BenchError::Server { pid: self.pid, source }
    }
}

/// `utime` + `stime` of proc_pid_stat(5). The name before them may itself contain spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn parse_kib(report: &str, key: &str) -> Option<u64> {
    let value = report.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Raises the limit of open descriptors so that `connections` fit: the hard limit too where that is permitted, else up to it.
///
/// # Errors
/// They do not fit.
pub(super) fn raise_descriptor_limit(connections: u64) -> Result<(), BenchError> {
    let needed = connections + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if is_enough(limit.current) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let raised = Rlimit { current: Some(needed), maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    // No right to raise the hard limit: it is as far as one gets, enough or not.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let permitted = limit.maximum.unwrap_or(u64::MAX);
    Err(BenchError::Descriptors { needed, permitted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpu_ticks_whatever_the_name_of_the_process() {
        let stat = "42 (a) (b c) 9 9) S 1 42 42 0 -1 4194304 800 0 0 0 37 5 0 0 20 0 1 0 12345 1 2";
        assert_eq!(parse_cpu_ticks(stat), Some(42));
        assert_eq!(parse_cpu_ticks("42 (a) S 1"), None);
        assert_eq!(parse_cpu_ticks(""), None);
    }

    #[test]
    fn reads_the_memory_line() {
        let rollup = "5581 [rollup]\nRss:                1240 kB\nPss:  99 kB\n";
        assert_eq!(parse_kib(rollup, "Rss:"), Some(1240));
        assert_eq!(parse_kib(rollup, "VmRSS:"), None);
    }

    #[test]
    fn reads_this_very_process() {
        let this = Server { pid: std::process::id() };
        assert!(this.rss_bytes().unwrap() > 100_000);
        let before = this.cpu_ns().unwrap();
        while own_cpu_ns() < before + 30_000_000 {
            std::hint::black_box(now_ns());
        }
        assert!(this.cpu_ns().unwrap() > before);
        let nobody = Server { pid: u32::MAX };
        assert!(matches!(nobody.cpu_ns(), Err(BenchError::Server { .. })));
    }
}
