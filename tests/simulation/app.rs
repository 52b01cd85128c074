//! The application under simulation: rooms as the design has them, with nothing else to them.
//!
//! `join`, `leave` and `publish` take a room, and an acknowledgement. The home numbers what happens in a room, from 1: the
//! acknowledgement of a join is the number of the latest message before it, that of a message its own.

use sockeye::engine::{Answer, ConnectionKey, Credential, Now};
use sockeye::rooms::RoomId;
use sockeye::socket::{App, ConnectError, Context, DisconnectReason, Event, SocketKey};
use sockeye::wire::http::Head;
use sockeye::wire::prepared::Prepared;
use sockeye::wire::socket::{DecodeError, validate_args};
use std::collections::HashMap;
use std::sync::Arc;

pub const CALL_PATH: &str = "/call";

#[derive(Debug, Default)]
pub struct Rooms {
    /// Messages so far, of the rooms whose home is here.
    numbers: HashMap<RoomId, u64>,
}

#[derive(Debug)]
pub enum Op {
    Join,
    /// The message's text.
    Publish(String),
}

#[derive(Debug)]
pub enum RoomMail {
    /// To the home.
    Apply { room: RoomId, socket: SocketKey, ack_id: Option<u64>, op: Op },
    /// Back to the shard of the socket.
    Done { socket: SocketKey, ack_id: u64, number: u64 },
}

/// A message, as it goes to the shards with members.
#[derive(Clone, Debug)]
pub struct Message {
    from: (usize, SocketKey),
    frame: Arc<Prepared>,
    own: Arc<Prepared>,
}

impl App for Rooms {
    type Mail = RoomMail;
    type Delivery = Message;
    type Data = ();

    const NAMESPACES: &'static [&'static str] = &["/"];

    fn credential(&self, _: &Head<'_>) -> Option<Box<Credential>> {
        None
    }

    fn authorize(&mut self, _: Now, _: Option<&str>, _: Option<&Credential>) -> Result<(), ConnectError> {
        Ok(())
    }

    fn resume(&mut self, (): &mut (), (): &()) -> bool {
        true
    }

    fn connected(&mut self, _: &mut Context<'_, Self>, _: SocketKey, _: Option<&str>, _: bool) {}

    fn event(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, event: Event<'_>) -> Result<(), DecodeError> {
        let args = validate_args(std::str::from_utf8(event.json).map_err(|_| DecodeError::Data)?)?;
        let rest = args.rest;
        let ack_id = event.ack_id;
        match args.name.as_ref() {
            "binary" => cx.emit_binary(socket, event.attachments, |out| {
                out.extend_from_slice(format!(r#"["binary",{rest}]"#).as_bytes());
            }),
            "whisper" => {
                let frame = Prepared::event(|out| out.extend_from_slice(format!(r#"["whisper",{rest}]"#).as_bytes()));
                cx.send_prepared(socket, &frame);
                if let Some(ack_id) = ack_id {
                    cx.ack(socket, ack_id, |out| out.extend_from_slice(b"[0]"));
                }
            }
            "kick" => cx.disconnect(socket),
            name => {
                let (room, text) = rest.split_once(',').unwrap_or((rest, ""));
                let room = RoomId::any(room.trim_matches('"')).ok_or(DecodeError::Data)?;
                self.room_event(cx, socket, name, room, text, ack_id);
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, _: &mut Context<'_, Self>, _: SocketKey, _: DisconnectReason) {}

    fn mail(&mut self, cx: &mut Context<'_, Self>, from: usize, mail: RoomMail) {
        match mail {
            RoomMail::Apply { room, socket, ack_id, op } => {
                let number = self.numbers.entry(room.clone()).or_default();
                if let Op::Publish(text) = op {
                    *number += 1;
                    let frame = |own: bool| {
                        let json = format!(r#"["message","{room}",{number},{own},{text}]"#);
                        Arc::new(Prepared::event(|out| out.extend_from_slice(json.as_bytes())))
                    };
                    let message = Message { from: (from, socket), frame: frame(false), own: frame(true) };
                    cx.hub.fan_out(&room, Some(from), &message);
                }
                if let Some(ack_id) = ack_id {
                    cx.post(from, RoomMail::Done { socket, ack_id, number: *number });
                }
            }
            RoomMail::Done { socket, ack_id, number } => {
                cx.ack(socket, ack_id, |out| out.extend_from_slice(format!("[{number}]").as_bytes()));
            }
        }
    }

    fn deliver(&mut self, cx: &mut Context<'_, Self>, room: &RoomId, message: Message) {
        let (shard, socket) = message.from;
        let here = shard == cx.hub.shard();
        cx.deliver(room, &message.frame, here.then_some(socket));
        if here {
            cx.send_prepared(socket, &message.own);
        }
    }

    fn timeout(&mut self, _: &mut Context<'_, Self>, _: u32, _: u32) {}

    fn reminded(&mut self, _: &mut Context<'_, Self>, _: SocketKey) {}

    fn shrink(&mut self, _: Now) {}

    fn serves(&self, path: &str) -> bool {
        path == CALL_PATH
    }

    fn call(&mut self, _: &mut Context<'_, Self>, _: ConnectionKey, _: &Head<'_>, body: &mut [u8]) -> Answer {
        Answer::Json { status: 200, headers: "", json: body.len().to_string() }
    }

    fn refusal(&self, status: u16, _: &str) -> String {
        status.to_string()
    }

    fn calls_open(&self) -> usize {
        0
    }

    fn give_up_calls(&mut self, _: &mut Context<'_, Self>) {}
}

impl Rooms {
    fn room_event(
        &mut self,
        cx: &mut Context<'_, Self>,
        socket: SocketKey,
        name: &str,
        room: RoomId,
        text: &str,
        ack_id: Option<u64>,
    ) {
        let op = match name {
            "join" => {
                cx.join(socket, &room);
                Op::Join
            }
            "publish" => Op::Publish(text.to_owned()),
            _ => {
                cx.leave(socket, &room);
                if let Some(ack_id) = ack_id {
                    cx.ack(socket, ack_id, |out| out.extend_from_slice(b"[0]"));
                }
                return;
            }
        };
        let home = cx.home(&room);
        cx.post(home, RoomMail::Apply { room, socket, ack_id, op });
    }
}
