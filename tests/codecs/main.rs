//! Properties of every parser: round trips, the same result for any split of the input, and no panic on any input.

mod drive;
mod fuzz;
mod round_trips;
