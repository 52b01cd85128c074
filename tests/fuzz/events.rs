//! The arguments of events: an input is what four sockets say, a line each.
//!
//! The first byte of a line says who sends and how, the second which event, those behind it change its payload
//! ([`crate::json`]). Everything that is JSON is answered, everything that is sent is as the contract says, and nobody's
//! connection ends.

use serde_json::{Value, json};

use crate::json::{AGENT, Choices, ROOM, USER, put_any, put_changed};
use crate::mutation::{fuzz, outcome};
use crate::rooms::{Rooms, Said};

/// Names as they stand in JSON, and payloads that do what the event is for.
fn events() -> Vec<(&'static str, Value)> {
    let legacy = |kind: u8, payload: &Value| json!({"type": kind, "payload": payload});
    let join = json!({"channelId": ROOM, "entityId": USER, "agentId": AGENT, "serverId": ROOM,
        "targetUserId": AGENT, "metadata": {"isDm": true, "targetUserId": "e112a000-0000-4000-8000-000000000001"}});
    let send = json!({"channelId": ROOM, "senderId": USER, "senderName": "Ada", "message": "hi", "serverId": ROOM,
        "messageId": "m", "source": "web", "attachments": [{"url": "x"}], "metadata": {"channelType": "DM"}});
    let message = json!({"text": "hi", "roomId": ROOM, "userId": USER, "name": "Ada", "messageId": "n", "source": "s",
        "thought": "t", "actions": ["A", "B"], "attachments": [1, {"a": [null]}], "metadata": {"isDm": false, "a": 1},
        "inReplyTo": AGENT, "serverId": ROOM});
    vec![
        ("\"join\"", json!({"roomId": ROOM, "agentId": AGENT})),
        ("\"leave\"", json!({"roomId": ROOM, "agentId": AGENT})),
        ("\"message\"", message),
        ("\"message\"", legacy(1, &join)),
        ("\"message\"", legacy(2, &send)),
        ("\"1\"", join.clone()),
        ("1", join),
        ("\"2\"", send.clone()),
        ("2", send),
        ("\"request-world-state\"", json!({"roomId": ROOM})),
        ("\"request-world-state\"", Value::Null),
        ("\"subscribe_logs\"", json!({})),
        ("\"update_log_filters\"", json!({"agentName": "Eliza", "level": "info"})),
        ("\"unsubscribe_logs\"", json!({})),
        ("\"messageComplete\"", json!({"channelId": ROOM, "serverId": ROOM})),
        ("\"messageStreamChunk\"", json!({"channelId": ROOM, "messageId": "m", "chunk": "He", "index": 0})),
        ("\"messageStreamError\"", json!({"channelId": ROOM, "messageId": "m", "error": "e", "partialText": "He"})),
        ("\"__proto__\"", json!({"roomId": ROOM})),
        ("-1.5e3", json!([])),
    ]
}

/// A line's packet, and the id of the acknowledgement it asks for.
fn packet(events: &[(&str, Value)], number: usize, how: u8, choices: &mut Choices<'_>) -> (String, Option<u64>) {
    let ack_id = (how & 4 != 0).then_some(number as u64);
    let (name, payload) = &events[usize::from(choices.next()) % events.len()];
    let mut packet = format!("42{}[{name}", ack_id.map_or(String::new(), |id| id.to_string()));
    if how & 24 != 8 {
        packet.push(',');
        put_changed(&mut packet, payload, choices);
    }
    if how & 24 == 16 {
        packet.push(',');
        put_any(&mut packet, choices, 0);
    }
    packet.push(']');
    (packet, ack_id)
}

#[test]
fn any_arguments_of_events() {
    let events = events();
    let (ada, agent) = (0, 1);
    let line = |who: u8, event: u8| vec![who | 4, event];
    let everything: Vec<Vec<u8>> = (0..events.len() as u8).map(|event| line(event % 2, event)).collect();
    let corpus = [
        everything.join(&b'\n'),
        [line(ada, 0), line(agent, 0), line(ada, 2), line(agent, 15), line(agent, 14), line(2, 9)].join(&b'\n'),
        [line(ada, 3), line(ada, 4), line(3, 5), line(3, 7), vec![0xe0, 1], line(3, 10), line(2, 11)].join(&b'\n'),
    ];
    let tokens: Vec<&[u8]> = b"\n\x04\x05\0\x01\x02\xc8\xd2\xe1\xe6\xf0\xff".chunks(1).collect();
    fuzz(&corpus, &tokens, |input, _| {
        let mut rooms = Rooms::new();
        let agent = format!(r#"{{"agentId":"{AGENT}"}}"#);
        let entity = format!(r#"{{"entityId":"{USER}"}}"#);
        let sockets = ["", agent.as_str(), entity.as_str(), ""].map(|auth| rooms.connect(auth));
        // What the last two lines did.
        let mut did = (Vec::new(), Vec::new());
        for (number, line) in input.split(|&byte| byte == b'\n').take(24).enumerate() {
            let Some((&how, choices)) = line.split_first() else { continue };
            if how >= 0xe0 {
                rooms.advance(u64::from(how & 31) * 1_000);
            }
            let asker = usize::from(how & 3);
            let (packet, ack_id) = packet(&events, number, how, &mut Choices(choices));
            rooms.send(sockets[asker], &packet);
            did = (did.1, Vec::new());
            let mut acks = 0;
            for (who, &socket) in sockets.iter().enumerate() {
                assert!(rooms.peers.open.contains_key(&socket), "{packet} ends the connection of {who}");
                for said in rooms.texts(socket).iter().map(|text| Said::check(text)) {
                    if let Said::Ack { id, .. } = &said {
                        assert!(who == asker && Some(*id) == ack_id, "{packet}: {said:?} to {who}");
                        acks += 1;
                    }
                    did.1.push(said.kind());
                }
            }
            assert_eq!(acks, usize::from(ack_id.is_some()), "{packet}");
        }
        rooms.end();
        outcome(did)
    });
}
