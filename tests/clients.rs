//! Real clients from the package registries, unmodified, against the built binary: socket.io-client, python-socketio and
//! what ElizaOS publishes. The scripts are in `tests/clients/`.

mod common;

use common::front::{Front, nginx_is_here};
use common::scripts::{node, node_with, python};
use common::{ECHO_PINGING, ROOMS, each_worker_count};

/// The token with which servers are started that ask for one, and its flag.
const TOKEN: &str = "a-token-of-the-operator";
const WITH_TOKEN: &[&str] = &["--auth-token", TOKEN];

#[test]
fn socket_io_client_talks_in_rooms() {
    each_worker_count(&[1, 4], ROOMS, |server| node("rooms.mjs", server));
}

#[test]
fn socket_io_client_talks_in_rooms_through_a_proxy() {
    if nginx_is_here() {
        each_worker_count(&[4], ROOMS, |server| node("rooms.mjs", &Front::nginx(server).as_server()));
    }
}

#[test]
fn socket_io_client_recovers() {
    each_worker_count(&[1, 4], ROOMS, |server| node("recovery.mjs", server));
}

#[test]
fn socket_io_client_gets_binary_and_namespaces_back() {
    each_worker_count(&[1, 4], ECHO_PINGING, |server| node("echo.mjs", server));
}

#[test]
fn python_socketio_talks_in_rooms() {
    each_worker_count(&[1, 4], ROOMS, |server| python("rooms.py", server));
}

#[test]
fn the_demo_agent_talks_to_socket_io_client() {
    each_worker_count(&[1, 4], &["--demo-agent"], |server| node("demo.mjs", server));
}

/// Runs a script on servers that are open, and on one that asks for a token.
fn elizaos(script: &str) {
    each_worker_count(&[1, 4], ROOMS, |server| node(script, server));
    each_worker_count(&[4], WITH_TOKEN, |server| node_with(script, server, &[("SOCKEYE_API_KEY", TOKEN)]));
}

#[test]
fn the_elizaos_web_client_talks_to_people_and_agents() {
    elizaos("elizaos_client.mjs");
}

#[test]
fn the_elizaos_api_client_has_its_calls_answered() {
    elizaos("elizaos_api.mjs");
}

#[test]
fn agents_of_the_elizaos_server_work_at_this_one() {
    elizaos("elizaos_agent.mjs");
}
