//! Limits on what one address may have.

mod common;

use common::http::{Http, Response};
use common::websocket::upgrade_request;
use common::{Client, LIMIT, Server, Via, each_cell, eventually};

const NOTHING: &str = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";

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

/// What a new connection is answered; `None`: it is reset. One that is told of its rate gets no second answer.
fn answer_from(server: &Server, address: &str, request: &str) -> Option<Response> {
    let mut http = Http::connect_from(server, address).ok()?;
    http.send(request.repeat(2));
    let response = http.try_response(false, LIMIT).ok()?;
    if response.status == 429 {
        assert_eq!((response.header("retry-after"), response.closes()), (Some("1"), true), "{response:?}");
        assert!(response.json()["error"].as_str().is_some_and(|why| why.contains("too fast")), "{response:?}");
        http.ends();
    }
    Some(response)
}

#[test]
fn address_opens_so_many_connections_a_second_and_is_told_of_as_many_more() {
    let upgrade = format!("{}\r\n", upgrade_request("/socket.io/?EIO=4&transport=websocket"));
    for (request, status, address) in [(NOTHING, 404, "127.0.0.4"), (&upgrade, 101, "127.0.0.6")] {
        each_cell(&["--rate-connections", "3"], |server| {
            let answers: Vec<_> = (0..30).map(|_| answer_from(server, address, request).map(|r| r.status)).collect();
            let count = |answer| answers.iter().filter(|a| **a == answer).count();
            let (served, told) = (count(Some(status)), count(Some(429)));
            // Three at once, and one more for each third of a second this has taken.
            assert!((3..15).contains(&served) && (3..15).contains(&told), "{answers:?}");
            assert_eq!(served + told + count(None), 30, "{answers:?}");
            assert!(served_from(server, "127.0.0.5").is_some(), "another address has to suffer");
            eventually("it may again", || served_from(server, address).is_some());
        });
    }
}
