//! What a shard does for itself once a second: it reports, and gives memory back.

/// Time between two rounds of chores.
const PERIOD_MS: u64 = 1_000;
/// Rounds after the last turn that did anything: what it freed can be given back a second later.
const ROUNDS_AFTER: u8 = 2;

/// When the next round is due. A shard that does nothing has none, so that it can sleep.
#[derive(Debug, Default)]
pub struct Chores {
    at_ms: Option<u64>,
    rounds_left: u8,
}

impl Chores {
    /// When the shard must wake for them.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.at_ms
    }

    /// Whether there will be no further round before something happens.
    pub fn are_over(&self) -> bool {
        self.at_ms.is_none()
    }

    /// Whether this turn is one for a round of chores. To be asked once a turn.
    pub fn are_due(&mut self, now_ms: u64) -> bool {
        let at_ms = *self.at_ms.get_or_insert(now_ms + PERIOD_MS);
        if now_ms < at_ms {
            self.rounds_left = ROUNDS_AFTER;
            return false;
        }
        self.at_ms = self.rounds_left.checked_sub(1).map(|left| {
            self.rounds_left = left;
            now_ms + PERIOD_MS
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_shard_has_a_round_a_second() {
        let mut chores = Chores::default();
        let rounds = (0..10_000).filter(|&now_ms| chores.are_due(now_ms)).count();
        assert_eq!(rounds, 9);
    }

    #[test]
    fn a_quiet_shard_sleeps_after_a_few_rounds() {
        let mut chores = Chores::default();
        assert!(!chores.are_due(0));
        let mut rounds = Vec::new();
        while let Some(at_ms) = chores.deadline_ms() {
            assert!(chores.are_due(at_ms));
            rounds.push(at_ms);
            assert_eq!(chores.are_over(), at_ms == 3_000);
        }
        assert_eq!(rounds, [1_000, 2_000, 3_000]);
    }
}
