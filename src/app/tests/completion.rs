//! `messageComplete`: exactly once for every message, and always in the end.

use super::*;

const COMPLETE: &str = "messageComplete";
const SECOND_AGENT: &str = "0c0c0c0c-0000-4000-8000-000000000002";

fn settings() -> AgentsSettings {
    AgentsSettings { complete_timeout_ms: 1_000, ..AgentsSettings::default() }
}

impl Fleet {
    /// A socket of an agent's own, in the room.
    fn agent_in(&mut self, n: usize, agent: &str) -> Peer {
        let peer = self.agent(n, agent);
        assert_eq!(self.call(peer, "join", &json!({"roomId": ROOM})).0["ok"], true);
        peer
    }

    /// How many completions came since the last call.
    fn completions(&mut self, peer: Peer) -> usize {
        self.names(peer).iter().filter(|name| *name == COMPLETE).count()
    }

    fn say_complete(&mut self, agent: Peer) {
        assert_eq!(self.call(agent, COMPLETE, &json!({"channelId": ROOM})).0, json!({"ok": true, "roomId": ROOM}));
    }
}

#[test]
fn without_a_live_agent_a_message_is_complete_at_once_for_its_sender_alone() {
    each(&settings(), |fleet| {
        let (sender, member) = (fleet.connect_to(0), fleet.member(1, ROOM));
        // An agent takes part, but is not live; another is live, but does not take part.
        fleet.call(member, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        let elsewhere = fleet.agent(2, SECOND_AGENT);
        fleet.call(elsewhere, "join", &json!({"roomId": OTHER_ROOM}));
        fleet.emit(sender, "message", &message("hi"));
        assert_eq!(fleet.names(sender), ["messageBroadcast", COMPLETE]);
        fleet.advance(2_000);
        assert_eq!(fleet.names(member), ["messageBroadcast"]);
        assert_eq!((fleet.take(sender), fleet.take(elsewhere)), (vec![], vec![]));
    });
}

#[test]
fn an_agents_word_goes_to_the_whole_room_and_to_a_sender_outside() {
    each(&settings(), |fleet| {
        let (sender, member, agent) = (fleet.connect_to(0), fleet.member(1, ROOM), fleet.agent_in(2, AGENT));
        let server = "0d0d0d0d-0000-4000-8000-000000000001";
        let mut payload = message("hi");
        payload["serverId"] = json!(server);
        fleet.emit(sender, "message", &payload);
        assert_eq!(fleet.names(sender), ["messageBroadcast"]);
        fleet.emit(agent, COMPLETE, &json!({"roomId": ROOM.to_uppercase()}));
        let complete = (COMPLETE.to_owned(), json!({"channelId": ROOM, "serverId": server}));
        assert_eq!(fleet.events(sender), std::slice::from_ref(&complete));
        assert_eq!(fleet.events(member)[1..], std::slice::from_ref(&complete)[..]);
        assert_eq!(fleet.events(agent)[1..], [complete]);
        fleet.advance(5_000);
        assert_eq!((fleet.take(sender), fleet.take(member)), (vec![], vec![]));
    });
}

#[test]
fn a_silent_agent_is_not_waited_for_longer_than_the_timeout() {
    each(&settings(), |fleet| {
        let (sender, agent) = (fleet.member(0, ROOM), fleet.agent_in(2, AGENT));
        fleet.emit(sender, "message", &message("hi"));
        fleet.advance(990);
        assert_eq!(fleet.names(sender), ["messageBroadcast"]);
        fleet.advance(30);
        assert_eq!(fleet.names(sender), [COMPLETE]);
        assert_eq!(fleet.completions(agent), 1);
        let home = (0..fleet.shards()).map(|n| fleet.counters(n).completions_timed_out).sum::<u64>();
        assert_eq!(home, 1);
        // What it says late is about that message, and nobody is told twice; what it says then is about none.
        fleet.say_complete(agent);
        assert_eq!(fleet.take(sender), []);
        fleet.say_complete(agent);
        assert_eq!(fleet.names(sender), [COMPLETE]);
    });
}

#[test]
fn a_timeout_of_zero_waits_for_ever() {
    each(&AgentsSettings { complete_timeout_ms: 0, ..AgentsSettings::default() }, |fleet| {
        let (sender, agent) = (fleet.member(0, ROOM), fleet.agent_in(2, AGENT));
        fleet.emit(sender, "message", &message("hi"));
        fleet.advance(120_000);
        assert_eq!(fleet.completions(sender), 0);
        fleet.say_complete(agent);
        assert_eq!(fleet.completions(sender), 1);
    });
}

#[test]
fn a_talking_agent_puts_the_timeout_off_but_not_for_ever() {
    each(&settings(), |fleet| {
        let (sender, agent) = (fleet.member(0, ROOM), fleet.agent_in(2, AGENT));
        fleet.emit(sender, "message", &message("hi"));
        let own = json!({"text": "well", "roomId": ROOM, "userId": AGENT, "name": "Eliza"});
        let chunk = json!({"messageId": "m", "chunk": "w", "index": 0, "channelId": ROOM});
        for n in 0..12 {
            let said = if n % 2 == 0 { ("message", &own) } else { ("messageStreamChunk", &chunk) };
            fleet.advance(800);
            fleet.emit(agent, said.0, said.1);
            assert_eq!(fleet.completions(sender), 0, "{n}");
        }
        fleet.advance(800);
        assert_eq!(fleet.completions(sender), 1);
        fleet.emit(sender, "message", &message("again"));
        fleet.advance(500);
        fleet.emit(agent, "messageStreamChunk", &chunk);
        fleet.advance(990);
        assert_eq!(fleet.completions(sender), 0);
        fleet.advance(30);
        assert_eq!(fleet.completions(sender), 1);
    });
}

#[test]
fn the_message_of_an_agent_waits_for_nobody() {
    each(&settings(), |fleet| {
        let (member, agent) = (fleet.member(0, ROOM), fleet.agent_in(1, AGENT));
        let other = fleet.agent_in(2, SECOND_AGENT);
        let own = |id: &str| json!({"text": "well", "roomId": ROOM, "userId": id, "name": "Eliza"});
        fleet.emit(agent, "message", &own(AGENT));
        // Said for the agent by another socket, as backends do.
        fleet.emit(member, "message", &own(SECOND_AGENT));
        fleet.advance(5_000);
        for peer in [member, agent, other] {
            assert_eq!(fleet.names(peer), ["messageBroadcast", "messageBroadcast"]);
        }
        // What a user says over an agent's socket waits like any other.
        fleet.emit(agent, "message", &message("hi"));
        assert_eq!(fleet.completions(agent), 0);
        fleet.advance(1_020);
        assert_eq!(fleet.completions(agent), 1);
    });
}

#[test]
fn every_one_of_several_messages_is_complete_once() {
    each(&settings(), |fleet| {
        let senders: Vec<Peer> = (0..3).map(|n| fleet.connect_to(n)).collect();
        let (member, agent) = (fleet.member(1, ROOM), fleet.agent_in(2, AGENT));
        for &sender in &senders {
            fleet.emit(sender, "message", &message("hi"));
            fleet.advance(100);
        }
        fleet.say_complete(agent);
        let completions: Vec<usize> = senders.iter().map(|&sender| fleet.completions(sender)).collect();
        assert_eq!((completions, fleet.completions(member)), (vec![1, 0, 0], 1));
        fleet.advance(2_000);
        let completions: Vec<usize> = senders.iter().map(|&sender| fleet.completions(sender)).collect();
        assert_eq!((completions, fleet.completions(member)), (vec![0, 1, 1], 2));
        // Two words are still owed.
        fleet.say_complete(agent);
        fleet.say_complete(agent);
        assert_eq!(fleet.completions(member), 0);
    });
}

#[test]
fn of_several_agents_the_first_word_counts() {
    each(&settings(), |fleet| {
        let (sender, one, two) = (fleet.member(0, ROOM), fleet.agent_in(1, AGENT), fleet.agent_in(2, SECOND_AGENT));
        for _ in 0..3 {
            fleet.emit(sender, "message", &message("hi"));
            fleet.say_complete(two);
            assert_eq!(fleet.completions(sender), 1);
            fleet.say_complete(one);
            assert_eq!(fleet.completions(sender), 0);
        }
        fleet.advance(5_000);
        assert_eq!(fleet.completions(sender), 0);
        // An agent that did not take part when the message was sent has a say, too.
        fleet.emit(sender, "message", &message("hi"));
        let late = fleet.agent(3, "0c0c0c0c-0000-4000-8000-000000000003");
        fleet.say_complete(late);
        assert_eq!(fleet.completions(sender), 1);
    });
}

#[test]
fn an_agent_that_is_gone_is_waited_for_no_longer() {
    type Leave = fn(&mut Fleet, Peer);
    let ways: [Leave; 3] = [
        |fleet, agent| fleet.drop_peer(agent),
        |fleet, agent| assert_eq!(fleet.call(agent, "leave", &json!({"roomId": ROOM})).0["ok"], true),
        |fleet, agent| fleet.send_packet(agent, "41"),
    ];
    for leave in ways {
        each(&settings(), |fleet| {
            let sender = fleet.connect_to(0);
            let (one, two) = (fleet.agent_in(1, AGENT), fleet.agent_in(2, SECOND_AGENT));
            fleet.emit(sender, "message", &message("hi"));
            fleet.emit(sender, "message", &message("there"));
            fleet.take(two);
            leave(fleet, one);
            fleet.advance(300);
            assert_eq!(fleet.completions(sender), 0);
            leave(fleet, two);
            fleet.advance(300);
            assert_eq!(fleet.completions(sender), 2);
            // And the next one waits for nobody.
            fleet.emit(sender, "message", &message("again"));
            assert_eq!(fleet.names(sender), ["messageBroadcast", COMPLETE]);
        });
    }
}

#[test]
fn an_agent_whose_part_another_socket_holds_is_waited_for_until_its_own_is_gone() {
    each(&settings(), |fleet| {
        let sender = fleet.connect_to(0);
        fleet.call(sender, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        let (agent, again) = (fleet.agent(1, AGENT), fleet.agent(2, AGENT));
        fleet.emit(sender, "message", &message("hi"));
        fleet.drop_peer(agent);
        fleet.advance(300);
        assert_eq!(fleet.completions(sender), 0);
        fleet.drop_peer(again);
        fleet.advance(300);
        assert_eq!(fleet.completions(sender), 1);
    });
}

#[test]
fn an_agent_that_calls_is_live_for_five_minutes() {
    each(&settings(), |fleet| {
        let sender = fleet.connect_to(0);
        fleet.call(sender, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        let last = fleet.shards() - 1;
        fleet.heard(last, AGENT);
        fleet.advance(299_000);
        fleet.emit(sender, "message", &message("hi"));
        assert_eq!(fleet.names(sender), ["messageBroadcast"]);
        let (state, _) = fleet.call(sender, "request-world-state", &json!({"roomId": ROOM}));
        assert_eq!(state["agents"][AGENT]["status"], "active");
        fleet.advance(1_020);
        assert_eq!(fleet.completions(sender), 1);
        fleet.emit(sender, "message", &message("hi"));
        assert_eq!(fleet.names(sender), ["messageBroadcast", COMPLETE]);
        let (state, _) = fleet.call(sender, "request-world-state", &json!({"roomId": ROOM}));
        assert_eq!(state["agents"][AGENT]["status"], "inactive");
    });
}

#[test]
fn more_messages_than_may_wait_are_complete_at_once() {
    let fleet = &mut Fleet::new(1, &settings());
    let (sender, agent) = (fleet.connect_to(0), fleet.agent_in(0, AGENT));
    for _ in 0..crate::app::completion::WAITING_OF_ROOM_MAX {
        fleet.emit(sender, "message", &message("hi"));
    }
    assert_eq!(fleet.completions(sender), 0);
    fleet.emit(sender, "message", &message("hi"));
    assert_eq!(fleet.names(sender), ["messageBroadcast", COMPLETE]);
    assert_eq!(fleet.counters(0).completions_not_awaited, 1);
    fleet.say_complete(agent);
    assert_eq!(fleet.completions(sender), 1);
    fleet.advance(2_000);
    assert_eq!(fleet.completions(sender), crate::app::completion::WAITING_OF_ROOM_MAX - 1);
    // The words that are owed are forgotten in time, and so is everything else.
    fleet.advance(61_000);
    assert!(fleet.app(0).deadlines.is_empty());
}

#[test]
fn a_room_in_which_messages_wait_is_not_dropped() {
    let fleet = &mut Fleet::new(1, &AgentsSettings { max_rooms: 1, ..settings() });
    let (sender, agent) = (fleet.connect_to(0), fleet.agent_in(0, AGENT));
    fleet.emit(sender, "message", &message("hi"));
    fleet.drop_peer(agent);
    fleet.take(sender);
    failure(fleet.call(sender, "join", &json!({"roomId": OTHER_ROOM})), "unavailable");
}

#[test]
fn only_an_agents_own_socket_may_say_so() {
    each(&settings(), |fleet| {
        let (sender, member, agent) = (fleet.connect_to(0), fleet.member(1, ROOM), fleet.agent_in(2, AGENT));
        fleet.call(member, "join", &json!({"roomId": ROOM, "agentId": AGENT}));
        fleet.emit(sender, "message", &message("hi"));
        fleet.take(member);
        for (event, payload) in [
            (COMPLETE, json!({"channelId": ROOM, "agentId": AGENT})),
            ("messageStreamChunk", json!({"messageId": "m", "chunk": "c", "index": 0, "channelId": ROOM})),
            ("messageStreamError", json!({"messageId": "m", "error": "e", "channelId": ROOM})),
        ] {
            failure(fleet.call(member, event, &payload), "forbidden");
            fleet.emit(member, event, &payload);
            assert_eq!(fleet.events(member)[0].1["details"]["code"], "forbidden");
        }
        assert_eq!((fleet.completions(sender), fleet.completions(agent)), (0, 0));
    });
}

#[test]
fn pieces_of_what_an_agent_says_are_passed_to_the_room_under_its_name() {
    each(&settings(), |fleet| {
        let (member, agent) = (fleet.member(0, ROOM), fleet.agent_in(2, AGENT));
        let outsider = fleet.connect_to(1);
        let chunk = json!({"messageId": "m1", "chunk": "Hel\"lo", "index": 3, "channelId": ROOM.to_uppercase(),
                           "agentId": SECOND_AGENT});
        assert_eq!(fleet.call(agent, "messageStreamChunk", &chunk).0, json!({"ok": true, "roomId": ROOM}));
        let error = json!({"messageId": "m1", "error": "no more", "roomId": ROOM, "partialText": "Hel"});
        fleet.emit(agent, "messageStreamError", &error);
        fleet.emit(agent, "messageStreamError", &json!({"messageId": "m1", "error": "no more", "roomId": ROOM}));
        let texts = fleet.take_texts(member);
        let open = format!(r#""channelId":"{ROOM}","agentId":"{AGENT}""#);
        assert_eq!(
            texts,
            [
                format!(r#"42["messageStreamChunk",{{"messageId":"m1","chunk":"Hel\"lo","index":3,{open}}}]"#),
                format!(
                    r#"42["messageStreamError",{{"messageId":"m1",{open},"error":"no more","partialText":"Hel"}}]"#
                ),
                format!(r#"42["messageStreamError",{{"messageId":"m1",{open},"error":"no more"}}]"#),
            ]
        );
        assert_eq!(fleet.take(outsider), []);
    });
}

#[test]
fn an_agent_may_have_to_join_before_it_speaks() {
    each(&AgentsSettings { require_join: true, ..settings() }, |fleet| {
        let agent = fleet.agent(0, AGENT);
        failure(fleet.call(agent, COMPLETE, &json!({"channelId": ROOM})), "not_joined");
        fleet.call(agent, "join", &json!({"roomId": ROOM}));
        fleet.say_complete(agent);
    });
}
