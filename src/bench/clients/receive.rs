//! The receiving side of a client: bytes to frames, frames to packets, packets to what the scenario wants to know.

use rustix::io::Errno;
use rustix::net::{self, RecvFlags};

use super::super::BenchError;
use super::super::frame::{self, Frame, next_server_frame};
use super::super::packets::{ACCEPT, BROADCAST, CONNECT, JOIN_ACK, PONG, Packet, classify};
use super::super::process::now_ns;
use super::{Clients, Phase, Scenario, tls};

/// Longest answer to the upgrade request.
const UPGRADE_ANSWER_MAX_BYTES: usize = 8 * 1024;
/// Of a server's explanation, as much is shown.
const SHOWN_BYTES: usize = 200;

impl Clients {
    /// Reads until the socket is empty; that is known from a read that takes less than asked for (epoll(7), question 9),
    /// unless the end is in sight.
    pub(super) fn read<S: Scenario>(
        &mut self,
        client: u32,
        hang_up: bool,
        buffer: &mut [u8],
        scenario: &mut S,
    ) -> Result<(), BenchError> {
        loop {
            let slot = &mut self.clients[client as usize];
            let Some(fd) = &slot.fd else { return Ok(()) };
            // A frame's start is shorter than the longest frame, so there is room behind it.
            let carried = slot.carry.len();
            buffer[..carried].copy_from_slice(&slot.carry);
            let received = match &mut slot.tls {
                None => net::recv(fd, &mut buffer[carried..], RecvFlags::empty()).map(|(_, received)| received),
                Some(tls) => tls::receive(tls, fd, &mut buffer[carried..]),
            };
            let is_encrypted = slot.tls.is_some();
            let filled = match received {
                Ok(0) => return self.ended(client, "it closed the connection", scenario),
                Ok(received) => carried + received,
                Err(Errno::AGAIN) => {
                    if is_encrypted {
                        // The handshake may have something to say.
                        self.flush(client);
                    }
                    return Ok(());
                }
                Err(Errno::INTR) => continue,
                Err(_) => return self.ended(client, "it reset the connection", scenario),
            };
            slot.carry.clear();
            self.now_ns = now_ns();
            self.traffic.bytes_received += (filled - carried) as u64;
            match self.consume(client, &buffer[..filled], scenario)? {
                Some(used) => self.clients[client as usize].carry.extend_from_slice(&buffer[used..filled]),
                None => return self.ended(client, "it disconnected", scenario),
            }
            if filled < buffer.len() && !hang_up && !is_encrypted {
                return Ok(());
            }
        }
    }

    /// Handles every whole frame and returns the bytes they took; `None`: the server said goodbye.
    fn consume<S: Scenario>(
        &mut self,
        client: u32,
        bytes: &[u8],
        scenario: &mut S,
    ) -> Result<Option<usize>, BenchError> {
        let mut used = 0;
        if self.clients[client as usize].phase == Phase::Upgrade {
            match self.upgraded(client, bytes)? {
                Some(answer) => used = answer,
                None => return Ok(Some(0)),
            }
        }
        loop {
            let rest = &bytes[used..];
            match next_server_frame(rest).map_err(|error| BenchError::Frame { client, error })? {
                Some(Frame { opcode, payload, end }) => {
                    used += end;
                    if opcode == frame::TEXT && payload.starts_with(BROADCAST) {
                        self.broadcast(client, payload, scenario);
                    } else if !self.packet(client, opcode, payload, scenario)? {
                        return Ok(None);
                    }
                }
                None => return Ok(Some(used)),
            }
        }
    }

    #[inline]
    fn broadcast<S: Scenario>(&mut self, client: u32, packet: &[u8], scenario: &mut S) {
        match self.finder.find(packet) {
            Some(stamp) => scenario.delivered(self, client, &stamp),
            None => self.traffic.other_events += 1,
        }
    }

    /// The answer to the upgrade request: its length once it is whole.
    fn upgraded(&mut self, client: u32, bytes: &[u8]) -> Result<Option<usize>, BenchError> {
        let head = match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => &bytes[..end + 4],
            None if bytes.len() < UPGRADE_ANSWER_MAX_BYTES => return Ok(None),
            None => bytes,
        };
        let accepted = head.windows(ACCEPT.len()).any(|window| window == ACCEPT.as_bytes());
        if !head.starts_with(b"HTTP/1.1 101 ") || !accepted {
            return Err(self.refused(client, bytes));
        }
        self.clients[client as usize].phase = Phase::Open;
        Ok(Some(head.len()))
    }

    /// Handles a frame that is no broadcast. `false`: the server said goodbye.
    fn packet<S: Scenario>(
        &mut self,
        client: u32,
        opcode: u8,
        payload: &[u8],
        scenario: &mut S,
    ) -> Result<bool, BenchError> {
        match opcode {
            frame::TEXT => {}
            frame::PING => {
                self.send(client, frame::PONG, payload);
                return Ok(true);
            }
            frame::CLOSE => return Ok(false),
            _ => return Ok(true),
        }
        let phase = self.clients[client as usize].phase;
        match (classify(payload), phase) {
            (Packet::Ping, _) => {
                self.traffic.pings += 1;
                self.send(client, frame::TEXT, PONG);
            }
            (Packet::Disconnect, _) => return Ok(false),
            (Packet::Open, Phase::Open) => {
                self.clients[client as usize].phase = Phase::Connect;
                self.send(client, frame::TEXT, CONNECT);
            }
            (Packet::Connected, Phase::Connect) => {
                let key = self.mask_key();
                let slot = &mut self.clients[client as usize];
                slot.phase = Phase::Join;
                if slot.out.is_empty() {
                    self.dirty.push(client);
                }
                self.script.append_join(&mut slot.out, key, scenario.room(client));
            }
            (Packet::Ack { id: JOIN_ACK, ok: true, .. }, Phase::Join) => {
                self.clients[client as usize].phase = Phase::Joined;
                self.joined += 1;
                scenario.joined(self, client);
            }
            (Packet::Ack { id, ok: true, .. }, Phase::Joined | Phase::Closing) => {
                scenario.acknowledged(self, client, id);
            }
            (
                Packet::Ack { ok: false, arguments: reason, .. } | Packet::Error(reason),
                Phase::Joined | Phase::Closing,
            ) => {
                self.traffic.errors += 1;
                self.traffic.first_error.get_or_insert_with(|| shown(reason));
            }
            (Packet::OtherEvent, _) => self.traffic.other_events += 1,
            _ => return Err(self.refused(client, payload)),
        }
        Ok(true)
    }

    fn refused(&self, client: u32, answer: &[u8]) -> BenchError {
        let during = self.clients[client as usize].phase.name();
        BenchError::Refused { client, joined: self.joined, during, answer: shown(answer) }
    }
}

fn shown(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(SHOWN_BYTES)]).trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_short_start_of_any_answer() {
        assert_eq!(shown(b"HTTP/1.1 404 Not Found\r\n\r\n"), "HTTP/1.1 404 Not Found");
        assert!(shown(&[0xFF; 10_000]).len() <= 3 * SHOWN_BYTES);
    }
}
