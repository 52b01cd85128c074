//! Access: the token, the entity, and that secrets stay secret.

mod common;

use serde_json::{Value, json};

use common::engine::{BOTH, Session};
use common::rooms::{join, uuid};
use common::{Client, Server, Via, WebSocket, each_worker_count, http};

const TOKEN: &str = "0f3b-a-token-nobody-knows";
const WITH_TOKEN: &[&str] = &["--auth-token", TOKEN];
const X_API_KEY: &str = "X-API-KEY: 0f3b-a-token-nobody-knows\r\n";
const WORKERS: [usize; 2] = [1, 4];

/// A session whose handshake had more headers.
fn session<'a>(server: &'a Server, via: Via, headers: &str) -> Session<'a> {
    match via {
        Via::Polling => Session::Polling(common::Polling::open_with(server, "/socket.io/", headers)),
        Via::WebSocket => {
            let target = "/socket.io/?EIO=4&transport=websocket";
            Session::on(WebSocket::try_open(server, target, headers).expect("an upgrade"))
        }
    }
}

#[test]
fn a_socket_needs_the_token_on_either_transport() {
    each_worker_count(&WORKERS, WITH_TOKEN, |server| {
        for via in BOTH {
            for auth in [Value::Null, json!({}), json!({"token": "wrong"}), json!({"apiKey": [TOKEN]})] {
                let refused = Client::try_connect(server, via, &auth).err();
                assert_eq!(refused, Some(json!({"message": "Invalid or missing API Key"})), "{auth}");
            }
            for auth in [json!({"token": TOKEN}), json!({"apiKey": TOKEN})] {
                join(&mut Client::connect_with(server, via, &auth), &uuid());
            }
            let mut client = Client::on_session(session(server, via, X_API_KEY), &Value::Null).expect("access");
            join(&mut client, &uuid());
            let refused = Client::on_session(session(server, via, "X-API-KEY: wrong\r\n"), &Value::Null).err();
            assert_eq!(refused, Some(json!({"message": "Invalid or missing API Key"})));
        }
    });
}

#[test]
fn the_entity_may_have_to_be_named() {
    each_worker_count(&WORKERS, &["--require-entity-id"], |server| {
        for via in BOTH {
            for auth in [Value::Null, json!({"entityId": "someone"})] {
                let refused = Client::try_connect(server, via, &auth).err();
                assert_eq!(refused, Some(json!({"message": "Valid entityId required"})), "{auth}");
            }
            join(&mut Client::connect_with(server, via, &json!({"entityId": uuid()})), &uuid());
        }
    });
}

#[test]
fn a_preflight_allows_the_headers_that_give_access() {
    each_worker_count(&[1], WITH_TOKEN, |server| {
        let headers = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\
                       Access-Control-Request-Headers: authorization,x-api-key\r\n";
        let response = http::once(server, "OPTIONS", "/socket.io/", headers, b"").expect(204);
        let allowed = response.header("access-control-allow-headers").unwrap_or("").to_lowercase();
        assert!(allowed.contains("x-api-key") && allowed.contains("authorization"), "{allowed}");
    });
}

#[test]
fn a_token_of_the_environment_counts_and_is_printed_nowhere() {
    let flags = ["--workers", "1", "--log-level", "trace"];
    let server = Server::try_start_with(&flags, &[("SOCKEYE_AUTH_TOKEN", TOKEN)]).expect("a start");
    for auth in [json!({"token": TOKEN}), json!({"token": "wrong"})] {
        let _ = Client::try_connect(&server, Via::WebSocket, &auth);
    }
    assert!(Client::try_connect(&server, Via::WebSocket, &Value::Null).is_err());
    Client::on_session(session(&server, Via::Polling, X_API_KEY), &Value::Null).expect("access");
    let log = server.log();
    let line = log.lines().find(|line| line.trim_start().starts_with("auth-token "));
    assert_eq!(line.and_then(|line| line.split_whitespace().nth(1)), Some("on"));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.exit_status(common::LIMIT).success());
    assert!(!server.log().contains(TOKEN), "{}", server.log());
}

#[test]
fn an_empty_token_is_an_error() {
    for (flags, variables) in [(&["--auth-token", ""][..], &[][..]), (&[], &[("SOCKEYE_AUTH_TOKEN", "")])] {
        let exited = Server::try_start_with(flags, variables).err().expect("no start");
        assert!(exited.output.contains("must not be empty"), "{}", exited.output);
    }
}
