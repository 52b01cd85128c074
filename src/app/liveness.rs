//! Which agents are live (contract A4): those with an open socket of their own, and those that called the HTTP API of late.
//!
//! Every shard tells all shards of the agents it hears of, so that every room's home knows without asking.

use super::Agents;
use super::mail::Mail;
use crate::shrink::Shrink;
use crate::socket::Context;
use std::collections::HashMap;
use uuid::Uuid;

/// How long an agent is live after a call.
pub const CALL_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Agents a shard knows of; beyond, agents it did not know are taken for not live.
pub const AGENTS_MAX: usize = 100_000;
/// Calls of an agent that are closer together than this are told of once.
const TELL_EVERY_MS: u64 = 1_000;
/// How often a full table is searched for agents that are live no more.
const PURGE_EVERY_MS: u64 = 1_000;

/// What a shard knows of agents.
#[derive(Debug)]
pub struct Liveness {
    /// Agents' own sockets on this shard.
    sockets: HashMap<Uuid, u32>,
    /// What all shards told.
    known: HashMap<Uuid, Known>,
    agents_max: usize,
    next_purge_ms: u64,
    /// The server's own agent, live as long as the server.
    resident: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// A bit for each shard with a socket of it.
    shards: u64,
    /// In `mono_ms`: until when its latest call makes it live.
    until_ms: u64,
}

impl Known {
    fn is_live(self, now_ms: u64) -> bool {
        self.shards != 0 || self.until_ms > now_ms
    }
}

impl Liveness {
    /// Knows nobody yet but the `resident`, and never more than `agents_max` others.
    pub fn new(agents_max: usize, resident: Option<Uuid>) -> Self {
        Self { sockets: HashMap::new(), known: HashMap::new(), agents_max, next_purge_ms: 0, resident }
    }

    /// Gives back what tables needed once and need no more.
    pub fn shrink(&mut self) {
        self.sockets.shrink();
        self.known.shrink();
    }

    /// Whether an agent is live.
    pub fn is_live(&self, agent: Uuid, now_ms: u64) -> bool {
        self.resident == Some(agent) || self.known.get(&agent).is_some_and(|known| known.is_live(now_ms))
    }

    /// An agent's own socket connected here; `true` if it is the first.
    pub fn connected(&mut self, agent: Uuid) -> bool {
        let sockets = self.sockets.entry(agent).or_default();
        *sockets += 1;
        *sockets == 1
    }

    /// An agent's own socket is gone; `true` if it was the last one here.
    pub fn disconnected(&mut self, agent: Uuid) -> bool {
        let Some(sockets) = self.sockets.get_mut(&agent) else { return false };
        *sockets -= 1;
        let was_last = *sockets == 0;
        if was_last {
            self.sockets.remove(&agent);
        }
        was_last
    }

    /// Shard `shard` has sockets of the agent, or has none any more. `false`: there is no place to note it.
    pub fn has_sockets(&mut self, agent: Uuid, shard: usize, on: bool, now_ms: u64) -> bool {
        let bit = 1 << (shard % 64);
        if on {
            return self.note(agent, now_ms, |known| known.shards |= bit);
        }
        if let Some(known) = self.known.get_mut(&agent) {
            known.shards &= !bit;
            if !known.is_live(now_ms) {
                self.known.remove(&agent);
            }
        }
        true
    }

    /// The agent is live until `until_ms` because of a call. `false`: there is no place to note it.
    pub fn called(&mut self, agent: Uuid, until_ms: u64, now_ms: u64) -> bool {
        self.note(agent, now_ms, |known| known.until_ms = known.until_ms.max(until_ms))
    }

    /// Whether others are to be told of a call.
    fn is_news(&self, agent: Uuid, until_ms: u64) -> bool {
        self.known.get(&agent).is_none_or(|known| known.until_ms + TELL_EVERY_MS <= until_ms)
    }

    fn note(&mut self, agent: Uuid, now_ms: u64, change: impl FnOnce(&mut Known)) -> bool {
        if self.known.len() >= self.agents_max && !self.known.contains_key(&agent) {
            if now_ms >= self.next_purge_ms {
                self.next_purge_ms = now_ms + PURGE_EVERY_MS;
                self.known.retain(|_, known| known.is_live(now_ms));
            }
            if self.known.len() >= self.agents_max {
                return false;
            }
        }
        change(self.known.entry(agent).or_default());
        true
    }
}

impl Agents {
    /// An agent called the HTTP API: it is live for the next five minutes.
    pub fn heard(&mut self, cx: &mut Context<'_, Self>, agent: Uuid) {
        let until_ms = cx.now().mono_ms + CALL_WINDOW_MS;
        if self.liveness.is_news(agent, until_ms) {
            tell_all(cx, || Mail::AgentCalled(agent, until_ms));
        }
    }

    /// An agent's own socket connected.
    pub(super) fn agent_connected(&mut self, cx: &mut Context<'_, Self>, agent: Uuid) {
        if self.liveness.connected(agent) {
            tell_all(cx, || Mail::AgentSockets(agent, true));
        }
    }

    /// A shard has sockets of an agent, or has none any more.
    pub(super) fn note_sockets(&mut self, cx: &mut Context<'_, Self>, agent: Uuid, shard: usize, on: bool) {
        let is_noted = self.liveness.has_sockets(agent, shard, on, cx.now().mono_ms);
        cx.engine.counters.agents_unnoted += u64::from(!is_noted);
        if !on {
            self.agent_gone(cx);
        }
    }

    /// An agent called.
    pub(super) fn note_call(&mut self, cx: &mut Context<'_, Self>, agent: Uuid, until_ms: u64) {
        let is_noted = self.liveness.called(agent, until_ms, cx.now().mono_ms);
        cx.engine.counters.agents_unnoted += u64::from(!is_noted);
    }

    /// An agent's own socket is gone.
    pub(super) fn agent_disconnected(&mut self, cx: &mut Context<'_, Self>, agent: Uuid) {
        if self.liveness.disconnected(agent) {
            tell_all(cx, || Mail::AgentSockets(agent, false));
        }
    }
}

fn tell_all(cx: &mut Context<'_, Agents>, mail: impl Fn() -> Mail) {
    for shard in 0..cx.hub.shards() {
        cx.post(shard, mail());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn an_agent_is_live_while_any_shard_has_a_socket_of_it() {
        let mut liveness = Liveness::new(AGENTS_MAX, None);
        assert!(!liveness.is_live(agent(1), 0));
        for shard in [0, 63] {
            liveness.has_sockets(agent(1), shard, true, 0);
        }
        liveness.has_sockets(agent(1), 0, false, 0);
        assert!(liveness.is_live(agent(1), u64::MAX));
        liveness.has_sockets(agent(1), 63, false, 0);
        assert!(!liveness.is_live(agent(1), 0));
        assert!(liveness.known.is_empty());
    }

    #[test]
    fn the_servers_own_agent_is_always_live() {
        let liveness = Liveness::new(AGENTS_MAX, Some(agent(1)));
        assert!(liveness.is_live(agent(1), u64::MAX) && !liveness.is_live(agent(2), 0));
    }

    #[test]
    fn only_the_first_and_the_last_socket_of_a_shard_are_told_of() {
        let mut liveness = Liveness::new(AGENTS_MAX, None);
        assert_eq!([liveness.connected(agent(1)), liveness.connected(agent(1))], [true, false]);
        assert_eq!([liveness.disconnected(agent(1)), liveness.disconnected(agent(1))], [false, true]);
        assert!(!liveness.disconnected(agent(1)) && liveness.sockets.is_empty());
    }

    #[test]
    fn a_call_makes_live_for_a_while_and_is_told_of_once_a_second() {
        let mut liveness = Liveness::new(AGENTS_MAX, None);
        assert!(liveness.is_news(agent(1), CALL_WINDOW_MS));
        liveness.called(agent(1), CALL_WINDOW_MS, 0);
        assert!(!liveness.is_news(agent(1), CALL_WINDOW_MS + 999));
        assert!(liveness.is_news(agent(1), CALL_WINDOW_MS + 1_000));
        assert!(liveness.is_live(agent(1), CALL_WINDOW_MS - 1));
        assert!(!liveness.is_live(agent(1), CALL_WINDOW_MS));
    }

    #[test]
    fn a_full_table_makes_room_by_those_who_are_live_no_more_and_else_takes_nobody() {
        let mut liveness = Liveness::new(2, None);
        liveness.has_sockets(agent(1), 0, true, 0);
        liveness.called(agent(2), 2_000, 0);
        assert!(!liveness.called(agent(3), 9_000, 0) && !liveness.is_live(agent(3), 0));
        assert!(liveness.called(agent(2), 2_500, 0));
        assert!(liveness.called(agent(3), 9_000, 3_000));
        assert!(liveness.is_live(agent(1), 3_000) && liveness.is_live(agent(3), 3_000));
        assert_eq!(liveness.known.len(), 2);
    }
}
