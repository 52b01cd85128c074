//! Virtual connections: two pipes of bytes with delays, a bounded window towards the client, resets and half-closes.

use crate::random::Random;
use std::collections::VecDeque;

/// Names a connection, on both sides.
pub type LinkId = usize;

/// What travels in a pipe.
#[derive(Debug)]
pub enum Segment {
    Bytes(Vec<u8>),
    /// Nothing more will be sent.
    Fin,
    /// The connection is gone.
    Reset,
}

/// One direction; what was sent first arrives first.
#[derive(Debug, Default)]
pub struct Pipe {
    segments: VecDeque<(u64, Segment)>,
    last_us: u64,
    /// Bytes sent and not yet read.
    pub bytes: usize,
}

impl Pipe {
    /// Sends a segment that takes `delay_us`; returns when it arrives.
    pub fn send(&mut self, now_us: u64, delay_us: u64, segment: Segment) -> u64 {
        let at_us = self.last_us.max(now_us + delay_us);
        self.last_us = at_us;
        if let Segment::Bytes(bytes) = &segment {
            self.bytes += bytes.len();
        }
        self.segments.push_back((at_us, segment));
        at_us
    }

    /// Reads what has arrived, at most `max` bytes of it.
    pub fn read(&mut self, now_us: u64, max: usize) -> Option<Segment> {
        let (at_us, segment) = self.segments.front_mut()?;
        if *at_us > now_us {
            return None;
        }
        if let Segment::Bytes(bytes) = segment
            && bytes.len() > max
        {
            let head = bytes.drain(..max).collect();
            self.bytes -= max;
            return Some(Segment::Bytes(head));
        }
        let (_, segment) = self.segments.pop_front()?;
        if let Segment::Bytes(bytes) = &segment {
            self.bytes -= bytes.len();
        }
        Some(segment)
    }

    /// Whether something has arrived.
    pub fn is_readable(&self, now_us: u64) -> bool {
        self.segments.front().is_some_and(|&(at_us, _)| at_us <= now_us)
    }

    /// Whether a reset has arrived, whatever lies unread in front of it.
    pub fn is_reset(&self, now_us: u64) -> bool {
        self.segments.back().is_some_and(|(at_us, s)| *at_us <= now_us && matches!(s, Segment::Reset))
    }

    /// Loses what has not arrived yet.
    pub fn lose(&mut self, now_us: u64) {
        self.segments.retain(|&(at_us, _)| at_us <= now_us);
        self.bytes = self.segments.iter().map(|(_, s)| if let Segment::Bytes(b) = s { b.len() } else { 0 }).sum();
        self.last_us = now_us;
    }
}

/// Where the server's side of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the accept queue, or on its way between shards.
    Travelling,
    /// With this shard, in this slot.
    At(usize, u32),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    pub up: Pipe,
    pub down: Pipe,
    pub place: Place,
    /// Bytes the client's side takes before the server's writes block.
    pub window: usize,
    /// The shard wants to be given what arrives.
    pub reading: bool,
    /// The last write of the shard's took less than it offered.
    pub blocked: bool,
    /// The end of what arrives was reported to the shard.
    pub ended: bool,
    /// The server sent its FIN.
    pub shut: bool,
    /// The client has closed or reset its side and reads no more.
    pub abandoned: bool,
}

impl Link {
    pub fn new(window: usize) -> Self {
        Self {
            up: Pipe::default(),
            down: Pipe::default(),
            place: Place::Travelling,
            window,
            reading: true,
            blocked: false,
            ended: false,
            shut: false,
            abandoned: false,
        }
    }
}

/// How bad the network and the mesh are.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Usual delay of a segment, at most.
    pub delay_us: u64,
    /// Delay of a segment now and then.
    pub stall_us: u64,
    /// Usual delay between shards, at most.
    pub mesh_us: u64,
    /// Delay between shards now and then.
    pub mesh_stall_us: u64,
    /// Envelopes a ring between two shards holds.
    pub ring_slots: usize,
    /// How long a turn takes, at most.
    pub turn_us: u64,
    /// Permille of writes that take only a part.
    pub short_writes: u64,
    /// Permille of reads that give only a part.
    pub short_reads: u64,
    /// Permille of turns that do not end with a flush.
    pub late_flushes: u64,
    /// Permille of new connections that are handed to another shard at once.
    pub balanced: u64,
}

impl Weather {
    pub fn random(random: &mut Random) -> Self {
        // A small ring passes on only so much a turn.
        let turn_us = random.pick(&[1, 1_000, 20_000]);
        Self {
            delay_us: random.pick(&[10, 1_000, 30_000, 100_000]),
            stall_us: random.pick(&[1_000, 100_000, 400_000]),
            mesh_us: random.pick(&[1, 100, 5_000, 50_000]),
            mesh_stall_us: random.pick(&[1, 20_000, 200_000]),
            ring_slots: random.pick(if turn_us > 1_000 { &[64, 256] } else { &[2, 8] }),
            turn_us,
            short_writes: random.pick(&[0, 50, 400]),
            short_reads: random.pick(&[0, 100, 600]),
            late_flushes: random.pick(&[0, 0, 300]),
            balanced: random.pick(&[0, 0, 200]),
        }
    }

    pub fn delay(&self, random: &mut Random) -> u64 {
        let bound = if random.chance(20) { self.stall_us } else { self.delay_us };
        random.range(1, bound.max(1))
    }

    pub fn mesh_delay(&self, random: &mut Random) -> u64 {
        let bound = if random.chance(50) { self.mesh_stall_us } else { self.mesh_us };
        random.range(0, bound)
    }
}
