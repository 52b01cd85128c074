//! What the machine gives a process: descriptors, cores, randomness.

use std::io;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, disable_transparent_huge_pages, sched_getaffinity, sched_setaffinity};

use crate::mesh::MAX_SHARDS;

/// Descriptors asked for where the hard limit is infinite: what Linux allows by default (`fs.nr_open`).
const OPEN_FILES_UNLIMITED: u64 = 1 << 20;

/// Descriptors that are not connections: standard streams, signals, files of the runtime.
const RESERVE: u64 = 64;
/// The same for each shard: listener, epoll sets, ring, doorbell.
const RESERVE_PER_SHARD: u64 = 16;

/// Bytes asked of the operating system at once.
const ENTROPY_BYTES: usize = 4096;

/// Raises the soft limit of open files to the hard limit. Returns the limit in force.
pub fn raise_open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let wanted = before.maximum.unwrap_or(OPEN_FILES_UNLIMITED);
    let soft = before.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: before.maximum }) {
        Ok(()) => wanted,
        Err(_) => soft,
    }
}

/// Whether the kernel may back memory with pages of 2 MiB, which the allocator asks for.
pub fn set_huge_pages(allowed: bool) -> io::Result<()> {
    Ok(disable_transparent_huge_pages(!allowed)?)
}

/// Connections that `open_files` descriptors have room for.
pub fn connections_within(open_files: u64, shards: usize) -> u32 {
    let reserve = RESERVE + RESERVE_PER_SHARD * shards as u64;
    let room = open_files.saturating_sub(reserve).clamp(1, 10_000_000);
    u32::try_from(room).unwrap_or(u32::MAX)
}

/// As many shards as there are cores to run them.
pub fn shards_by_default() -> u16 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    u16::try_from(cores.min(MAX_SHARDS)).unwrap_or(1)
}

/// The cores this process may run on.
pub fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps the calling thread on one core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Fills what it is given with random bytes.
pub type Entropy = Box<dyn FnMut(&mut [u8])>;

/// Random bytes of the operating system, fetched 4 KiB at a time.
///
/// # Panics
/// The operating system has no randomness to give; nothing safe can be done without it.
pub fn entropy() -> Entropy {
    let mut buffer = vec![0; ENTROPY_BYTES];
    let mut used = ENTROPY_BYTES;
    Box::new(move |bytes: &mut [u8]| {
        for chunk in bytes.chunks_mut(ENTROPY_BYTES) {
            if ENTROPY_BYTES - used < chunk.len() {
                getrandom::fill(&mut buffer).expect("the operating system gives no random bytes");
                used = 0;
            }
            chunk.copy_from_slice(&buffer[used..used + chunk.len()]);
            used += chunk.len();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_open_file_limit_is_the_hard_one() {
        let limit = raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, Some(limit));
        assert_eq!(getrlimit(Resource::Nofile).maximum.unwrap_or(limit), limit);
    }

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(connections_within(20_000, 2), 19_904);
        assert_eq!(connections_within(10, 4), 1);
        assert_eq!(connections_within(u64::MAX, 1), 10_000_000);
    }

    #[test]
    fn random_bytes_are_not_given_twice() {
        let mut entropy = entropy();
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let mut bytes = [0; 16];
            entropy(&mut bytes);
            assert!(seen.insert(bytes));
        }
        let mut long = vec![0; 3 * ENTROPY_BYTES + 5];
        entropy(&mut long);
        assert!(long.chunks(8).collect::<HashSet<_>>().len() > 1000);
    }

    #[test]
    fn a_thread_can_be_pinned_to_a_core_it_may_use() {
        thread::spawn(|| {
            let core = *cores().unwrap().last().unwrap();
            pin(core).unwrap();
            assert_eq!(cores().unwrap(), [core]);
        })
        .join()
        .unwrap();
    }
}
