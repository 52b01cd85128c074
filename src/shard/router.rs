//! What a request is for, decided from its head.

use super::{ConnectionKey, Shard};
use crate::connection::{Connection, Purpose, Stage};
use crate::engine::{Mount, Protocol, Refusal, SessionKey};
use crate::wire::http::{Head, Method, Upgrade};
use crate::wire::sid::Sid;

/// The paths there are.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Where Socket.IO is served; begins and ends with a slash.
    pub socket_io: String,
    /// Where bare Engine.IO is served, if anywhere; begins and ends with a slash.
    pub bare: Option<String>,
    /// Bytes of the body of a call of the application's.
    pub call_body_max: usize,
}

/// A WebSocket without further ado (contract A1).
const PLAIN_WEBSOCKET: &str = "/websocket";
const FORBIDDEN_ORIGIN: &str = "This origin is not allowed.";
const TOO_MANY: &str = "Too many connections of this address, or too fast.";
/// RFC 9110 §10.2.3. A connection may end at any time, and a rate's second is over by then.
const RETRY_SOON: &str = "Retry-After: 1\r\n";
pub(super) const SHUTS_DOWN: &str = "The server shuts down.";
const VERSION_13: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

impl Routes {
    /// What is served at `path`; only for paths at which Engine.IO is served.
    pub fn mount(&self, path: &str) -> Mount {
        let bare = self.bare.as_deref().is_some_and(|p| matches(p, path));
        if bare { Mount::Bare } else { Mount::SocketIo }
    }

    fn is_engine(&self, path: &str) -> bool {
        matches(&self.socket_io, path) || self.bare.as_deref().is_some_and(|p| matches(p, path))
    }
}

/// The last slash may be left out.
fn matches(route: &str, path: &str) -> bool {
    path == route || route.strip_suffix('/') == Some(path)
}

/// What becomes of a request.
pub(super) enum Verdict {
    /// It is answered at once.
    Answer { status: u16, json: String, extra: String },
    /// Its body is awaited.
    Body { purpose: Purpose, limit: usize, expect_continue: bool },
    /// The connection is a WebSocket now.
    Switched,
    /// It belongs to another shard.
    Move(usize),
}

impl Verdict {
    pub(super) fn refuse(status: u16, message: &str) -> Self {
        Self::Answer { status, json: Self::error_json(message), extra: String::new() }
    }

    pub(super) fn error_json(message: &str) -> String {
        serde_json::json!({ "error": message }).to_string()
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Answer { status: 400, json: refusal.json(), extra: String::new() }
    }
}

impl<P: Protocol> Shard<P> {
    pub(super) fn route(&mut self, key: ConnectionKey, head: &Head<'_>) -> Verdict {
        let origin = self.engine.settings.cors.check(|| head.header("origin"));
        if let Some(Connection { stage: Stage::Http(http), front, .. }) = self.engine.connection_mut(key) {
            http.head_only = head.method == Method::Head;
            http.origin = origin.ok().flatten();
            http.close |= front.as_ref().is_some_and(|front| front.is_too_fast);
        }
        let is_engine = self.routes.is_engine(head.path);
        if head.method == Method::Options {
            let extra = self.engine.settings.cors.preflight(origin.ok().flatten());
            return Verdict::Answer { status: 204, json: String::new(), extra };
        }
        let is_call = !is_engine && self.protocol.serves(head.path);
        if origin.is_err() {
            return if is_engine { Refusal::Forbidden.into() } else { self.refuse(is_call, 403, FORBIDDEN_ORIGIN) };
        }
        let is_of_session =
            || is_engine && matches!(head.method, Method::Get | Method::Post) && head.query_param("sid").is_some();
        if self.drain.has_told() && !is_of_session() {
            return self.refuse(is_call, 503, SHUTS_DOWN);
        }
        if !self.engine.attribute(key, head) {
            return self.refuse(is_call, 429, TOO_MANY);
        }
        if is_engine {
            return self.route_engine(key, head).unwrap_or_else(Verdict::from);
        }
        if head.path == PLAIN_WEBSOCKET {
            return self.route_plain_websocket(key, head);
        }
        if is_call {
            let limit = self.routes.call_body_max;
            return Verdict::Body { purpose: Purpose::Call, limit, expect_continue: head.expect_continue };
        }
        Verdict::refuse(404, "There is nothing at this path.")
    }

    /// Refuses a request in the words of those who own the path.
    fn refuse(&self, is_call: bool, status: u16, message: &str) -> Verdict {
        let json = if is_call { self.protocol.refusal(status, message) } else { Verdict::error_json(message) };
        let extra = if status == 429 { RETRY_SOON } else { "" }.to_owned();
        Verdict::Answer { status, json, extra }
    }

    /// The order of the checks is the contract's: transport, sid, method, upgrade, version.
    fn route_engine(&mut self, key: ConnectionKey, head: &Head<'_>) -> Result<Verdict, Refusal> {
        let [transport, sid, version] = head.query_params(["transport", "sid", "EIO"]);
        let websocket = match transport.as_deref() {
            Some("polling") => false,
            Some("websocket") => true,
            _ => return Err(Refusal::TransportUnknown),
        };
        match sid.as_deref() {
            None | Some("") => self.route_handshake(key, head, websocket, version.as_deref()),
            Some(sid) => {
                let sid = Sid::parse(sid).ok_or(Refusal::SessionIdUnknown)?;
                let (shard, _) = self.engine.place(&sid);
                let elsewhere = shard != self.engine.settings.shard && shard < self.engine.settings.shards;
                if head.method == Method::Get
                    && let Some(session) = self.engine.find_session(&sid)
                {
                    self.engine.end_overdue(session);
                }
                let session = match self.engine.find_session(&sid) {
                    None if elsewhere => return Ok(Verdict::Move(shard)),
                    None if self.drain.has_told() && head.method == Method::Post => {
                        return Ok(self.pass_over(u32::MAX, 0, head));
                    }
                    None => return Err(Refusal::SessionIdUnknown),
                    Some(session) => session,
                };
                if let Some((shard, _)) = self.engine.moved(session) {
                    return Ok(Verdict::Move(shard));
                }
                self.route_session(key, head, websocket, session)
            }
        }
    }

    fn route_handshake(
        &mut self,
        key: ConnectionKey,
        head: &Head<'_>,
        websocket: bool,
        version: Option<&str>,
    ) -> Result<Verdict, Refusal> {
        if head.method != Method::Get {
            return Err(Refusal::BadHandshakeMethod);
        }
        let upgrade = websocket_key(head)?;
        if websocket != (upgrade != Asked::Nothing) {
            return Err(Refusal::BadRequest);
        }
        if version != Some("4") {
            return Err(Refusal::UnsupportedProtocolVersion);
        }
        match upgrade {
            Asked::Nothing => {
                let limit = self.engine.settings.max_payload;
                Ok(Verdict::Body { purpose: Purpose::Poll(None), limit, expect_continue: head.expect_continue })
            }
            Asked::OtherVersion => Ok(other_version()),
            Asked::WebSocket(websocket_key) => self.open_websocket(key, head, websocket_key),
        }
    }

    fn open_websocket(
        &mut self,
        key: ConnectionKey,
        head: &Head<'_>,
        websocket_key: &[u8],
    ) -> Result<Verdict, Refusal> {
        let session = self.engine.open_websocket(self.routes.mount(head.path), key, websocket_key)?;
        self.protocol.opened(&mut self.engine, session, head);
        Ok(Verdict::Switched)
    }

    fn route_session(
        &mut self,
        key: ConnectionKey,
        head: &Head<'_>,
        websocket: bool,
        session: SessionKey,
    ) -> Result<Verdict, Refusal> {
        if websocket {
            return match websocket_key(head)? {
                Asked::Nothing => Err(Refusal::BadRequest),
                Asked::OtherVersion => Ok(other_version()),
                Asked::WebSocket(websocket_key) => {
                    self.engine.probe_websocket(key, session, websocket_key);
                    Ok(Verdict::Switched)
                }
            };
        }
        if head.upgrade != Upgrade::No || !self.engine.is_polling(session) {
            return Err(Refusal::BadRequest);
        }
        let (slot, generation) = (session.slot, session.generation);
        let purpose = match head.method {
            Method::Post if self.drain.has_told() => return Ok(self.pass_over(slot, generation, head)),
            Method::Get => Purpose::Poll(Some((slot, generation))),
            Method::Post => {
                self.engine.begin_post(key, session)?;
                if head.header("content-type").is_some_and(|t| t.eq_ignore_ascii_case(b"application/octet-stream")) {
                    self.engine.refuse_session(session);
                    return Err(Refusal::BadRequest);
                }
                Purpose::Payload(slot, generation)
            }
            _ => return Err(Refusal::BadHandshakeMethod),
        };
        // As for frames, what is kept of the session's packet counts.
        let limit = self.engine.settings.max_payload.saturating_sub(self.protocol.held(session));
        Ok(Verdict::Body { purpose, limit, expect_continue: head.expect_continue })
    }

    /// A payload that comes too late. An error would keep the client from reading what it is told by its poll.
    fn pass_over(&self, slot: u32, generation: u32, head: &Head<'_>) -> Verdict {
        let (purpose, limit) = (Purpose::Payload(slot, generation), self.engine.settings.max_payload);
        Verdict::Body { purpose, limit, expect_continue: head.expect_continue }
    }

    fn route_plain_websocket(&mut self, key: ConnectionKey, head: &Head<'_>) -> Verdict {
        match (head.method, head.upgrade) {
            (Method::Get, Upgrade::WebSocket { key: websocket_key }) => {
                self.open_websocket(key, head, websocket_key).unwrap_or_else(Verdict::from)
            }
            (_, Upgrade::BadHandshake(why)) => Verdict::refuse(400, why),
            (Method::Get | Method::Head, Upgrade::No) => Verdict::Answer {
                status: 426,
                json: Verdict::error_json(
                    "This path speaks WebSocket: send Upgrade, Connection, Sec-WebSocket-Key and Sec-WebSocket-Version: 13.",
                ),
                extra: VERSION_13.to_owned(),
            },
            (_, Upgrade::UnsupportedVersion) => other_version(),
            _ => Verdict::Answer {
                status: 405,
                json: Verdict::error_json("Only GET is possible here."),
                extra: "Allow: GET\r\n".to_owned(),
            },
        }
    }
}

#[derive(PartialEq, Eq)]
enum Asked<'a> {
    Nothing,
    OtherVersion,
    WebSocket(&'a [u8]),
}

fn websocket_key<'a>(head: &Head<'a>) -> Result<Asked<'a>, Refusal> {
    match head.upgrade {
        Upgrade::No => Ok(Asked::Nothing),
        Upgrade::UnsupportedVersion => Ok(Asked::OtherVersion),
        Upgrade::BadHandshake(_) => Err(Refusal::BadRequest),
        Upgrade::WebSocket { key } => Ok(Asked::WebSocket(key)),
    }
}

fn other_version() -> Verdict {
    let json = Verdict::error_json("Only WebSocket version 13 is spoken here.");
    Verdict::Answer { status: 426, json, extra: VERSION_13.to_owned() }
}
