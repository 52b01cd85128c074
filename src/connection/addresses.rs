//! How many connections each address has, over all shards, and how fast it opens them.
//!
//! The one table that shards share. It is touched when a connection begins and when it ends, never in between, and only
//! where a limit on addresses is set.

use crate::connection::rate::Bucket;
use crate::shrink::Shrink;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of the table with a lock each.
const STRIPES: usize = 64;
/// Addresses of a stripe that are remembered for their rate alone, having no connection. With one more, the next
/// connection makes those be forgotten whose bucket is full again, or all if that is too few: they may be faster then.
const PASSED_MAX: usize = 1024;

/// What one address may do; 0: there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// Connections at one time.
    pub connections: u32,
    /// New connections a second.
    pub per_second: u32,
}

/// Which limit an address has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It has as many connections as it may have.
    Connections,
    /// It opens them faster than it may.
    Rate,
}

/// The addresses that have connections, or had one in the last second. An IPv6 address counts with all of its /64, which
/// is what one customer gets at least.
#[derive(Debug)]
pub struct Addresses {
    limits: AddressLimits,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Debug, Default)]
struct Stripe {
    entries: HashMap<u64, Entry>,
    /// Entries without a connection.
    passed: usize,
}

#[derive(Debug, Default)]
struct Entry {
    open: u32,
    /// Connections that are served.
    bucket: Bucket,
    /// Connections beyond those, to be told so.
    told: Bucket,
}

/// A connection's place among those of its address; dropped, it is free again.
#[derive(Debug)]
pub struct Ticket {
    addresses: Arc<Addresses>,
    key: u64,
}

impl Addresses {
    /// An empty table; `None` if nothing is limited.
    pub fn new(limits: AddressLimits) -> Option<Arc<Self>> {
        let stripes = || (0..STRIPES).map(|_| Mutex::default()).collect();
        let is_limited = limits != AddressLimits::default();
        is_limited.then(|| Arc::new(Self { limits, hasher: RandomState::new(), stripes: stripes() }))
    }

    /// Counts a new connection of `address`, unless it has too many or opens them too fast.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now_ms: u64) -> Result<Ticket, Excess> {
        self.count(address, now_ms, |entry| &mut entry.bucket)
    }

    /// Counts a new connection of `address` that came too fast and is to be told so. Of these it may have as many a second
    /// again.
    pub fn enter_to_be_told(self: &Arc<Self>, address: IpAddr, now_ms: u64) -> Result<Ticket, Excess> {
        self.count(address, now_ms, |entry| &mut entry.told)
    }

    fn count(
        self: &Arc<Self>,
        address: IpAddr,
        now_ms: u64,
        bucket: fn(&mut Entry) -> &mut Bucket,
    ) -> Result<Ticket, Excess> {
        let key = key(address);
        let mut stripe = self.stripe(key);
        if stripe.passed > PASSED_MAX {
            stripe.forget(now_ms);
        }
        let Stripe { entries, passed } = &mut *stripe;
        let is_known = entries.contains_key(&key);
        let entry = entries.entry(key).or_default();
        if self.limits.connections != 0 && entry.open >= self.limits.connections {
            return Err(Excess::Connections);
        }
        if !bucket(entry).take(self.limits.per_second, now_ms) {
            return Err(Excess::Rate);
        }
        if is_known && entry.open == 0 {
            *passed -= 1;
        }
        entry.open += 1;
        Ok(Ticket { addresses: Arc::clone(self), key })
    }

    /// Addresses remembered now.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).entries.len()).sum()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, key: u64) -> MutexGuard<'_, Stripe> {
        let index = self.hasher.hash_one(key) % STRIPES as u64;
        lock(&self.stripes[index as usize])
    }

    fn leave(&self, key: u64) {
        let mut stripe = self.stripe(key);
        let Stripe { entries, passed } = &mut *stripe;
        let Some(entry) = entries.get_mut(&key) else { return };
        entry.open -= 1;
        if entry.open > 0 {
            return;
        }
        match self.limits.per_second {
            0 => drop(entries.remove(&key)),
            _ => *passed += 1,
        }
    }
}

impl Stripe {
    /// Makes room among the entries without a connection. Linear, but at most once in [`PASSED_MAX`] / 2 connections.
    fn forget(&mut self, now_ms: u64) {
        let rests = |entry: &Entry| entry.bucket.is_full(now_ms) && entry.told.is_full(now_ms);
        self.entries.retain(|_, entry| entry.open > 0 || !rests(entry));
        self.passed = self.entries.values().filter(|entry| entry.open == 0).count();
        if self.passed > PASSED_MAX / 2 {
            self.entries.retain(|_, entry| entry.open > 0);
            self.passed = 0;
        }
        self.entries.shrink();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.addresses.leave(self.key);
    }
}

/// A table whose lock is poisoned is still whole: no operation on it can panic half-way.
fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An IPv4 address, or the first 64 bits of an IPv6 one. The former are set apart by a prefix of multicast (RFC 4291
/// §2.7), which no connection comes from.
fn key(address: IpAddr) -> u64 {
    const IPV4: u64 = 0xffff_ffff << 32;
    match address.to_canonical() {
        IpAddr::V4(v4) => IPV4 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: u32, per_second: u32) -> Arc<Addresses> {
        Addresses::new(AddressLimits { connections, per_second }).expect("a limit")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn without_a_limit_there_is_no_table() {
        assert!(Addresses::new(AddressLimits::default()).is_none());
    }

    #[test]
    fn an_address_has_so_many_connections_and_room_again_when_one_ends() {
        let (table, ada) = (table(2, 0), address("192.0.2.1"));
        let first = table.enter(ada, 0).expect("room");
        let _second = table.enter(ada, 0).expect("room");
        assert_eq!(table.enter(ada, 0).unwrap_err(), Excess::Connections);
        let other = table.enter(address("192.0.2.2"), 0).expect("another address");
        drop(first);
        let _third = table.enter(ada, 0).expect("room again");
        assert_eq!(table.enter(ada, 0).unwrap_err(), Excess::Connections);
        drop(other);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_ipv6_address_counts_with_its_64_and_a_mapped_one_as_ipv4() {
        for (one, two, same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::1", "0.0.0.0", false),
            ("0:0:c000:201::", "192.0.2.1", false),
        ] {
            let table = table(1, 0);
            let _ticket = table.enter(address(one), 0).expect("room");
            assert_eq!(table.enter(address(two), 0).is_err(), same, "{one} {two}");
        }
    }

    #[test]
    fn an_address_opens_so_many_a_second_also_when_they_end_at_once() {
        let (table, ada) = (table(0, 3), address("192.0.2.1"));
        let opened = |now_ms| (0..10).filter(|_| table.enter(ada, now_ms).is_ok()).count();
        assert_eq!([opened(0), opened(0), opened(334), opened(334), opened(5_000)], [3, 0, 1, 0, 3]);
        assert_eq!(table.enter(ada, 5_000).unwrap_err(), Excess::Rate);
    }

    #[test]
    fn as_many_a_second_again_are_told_that_they_are_too_fast_and_count_as_well() {
        let (table, ada) = (table(5, 3), address("192.0.2.1"));
        let told = |now_ms| (0..10).filter(|_| table.enter_to_be_told(ada, now_ms).is_ok()).count();
        let served: Vec<_> = (0..3).map(|_| table.enter(ada, 0).expect("room")).collect();
        assert_eq!([told(0), told(0), told(334)], [3, 0, 1]);
        assert!(table.enter(ada, 334).is_ok(), "those that are told slow down nobody");
        assert_eq!(table.enter_to_be_told(ada, 334).unwrap_err(), Excess::Rate);
        let kept: Vec<_> = (0..2).map(|_| table.enter_to_be_told(ada, 5_000).expect("room")).collect();
        assert_eq!(table.enter_to_be_told(ada, 5_000).unwrap_err(), Excess::Connections);
        assert_eq!(table.enter(ada, 5_000).unwrap_err(), Excess::Connections);
        drop((served, kept));
        assert!(table.enter(ada, 5_000).is_ok());
    }

    #[test]
    fn addresses_that_passed_are_forgotten_and_those_with_connections_are_not() {
        let (table, now_ms) = (table(1, 1), 1_000);
        let nth = |n: u32| IpAddr::V4(n.into());
        let kept: Vec<_> = (0..100).map(|n| table.enter(nth(n), now_ms).expect("room")).collect();
        for n in 100..400_000 {
            drop(table.enter(nth(n), now_ms).expect("room"));
        }
        assert!(table.len() <= STRIPES * (PASSED_MAX + 1) + kept.len(), "{}", table.len());
        assert!((0..100).all(|n| table.enter(nth(n), now_ms + 60_000).is_err()));
        drop(kept);
        assert!((0..100).all(|n| table.enter(nth(n), now_ms + 60_000).is_ok()));
    }

    #[test]
    fn the_bound_holds_for_many_threads() {
        let (table, ada) = (table(50, 0), address("192.0.2.1"));
        let open = || (0..40).filter_map(|_| table.enter(ada, 0).ok()).collect::<Vec<_>>();
        let tickets: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(tickets.len(), 50);
        drop(tickets);
        assert!(table.is_empty());
    }
}
