//! Connection state recovery (Socket.IO, "Connection state recovery"): what a socket missed while it was away.
//!
//! Every recoverable event that a shard delivers has an offset, one up from the last, and is kept as the frame that was
//! sent, bounded by time and size. A socket that lost its connection is *parked*: it stays a socket, without a
//! session, its rooms kept alive. A CONNECT with its private id (`pid`), which names the shard, brings it back.

use super::SocketKey;
use super::kept::{Kept, Place};
use crate::connection::outbound::{BatchKey, Outbound, SinkKey};
use crate::rooms::members::{Members, Memberships};
use crate::shrink::Shrink;
use crate::wire::prepared::parse_offset;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

/// What operators set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How long a socket may be away; 0: there is no recovery.
    pub window_ms: u64,
    /// Bytes of events kept, of a shard.
    pub max_bytes: usize,
}

/// What a client that comes back says in its CONNECT.
#[derive(Debug, Deserialize)]
pub(super) struct Claim<'a> {
    /// The private id it was given.
    #[serde(borrow)]
    pub(super) pid: Cow<'a, str>,
    /// The offset of the last event it received.
    #[serde(borrow, default)]
    pub(super) offset: Option<Cow<'a, str>>,
}

/// Whom an event was for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// A room by local and serial number, but for the socket in slot `except`.
    Room { room: u32, serial: u64, except: Option<u32> },
    /// One socket.
    Socket(SocketKey),
}

struct Event {
    offset: u64,
    at_ms: u64,
    target: Target,
    place: Place,
}

/// Bits of an offset that count; those above are the shard's number.
const COUNT_BITS: u32 = 42;

/// Bytes of events kept however few sockets there are (more than the kernel holds for one that reads slowly), and for
/// each socket: what is kept is in proportion to those who may want it.
const BYTES_MIN: usize = 8 * 1024 * 1024;
const BYTES_OF_SOCKET: usize = 64 * 1024;

/// Sockets that may be away at once; beyond, the one away longest is given up.
const AWAY_MAX: usize = 100_000;

/// The events of a shard that may be missed, and who is away.
pub struct Recovery {
    settings: Settings,
    next: u64,
    log: VecDeque<Event>,
    kept: Kept,
    /// Events of this turn, whose bytes are still being gathered.
    pending: Vec<(u64, Target, BatchKey, (u32, u32))>,
    /// This turn's batch of events for single sockets.
    direct: Option<(u32, BatchKey)>,
    /// Sockets that may come back.
    away: usize,
    /// Who went away, and when they may no longer come back, in this order; those who came back meanwhile included.
    expiry: VecDeque<(u64, SocketKey)>,
    /// How often a socket went away, in its low bits: the number of the latest time.
    departures: u32,
}

impl Recovery {
    pub(super) fn new(shard: usize, settings: Settings) -> Self {
        Self {
            settings,
            next: ((shard as u64) << COUNT_BITS) + 1,
            log: VecDeque::new(),
            kept: Kept::default(),
            pending: Vec::new(),
            direct: None,
            away: 0,
            expiry: VecDeque::new(),
            departures: 0,
        }
    }

    /// Whether there is recovery.
    pub fn is_on(&self) -> bool {
        self.settings.window_ms > 0
    }

    /// Bytes of events kept, with what is noted of each.
    pub fn bytes(&self) -> usize {
        self.kept.bytes() + self.log.len() * size_of::<Event>()
    }

    /// Gives back what is not needed for what is kept.
    pub(super) fn shrink(&mut self) {
        self.log.shrink();
        if self.log.is_empty() {
            self.kept.forget_spare();
        }
        self.pending.shrink();
        self.expiry.shrink();
    }

    /// Sockets that may come back.
    pub fn away(&self) -> usize {
        self.away
    }

    /// The offset of the next event: where a socket or membership begins.
    pub(super) fn mark(&self) -> u64 {
        self.next
    }

    /// The offset of the next event.
    pub(super) fn take_offset(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Notes an event of this turn.
    pub(super) fn note(&mut self, offset: u64, target: Target, batch: BatchKey, range: (u32, u32)) {
        self.pending.push((offset, target, batch, range));
    }

    /// This turn's batch of events for single sockets.
    pub(super) fn direct_batch(&mut self, out: &mut Outbound) -> BatchKey {
        match self.direct {
            Some((turn, batch)) if turn == out.turn() => batch,
            _ => {
                let batch = out.open_batch();
                self.direct = Some((out.turn(), batch));
                batch
            }
        }
    }

    /// The turn ends: its events are kept; those too old or too many are dropped, and all once nobody is left who may want
    /// them. `sockets`: how many are connected (clients that come and go are not to make it grow); `trim` is told of a
    /// socket, connected or away or gone, and the offset of its latest event that is no longer kept.
    pub(super) fn end_turn(
        &mut self,
        out: &Outbound,
        members: &mut Members,
        now_ms: u64,
        sockets: usize,
        mut trim: impl FnMut(SocketKey, u64),
    ) {
        for (offset, target, batch, range) in self.pending.drain(..) {
            let place = self.kept.push(out.batch_bytes(batch, range));
            self.log.push_back(Event { offset, at_ms: now_ms, target, place });
        }
        let oldest_ms = now_ms.saturating_sub(self.settings.window_ms);
        let max_bytes = match sockets + self.away {
            0 => 0,
            _ => self.settings.max_bytes.min(BYTES_MIN + sockets * BYTES_OF_SOCKET),
        };
        while self.log.front().is_some_and(|e| e.at_ms < oldest_ms || self.bytes() > max_bytes)
            && let Some(event) = self.log.pop_front()
        {
            self.kept.pop(event.place, self.log.front().map(|e| e.place));
            match event.target {
                Target::Room { room, serial, .. } => members.trim(room, serial, event.offset),
                Target::Socket(socket) => trim(socket, event.offset),
            }
        }
    }

    /// A socket goes away. Returns the number of this time, when the timer must be armed for it, if nobody's is, and one
    /// that must be given up now to keep the bound. `is_away`: whether a socket is away since the time of that number.
    pub(super) fn park(
        &mut self,
        socket: SocketKey,
        now_ms: u64,
        is_away: impl Fn(SocketKey, u32) -> bool,
    ) -> (u32, Option<u64>, Option<SocketKey>) {
        let until_ms = now_ms + self.settings.window_ms;
        let surplus = if self.away >= AWAY_MAX { self.longest_away(is_away).map(|(_, socket)| socket) } else { None };
        // The timer is armed as long as anybody is in the queue, whether still away or not.
        let unwatched = self.expiry.is_empty();
        self.away += 1;
        self.departures = self.departures.wrapping_add(1);
        self.expiry.push_back((until_ms, socket));
        (self.departures, unwatched.then_some(until_ms), surplus)
    }

    /// A socket came back, or is given up.
    pub(super) fn unpark(&mut self) {
        self.away -= 1;
    }

    /// Who is away longest, and until when; forgets those before who came back.
    fn longest_away(&mut self, is_away: impl Fn(SocketKey, u32) -> bool) -> Option<(u64, SocketKey)> {
        while let Some(&(until_ms, socket)) = self.expiry.front() {
            let number = self.departures.wrapping_sub(self.expiry.len() as u32 - 1);
            if is_away(socket, number) {
                return Some((until_ms, socket));
            }
            self.expiry.pop_front();
        }
        None
    }

    /// A socket whose time is over. When there is none, the time at which there will be.
    pub(super) fn next_expired(
        &mut self,
        now_ms: u64,
        is_away: impl Fn(SocketKey, u32) -> bool,
    ) -> Result<SocketKey, Option<u64>> {
        match self.longest_away(is_away) {
            Some((until_ms, socket)) if until_ms <= now_ms => {
                self.expiry.pop_front();
                Ok(socket)
            }
            later => Err(later.map(|(until_ms, _)| until_ms)),
        }
    }

    /// From which offset on (exclusively) a socket misses events, if all of them are still kept. `start`: where the socket
    /// began; `trimmed`: the latest of its own that is no longer kept; `offset`: what it says it has.
    pub(super) fn missing_from(
        &self,
        start: u64,
        trimmed: u64,
        offset: Option<&str>,
        rooms: &Memberships,
        members: &Members,
    ) -> Option<u64> {
        let from = match offset.map(parse_offset) {
            // A client keeps its last offset when it is given another socket, which may be on another shard.
            Some(Some(offset)) if offset >> COUNT_BITS == start >> COUNT_BITS => {
                (offset < self.next).then_some(offset.max(start - 1))?
            }
            _ => start - 1,
        };
        let whole = rooms.iter().all(|m| {
            let trimmed = members.history(m.room()).map_or(0, |(_, trimmed)| trimmed);
            trimmed <= from || trimmed < m.since
        });
        (whole && trimmed <= from).then_some(from)
    }

    /// Queues for `sink` every event after `from` that was for `socket` or one of its rooms, those of this turn included.
    pub(super) fn replay(
        &self,
        from: u64,
        socket: SocketKey,
        rooms: &Memberships,
        members: &Members,
        out: &mut Outbound,
        sink: SinkKey,
    ) {
        let rooms: HashMap<(u32, u64), u64> = rooms
            .iter()
            .filter_map(|m| members.history(m.room()).map(|(serial, _)| ((m.room(), serial), m.since)))
            .collect();
        let first = self.log.partition_point(|e| e.offset <= from);
        let missed = |offset: u64, target: Target| match target {
            Target::Socket(other) => other == socket,
            Target::Room { room, serial, except } => {
                except != Some(socket.slot) && rooms.get(&(room, serial)).is_some_and(|&since| offset >= since)
            }
        };
        for event in self.log.range(first..).filter(|e| missed(e.offset, e.target)) {
            if let Some(slice) = self.kept.slice(event.place) {
                out.push_replay(sink, slice);
            }
        }
        for &(offset, target, batch, range) in &self.pending {
            if offset > from && missed(offset, target) {
                out.push(sink, batch, range);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::outbound::Owner;
    use crate::rooms::RoomId;
    use crate::rooms::members::Member;

    #[test]
    fn events_are_kept_as_long_as_somebody_may_want_them() {
        let (mut out, mut members) = (Outbound::default(), Members::default());
        let mut recovery = Recovery::new(0, Settings { window_ms: 1_000, max_bytes: 1_000_000 });
        let socket = SocketKey { slot: 0, generation: 1 };
        let batch = recovery.direct_batch(&mut out);
        let range = out.append(batch, |out| out.extend_from_slice(b"an event"));
        let offset = recovery.take_offset();
        recovery.note(offset, Target::Socket(socket), batch, range);
        let mut end_turn = |recovery: &mut Recovery, now_ms, sockets| {
            let mut trimmed = None;
            recovery.end_turn(&out, &mut members, now_ms, sockets, |key, offset| trimmed = Some((key, offset)));
            (recovery.bytes() > 0, trimmed)
        };
        assert_eq!(end_turn(&mut recovery, 0, 1), (true, None));
        recovery.park(socket, 10, |_, _| true);
        assert_eq!(end_turn(&mut recovery, 500, 0), (true, None), "it is away");
        recovery.unpark();
        assert_eq!(end_turn(&mut recovery, 600, 0), (false, Some((socket, offset))));
    }

    #[test]
    fn what_is_missing_counts_however_long_a_socket_has_been_there() {
        for events in [1_u64, 1 << 31, 3 << 31, 1 << 33] {
            let mut recovery = Recovery::new(1, Settings { window_ms: 1, max_bytes: 1 });
            let (mut members, mut rooms) = (Members::default(), Memberships::new());
            let member = Member { socket: 0, sink: Outbound::default().open(Owner::Connection(0)) };
            let start = recovery.mark();
            members.join(&RoomId::Name("r".into()), member, start, &mut rooms);
            let heard = recovery.take_offset();
            recovery.next += events;
            let last = recovery.next - 1;
            let missing = |members: &Members, own: u64, heard: u64| {
                let offset = format!("{heard:012x}");
                recovery.missing_from(start, own, Some(&offset), &rooms, members)
            };
            assert_eq!(missing(&members, 0, heard), Some(heard), "{events}");
            assert_eq!(missing(&members, last, heard), None, "{events}: an event of its own");
            assert_eq!(missing(&members, last, last), Some(last), "{events}: it has it");
            let (serial, _) = members.history(rooms[0].room()).expect("a room");
            members.trim(rooms[0].room(), serial, last);
            assert_eq!(missing(&members, 0, heard), None, "{events}: an event of its room");
            assert_eq!(missing(&members, 0, last), Some(last), "{events}: it has it");
        }
    }
}
