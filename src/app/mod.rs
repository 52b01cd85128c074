//! The applications: the rooms of people and agents, and the protocol test app.

mod access;
pub mod agents;
mod answers;
mod api;
pub mod broadcast;
mod client;
pub mod completion;
mod dedupe;
pub mod demo;
pub mod echo;
pub mod events;
mod fault;
mod fields;
mod grant;
mod handshake;
pub mod history;
mod home;
mod ids;
mod json;
mod jwt;
mod liveness;
pub mod logs;
mod mail;
mod order;
mod permission;
mod questions;
pub mod room;
mod settings;
mod speaking;
mod spent;
pub mod world;
pub mod world_state;

pub use access::{Access, Denied, Secret};
pub use agents::Agents;
pub use grant::{Claims, Grant, Role, Rooms};
pub use jwt::{Invalid, Verifier};
pub use mail::Stamp;
pub use settings::AgentsSettings;

#[cfg(test)]
mod tests;
