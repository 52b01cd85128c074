//! The whole server but for its I/O, in one thread: shards, mesh, network and clients are virtual, and one seed decides
//! everything that happens.
//!
//! `SEEDS` is the number of runs, `SEED` the first of them; a failure prints the seed that replays it, and
//! with `TRACE` the run tells what its clients see. Many runs (a hundred thousand take five minutes of one core):
//! `SEEDS=100000 CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --test simulation seeds`.

mod app;
mod client;
mod cluster;
mod links;
mod model;
mod network;
mod random;
mod scenario;
mod streams;

use std::{env, panic};

/// Seeds that once failed, and why. A change of what the clients do gives every seed another meaning.
const ONCE_FAILED: [(u64, &str); 9] = [
    (917, "server: while it drained, a POST of a session that had been told already was answered 400"),
    (2621, "server: a poll that came in the last turn of the drain was not answered, and the drain did not end"),
    (3049, "server: the same, on another shard"),
    (1636, "model: a client that is frozen while the server drains cannot be told"),
    (1979, "model: of two sessions with one claim the later to arrive has the socket, not the later to begin"),
    (2940, "model: a connection is closed between two requests, of which the second is on its way"),
    (3420, "model: a client polls slower than packets come, sixteen at a time"),
    (4551, "model: a connection was written whole in a turn before the driver could say that it can be written"),
    (24198, "model: what a slow reader has not read when its connection breaks may be too old to be kept"),
];

/// Prints the seed of a run that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with SEED={}", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64) -> (u64, u64) {
    let _seed = Seed(seed);
    scenario::run(seed)
}

#[test]
fn seeds_that_once_failed() {
    for (seed, why) in ONCE_FAILED {
        assert!(panic::catch_unwind(|| run(seed)).is_ok(), "{seed}: {why}");
    }
}

#[test]
fn seeds() {
    let first = number("SEED").unwrap_or(1);
    let runs = number("SEEDS").unwrap_or(if number("SEED").is_some() { 1 } else { 500 });
    let (mut messages, mut recovered, mut failed) = (0, 0, Vec::new());
    for seed in first..first + runs {
        match panic::catch_unwind(|| run(seed)) {
            Ok((m, r)) => {
                messages += m;
                recovered += r;
            }
            Err(_) => failed.push(seed),
        }
    }
    println!("{runs} runs: {messages} messages, {recovered} sockets came back");
    assert!(failed.is_empty(), "{} of {runs} seeds fail: {failed:?}", failed.len());
    assert!(runs < 100 || messages > runs && recovered > 0, "the clients do nothing");
}
