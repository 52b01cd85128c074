//! The clients of a run: thousands of connections on one thread, with one epoll set and one read buffer.
//!
//! A delivery must cost far less here than at the server. So the epoll set is edge-triggered and each connection is
//! registered once; a socket is read once per edge into a buffer that all share; frames are read where they lie; nothing is
//! allocated per frame.

mod receive;
mod send;
mod tls;

use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, socket_error};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use rustls::ClientConfig;
use rustls::client::ClientConnection;

use super::BenchError;
use super::frame::{HEADER_MAX_BYTES, PAYLOAD_MAX_BYTES};
use super::packets::{self, Script};
use super::process::now_ns;
use super::stamp::{Stamp, StampFinder};

/// Connections taken from one turn of the epoll set.
const EVENTS_MAX: usize = 1024;
/// The shared read buffer; it holds the longest frame and all that merges in front of it.
const READ_BUFFER_BYTES: usize = 256 * 1024;
const _: () = assert!(READ_BUFFER_BYTES > PAYLOAD_MAX_BYTES + HEADER_MAX_BYTES);
/// The timer among the connections of the epoll set.
const TIMER: u64 = u64::MAX;

/// What a run does with its clients. The methods are called from [`Clients::turn`].
pub(super) trait Scenario {
    /// The room `client` joins.
    fn room(&self, client: u32) -> u32;
    /// The join of `client` was acknowledged.
    fn joined(&mut self, _clients: &mut Clients, _client: u32) {}
    /// `client` received the broadcast of a message of the run.
    fn delivered(&mut self, _clients: &mut Clients, _client: u32, _stamp: &Stamp) {}
    /// `client` received the ack of a message.
    fn acknowledged(&mut self, _clients: &mut Clients, _client: u32, _id: u64) {}
    /// The connection of `client` ended: after [`Clients::close`] (`asked`), or because the server or the network ended it.
    fn closed(&mut self, _clients: &mut Clients, _client: u32, _asked: bool) -> Result<(), BenchError> {
        Ok(())
    }
    /// The time set with [`Clients::set_due`] has come.
    fn due(&mut self, _clients: &mut Clients) {}
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Tcp,
    Upgrade,
    Open,
    Connect,
    Join,
    Joined,
    Closing,
}

#[derive(Debug)]
struct Client {
    fd: Option<OwnedFd>,
    phase: Phase,
    /// The socket took less than offered; its next edge will continue.
    blocked: bool,
    /// The start of a frame whose end has not come.
    carry: Vec<u8>,
    /// Frames to send.
    out: Vec<u8>,
    /// Its encryption, if there is any.
    tls: Option<Box<ClientConnection>>,
    /// What is encrypted and not yet sent.
    sealed: Vec<u8>,
}

/// What has happened on all connections so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Traffic {
    pub bytes_received: u64,
    /// Engine.IO pings received, and answered at once.
    pub pings: u64,
    /// Events other than those of the run (`messageComplete`, `connection_established`, …).
    pub other_events: u64,
    /// `error` events and failing acks.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Connections ended by the server or the network after they had joined.
    pub closed_by_server: u64,
}

/// Where to connect to, and from how many addresses of 127.0.0.0/8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub target: SocketAddr,
    /// 0: the system chooses.
    pub sources: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

pub(super) struct Clients {
    route: Route,
    tls: Option<Arc<ClientConfig>>,
    script: Script,
    request: Vec<u8>,
    clients: Vec<Client>,
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<epoll::Event>,
    read_buffer: Vec<u8>,
    /// Clients with something to send that were not tried yet.
    dirty: Vec<u32>,
    finder: StampFinder,
    /// State of the masking keys.
    mask_seed: u32,
    now_ns: u64,
    due_ns: u64,
    opened: usize,
    joined: usize,
    pub traffic: Traffic,
}

impl Clients {
    /// `count` clients, none connected yet.
    pub fn new(route: Route, script: Script, count: usize) -> Result<Self, BenchError> {
        let failed = |during| move |source| BenchError::System { during, source };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll_create"))?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .map_err(failed("timerfd_create"))?;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), edges).map_err(failed("epoll_ctl"))?;
        let unused = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let client = || Client {
            fd: None,
            phase: Phase::Closed,
            blocked: false,
            carry: Vec::new(),
            out: Vec::new(),
            tls: None,
            sealed: Vec::new(),
        };
        Ok(Self {
            request: packets::upgrade_request(&route.target.to_string()),
            route,
            tls: route.tls.then(tls::config),
            script,
            clients: std::iter::repeat_with(client).take(count).collect(),
            epoll,
            timer,
            events: vec![unused; EVENTS_MAX],
            read_buffer: vec![0; READ_BUFFER_BYTES],
            dirty: Vec::new(),
            finder: StampFinder::default(),
            mask_seed: 0x9E37_79B9,
            now_ns: now_ns(),
            due_ns: u64::MAX,
            opened: 0,
            joined: 0,
            traffic: Traffic::default(),
        })
    }

    /// The time the bytes at hand were read, in nanoseconds of the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Clients that are joined now.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// Clients that are connecting now.
    pub fn handshaking(&self) -> usize {
        self.opened - self.joined
    }

    /// Lets [`Scenario::due`] be called at `due_ns`; `u64::MAX`: never. It does not end a [`Clients::turn`] that waits.
    pub fn set_due(&mut self, due_ns: u64) {
        self.due_ns = due_ns;
    }

    pub fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Lets a waiting [`Clients::turn`] return at `at_ns` at the latest.
    pub fn wake_at(&self, at_ns: u64) -> Result<(), BenchError> {
        let value = Timespec {
            tv_sec: i64::try_from(at_ns / 1_000_000_000).unwrap_or(i64::MAX),
            // Zero would disarm the timer.
            tv_nsec: i64::try_from(at_ns % 1_000_000_000).unwrap_or(0).max(1),
        };
        let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer)
            .map(drop)
            .map_err(|source| BenchError::System { during: "timerfd_settime", source })
    }

    /// Begins to connect `client`, which is closed.
    pub fn open(&mut self, client: u32) -> Result<(), BenchError> {
        let failed = |source| BenchError::Connect { target: self.route.target, source };
        let family = if self.route.target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None).map_err(failed)?;
        set_tcp_nodelay(&fd, true).map_err(failed)?;
        if let Some(source) = source_address(client, self.route.sources) {
            net::bind(&fd, &SocketAddr::new(source, 0)).map_err(failed)?;
        }
        match net::connect(&fd, &self.route.target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &fd, epoll::EventData::new_u64(client.into()), edges).map_err(failed)?;
        let slot = &mut self.clients[client as usize];
        slot.fd = Some(fd);
        slot.tls = self.tls.as_ref().map(tls::connection);
        slot.phase = Phase::Tcp;
        self.opened += 1;
        Ok(())
    }

    /// Waits for something to happen (see [`Clients::wake_at`]), then handles all of it.
    pub fn turn<S: Scenario>(&mut self, scenario: &mut S) -> Result<(), BenchError> {
        let ready = match epoll::wait(&self.epoll, &mut self.events[..], None) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(source) => {
                return Err(BenchError::System { during: "epoll_wait", source });
            }
        };
        for at in 0..ready {
            let epoll::Event { flags, data } = self.events[at];
            // Only indices of clients and the timer are registered.
            if let Ok(client) = u32::try_from(data.u64()) {
                self.ready(client, flags, scenario)?;
            }
            self.pass_time(self.now_ns, scenario);
        }
        self.pass_time(now_ns(), scenario);
        Ok(())
    }

    /// Calls what is due, then sends what was asked for.
    fn pass_time<S: Scenario>(&mut self, now_ns: u64, scenario: &mut S) {
        if now_ns >= self.due_ns {
            self.now_ns = now_ns;
            scenario.due(self);
        }
        while let Some(client) = self.dirty.pop() {
            self.flush(client);
        }
    }

    fn ready<S: Scenario>(
        &mut self,
        client: u32,
        flags: epoll::EventFlags,
        scenario: &mut S,
    ) -> Result<(), BenchError> {
        let slot = &mut self.clients[client as usize];
        if slot.phase == Phase::Tcp {
            let Some(fd) = &slot.fd else { return Ok(()) };
            if let Ok(Err(source)) | Err(source) = socket_error(fd) {
                return Err(BenchError::Connect { target: self.route.target, source });
            }
            slot.phase = Phase::Upgrade;
            slot.out.extend_from_slice(&self.request);
            self.dirty.push(client);
        } else if slot.blocked && flags.contains(epoll::EventFlags::OUT) {
            slot.blocked = false;
            self.flush(client);
        }
        let hang_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if flags.intersects(epoll::EventFlags::IN | hang_up) {
            let mut buffer = mem::take(&mut self.read_buffer);
            let read = self.read(client, flags.intersects(hang_up), &mut buffer, scenario);
            self.read_buffer = buffer;
            read?;
        }
        Ok(())
    }

    /// The connection of `client` is over; for a client that had not joined, so is the run.
    fn ended<S: Scenario>(&mut self, client: u32, how: &str, scenario: &mut S) -> Result<(), BenchError> {
        let slot = &mut self.clients[client as usize];
        let phase = mem::replace(&mut slot.phase, Phase::Closed);
        slot.fd = None;
        slot.tls = None;
        slot.blocked = false;
        slot.carry.clear();
        slot.out.clear();
        slot.sealed.clear();
        let asked = phase == Phase::Closing;
        if !asked && phase != Phase::Joined {
            return Err(BenchError::Refused { client, joined: self.joined, during: phase.name(), answer: how.into() });
        }
        self.opened -= 1;
        self.joined -= 1;
        self.traffic.closed_by_server += u64::from(!asked);
        scenario.closed(self, client, asked)
    }
}

impl Phase {
    /// What the client is waiting for.
    fn name(self) -> &'static str {
        match self {
            Self::Closed | Self::Tcp => "the TCP connection",
            Self::Upgrade => "the WebSocket upgrade",
            Self::Open => "the Engine.IO open packet",
            Self::Connect => "the Socket.IO CONNECT",
            Self::Join => "the ack of join",
            Self::Joined => "deliveries",
            Self::Closing => "the closing handshake",
        }
    }
}

/// The source address of `client` when there are `sources` of them; `None`: the system chooses.
fn source_address(client: u32, sources: u16) -> Option<IpAddr> {
    let source = client.checked_rem(sources.into())?;
    let [_, second, third, fourth] = (source + 1).to_be_bytes();
    Some(Ipv4Addr::new(127, second, third, fourth).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_clients_over_loopback_addresses() {
        assert_eq!(source_address(5, 0), None);
        assert_eq!(source_address(5, 1), Some(Ipv4Addr::new(127, 0, 0, 1).into()));
        assert_eq!(source_address(5, 4), Some(Ipv4Addr::new(127, 0, 0, 2).into()));
        assert_eq!(source_address(u32::from(u16::MAX) - 1, u16::MAX), Some(Ipv4Addr::new(127, 0, 255, 255).into()));
    }
}
