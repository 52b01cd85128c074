//! `messageComplete` (contract A4), and what agents say over sockets of their own (B1).

mod common;

use serde_json::json;

use common::rooms::{NIL, failure, join, member, message, uuid};
use common::{Client, QUIET, Server, Via, each_worker_count};

const WORKERS: [usize; 2] = [1, 4];
/// A time-out that tests can wait for, and one that none does.
const SHORT: &[&str] = &["--complete-timeout", "400ms"];
const LONG: &[&str] = &["--complete-timeout", "10m"];

/// A socket of an agent's own, in a room.
#[track_caller]
fn agent<'a>(server: &'a Server, id: &str, room: &str) -> Client<'a> {
    let mut client = Client::connect_with(server, Via::WebSocket, &json!({"agentId": id}));
    join(&mut client, room);
    client
}

#[test]
fn an_agents_word_completes_a_message_for_the_whole_room() {
    each_worker_count(&WORKERS, LONG, |server| {
        let (room, id) = (uuid(), uuid());
        let mut agent = agent(server, &id, &room);
        let mut listener = member(server, Via::Polling, &room);
        // One that has not joined is told of its own message.
        let mut sender = Client::connect(server, Via::WebSocket);
        sender.call("message", message(&room, &uuid(), "hi"));
        sender.expect("messageBroadcast");
        sender.is_quiet(QUIET);
        assert_eq!(agent.call("messageComplete", json!({"channelId": room})), json!({"ok": true, "roomId": room}));
        for client in [&mut sender, &mut listener, &mut agent] {
            assert_eq!(client.find("messageComplete"), json!({"channelId": room, "serverId": NIL}));
            client.is_quiet(QUIET);
        }
    });
}

#[test]
fn a_silent_agent_is_waited_for_until_the_timeout_and_nobody_is_told_twice() {
    each_worker_count(&WORKERS, SHORT, |server| {
        let (room, id) = (uuid(), uuid());
        let mut agent = agent(server, &id, &room);
        let mut sender = member(server, Via::WebSocket, &room);
        for text in ["one", "two"] {
            sender.call("message", message(&room, &uuid(), text));
        }
        for name in ["messageBroadcast", "messageBroadcast", "messageComplete", "messageComplete"] {
            sender.expect(name);
        }
        for _ in 0..2 {
            agent.call("messageComplete", json!({"roomId": room}));
        }
        sender.is_quiet(QUIET);
    });
}

#[test]
fn an_agent_that_is_gone_or_leaves_is_waited_for_no_longer() {
    each_worker_count(&WORKERS, LONG, |server| {
        for leaves in [true, false] {
            let (room, id) = (uuid(), uuid());
            let mut agent = agent(server, &id, &room);
            let mut sender = Client::connect(server, Via::WebSocket);
            sender.call("message", message(&room, &uuid(), "hi"));
            sender.expect("messageBroadcast");
            if leaves {
                agent.call("leave", json!({"roomId": room}));
            }
            drop(agent);
            assert_eq!(sender.expect("messageComplete")["channelId"], room);
            sender.call("message", message(&room, &uuid(), "again"));
            sender.expect("messageBroadcast");
            sender.expect("messageComplete");
        }
    });
}

#[test]
fn the_message_of_an_agent_is_not_waited_for() {
    each_worker_count(&WORKERS, SHORT, |server| {
        let (room, id) = (uuid(), uuid());
        let mut agent = agent(server, &id, &room);
        let mut listener = member(server, Via::WebSocket, &room);
        agent.call("message", json!({"text": "well", "roomId": room, "userId": id, "name": "Eliza"}));
        for client in [&mut agent, &mut listener] {
            assert_eq!(client.expect("messageBroadcast")["senderName"], "Eliza");
            client.is_quiet(2 * std::time::Duration::from_millis(400));
        }
    });
}

#[test]
fn pieces_of_messages_come_from_agents_only_and_under_their_own_name() {
    each_worker_count(&WORKERS, LONG, |server| {
        let (room, id) = (uuid(), uuid());
        let mut agent = agent(server, &id, &room);
        let mut listener = member(server, Via::Polling, &room);
        let chunk = json!({"messageId": "m", "chunk": "Hel", "index": 0, "channelId": room, "agentId": uuid()});
        for n in 0..3 {
            let mut chunk = chunk.clone();
            chunk["index"] = json!(n);
            agent.emit("messageStreamChunk", chunk);
        }
        agent.emit("messageStreamError", json!({"messageId": "m", "error": "no more", "channelId": room}));
        for n in 0..3 {
            let expected = json!({"messageId": "m", "chunk": "Hel", "index": n, "channelId": room, "agentId": id});
            assert_eq!(listener.expect("messageStreamChunk"), expected);
        }
        let expected = json!({"messageId": "m", "channelId": room, "agentId": id, "error": "no more"});
        assert_eq!(listener.expect("messageStreamError"), expected);
        for (event, payload) in [("messageStreamChunk", chunk), ("messageComplete", json!({"channelId": room}))] {
            let ack = listener.call(event, payload);
            failure(&ack, "forbidden");
        }
        listener.is_quiet(QUIET);
    });
}
