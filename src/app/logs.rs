//! The stream of log lines (contract A6): agents' lines and the server's own, to whoever may and wants to read them.
//!
//! An agent's lines are mailed to every shard. The server's own are taken from the [`Feed`], a few times a second and only
//! while somebody here reads them, so that no line ever waits for a shard or wakes one. Nothing here writes log lines.

mod feed;
mod line;

pub use feed::Feed;
pub use line::{Filters, Line};

use super::Agents;
use super::answers::acknowledge;
use super::client::{brings, identity};
use super::events::Refusal;
use super::fault::{Code, Fault};
use super::mail::{Asker, Party};
use crate::socket::{Context, SocketKey};
use feed::Cursor;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// How often the server's own lines are taken from the feed while somebody reads them.
const READ_EVERY_MS: u64 = 50;
/// The timer for that.
pub const TIMER: u32 = 2;

/// What a client asks of the stream.
#[derive(Debug)]
pub enum Request {
    Subscribe,
    Unsubscribe,
    Filter(Filters),
}

/// Who reads log lines on a shard.
#[derive(Debug)]
pub struct Logs {
    feed: Arc<Feed>,
    /// Where this shard is in the feed, while somebody here reads the server's own lines.
    cursor: Option<Cursor>,
    /// By slot: the reader, and whether it may read the server's own lines.
    readers: BTreeMap<u32, (SocketKey, bool)>,
    /// By agent and slot: who is in a room with an agent that is not itself, and so gets its lines.
    followers: BTreeMap<(Uuid, u32), SocketKey>,
    /// How many may.
    server_readers: usize,
    /// Whether the timer will fire.
    is_armed: bool,
}

impl Logs {
    /// No readers yet.
    pub fn new(feed: Arc<Feed>) -> Self {
        Self {
            feed,
            cursor: None,
            readers: BTreeMap::new(),
            followers: BTreeMap::new(),
            server_readers: 0,
            is_armed: false,
        }
    }

    fn insert(&mut self, cx: &mut Context<'_, Agents>, socket: SocketKey, reads_server: bool) {
        let before = self.readers.insert(socket.slot, (socket, reads_server));
        self.count(cx, before, usize::from(reads_server));
    }

    fn remove(&mut self, cx: &mut Context<'_, Agents>, socket: SocketKey) {
        let before = self.readers.remove(&socket.slot);
        self.count(cx, before, 0);
    }

    /// Takes up or lets go of the feed, as readers need it.
    fn count(&mut self, cx: &mut Context<'_, Agents>, before: Option<(SocketKey, bool)>, now: usize) {
        self.server_readers += now;
        self.server_readers -= usize::from(before.is_some_and(|(_, reads_server)| reads_server));
        match self.cursor.take() {
            None if self.server_readers > 0 => self.cursor = Some(self.feed.open()),
            Some(cursor) if self.server_readers == 0 => self.feed.close(cursor),
            cursor => self.cursor = cursor,
        }
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context<'_, Agents>) {
        if self.cursor.is_some() && !self.is_armed {
            self.is_armed = true;
            cx.arm(cx.now().mono_ms + READ_EVERY_MS, TIMER, 0);
        }
    }
}

impl Agents {
    /// A socket asks something of the stream.
    pub(super) fn ask_logs(
        &mut self,
        cx: &mut Context<'_, Self>,
        asker: Asker,
        request: Request,
    ) -> Result<(), Refusal> {
        let socket = asker.socket;
        match request {
            Request::Subscribe => {
                if let Some(client) = cx.hub.data_mut(socket) {
                    client.log_filters.get_or_insert_default();
                }
                self.read_logs(cx, socket);
                confirm(cx, socket, true);
            }
            Request::Unsubscribe => {
                if let Some(client) = cx.hub.data_mut(socket) {
                    client.log_filters = None;
                }
                self.forget_reader(cx, socket);
                confirm(cx, socket, false);
            }
            Request::Filter(filters) => {
                let current = cx.hub.data_mut(socket).and_then(|client| client.log_filters.as_mut());
                let Some(current) = current else {
                    not_subscribed(cx, asker);
                    return Ok(());
                };
                current.merge(filters);
                let current = current.clone();
                cx.emit(socket, |out| {
                    out.extend_from_slice(br#"["log_filters_updated",{"success":true,"filters":"#);
                    current.put(out);
                    out.extend_from_slice(b"}]");
                });
            }
        }
        acknowledge(cx, asker, |_| ());
        Ok(())
    }

    /// A socket that subscribed reads on, or again.
    pub(super) fn read_logs(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey) {
        let Some(client) = cx.hub.data(socket).filter(|client| client.log_filters.is_some()) else { return };
        let reads_server = self.settings.public_logs || client.permission.grant.allows_server_logs();
        self.logs.insert(cx, socket, reads_server);
    }

    /// A socket reads no more, for good or for a while.
    pub(super) fn forget_reader(&mut self, cx: &mut Context<'_, Self>, socket: SocketKey) {
        self.logs.remove(cx, socket);
    }

    /// A socket joined with these: it gets the agents' lines, but not those of the one whose own it is. An agent that logs
    /// what it receives would never come to an end.
    pub(super) fn follow(&mut self, cx: &Context<'_, Self>, socket: SocketKey, parties: &[Party]) {
        let own = identity(cx, socket).agent;
        for agent in agents(parties.iter().copied()).filter(|&agent| own != Some(agent)) {
            self.logs.followers.insert((agent, socket.slot), socket);
        }
    }

    /// A socket is with these no longer: in one room, or altogether.
    pub(super) fn unfollow(&mut self, cx: &Context<'_, Self>, socket: SocketKey, parties: &[Party]) {
        for agent in agents(parties.iter().copied()).filter(|&agent| !brings(cx, socket, Party::Agent(agent))) {
            self.logs.followers.remove(&(agent, socket.slot));
        }
    }

    /// A socket is gone that was with these.
    pub(super) fn unfollow_all(&mut self, socket: SocketKey, parties: impl Iterator<Item = Party>) {
        for agent in agents(parties) {
            self.logs.followers.remove(&(agent, socket.slot));
        }
    }

    /// Agents' lines, on every shard.
    pub(super) fn take_lines(&self, cx: &mut Context<'_, Self>, lines: &[Line]) {
        for line in lines {
            self.deliver_line(cx, line);
        }
    }

    /// The time came to take the server's own lines from the feed.
    pub(super) fn read_feed(&mut self, cx: &mut Context<'_, Self>) {
        self.logs.is_armed = false;
        let Some(cursor) = &mut self.logs.cursor else { return };
        let (lines, missed) = self.logs.feed.read(cursor);
        cx.engine.counters.log_lines_missed += missed;
        for line in lines {
            self.deliver_line(cx, &line);
        }
        self.logs.arm(cx);
    }

    /// A line goes to those of this shard who want it and may have it.
    fn deliver_line(&self, cx: &mut Context<'_, Self>, line: &Line) {
        let wants = |socket: SocketKey| {
            let filters = cx.hub.data(socket).and_then(|client| client.log_filters.as_ref());
            filters.is_some_and(|filters| filters.want(line))
        };
        let readers = self.logs.readers.values().filter(|&&(_, reads_server)| reads_server || !line.is_server);
        let readers = readers.map(|&(socket, _)| socket).filter(|&socket| wants(socket));
        let followers =
            line.agent.into_iter().flat_map(|agent| self.logs.followers.range((agent, 0)..=(agent, u32::MAX)));
        let all = readers.chain(followers.map(|(_, &socket)| socket)).map(|socket| (socket.slot, socket));
        let all: BTreeMap<u32, SocketKey> = all.collect();
        let all: Vec<SocketKey> = all.into_values().collect();
        cx.send_volatile(&line.frames, &all);
    }
}

fn agents(parties: impl Iterator<Item = Party>) -> impl Iterator<Item = Uuid> {
    parties.filter_map(|party| match party {
        Party::Agent(agent) => Some(agent),
        Party::User(_) => None,
    })
}

fn confirm(cx: &mut Context<'_, Agents>, socket: SocketKey, subscribed: bool) {
    cx.emit(socket, |out| {
        out.extend_from_slice(match subscribed {
            true => br#"["log_subscription_confirmed",{"subscribed":true,"message":"Successfully subscribed to log stream"}]"#,
            false => br#"["log_subscription_confirmed",{"subscribed":false,"message":"Successfully unsubscribed from log stream"}]"#,
        });
    });
}

/// Filters are for those who subscribed. The event says so in the reference server's words; it is no `error`.
fn not_subscribed(cx: &mut Context<'_, Agents>, asker: Asker) {
    cx.emit(asker.socket, |out| {
        out.extend_from_slice(br#"["log_filters_updated",{"success":false,"error":"Not subscribed to log stream"}]"#);
    });
    let Some(ack_id) = asker.ack_id else { return };
    cx.ack(asker.socket, ack_id, |out| {
        out.extend_from_slice(br#"[{"ok":false,"#);
        Fault::new(Code::NotJoined, "Not subscribed to log stream").put(out, "update_log_filters");
        out.extend_from_slice(b"}]");
    });
}
