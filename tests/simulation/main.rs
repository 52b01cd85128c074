//! The whole server but for its I/O, in one thread: shards, mesh, network and clients are virtual, and one seed decides
//! everything that happens.
//!
//! `SEEDS` is the number of runs, `SEED` the first of them; a failure prints the seed that replays it, and
//! with `TRACE` the run tells what its clients see.

mod app;
mod client;
mod cluster;
mod links;
mod model;
mod network;
mod random;
mod scenario;
mod streams;

use std::env;

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
fn seeds() {
    let first = number("SEED").unwrap_or(1);
    let runs = number("SEEDS").unwrap_or(if number("SEED").is_some() { 1 } else { 500 });
    let (mut messages, mut recovered) = (0, 0);
    for seed in first..first + runs {
        let (m, r) = run(seed);
        messages += m;
        recovered += r;
    }
    println!("{runs} runs: {messages} messages, {recovered} sockets came back");
    assert!(runs < 100 || messages > runs && recovered > 0, "the clients do nothing");
}
