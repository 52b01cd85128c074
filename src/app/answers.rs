//! What a socket is told of what it asked for.

use super::Agents;
use super::broadcast::{put_complete, put_room, put_uuid};
use super::events::{Form, Refusal};
use super::json::put_str;
use super::mail::{Asker, Ordered, Publisher, Stamp};
use crate::rooms::RoomId;
use crate::socket::{Context, SocketKey};
use crate::wire::put_decimal;
use uuid::Uuid;

impl Agents {
    /// `channel_joined` and `room_joined` (contract B1).
    pub(super) fn confirm_join(&self, cx: &mut Context<'_, Self>, asker: Asker, room: &RoomId, agent: Option<Uuid>) {
        let Some(sid) = cx.hub.id(asker.socket) else { return };
        for name in ["channel_joined", "room_joined"] {
            cx.emit(asker.socket, |out| {
                out.extend_from_slice(format!(r#"["{name}",{{"message":"#).as_bytes());
                put_str(out, &format!("Socket {} successfully joined channel {room}.", sid.text().as_str()));
                out.extend_from_slice(br#","channelId":"#);
                put_room(out, room);
                out.extend_from_slice(br#","roomId":"#);
                put_room(out, room);
                if let Some(agent) = agent {
                    out.extend_from_slice(br#","agentId":"#);
                    put_uuid(out, agent);
                }
                out.extend_from_slice(b"}]");
            });
        }
    }

    /// A message for the members of the room here, and for its sender if that is here.
    pub(super) fn deliver_message(&mut self, cx: &mut Context<'_, Self>, room: &RoomId, message: &Ordered) {
        let frame = message.broadcast.frame();
        if message.shard != cx.hub.shard() {
            return cx.deliver(room, frame, None);
        }
        let asker = match message.by {
            Publisher::Socket(asker) if cx.hub.session(asker.socket).is_some() => asker,
            Publisher::Socket(_) | Publisher::Demo => return cx.deliver(room, frame, None),
            Publisher::Call(call) => {
                cx.deliver(room, frame, None);
                return self.call_published(cx, call, message.stamp);
            }
        };
        match &message.message_id {
            Some(message_id) => {
                cx.deliver(room, frame, Some(asker.socket));
                cx.emit_recoverable(asker.socket, |out| message.broadcast.put_own_copy(out, message_id));
            }
            None => {
                cx.deliver(room, frame, None);
                if !cx.hub.is_in(asker.socket, room) {
                    cx.send_prepared(asker.socket, frame);
                }
            }
        }
        self.confirm_message(cx, asker, room, message.stamp, message.message_id.as_deref());
        if message.complete {
            cx.emit_recoverable(asker.socket, |out| put_complete(out, room, message.server));
        }
    }

    /// What the sender of a message hears of it, behind the broadcast.
    pub(super) fn confirm_message(
        &self,
        cx: &mut Context<'_, Self>,
        asker: Asker,
        room: &RoomId,
        stamp: Stamp,
        message_id: Option<&str>,
    ) {
        if asker.form == Form::Legacy {
            cx.emit(asker.socket, |out| {
                out.extend_from_slice(br#"["messageAck",{"#);
                if let Some(message_id) = message_id {
                    out.extend_from_slice(br#""clientMessageId":"#);
                    put_str(out, message_id);
                    out.push(b',');
                }
                out.extend_from_slice(br#""messageId":"#);
                put_uuid(out, stamp.id);
                out.extend_from_slice(br#","status":"received_by_server_and_processing","channelId":"#);
                put_room(out, room);
                out.extend_from_slice(br#","roomId":"#);
                put_room(out, room);
                out.extend_from_slice(b"}]");
            });
        }
        acknowledge(cx, asker, |out| {
            out.extend_from_slice(br#","id":"#);
            put_uuid(out, stamp.id);
            out.extend_from_slice(br#","createdAt":"#);
            put_decimal(out, stamp.created_at);
        });
    }
}

/// `authenticated` (contract B1).
pub(super) fn greet(cx: &mut Context<'_, Agents>, socket: SocketKey, entity: Uuid) {
    let timestamp_ms = cx.now().unix_ms;
    cx.emit(socket, |out| {
        out.extend_from_slice(br#"["authenticated",{"entityId":"#);
        put_uuid(out, entity);
        out.extend_from_slice(br#","timestamp":"#);
        put_decimal(out, timestamp_ms);
        out.extend_from_slice(b"}]");
    });
}

/// Acknowledges with `{ok:true, …}`, if that was asked for. `write` appends the rest of the members, comma first.
pub(super) fn acknowledge(cx: &mut Context<'_, Agents>, asker: Asker, write: impl FnOnce(&mut Vec<u8>)) {
    let Some(ack_id) = asker.ack_id else { return };
    cx.ack(asker.socket, ack_id, |out| {
        out.extend_from_slice(br#"[{"ok":true"#);
        write(out);
        out.extend_from_slice(b"}]");
    });
}

/// Tells a client that it is at fault.
pub(super) fn refuse(cx: &mut Context<'_, Agents>, asker: Asker, event: &str, refusal: &Refusal) {
    if let Some(text) = &refusal.message_error {
        cx.emit(asker.socket, |out| {
            out.extend_from_slice(br#"["messageError",{"error":"#);
            put_str(out, text);
            out.extend_from_slice(b"}]");
        });
    }
    // The documented forms are answered once: by the acknowledgement where one was asked for.
    if asker.ack_id.is_none() || refusal.message_error.is_some() {
        cx.emit(asker.socket, |out| {
            out.extend_from_slice(br#"["error",{"#);
            refusal.fault.put(out, event);
            out.extend_from_slice(b"}]");
        });
    }
    let Some(ack_id) = asker.ack_id else { return };
    cx.ack(asker.socket, ack_id, |out| {
        out.extend_from_slice(br#"[{"ok":false,"#);
        refusal.fault.put(out, event);
        out.extend_from_slice(b"}]");
    });
}
