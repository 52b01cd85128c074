//! Limits on what one address may have.

mod common;

use common::http::Http;
use common::{Client, LIMIT, Server, Via, each_cell, eventually};

/// Whether a request on this connection is answered; if not, the connection has ended.
fn is_served(http: &mut Http) -> bool {
    http.request("GET", "/nothing", "", b"");
    http.try_response(false, LIMIT).is_ok_and(|response| response.status == 404)
}

/// A connection on which a request was answered.
fn served_from(server: &Server, address: &str) -> Option<Http> {
    let mut http = Http::connect_from(server, address).ok()?;
    is_served(&mut http).then_some(http)
}

#[test]
fn address_has_so_many_connections_on_all_shards_together() {
    each_cell(&["--max-connections-per-ip", "5"], |server| {
        let mut kept: Vec<Http> = (0..5).filter_map(|_| served_from(server, "127.0.0.2")).collect();
        assert_eq!(kept.len(), 5);
        for _ in 0..10 {
            assert!(served_from(server, "127.0.0.2").is_none(), "a sixth connection was served");
        }
        assert!(served_from(server, "127.0.0.3").is_some(), "another address has to suffer");
        assert!(kept.iter_mut().all(is_served), "one that was there before has to suffer");
        kept.pop();
        eventually("there is room for another one", || {
            kept.extend(served_from(server, "127.0.0.2"));
            kept.len() == 5
        });
        assert!(served_from(server, "127.0.0.2").is_none(), "a sixth connection was served");
    });
}

#[test]
fn connection_that_moves_to_another_shard_counts_once() {
    each_cell(&["--max-connections-per-ip", "4"], |server| {
        // Polling over new connections: most requests are handed over, and each leaves room again.
        let mut client = Client::connect(server, Via::Polling);
        for n in 0..20 {
            let room = common::rooms::uuid();
            common::rooms::join(&mut client, &room);
            assert_eq!(client.call("leave", serde_json::json!({"roomId": room}))["ok"], true, "round {n}");
        }
    });
}

#[test]
fn address_opens_so_many_connections_a_second() {
    each_cell(&["--rate-connections", "3"], |server| {
        let served = (0..30).filter(|_| served_from(server, "127.0.0.4").is_some()).count();
        // Three at once, and one more for each third of a second this has taken.
        assert!((3..15).contains(&served), "{served} of 30");
        assert!(served_from(server, "127.0.0.5").is_some(), "another address has to suffer");
        eventually("it may again", || served_from(server, "127.0.0.4").is_some());
    });
}
