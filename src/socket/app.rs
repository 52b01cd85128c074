//! What an application on sockets and rooms is.

use super::{Context, DisconnectReason, SocketKey};
use crate::engine::{Answer, ConnectionKey, Credential, Now};
use crate::rooms::RoomId;
use crate::wire::http::Head;
use crate::wire::socket::DecodeError;

/// An application on sockets and rooms.
pub trait App: Sized {
    /// What the application's instances on different shards send one another.
    type Mail: Send + 'static;
    /// What a room's home sends to the shards with members.
    type Delivery: Clone + Send + 'static;
    /// What the application keeps with a socket.
    type Data;

    /// The namespaces there are.
    const NAMESPACES: &'static [&'static str];

    /// What the headers of a handshake carry to give access, as far as [`App::authorize`] is to know.
    fn credential(&self, head: &Head<'_>) -> Option<Box<Credential>>;

    /// Whether a socket may connect, and what is kept with it then. `auth`: the JSON object of the CONNECT packet.
    fn authorize(
        &mut self,
        now: Now,
        auth: Option<&str>,
        credential: Option<&Credential>,
    ) -> Result<Self::Data, ConnectError>;

    /// Whether a socket that was away may come back for a client to which [`App::authorize`] gave `presented`; what is new
    /// in that is taken over.
    fn resume(&mut self, kept: &mut Self::Data, presented: &Self::Data) -> bool;

    /// A socket connected and was told so. `recovered`: it was away and has its rooms and data again.
    fn connected(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, auth: Option<&str>, recovered: bool);

    /// An event. An error: it is not even a valid packet, and the connection is closed.
    fn event(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, event: Event<'_>) -> Result<(), DecodeError>;

    /// A socket is about to go, for good or for a while; its data and rooms are still there.
    fn disconnected(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey, reason: DisconnectReason);

    /// Mail from an instance of the application, this one included.
    fn mail(&mut self, cx: &mut Context<'_, Self>, from: usize, mail: Self::Mail);

    /// A delivery from a room's home, for the members of the room here.
    fn deliver(&mut self, cx: &mut Context<'_, Self>, room: &RoomId, delivery: Self::Delivery);

    /// A timer fired that was armed with these two numbers.
    fn timeout(&mut self, cx: &mut Context<'_, Self>, slot: u32, generation: u32);

    /// The time came that was set with [`Context::remind`]; the socket may be away.
    fn reminded(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey);

    /// Gives back what tables needed once and need no more.
    fn shrink(&mut self, now: Now);

    /// Whether an HTTP path is the application's.
    fn serves(&self, path: &str) -> bool;

    /// An HTTP call.
    fn call(&mut self, cx: &mut Context<'_, Self>, from: ConnectionKey, head: &Head<'_>, body: &mut [u8]) -> Answer;

    /// The JSON text of an answer to a call that is refused before the application sees it.
    fn refusal(&self, status: u16, message: &str) -> String;

    /// Calls that still have to be answered.
    fn calls_open(&self) -> usize;

    /// Answers them all, as the server shuts down.
    fn give_up_calls(&mut self, cx: &mut Context<'_, Self>);
}

/// An event as it arrived.
#[derive(Debug)]
pub struct Event<'a> {
    /// The acknowledgement the client asked for.
    pub ack_id: Option<u64>,
    /// A JSON array, the event's name first. Valid UTF-8, not yet known to be valid JSON.
    pub json: &'a mut [u8],
    /// Binary attachments, in order.
    pub attachments: &'a [Vec<u8>],
}

/// Why a socket may not connect; sent as `44{"message":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// One sentence.
    pub message: String,
}
