//! The engine: mutates a corpus, keeps what does something new.

use std::collections::HashSet;
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant, SystemTime};

use crate::random::Random;

/// Inputs of one seed: what is found is mutated further within a seed only, so that a seed alone replays it.
const CASES: usize = 3_000;
/// Bytes of an input.
const LEN_MAX: usize = 4_096;
const SECONDS: u64 = 2;

/// Changes `input` in one to five places; `tokens` mean something to the target.
fn mutate(random: &mut Random, input: &mut Vec<u8>, tokens: &[&[u8]]) {
    for _ in 0..=random.below(5) {
        let at = random.below(input.len() + 1);
        let token = tokens[random.below(tokens.len())];
        match (random.below(9), input.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << random.below(8),
            (1, Some(byte)) => *byte = random.next() as u8,
            (2, Some(byte)) => *byte = byte.wrapping_add([1, 255][random.below(2)]),
            (3, Some(_)) => {
                let end = (at + token.len()).min(input.len());
                input.splice(at..end, token.iter().copied());
            }
            (4, _) => drop(input.splice(at..at, token.iter().copied())),
            (5, Some(_)) => {
                let end = (at + 1 + random.below(8)).min(input.len());
                input.drain(at..end);
            }
            (6 | 7, _) => {
                let end = (at + random.below(32)).min(input.len());
                let part = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, part);
            }
            _ if random.below(4) == 0 => input.truncate(at),
            _ => {}
        }
    }
    input.truncate(LEN_MAX);
}

/// Prints the seed of inputs that fail.
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

/// What an input did, as a number.
pub fn outcome(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Runs `check` on mutations of `corpus`; it panics, or tells what the input did.
pub fn fuzz(corpus: &[impl AsRef<[u8]>], tokens: &[&[u8]], check: impl Fn(&[u8], &mut Random) -> u64) {
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|input| input.as_ref().to_vec()).collect();
    if let Some(seed) = number("SEED") {
        cases(seed, &corpus, tokens, &check);
        return;
    }
    let seconds = number("FUZZ_SECONDS");
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    let first = seconds.map_or(1, |_| since.as_micros() as u64);
    let (mut seed, mut outcomes) = (first, 0);
    while seed == first || Instant::now() < end {
        outcomes += cases(seed, &corpus, tokens, &check);
        seed += 1;
    }
    println!("{} inputs, seeds from {first} on, {outcomes} new outcomes", (seed - first) * CASES as u64);
}

/// The inputs of one seed. Returns how many different things they did.
fn cases(seed: u64, corpus: &[Vec<u8>], tokens: &[&[u8]], check: &impl Fn(&[u8], &mut Random) -> u64) -> usize {
    let _seed = Seed(seed);
    let (mut random, mut corpus, mut outcomes) = (Random::new(seed), corpus.to_vec(), HashSet::new());
    for number in 0..CASES {
        let mut input = corpus[random.below(corpus.len())].clone();
        // The corpus itself comes first, as it is.
        if let Some(whole) = corpus.get(number).filter(|_| outcomes.len() <= number) {
            input.clone_from(whole);
        } else {
            if random.below(4) == 0 {
                input.extend_from_slice(&corpus[random.below(corpus.len())]);
            }
            mutate(&mut random, &mut input, tokens);
        }
        if outcomes.insert(check(&input, &mut random)) {
            corpus.push(input);
        }
    }
    outcomes.len()
}
