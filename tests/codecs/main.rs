//! Properties of every parser: round trips, the same result for any split of the input.

mod drive;
mod round_trips;
