//! The sending side of a client.

use rustix::io::Errno;
use rustix::net::{self, SendFlags};

use super::super::frame::{self, append_client_frame};
use super::super::stamp::Stamp;
use super::{Clients, Phase, tls};

impl Clients {
    /// Sends a `message` from `client` with the next flush; `ack`: the id of the ack wanted. `false`: it is not joined, or
    /// still busy sending.
    pub fn send_message(&mut self, client: u32, ack: Option<u64>, stamp: &Stamp) -> bool {
        let key = self.mask_key();
        let slot = &mut self.clients[client as usize];
        if slot.phase != Phase::Joined || slot.blocked {
            return false;
        }
        if slot.out.is_empty() {
            self.dirty.push(client);
        }
        self.script.append_message(&mut slot.out, key, ack, stamp, client);
        true
    }

    /// Begins the closing handshake of `client` (RFC 6455 §7.1.2) with the next flush.
    pub fn close(&mut self, client: u32) {
        const NORMAL_CLOSURE: [u8; 2] = 1000_u16.to_be_bytes();
        self.send(client, frame::CLOSE, &NORMAL_CLOSURE);
        self.clients[client as usize].phase = Phase::Closing;
    }

    pub(super) fn send(&mut self, client: u32, opcode: u8, payload: &[u8]) {
        let key = self.mask_key();
        let slot = &mut self.clients[client as usize];
        if slot.out.is_empty() {
            self.dirty.push(client);
        }
        append_client_frame(&mut slot.out, opcode, key, &[payload]);
    }

    /// Writes what `client` has to send. An error is left to the read that finds it too.
    pub(super) fn flush(&mut self, client: u32) {
        let slot = &mut self.clients[client as usize];
        let Some(fd) = &slot.fd else { return };
        let out = match &mut slot.tls {
            None => &mut slot.out,
            Some(tls) => {
                tls::seal(tls, &mut slot.out, &mut slot.sealed);
                &mut slot.sealed
            }
        };
        if slot.blocked || out.is_empty() {
            return;
        }
        match net::send(fd, out, SendFlags::NOSIGNAL) {
            Ok(sent) if sent < out.len() => {
                out.drain(..sent);
                slot.blocked = true;
            }
            Err(Errno::AGAIN) => slot.blocked = true,
            Ok(_) | Err(_) => out.clear(),
        }
    }

    /// Servers must unmask with every key, so it must not be zero; that it cannot be guessed protects only browsers.
    pub(super) fn mask_key(&mut self) -> [u8; 4] {
        self.mask_seed = self.mask_seed.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        (self.mask_seed | 0x0101_0101).to_ne_bytes()
    }
}
