//! Readers for whom much waits: they are not read themselves, so that they cannot make it more, and cut off if they take
//! nothing for too long or if it becomes too much.

use super::wheel::{Timer, TimerKind};
use super::{ConnectionKey, Engine};
use crate::metrics::CutOff;

impl Engine {
    /// A write took `written` bytes; `left` that count still wait.
    pub(super) fn left_behind(&mut self, key: ConnectionKey, written: usize, left: usize) {
        let max = self.settings.max_queue;
        if left > max {
            self.counters.cut_off(CutOff::SlowReader);
            return self.cut_off_reader(key);
        }
        if left <= max / 2 {
            return self.caught_up(key);
        }
        self.set_reading(key, false);
        let now_ms = self.now.mono_ms;
        if written > 0 || !self.stalled.contains_key(&key) {
            let is_new = self.stalled.insert(key, now_ms).is_none();
            if is_new {
                self.arm_stall(key, now_ms);
            }
        }
    }

    /// Little or nothing waits for a reader.
    pub(super) fn caught_up(&mut self, key: ConnectionKey) {
        self.forget_stall(key);
        self.read_on(key);
    }

    /// The connection is gone, or reads again.
    pub(super) fn forget_stall(&mut self, key: ConnectionKey) {
        if !self.stalled.is_empty() && self.stalled.remove(&key).is_some() {
            self.resume(key);
        }
    }

    /// A timer of the connection fired. Cuts off a reader that has taken nothing for too long.
    pub(super) fn stall_timeout(&mut self, key: ConnectionKey) {
        let Some(&since_ms) = self.stalled.get(&key) else { return };
        if since_ms + self.settings.stall_timeout_ms > self.now.mono_ms {
            return self.arm_stall(key, since_ms);
        }
        self.counters.cut_off(CutOff::StalledReader);
        self.cut_off_reader(key);
    }

    fn arm_stall(&mut self, key: ConnectionKey, since_ms: u64) {
        let at_ms = since_ms + self.settings.stall_timeout_ms;
        let (slot, generation) = (key.slot, key.generation);
        self.wheel.arm(at_ms, Timer { kind: TimerKind::Connection, slot, generation });
    }
}
