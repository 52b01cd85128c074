//! The applications: the rooms of people and agents, and the protocol test app.

pub mod agents;
mod answers;
mod broadcast;
mod dedupe;
pub mod echo;
mod events;
mod fault;
mod fields;
mod home;
mod ids;
mod json;
mod mail;
mod rate;
mod settings;
mod world;

pub use agents::Agents;
pub use settings::AgentsSettings;

#[cfg(test)]
mod tests;
