//! The yardstick: a server that does no protocol work.
//!
//! It answers the load generator with canned bytes, found at fixed places, and does what every server must: accept, read,
//! write. One thread; one edge-triggered epoll set; each socket registered once. A turn reads all ready sockets first and
//! then writes once to each connection that has anything to get, all frames in one write; what a room gets is built once
//! and written from there. What a server needs above this is the price of its protocol.
//!
//! It serves the load generator only: it believes its clients, and listens on the loopback interface.

mod canned;
mod connection;

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_reuseaddr, set_tcp_nodelay};
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};
use slab::Slab;

use self::canned::{CLOSE_FRAME, CONNECTED, JOIN_ACK, MESSAGE_ACK, PING_FRAME, TEXT_HEAD, TEXT_TAIL, UPGRADED};
use self::connection::{Connection, NO_ROOM};
use super::BenchError;
use super::args;
use super::frame::{self, Frame, HEADER_MAX_BYTES, PAYLOAD_MAX_BYTES, append_server_header, next_client_frame};
use super::packets::{BROADCAST, JOIN_INDEX, MESSAGE_HEAD, MESSAGE_TAIL_BYTES};
use super::process::{now_ns, raise_descriptor_limit};

/// Sockets read in one turn.
const EVENTS_MAX: usize = 8_192;
/// The shared read buffer.
const READ_BUFFER_BYTES: usize = 256 * 1024;
const _: () = assert!(READ_BUFFER_BYTES > PAYLOAD_MAX_BYTES + HEADER_MAX_BYTES);
/// Most that is kept for a client that does not read; then it is cut off.
const OUT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Room numbers go up to this.
const ROOMS_MAX: usize = 1 << 20;
/// The pings of an interval are spread over this many ticks.
const PING_TICKS: u32 = 64;
/// Descriptors asked for; fewer are fine.
const DESCRIPTORS: u64 = 1_000_000;
const LISTEN_BACKLOG: i32 = 4_096;
/// The listener among the connections of the epoll set.
const LISTENER: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Room {
    members: Vec<u32>,
    /// What all members get at the end of the turn.
    out: Vec<u8>,
}

/// The floor program: a server of canned answers.
#[derive(Debug)]
pub struct Floor {
    listener: OwnedFd,
    epoll: OwnedFd,
    connections: Slab<Connection>,
    rooms: Vec<Room>,
    /// What has something to be written at the end of the turn.
    dirty_rooms: Vec<u32>,
    dirty_connections: Vec<u32>,
    open_packet: Vec<u8>,
    broadcast_tail: Vec<u8>,
    ping_tick_ns: u64,
}

impl Floor {
    /// Listens; connections wait until [`Floor::serve`].
    ///
    /// # Errors
    /// The port is taken, or the system refuses a socket.
    pub fn bind(args: &args::Floor) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { during: "listening", source };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(failed)?;
        set_socket_reuseaddr(&listener, true).map_err(failed)?;
        // Accepted sockets inherit it.
        set_tcp_nodelay(&listener, true).map_err(failed)?;
        net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, args.port))).map_err(failed)?;
        net::listen(&listener, LISTEN_BACKLOG).map_err(failed)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        // Edges also here: without descriptors left, the listener must not keep the loop spinning.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), edges).map_err(failed)?;
        let ping_interval_ms = args.ping_interval_ms;
        let open = format!(
            r#"0{{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":{ping_interval_ms},"pingTimeout":20000,"maxPayload":1000000}}"#
        );
        let mut open_packet = Vec::new();
        append(&mut open_packet, &[open.as_bytes()]);
        let mut broadcast_tail = TEXT_TAIL.to_vec();
        if args.offset_bytes > 0 {
            broadcast_tail.extend_from_slice(b",\"");
            broadcast_tail.resize(broadcast_tail.len() + usize::from(args.offset_bytes), b'0');
            broadcast_tail.push(b'"');
        }
        broadcast_tail.push(b']');
        Ok(Self {
            listener,
            epoll,
            connections: Slab::new(),
            rooms: Vec::new(),
            dirty_rooms: Vec::new(),
            dirty_connections: Vec::new(),
            open_packet,
            broadcast_tail,
            ping_tick_ns: ping_interval_ms * 1_000_000 / u64::from(PING_TICKS),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> Result<SocketAddr, BenchError> {
        let failed = |source| BenchError::System { during: "getsockname", source };
        let address = net::getsockname(&self.listener).map_err(failed)?;
        SocketAddr::try_from(address).map_err(failed)
    }

    /// Serves until the process is killed.
    ///
    /// # Errors
    /// The epoll set failed.
    pub fn serve(mut self) -> Result<(), BenchError> {
        // What is permitted will do.
        let _ = raise_descriptor_limit(DESCRIPTORS);
        let mut read_buffer = vec![0; READ_BUFFER_BYTES];
        let unused = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = vec![unused; EVENTS_MAX];
        let mut tick_at = now_ns() + self.ping_tick_ns;
        let mut tick = 0;
        loop {
            let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout(tick_at))) {
                Ok(ready) => ready,
                Err(Errno::INTR) => 0,
                Err(source) => {
                    return Err(BenchError::System { during: "epoll_wait", source });
                }
            };
            for &epoll::Event { flags, data } in &events[..ready] {
                match data.u64() {
                    LISTENER => self.accept(),
                    key => self.ready(key as usize, flags, &mut read_buffer),
                }
            }
            if now_ns() >= tick_at {
                self.ping(tick);
                tick = (tick + 1) % PING_TICKS;
                tick_at += self.ping_tick_ns;
            }
            self.flush();
        }
    }

    /// Accepts what is there. Without descriptors left, connections wait for the next one to come.
    fn accept(&mut self) {
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        while let Ok(fd) = net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            let entry = self.connections.vacant_entry();
            let data = epoll::EventData::new_u64(entry.key() as u64);
            if epoll::add(&self.epoll, &fd, data, edges).is_ok() {
                entry.insert(Connection::new(fd));
            }
        }
    }

    fn ready(&mut self, key: usize, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.blocked && flags.contains(epoll::EventFlags::OUT) {
            connection.blocked = false;
            self.dirty_connections.push(key as u32);
        }
        let hang_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if flags.intersects(epoll::EventFlags::IN | hang_up) && !self.read(key, flags.intersects(hang_up), buffer) {
            self.remove(key);
        }
    }

    /// Reads until the socket is empty. `false`: the connection is over.
    fn read(&mut self, key: usize, hang_up: bool, buffer: &mut [u8]) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return true;
            };
            let carried = connection.carry.len();
            buffer[..carried].copy_from_slice(&connection.carry);
            let filled = match net::recv(&connection.fd, &mut buffer[carried..], RecvFlags::empty()) {
                Ok((_, 0)) => return false,
                Ok((_, received)) => carried + received,
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            };
            connection.carry.clear();
            let Some(used) = self.consume(key, &mut buffer[..filled]) else {
                return false;
            };
            if let Some(connection) = self.connections.get_mut(key) {
                connection.carry.extend_from_slice(&buffer[used..filled]);
            }
            if filled < buffer.len() && !hang_up {
                return true;
            }
        }
    }

    /// Answers every whole request and frame and returns the bytes they took; `None`: what came is neither.
    fn consume(&mut self, key: usize, bytes: &mut [u8]) -> Option<usize> {
        let connection = self.connections.get_mut(key)?;
        let mut used = 0;
        if !connection.upgraded {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                return Some(0);
            };
            used = end + 4;
            let key_at = find(&bytes[..end], b"Sec-WebSocket-Key: ")? + 19;
            let accept = tungstenite::handshake::derive_accept_key(bytes.get(key_at..key_at + 24)?);
            connection.upgraded = true;
            let out = self.reply(key)?;
            out.extend_from_slice(UPGRADED);
            out.extend_from_slice(accept.as_bytes());
            out.extend_from_slice(b"\r\n\r\n");
            let open = mem::take(&mut self.open_packet);
            self.reply(key)?.extend_from_slice(&open);
            self.open_packet = open;
        }
        while let Some(Frame { opcode, payload, end }) = next_client_frame(&mut bytes[used..]).ok()? {
            match opcode {
                frame::TEXT => self.packet(key, payload)?,
                frame::CLOSE => {
                    self.reply(key)?.extend_from_slice(CLOSE_FRAME);
                    self.connections.get_mut(key)?.closing = true;
                }
                _ => {}
            }
            used += end;
        }
        Some(used)
    }

    /// `None`: not of the load generator.
    fn packet(&mut self, key: usize, packet: &[u8]) -> Option<()> {
        let event = match packet {
            b"40" => {
                append(self.reply(key)?, &[CONNECTED]);
                return Some(());
            }
            [b'4', b'2', event @ ..] => event,
            _ => return Some(()),
        };
        let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ack, arguments) = event.split_at(digits);
        let is_message = arguments.starts_with(MESSAGE_HEAD);
        if is_message {
            let text_end = arguments.len().checked_sub(MESSAGE_TAIL_BYTES)?;
            self.broadcast(key, arguments.get(MESSAGE_HEAD.len()..text_end)?);
        } else {
            let number = std::str::from_utf8(arguments.get(JOIN_INDEX)?).ok()?;
            self.join(key, u32::from_str_radix(number, 16).ok()?)?;
        }
        if !ack.is_empty() {
            append(self.reply(key)?, &[b"43", ack, if is_message { MESSAGE_ACK } else { JOIN_ACK }]);
        }
        Some(())
    }

    fn join(&mut self, key: usize, room: u32) -> Option<()> {
        let number = room as usize;
        let connection = self.connections.get_mut(key)?;
        if connection.room != NO_ROOM || number >= ROOMS_MAX {
            return None;
        }
        if number >= self.rooms.len() {
            self.rooms.resize_with(number + 1, Room::default);
        }
        connection.room = room;
        connection.place = self.rooms[number].members.len() as u32;
        self.rooms[number].members.push(key as u32);
        Some(())
    }

    /// Adds a broadcast of `text` to what the sender's room gets at the end of the turn.
    fn broadcast(&mut self, key: usize, text: &[u8]) {
        let number = self.connections.get(key).map_or(NO_ROOM, |connection| connection.room);
        let Some(room) = self.rooms.get_mut(number as usize) else {
            return;
        };
        if room.out.is_empty() {
            self.dirty_rooms.push(number);
        }
        append(&mut room.out, &[BROADCAST, TEXT_HEAD, text, &self.broadcast_tail]);
    }

    /// Where to put what this connection alone gets at the end of the turn.
    fn reply(&mut self, key: usize) -> Option<&mut Vec<u8>> {
        self.dirty_connections.push(key as u32);
        Some(&mut self.connections.get_mut(key)?.out)
    }

    /// Pings every connection whose turn it is in this tick.
    fn ping(&mut self, tick: u32) {
        for key in (tick as usize..self.connections.capacity()).step_by(PING_TICKS as usize) {
            if let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.upgraded) {
                connection.out.extend_from_slice(PING_FRAME);
                self.dirty_connections.push(key as u32);
            }
        }
    }

    /// The end of a turn: each connection that has anything to get is written once.
    fn flush(&mut self) {
        while let Some(number) = self.dirty_rooms.pop() {
            let Room { members, out } = &mut self.rooms[number as usize];
            for &key in &*members {
                if let Some(connection) = self.connections.get_mut(key as usize) {
                    connection.write_with(out);
                    if connection.out.len() > OUT_MAX_BYTES {
                        self.dirty_connections.push(key);
                    }
                }
            }
            out.clear();
        }
        while let Some(key) = self.dirty_connections.pop() {
            let Some(connection) = self.connections.get_mut(key as usize) else {
                continue;
            };
            if !connection.out.is_empty() {
                connection.write_with(&[]);
            }
            if connection.closing && connection.out.is_empty() || connection.out.len() > OUT_MAX_BYTES {
                self.remove(key as usize);
            }
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(Connection { room, place, .. }) = self.connections.try_remove(key) else {
            return;
        };
        let Some(Room { members, .. }) = self.rooms.get_mut(room as usize) else {
            return;
        };
        members.swap_remove(place as usize);
        if let Some(&moved) = members.get(place as usize) {
            self.connections[moved as usize].place = place;
        }
    }
}

/// Appends a text frame whose payload is `parts` in a row.
fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    append_server_header(out, frame::TEXT, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The time until `at_ns`.
fn timeout(at_ns: u64) -> rustix::time::Timespec {
    Duration::from_nanos(at_ns.saturating_sub(now_ns())).try_into().unwrap_or_default()
}
