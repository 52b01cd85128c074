//! The applications: the rooms of people and agents, and the protocol test app.

mod access;
pub mod agents;
mod answers;
mod broadcast;
mod dedupe;
pub mod echo;
mod events;
mod fault;
mod fields;
mod handshake;
mod home;
mod ids;
mod json;
mod mail;
mod settings;
mod world;

pub use access::{Access, Secret};
pub use agents::Agents;
pub use settings::AgentsSettings;

#[cfg(test)]
mod tests;
