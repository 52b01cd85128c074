//! The stream of log lines: what agents post reaches those who read it.

mod common;

use serde_json::{Value, json};

use common::engine::BOTH;
use common::rooms::{join, member, message, uuid};
use common::tls::Identity;
use common::{Client, QUIET, ROOMS, Server, Via, each_worker_count, eventually, http, json as text, matrix};

const WORKERS: [usize; 2] = [1, 4];

/// Posts log lines; the status of the answer.
fn post(server: &Server, lines: &Value, headers: &str) -> u16 {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    http::once(server, "POST", "/api/messaging/logs", &headers, lines.to_string().as_bytes()).status
}

fn subscribe(client: &mut Client) {
    client.emit("subscribe_logs", Value::Null);
    assert_eq!(client.find("log_subscription_confirmed")["subscribed"], true);
}

#[test]
fn a_posted_line_reaches_readers_and_followers_on_every_shard() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, agent, name) = (uuid(), uuid(), uuid());
        let mut clients: Vec<Client> = (0..6).map(|n| Client::connect(server, BOTH[n % 2])).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            if n < 3 {
                client.call("join", json!({"roomId": room, "agentId": agent}));
            } else {
                subscribe(client);
                // Other tests post to the same server.
                client.emit("update_log_filters", json!({"agentName": name, "level": "warn"}));
                assert_eq!(client.find("log_filters_updated")["success"], true);
            }
        }
        let line =
            json!({"level": 40, "time": 1_700_000_000_123_u64, "msg": "slow", "agentId": agent, "agentName": name});
        assert_eq!(post(server, &line, ""), 202);
        for client in &mut clients {
            assert_eq!(client.expect("logEntry"), line);
            assert_eq!(client.expect("log_stream"), json!({"type": "log_entry", "payload": line}));
        }
    });
}

#[test]
fn a_subscription_comes_back_and_old_lines_do_not() {
    each_worker_count(&WORKERS, ROOMS, |server| {
        let (room, name) = (uuid(), uuid());
        let mut client = member(server, Via::WebSocket, &room);
        subscribe(&mut client);
        client.emit("update_log_filters", json!({"agentName": name}));
        client.find("log_filters_updated");
        let (id, pid) = (client.id.clone(), client.pid.clone());
        drop(client);
        let mut other = Client::connect(server, Via::WebSocket);
        // A line, and behind it a message: what is replayed comes in order.
        assert_eq!(post(server, &json!({"msg": "missed", "agentName": name}), ""), 202);
        assert_eq!(other.call("message", message(&room, &uuid(), "kept"))["ok"], true);
        let mut client = Client::connect_with(server, Via::WebSocket, &json!({"pid": pid}));
        assert_eq!(client.id, id);
        assert_eq!(client.expect("messageBroadcast")["text"], "kept");
        client.is_quiet(QUIET);
        assert_eq!(post(server, &json!({"msg": "new", "agentName": name}), ""), 202);
        assert_eq!(client.expect("logEntry")["msg"], "new");
    });
}

#[test]
fn with_a_token_only_its_bearers_post() {
    each_worker_count(&WORKERS, &["--auth-token", "a-token"], |server| {
        let mut client = Client::connect_with(server, Via::WebSocket, &json!({"token": "a-token"}));
        join(&mut client, &uuid());
        subscribe(&mut client);
        let name = uuid();
        client.emit("update_log_filters", json!({"agentName": name}));
        client.find("log_filters_updated");
        let line = json!({"msg": "m", "agentName": name});
        assert_eq!(post(server, &line, ""), 401);
        assert_eq!(post(server, &line, "X-API-KEY: wrong\r\n"), 401);
        client.is_quiet(QUIET);
        assert_eq!(post(server, &line, "X-API-KEY: a-token\r\n"), 202);
        assert_eq!(client.expect("logEntry")["msg"], "m");
    });
}

#[test]
fn the_servers_own_lines_reach_those_who_may_read_them_and_nobody_else() {
    for (io, workers) in matrix::cells(&WORKERS) {
        for (flags, auth, may_read) in [
            (&["--public-logs"][..], Value::Null, true),
            (&["--auth-token", "a-token"], json!({"token": "a-token"}), true),
            (&[], Value::Null, false),
        ] {
            let (identity, workers) = (Identity::new(), workers.to_string());
            let server = Server::start(&[&["--io", io, "--workers", &workers], flags, &identity.flags()[..]].concat());
            let mut clients: Vec<Client> = (0..6).map(|n| Client::connect_with(&server, BOTH[n % 2], &auth)).collect();
            clients.iter_mut().for_each(subscribe);
            // Something to log that is sure to happen.
            server.signal(rustix::process::Signal::HUP);
            eventually("the line", || server.log().contains("certificate reloaded"));
            for client in &mut clients {
                if !may_read {
                    client.is_quiet(QUIET);
                    continue;
                }
                let event = client.event();
                assert_eq!(event.name, "logEntry");
                assert_eq!(text::keys_in_order(&event.raw[0]), ["level", "time", "msg", "agentId", "agentName"]);
                let line = event.payload();
                assert_eq!(
                    (&line["level"], &line["agentId"], &line["agentName"]),
                    (&json!(30), &Value::Null, &json!("sockeye"))
                );
                assert!(line["msg"].as_str().is_some_and(|msg| msg.starts_with("certificate reloaded")), "{line}");
                assert_eq!(client.expect("log_stream"), json!({"type": "log_entry", "payload": line}));
            }
        }
    }
}
