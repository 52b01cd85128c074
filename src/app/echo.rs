//! The protocol test app (contract C): what conformance suites of Engine.IO and Socket.IO expect of a server.

use crate::engine::{Answer, ConnectionKey, Credential, Now};
use crate::rooms::RoomId;
use crate::socket::{App, ConnectError, Context, DisconnectReason, Event, SocketKey};
use crate::wire::http::Head;
use crate::wire::socket::{DecodeError, validate_args};

/// Where bare Engine.IO is served with this app.
pub const BARE_ENGINE_PATH: &str = "/engine.io/";

/// How long the event `auth` stays behind the answer to CONNECT on a WebSocket. The suites of the reference take one
/// message at a time and lose the second of two that arrive in one read.
const AUTH_DELAY_MS: u64 = 10;

/// Everything comes back.
#[derive(Debug, Default)]
pub struct Echo;

impl Echo {
    /// Emits `auth`, unless the socket has had it.
    fn emit_auth(&self, cx: &mut Context<'_, Self>, socket: SocketKey) {
        let Some(auth) = cx.hub.data_mut(socket).and_then(Option::take) else { return };
        cx.emit(socket, |out| {
            out.extend_from_slice(br#"["auth","#);
            out.extend_from_slice(auth.as_bytes());
            out.push(b']');
        });
    }
}

impl App for Echo {
    type Mail = ();
    type Delivery = ();
    /// The auth payload, until it was sent back.
    type Data = Option<String>;

    const NAMESPACES: &'static [&'static str] = &["/", "/custom"];

    fn credential(&self, _: &Head<'_>) -> Option<Box<Credential>> {
        None
    }

    fn authorize(
        &mut self,
        _: Now,
        auth: Option<&str>,
        _: Option<&Credential>,
    ) -> Result<Option<String>, ConnectError> {
        Ok(Some(auth.unwrap_or("{}").to_owned()))
    }

    fn resume(&mut self, kept: &mut Option<String>, presented: &Option<String>) -> bool {
        kept.clone_from(presented);
        true
    }

    fn connected(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, _: Option<&str>, _: bool) {
        if cx.hub.session(socket).is_some_and(|session| cx.engine.is_polling(session)) {
            self.emit_auth(cx, socket);
        } else {
            cx.remind(cx.now().mono_ms + AUTH_DELAY_MS, socket);
        }
    }

    fn event(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, event: Event<'_>) -> Result<(), DecodeError> {
        self.emit_auth(cx, socket);
        let args = validate_args(std::str::from_utf8(event.json).map_err(|_| DecodeError::Data)?)?;
        let attachments = event.attachments;
        match (args.name.as_ref(), event.ack_id) {
            ("message", _) => {
                let write = |out: &mut Vec<u8>| {
                    out.extend_from_slice(br#"["message-back""#);
                    if args.count > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(args.rest.as_bytes());
                    out.push(b']');
                };
                if attachments.is_empty() {
                    cx.emit(socket, write);
                } else {
                    cx.emit_binary(socket, attachments, write);
                }
            }
            ("message-with-ack", Some(ack_id)) => {
                let write = |out: &mut Vec<u8>| {
                    out.push(b'[');
                    out.extend_from_slice(args.rest.as_bytes());
                    out.push(b']');
                };
                if attachments.is_empty() {
                    cx.ack(socket, ack_id, write);
                } else {
                    cx.ack_binary(socket, ack_id, attachments, write);
                }
            }
            ("disconnect-me", _) => cx.disconnect(socket),
            _ => {}
        }
        Ok(())
    }

    fn disconnected(&mut self, _: &mut Context<'_, Self>, _: SocketKey, _: DisconnectReason) {}

    fn mail(&mut self, _: &mut Context<'_, Self>, _: usize, (): ()) {}

    fn deliver(&mut self, _: &mut Context<'_, Self>, _: &RoomId, (): ()) {}

    fn timeout(&mut self, _: &mut Context<'_, Self>, _: u32, _: u32) {}

    fn reminded(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey) {
        self.emit_auth(cx, socket);
    }

    fn shrink(&mut self, _: Now) {}

    fn serves(&self, _: &str) -> bool {
        false
    }

    fn call(&mut self, _: &mut Context<'_, Self>, _: ConnectionKey, _: &Head<'_>, _: &mut [u8]) -> Answer {
        Answer::Json { status: 404, headers: "", json: self.refusal(404, "There is nothing at this path.") }
    }

    fn refusal(&self, _: u16, message: &str) -> String {
        serde_json::json!({ "error": message }).to_string()
    }

    fn calls_open(&self) -> usize {
        0
    }

    fn give_up_calls(&mut self, _: &mut Context<'_, Self>) {}
}
