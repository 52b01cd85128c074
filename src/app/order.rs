//! Slots in the order of their last use.

use crate::shrink::Shrink;

/// No slot.
const NONE: u32 = u32::MAX;

/// Slots of a slab in the order of their last use: a list through a table by slot, so that a use costs neither a search
/// nor an allocation.
#[derive(Debug)]
pub struct Order {
    links: Vec<Link>,
    first: u32,
    last: u32,
}

/// The neighbours of a slot; a slot that is not in the order is its own neighbour.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

impl Default for Order {
    fn default() -> Self {
        Self { links: Vec::new(), first: NONE, last: NONE }
    }
}

impl Order {
    /// Slots in the order.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        (0..self.links.len() as u32).filter(|&slot| self.contains(slot)).count()
    }

    /// The slot that was not used for the longest time.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Whether a slot is in the order.
    pub fn contains(&self, slot: u32) -> bool {
        self.links.get(slot as usize).is_some_and(|link| link.after != slot)
    }

    /// `slot` was just used.
    pub fn touch(&mut self, slot: u32) {
        if self.last == slot {
            return;
        }
        self.remove(slot);
        let unused = (self.links.len() as u32..=slot).map(|slot| Link { before: slot, after: slot });
        self.links.extend(unused);
        self.set(slot, Link { before: self.last, after: NONE });
        self.join(self.last, slot);
        self.last = slot;
    }

    /// `slot` is in the order no more, if it was.
    pub fn remove(&mut self, slot: u32) {
        if !self.contains(slot) {
            return;
        }
        let Some(Link { before, after }) = self.links.get(slot as usize).copied() else { return };
        self.join(before, after);
        if after == NONE {
            self.last = before;
        }
        self.set(slot, Link { before: slot, after: slot });
    }

    /// Gives back what is behind the last slot in the order.
    pub fn shrink(&mut self) {
        while self.links.len().checked_sub(1).is_some_and(|last| !self.contains(last as u32)) {
            self.links.pop();
        }
        self.links.shrink();
    }

    /// Makes two slots neighbours; one of them may be [`NONE`], an end.
    fn join(&mut self, before: u32, after: u32) {
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        if let Some(link) = self.links.get_mut(after as usize) {
            link.before = before;
        }
    }

    fn set(&mut self, slot: u32, link: Link) {
        if let Some(place) = self.links.get_mut(slot as usize) {
            *place = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_queue_in_which_every_slot_stands_once(steps in prop::collection::vec((0..3, 0..8_u32), 0..64)) {
            let (mut order, mut model) = (Order::default(), Vec::new());
            for (step, slot) in steps {
                if step == 0 {
                    order.shrink();
                } else {
                    order.remove(slot);
                    model.retain(|&other| other != slot);
                }
                if step == 1 {
                    order.touch(slot);
                    model.push(slot);
                }
                prop_assert!(step > 0 || order.links.len() == model.iter().map(|slot| *slot as usize + 1).max().unwrap_or(0));
                prop_assert_eq!((order.first(), order.len()), (model.first().copied(), model.len()));
                (0..9).try_for_each(|slot| { prop_assert_eq!(order.contains(slot), model.contains(&slot)); Ok(()) })?;
            }
            for slot in model {
                prop_assert_eq!(order.first(), Some(slot));
                order.remove(slot);
            }
            prop_assert_eq!(order.first(), None);
        }
    }
}
