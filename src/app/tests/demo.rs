//! The demo agent: it answers people where it takes part, as agents do.

use super::*;
use crate::app::demo::{ANSWERS_MAX, ANSWERS_OF_ROOM_MAX, NAME};

/// As the README has it.
const DEMO: &str = "e112a000-0000-4000-8000-000000000001";

fn settings() -> AgentsSettings {
    AgentsSettings { demo_agent: true, ..AgentsSettings::default() }
}

/// All of an answer comes within this time.
const ANSWER_MS: u64 = 1_000;

impl Fleet {
    /// A socket that joined the room with the demo agent.
    fn with_demo(&mut self, n: usize) -> Peer {
        let peer = self.connect_to(n);
        assert_eq!(self.call(peer, "join", &json!({"roomId": ROOM, "agentId": DEMO})).0["ok"], true);
        peer
    }
}

/// Asserts that events are a whole answer behind a message, in pieces and at once; gives the text.
#[track_caller]
fn answer(events: &[(String, Value)]) -> String {
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let [("messageBroadcast", question), pieces @ .., ("messageBroadcast", whole), ("messageComplete", complete)] =
        &*events.iter().map(|(name, payload)| (name.as_str(), payload)).collect::<Vec<_>>()
    else {
        panic!("{names:?}")
    };
    assert_eq!((&question["text"], &whole["senderId"]), (&json!("I feel fine"), &json!(DEMO)));
    assert_eq!((&whole["senderName"], &whole["source"]), (&json!(NAME), &json!("agent_response")));
    assert_eq!(whole["actions"], json!(["REPLY"]));
    assert!(whole["thought"].as_str().expect("a thought").starts_with("Demo: "));
    for (n, (name, piece)) in pieces.iter().enumerate() {
        let (id, chunk) = (&whole["id"], &piece["chunk"]);
        assert_eq!(*name, "messageStreamChunk");
        let expected = json!({"messageId": id, "chunk": chunk, "index": n, "channelId": ROOM, "agentId": DEMO});
        assert_eq!(**piece, expected);
    }
    let text: String = pieces.iter().map(|(_, piece)| piece["chunk"].as_str().expect("a text")).collect();
    assert_eq!(whole["text"], text);
    assert_eq!(**complete, json!({"channelId": ROOM, "serverId": SERVER}));
    text
}

#[test]
fn it_answers_in_pieces_then_whole_and_then_it_is_done() {
    each(&settings(), |fleet| {
        let (person, member) = (fleet.with_demo(0), fleet.member(1, ROOM));
        assert_eq!(fleet.call(person, "message", &message("I feel fine")).0["ok"], true);
        fleet.advance(ANSWER_MS);
        let events = fleet.events(member);
        assert!(answer(&events).contains("fine"));
        // What the person was told of before the acknowledgement is taken already.
        assert_eq!(fleet.events(person), events[1..]);
        let state = fleet.call(person, "request-world-state", &json!({"roomId": ROOM})).0;
        let agent = &state["agents"][DEMO];
        assert_eq!((&agent["name"], &agent["status"]), (&json!(NAME), &json!("active")));
        assert_eq!(state["messages"][ROOM][1], events[events.len() - 2].1);
        fleet.advance(100_000);
        assert_eq!(fleet.events(member), []);
    });
}

#[test]
fn every_way_to_name_it_does_and_no_other_room_is_answered_in() {
    let in_dm = |key: &str| {
        let mut payload = message("I feel fine");
        payload["metadata"] = json!({"isDm": true, key: DEMO});
        payload
    };
    each(&settings(), |fleet| {
        let member = fleet.member(0, ROOM);
        assert_eq!(fleet.call(member, "message", &message("hello")).0["ok"], true);
        fleet.advance(ANSWER_MS);
        assert_eq!(fleet.names(member), [] as [&str; 0]);

        let agents = format!("/channels/{ROOM}/agents");
        for n in 0..3 {
            let payload = match n {
                0 => {
                    fleet.api(1, "POST", &agents, &json!({"agentId": DEMO})).data(201);
                    message("I feel fine")
                }
                1 => in_dm("targetUserId"),
                _ => in_dm("recipientId"),
            };
            fleet.emit(member, "message", &payload);
            fleet.advance(ANSWER_MS);
            answer(&fleet.events(member));
            fleet.api(2, "DELETE", &format!("{agents}/{DEMO}"), &Value::Null).data(200);
            fleet.call(member, "message", &message("hello"));
            fleet.advance(ANSWER_MS);
            assert_eq!(fleet.names(member), [] as [&str; 0]);
        }
    });
}

#[test]
fn it_answers_people_only_and_does_not_speak_when_it_is_off() {
    each(&settings(), |fleet| {
        let person = fleet.with_demo(0);
        let agent = fleet.agent(1, AGENT);
        let mut said = message("I feel fine");
        said["userId"] = json!(AGENT);
        fleet.call(agent, "message", &said);
        fleet.api(2, "POST", "/submit", &json!({"agentId": AGENT, "channelId": ROOM, "content": "x"})).data(201);
        fleet.advance(ANSWER_MS);
        assert_eq!(fleet.names(person), ["messageBroadcast"; 2]);
    });
    each(&AgentsSettings::default(), |fleet| {
        let person = fleet.with_demo(0);
        fleet.emit(person, "message", &message("I feel fine"));
        fleet.advance(ANSWER_MS);
        assert_eq!(fleet.names(person), ["messageBroadcast", "messageComplete"]);
    });
}

#[test]
fn dismissed_while_it_speaks_it_falls_silent_and_the_message_is_complete() {
    each(&settings(), |fleet| {
        let (person, member) = (fleet.with_demo(0), fleet.member(1, ROOM));
        fleet.call(person, "message", &message("I feel fine"));
        fleet.advance(350);
        fleet.call(person, "leave", &json!({"roomId": ROOM, "agentId": DEMO}));
        fleet.advance(100_000);
        let names = fleet.names(member);
        assert_eq!(names.iter().filter(|name| *name == "messageComplete").count(), 1, "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == "messageBroadcast").count(), 1, "{names:?}");
    });
}

#[test]
fn of_too_many_messages_some_are_complete_without_an_answer() {
    each(&settings(), |fleet| {
        let person = fleet.with_demo(0);
        let asked = 3 * ANSWERS_OF_ROOM_MAX;
        let texts = vec![format!("42[\"message\",{}]", message("I feel fine")); asked];
        fleet.send_packets(person, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        fleet.advance(2 * ANSWER_MS);
        let names = fleet.names(person);
        let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
        assert_eq!(count("messageBroadcast"), asked + ANSWERS_OF_ROOM_MAX);
        assert_eq!(count("messageComplete"), asked);
        let unanswered: u64 = (0..fleet.shards()).map(|shard| fleet.counters(shard).demo_unanswered).sum();
        assert_eq!(unanswered, (asked - ANSWERS_OF_ROOM_MAX) as u64);
        // There is room again.
        fleet.call(person, "message", &message("I feel fine"));
        fleet.advance(ANSWER_MS);
        assert_eq!(fleet.names(person).last().map(String::as_str), Some("messageComplete"));
    });
    let mut fleet = Fleet::new(1, &settings());
    let person = fleet.connect_to(0);
    for n in 0..=ANSWERS_MAX {
        let room = format!("0a0a0a0a-0000-4000-9000-{n:012}");
        let payload =
            json!({"roomId": room, "userId": USER, "text": "hi", "metadata": {"isDm": true, "targetUserId": DEMO}});
        fleet.emit(person, "message", &payload);
    }
    assert_eq!(fleet.counters(0).demo_unanswered, 1);
}

#[test]
fn the_same_random_source_gives_the_same_answers() {
    let said = || {
        let mut fleet = Fleet::new(4, &settings());
        let person = fleet.with_demo(0);
        for text in ["I feel fine", "my dog", "what?", "xyz"] {
            fleet.emit(person, "message", &message(text));
        }
        fleet.advance(ANSWER_MS);
        fleet.events(person)
    };
    assert_eq!(said(), said());
}
