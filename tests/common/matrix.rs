//! One rule, every driver, every worker count.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use super::server::{Server, lock};
use super::{ECHO, ECHO_CALM, ROOMS};

/// Runs `body` against a server with `flags` for both drivers and 1, 2 and 4 workers.
pub fn each_cell(flags: &[&str], body: impl Fn(&Server) + Sync) {
    matrix(flags, &[1, 2, 4], body);
}

/// Runs `body` for both drivers, on two workers: for rules that know no shards, with a neighbour that could interfere.
pub fn each_driver(flags: &[&str], body: impl Fn(&Server) + Sync) {
    matrix(flags, &[2], body);
}

/// Runs `body` for both drivers with the given worker counts.
pub fn each_worker_count(workers: &[usize], flags: &[&str], body: impl Fn(&Server) + Sync) {
    matrix(flags, workers, body);
}

/// The cells of the matrix that can run here: driver, workers.
pub fn cells(workers: &[usize]) -> Vec<(&'static str, usize)> {
    let wanted_workers: Option<Vec<usize>> = std::env::var("SOCKEYE_TEST_WORKERS")
        .ok()
        .map(|v| v.split(',').map(|n| n.trim().parse().expect("SOCKEYE_TEST_WORKERS=1,2,4")).collect());
    let mut cells = Vec::new();
    for io in drivers() {
        match &wanted_workers {
            None => cells.extend(workers.iter().map(|&n| (io, n))),
            Some(wanted) => {
                // A rule is never skipped: where no wanted count is its own it runs with the first wanted one.
                let kept: Vec<_> = workers.iter().filter(|n| wanted.contains(n)).collect();
                match kept.is_empty() {
                    false => cells.extend(kept.into_iter().map(|&n| (io, n))),
                    true => cells.extend(wanted.first().map(|&n| (io, n))),
                }
            }
        }
    }
    assert!(!cells.is_empty(), "no driver and worker count is left to test");
    cells
}

/// The drivers to test: both, or fewer where the machine or `SOCKEYE_TEST_IO` says so.
pub fn drivers() -> Vec<&'static str> {
    let wanted = std::env::var("SOCKEYE_TEST_IO").ok();
    ["uring", "epoll"]
        .into_iter()
        .filter(|io| wanted.as_deref().is_none_or(|w| w == *io))
        .filter(|io| *io != "uring" || uring_works())
        .collect()
}

/// Asks the kernel, not the server: a server that wrongly refuses io_uring must fail the tests.
fn uring_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| match io_uring::IoUring::new(8) {
        Ok(_) => true,
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must test the uring driver, but io_uring is refused here: {error}"
            );
            eprintln!("\n*** io_uring is refused here ({error}): THE URING HALF OF THE TESTS IS SKIPPED ***\n");
            false
        }
    })
}

fn matrix(flags: &[&str], workers: &[usize], body: impl Fn(&Server) + Sync) {
    if std::env::var_os("SOCKEYE_TEST_URL").is_some() {
        return on_external(flags, body);
    }
    let body = &body;
    let failures: Vec<_> = std::thread::scope(|scope| {
        let cells: Vec<_> =
            cells(workers).into_iter().map(|cell| scope.spawn(move || run_cell(cell, flags, body))).collect();
        cells.into_iter().filter_map(|cell| cell.join().err()).collect()
    });
    if let Some(failure) = failures.into_iter().next() {
        resume_unwind(failure);
    }
}

/// Runs the tests that servers which are running already have the flags for, and no others.
fn on_external(flags: &[&str], body: impl Fn(&Server)) {
    let variable = match flags {
        _ if flags == ECHO => "SOCKEYE_TEST_URL",
        _ if flags == ECHO_CALM => "SOCKEYE_TEST_URL_CALM",
        _ if flags == ROOMS => "SOCKEYE_TEST_URL_ROOMS",
        _ => "",
    };
    match Server::external(variable) {
        Some(server) => body(&server),
        None => {
            eprintln!("*** skipped: SOCKEYE_TEST_URL is set, and this test needs {flags:?} ***")
        }
    }
}

fn run_cell((io, workers): (&str, usize), flags: &[&str], body: &(impl Fn(&Server) + Sync)) {
    let server = shared(io, workers, flags);
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&server)));
    let alive = server.is_alive();
    if !alive || outcome.is_err() {
        let state = if alive { "lives" } else { "DIED" };
        eprintln!("^^^ with: {} (the server {state})\n{}", server.label, last_lines(&server.log(), 15));
    }
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    assert!(alive, "the server died: {}", server.label);
}

/// The last lines of what a server has printed, but for the block it starts with.
fn last_lines(log: &str, n: usize) -> String {
    let mut lines: Vec<&str> = log.lines().rev().take_while(|line| !line.contains("listening on")).take(n).collect();
    lines.reverse();
    lines.join("\n")
}

/// The one server of this test process with these flags.
fn shared(io: &str, workers: usize, flags: &[&str]) -> Arc<Server> {
    type Slot = Arc<OnceLock<Arc<Server>>>;
    static SERVERS: Mutex<Option<HashMap<String, Slot>>> = Mutex::new(None);
    let workers = workers.to_string();
    let mut all = vec!["--io", io, "--workers", &workers];
    all.extend(flags);
    let key = all.join(" ");
    let slot = lock(&SERVERS).get_or_insert_default().entry(key).or_default().clone();
    slot.get_or_init(|| Server::start(&all).outlive_tests()).clone()
}
