//! What one turn has spent.

/// Bytes spent in one turn; every other turn has spent none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    turn: u32,
    bytes: u32,
}

impl Spent {
    /// Bytes spent in the turn with this number.
    pub fn in_turn(self, turn: u32) -> usize {
        if self.turn == turn { self.bytes as usize } else { 0 }
    }

    /// So many more are spent in the turn with this number.
    pub fn add(&mut self, turn: u32, bytes: usize) {
        let bytes = self.in_turn(turn).saturating_add(bytes);
        *self = Self { turn, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_one_turn_only_and_never_overflows() {
        let mut spent = Spent::default();
        spent.add(7, 2);
        spent.add(7, 3);
        assert_eq!((spent.in_turn(7), spent.in_turn(8)), (5, 0));
        spent.add(8, usize::MAX);
        spent.add(8, 1);
        assert_eq!((spent.in_turn(8), spent.in_turn(7)), (u32::MAX as usize, 0));
    }
}
