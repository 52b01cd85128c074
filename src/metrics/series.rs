//! Counters and gauges under the names by which they are read.

use super::{ConnectionEnd, Counters, CutOff, Gauges, RoomCounters, Snapshot};
use crate::engine::CloseReason;

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
}

/// One value of one shard. Series of one name follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name, without the server's.
    pub name: &'static str,
    /// What it tells, in a sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What tells it from others of its name.
    pub label: Option<(&'static str, &'static str)>,
    /// Its value.
    pub value: u64,
}

impl Series {
    /// A counter without a label.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, label: None, value }
    }

    fn labelled(self, label: &'static str, value: &'static str) -> Self {
        Self { label: Some((label, value)), ..self }
    }

    fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Gauge, label: None, value }
    }
}

impl Snapshot {
    /// All its values.
    pub fn series(&self) -> Vec<Series> {
        let mut all = self.gauges.series();
        self.counters.put_series(&mut all);
        all
    }
}

impl Gauges {
    fn series(self) -> Vec<Series> {
        let Self { connections, sessions, rooms, queue_bytes } = self;
        vec![
            Series::gauge("connections", "Connections open.", connections as u64),
            Series::gauge("sessions", "Engine.IO sessions open.", sessions as u64),
            Series::gauge("rooms", "Rooms with members on the shard.", rooms as u64),
            Series::gauge("queue_bytes", "Bytes that wait for readers.", queue_bytes as u64),
        ]
    }
}

impl Counters {
    /// Every counter; the pattern makes a forgotten one an error.
    fn put_series(&self, all: &mut Vec<Series>) {
        let Self {
            connections_opened,
            connections_refused,
            connections_moved,
            connections_adopted,
            sessions_opened,
            sessions_moved,
            websockets_opened,
            upgrades,
            tls_handshakes,
            tls_resumed,
            http_responses,
            bytes_sent,
            writes,
            messages_received,
            deliveries,
            recovered,
            sockets_refused,
            rooms,
            world_states_cut,
            world_states_refused,
            volatile_dropped,
            log_lines_missed,
            completions_timed_out,
            completions_not_awaited,
            demo_unanswered,
            agents_unnoted,
            calls_refused,
            calls_repeated,
            message_ids_forgotten,
            keys_forgotten,
            sessions_closed,
            connections_closed,
            cut_off,
        } = self;
        all.extend([
            Series::counter("connections_opened_total", "Connections taken up.", *connections_opened),
            Series::counter(
                "connections_refused_total",
                "Connections refused at a shard's limit.",
                *connections_refused,
            ),
            Series::counter("connections_moved_total", "Connections that went to another shard.", *connections_moved),
            Series::counter("connections_adopted_total", "Connections from another shard.", *connections_adopted),
        ]);
        for ((_, name), value) in ConnectionEnd::ALL.into_iter().zip(connections_closed) {
            let series = Series::counter("connections_closed_total", "Connections ended, by reason.", *value);
            all.push(series.labelled("reason", name));
        }
        for ((_, name), value) in CutOff::ALL.into_iter().zip(cut_off) {
            let series = Series::counter("cut_offs_total", "Times a limit ended or refused something.", *value);
            all.push(series.labelled("limit", name));
        }
        all.extend([
            Series::counter("sessions_opened_total", "Engine.IO sessions begun.", *sessions_opened),
            Series::counter("sessions_moved_total", "Sessions that went to another shard.", *sessions_moved),
        ]);
        for ((_, name), value) in CloseReason::ALL.into_iter().zip(sessions_closed) {
            let series = Series::counter("sessions_closed_total", "Engine.IO sessions ended, by reason.", *value);
            all.push(series.labelled("reason", name));
        }
        all.extend([
            Series::counter("websockets_opened_total", "Connections switched to WebSocket.", *websockets_opened),
            Series::counter("upgrades_total", "Sessions that left polling for a WebSocket.", *upgrades),
            Series::counter("sockets_refused_total", "Sockets refused for want of access.", *sockets_refused),
            Series::counter("recovered_total", "Sockets that came back and missed nothing.", *recovered),
            Series::counter("tls_handshakes_total", "TLS handshakes completed.", *tls_handshakes),
            Series::counter("tls_resumed_total", "TLS handshakes that resumed a session.", *tls_resumed),
            Series::counter("http_responses_total", "Answers to HTTP requests.", *http_responses),
            Series::counter(
                "world_states_cut_total",
                "World-states that had no place for everything.",
                *world_states_cut,
            ),
            Series::counter(
                "world_states_refused_total",
                "World-states refused for want of room.",
                *world_states_refused,
            ),
            Series::counter(
                "volatile_dropped_total",
                "Volatile events not sent to readers that were behind.",
                *volatile_dropped,
            ),
            Series::counter(
                "log_lines_missed_total",
                "Log lines of the server dropped before a shard took them.",
                *log_lines_missed,
            ),
            Series::counter(
                "completions_timed_out_total",
                "Messages complete because no agent spoke in time.",
                *completions_timed_out,
            ),
            Series::counter(
                "completions_not_awaited_total",
                "Messages complete at once because too many waited.",
                *completions_not_awaited,
            ),
            Series::counter(
                "demo_unanswered_total",
                "Messages the demo agent did not answer because too many waited for it.",
                *demo_unanswered,
            ),
            Series::counter("agents_unnoted_total", "Agents there was no place to note as live.", *agents_unnoted),
            Series::counter("calls_refused_total", "HTTP calls refused.", *calls_refused),
            Series::counter("calls_repeated_total", "HTTP calls that repeated an earlier one.", *calls_repeated),
            Series::counter(
                "message_ids_forgotten_total",
                "Ids of messages forgotten for want of room.",
                *message_ids_forgotten,
            ),
            Series::counter(
                "keys_forgotten_total",
                "Keys of repeatable calls forgotten for want of room.",
                *keys_forgotten,
            ),
            Series::counter("messages_received_total", "Packets received.", *messages_received),
            Series::counter("deliveries_total", "Broadcasts queued, one per member.", *deliveries),
            Series::counter("writes_total", "Writes to connections.", *writes),
            Series::counter("sent_bytes_total", "Bytes written.", *bytes_sent),
        ]);
        rooms.put_series(all);
    }
}

impl RoomCounters {
    fn put_series(&self, all: &mut Vec<Series>) {
        let Self { rooms, history_bytes, dropped, refused, trimmed_by_room_bytes, trimmed_by_history_bytes } = *self;
        all.extend([
            Series::gauge("home_rooms", "Rooms with state whose home is the shard.", rooms),
            Series::gauge("history_bytes", "Bytes of messages kept.", history_bytes),
            Series::counter("rooms_dropped_total", "Empty rooms dropped for others.", dropped),
            Series::counter("rooms_refused_total", "Rooms that could not come into being.", refused),
        ]);
        let help = "Messages dropped because too many bytes were kept.";
        for (name, value) in [("room bytes", trimmed_by_room_bytes), ("history bytes", trimmed_by_history_bytes)] {
            all.push(Series::counter("messages_trimmed_total", help, value).labelled("limit", name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_series() {
        let mut snapshot = Snapshot::default();
        for (n, (end, _)) in ConnectionEnd::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| snapshot.counters.connection_closed(end));
        }
        for (n, (limit, _)) in CutOff::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| snapshot.counters.cut_off(limit));
        }
        for (n, (reason, _)) in CloseReason::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| snapshot.counters.session_closed(reason));
        }
        let series = snapshot.series();
        let values = |name: &str| series.iter().filter(|s| s.name == name).map(|s| s.value).collect::<Vec<_>>();
        assert_eq!(values("connections_closed_total"), (1..=ConnectionEnd::ALL.len() as u64).collect::<Vec<_>>());
        assert_eq!(values("cut_offs_total"), (1..=CutOff::ALL.len() as u64).collect::<Vec<_>>());
        assert_eq!(values("sessions_closed_total"), (1..=CloseReason::ALL.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn names_follow_prometheus_and_are_told_apart_by_their_labels() {
        let series = Snapshot::default().series();
        for (at, one) in series.iter().enumerate() {
            assert!(one.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", one.name);
            assert_eq!(one.name.ends_with("_total"), one.kind == Kind::Counter, "{}", one.name);
            assert!(series[at + 1..].iter().all(|other| (other.name, other.label) != (one.name, one.label)));
            let next = series.get(at + 1).map(|next| next.name);
            let later = series[at + 1..].iter().any(|other| other.name == one.name);
            assert!(!later || next == Some(one.name), "{} is not in one piece", one.name);
        }
    }
}
