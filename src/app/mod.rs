//! The applications: the rooms of people and agents, and the protocol test app.

mod access;
pub mod agents;
mod answers;
pub mod broadcast;
mod dedupe;
pub mod echo;
pub mod events;
mod fault;
mod fields;
mod handshake;
pub mod history;
mod home;
mod ids;
mod json;
mod mail;
mod questions;
pub mod room;
mod settings;
pub mod world;
pub mod world_state;

pub use access::{Access, Secret};
pub use agents::Agents;
pub use mail::Stamp;
pub use settings::AgentsSettings;

#[cfg(test)]
mod tests;
