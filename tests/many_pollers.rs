//! A thousand polling sessions at once on four shards, none of which keeps a connection: every handshake, poll and post
//! comes on a connection of its own, or through a proxy on any of a few that all sessions share.

mod common;

use std::time::Instant;

use common::engine::Session;
use common::front::{Front, nginx_is_here};
use common::matrix::cells;
use common::rooms::{join, message, texts, uuid};
use common::server::Counters;
use common::{Client, Server, Via};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

const SHARDS: usize = 4;

/// Threads that drive the sessions of one server.
const THREADS: usize = 5;

/// Rooms, and members of each.
struct Crowd {
    rooms: usize,
    members: usize,
}

impl Crowd {
    /// Messages that a member sends to its room.
    const SENT: usize = 3;

    fn heard_by_each(&self) -> usize {
        self.members * Self::SENT
    }

    fn sessions(&self) -> usize {
        self.rooms * self.members
    }

    /// How many requests the talk takes at the least: for each session a handshake, a CONNECT, a join, the messages, the
    /// last message, and some polls.
    fn requests(&self) -> u64 {
        (self.sessions() * (4 + Self::SENT)) as u64
    }
}

#[test]
fn thousand_sessions_with_a_connection_for_every_request_lose_nothing() {
    let crowd = Crowd { rooms: 100, members: 10 };
    for counters in each_driver_counted(|server| talk(server, &crowd)) {
        assert!(counters.sum("accepted") > crowd.requests(), "a connection for every request");
        for adopted in counters.of_each("adopted") {
            // Three of four, but for chance.
            assert!(adopted * 8 > crowd.requests(), "most requests come to a shard that is not their session's");
        }
    }
}

#[test]
fn sessions_behind_a_proxy_that_shares_its_connections_lose_nothing() {
    if !nginx_is_here() {
        return;
    }
    let crowd = Crowd { rooms: 30, members: 10 };
    for counters in each_driver_counted(|server| talk(&Front::nginx(server).as_server(), &crowd)) {
        let (accepted, requests) = (counters.sum("accepted"), crowd.requests());
        assert!(
            accepted * 2 < requests,
            "{accepted} connections for {requests} requests: the proxy does not share them"
        );
        let adopted = counters.sum("adopted");
        assert!(adopted * 4 > crowd.sessions() as u64, "{adopted}: shared connections go from shard to shard");
    }
}

/// Runs `body` against servers of its own on both drivers, and gives what they counted.
fn each_driver_counted(body: impl Fn(&Server) + Sync) -> Vec<Counters> {
    allow_many_descriptors();
    let run = |(io, workers): (&str, usize)| {
        let server = Server::start(&["--io", io, "--workers", &workers.to_string(), "--log-level", "debug"]);
        body(&server);
        server.stopped_counters()
    };
    // One after the other: the machine is to be full of sessions, not of servers.
    cells(&[SHARDS]).into_iter().map(run).collect()
}

/// One session, the room it is in, and what it has heard there.
struct Member<'a> {
    number: usize,
    room: String,
    client: Client<'a>,
    acks: Vec<u64>,
    heard: Vec<String>,
}

/// Every member of every room sends; every member must hear all of its room, in one order.
fn talk(server: &Server, crowd: &Crowd) {
    let start = Instant::now();
    let rooms: Vec<String> = (0..crowd.rooms).map(|_| uuid()).collect();
    let connect = |number: usize| Member {
        number,
        room: rooms[number % crowd.rooms].clone(),
        client: Client::connect(server, Via::Polling),
        acks: Vec::new(),
        heard: Vec::new(),
    };
    let mut members: Vec<Member> = (0..crowd.sessions()).map(connect).collect();
    // Each step is over for all before the next begins: every session has a poll pending when the first message is sent.
    in_threads(&mut members, |member| {
        join(&mut member.client, &member.room);
        let Session::Polling(polling) = &mut member.client.session else { unreachable!("it polls") };
        polling.park();
    });
    in_threads(&mut members, |member| {
        for nth in 0..Crowd::SENT {
            let message = message(&member.room, &uuid(), &format!("{} {nth}", member.number));
            member.acks.push(member.client.start_call(&json!(["message", message]).to_string()));
        }
    });
    in_threads(&mut members, |member| {
        member.heard = texts(&mut member.client, crowd.heard_by_each());
        for id in member.acks.drain(..) {
            assert_eq!(member.client.ack(id)["ok"], true);
        }
    });
    // Nothing is left over for anybody: what comes next is a message of one's own.
    in_threads(&mut members, |member| {
        member.client.call("message", message(&uuid(), &uuid(), "the last"));
        assert_eq!(texts(&mut member.client, 1), ["the last"]);
    });
    for room in &rooms {
        assert_room_is_whole(crowd, &members.iter().filter(|member| member.room == *room).collect::<Vec<_>>());
    }
    eprintln!("{} sessions in {:?} with {}", crowd.sessions(), start.elapsed(), server.label);
}

/// Does `step` for all members, some at a time; a failure of one fails the test.
fn in_threads<'a>(members: &mut [Member<'a>], step: impl Fn(&mut Member<'a>) + Sync) {
    let share = members.len().div_ceil(THREADS);
    let step = &step;
    std::thread::scope(|scope| {
        for members in members.chunks_mut(share) {
            scope.spawn(move || members.iter_mut().for_each(step));
        }
    });
}

/// All members heard the same, each message once, and each sender's in the order sent.
fn assert_room_is_whole(crowd: &Crowd, members: &[&Member]) {
    assert_eq!(members.len(), crowd.members);
    let order = &members[0].heard;
    for Member { number, heard, .. } in members {
        assert_eq!(heard, order, "member {number}");
        let own: Vec<&String> = order.iter().filter(|text| text.starts_with(&format!("{number} "))).collect();
        let sent: Vec<String> = (0..Crowd::SENT).map(|nth| format!("{number} {nth}")).collect();
        assert_eq!(own, sent.iter().collect::<Vec<_>>());
    }
}

/// A parked poll is a descriptor here.
fn allow_many_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit is allowed");
    assert!(maximum.is_none_or(|most| most >= 4096), "too few descriptors: {maximum:?}, see `ulimit -Hn`");
}
