//! Real clients from the package registries, unmodified, against the built binary: socket.io-client and python-socketio.
//! The scripts are in `tests/clients/`.

mod common;

use common::nginx::{Nginx, nginx_is_here};
use common::scripts::{node, python};
use common::{ECHO, ROOMS, each_worker_count};

#[test]
fn socket_io_client_talks_in_rooms() {
    each_worker_count(&[1, 4], ROOMS, |server| node("rooms.mjs", server));
}

#[test]
fn socket_io_client_talks_in_rooms_through_a_proxy() {
    if nginx_is_here() {
        each_worker_count(&[4], ROOMS, |server| node("rooms.mjs", &Nginx::in_front_of(server).as_server()));
    }
}

#[test]
fn socket_io_client_recovers() {
    each_worker_count(&[1, 4], ROOMS, |server| node("recovery.mjs", server));
}

#[test]
fn socket_io_client_gets_binary_and_namespaces_back() {
    each_worker_count(&[1, 4], ECHO, |server| node("echo.mjs", server));
}

#[test]
fn python_socketio_talks_in_rooms() {
    each_worker_count(&[1, 4], ROOMS, |server| python("rooms.py", server));
}
