//! How fast something may be done: a token bucket.

/// A token bucket that holds one second's worth, kept as the time at which it would be full again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at_us: u64,
}

impl Bucket {
    const HOLDS_US: u64 = 1_000_000;

    /// Takes a token if there is one; `per_second`: how many come in a second, 0 for no limit.
    pub fn take(&mut self, per_second: u32, now_ms: u64) -> bool {
        let Some(each_us) = Self::HOLDS_US.checked_div(per_second.into()) else { return true };
        let now_us = now_ms.saturating_mul(1_000);
        let full_at_us = self.full_at_us.max(now_us) + each_us;
        let has_one = full_at_us <= now_us + Self::HOLDS_US;
        if has_one {
            self.full_at_us = full_at_us;
        }
        has_one
    }

    /// Whether it holds a whole second's worth.
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_us <= now_ms.saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_second_worth_at_once_and_then_one_at_a_time() {
        for (per_second, step_ms) in [(1, 1_000), (3, 334), (10, 100), (1_000, 1)] {
            let (mut bucket, start_ms) = (Bucket::default(), 5_000);
            let burst = (0..2 * per_second).filter(|_| bucket.take(per_second, start_ms)).count();
            assert_eq!(burst, per_second as usize);
            assert!(bucket.take(per_second, start_ms + step_ms), "{per_second}");
            assert!(!bucket.take(per_second, start_ms + step_ms), "{per_second}");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..10_000).all(|_| bucket.take(0, 0)));
    }
}
