//! One test per promise, P1 to P18, named after it, and a seeded attack on a server in use ([`attacks`]).
//!
//! What a promise says in detail is mostly tested where the subject is; the tests here ask for its heart, and name the
//! others. Attacks print their seed: `SEED=7 cargo test --test promises p01` repeats them; `ATTACK_SECONDS` makes them longer.

mod attacks;
mod canary;
#[path = "../common/mod.rs"]
mod common;
mod input;
mod time;
mod whole;
