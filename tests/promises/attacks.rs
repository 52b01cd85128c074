//! What hostile clients send, chosen by a seed, for as long as asked.

use std::env;
use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::common::engine::Session;
use crate::common::http::Http;
use crate::common::random::Random;
use crate::common::websocket::{BINARY, CONTINUATION, Length, PING, TEXT, upgrade_request};
use crate::common::{Client, Frame, Server, Via};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SECONDS: u64 = 4;
/// Connections that hang on while others attack.
const HELD_MAX: usize = 200;

fn uuid(random: &mut Random) -> String {
    uuid::Uuid::from_u128(u128::from(random.next())).to_string()
}

/// The seed of this run: from the environment, or the clock.
pub fn seed() -> u64 {
    let given = env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    given.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_micros() as u64)
}

/// Attacks for a while. Prints the seed, which decides on everything that is sent.
pub fn all(server: &Server, seed: u64) {
    eprintln!("replay with SEED={seed} ({})", server.label);
    let seconds = env::var("ATTACK_SECONDS").ok().map_or(SECONDS, |s| s.parse().expect("ATTACK_SECONDS is a number"));
    let (mut random, start, mut held) = (Random::new(seed), Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        let bytes = input(&mut random);
        let mut http = Http::connect(server);
        // What does not fit into the socket is none of the attacker's business.
        http.stream.set_nonblocking(true).expect("a TCP socket");
        let _ = http.stream.write(&bytes);
        match random.below(4) {
            0 => http.finish(),
            1 => drop(http),
            _ if held.len() < HELD_MAX => held.push(http),
            _ => held.swap_remove(random.below(HELD_MAX)).finish(),
        }
        if random.below(20) == 0 {
            with_session(server, &mut random);
        }
    }
}

/// Sockets that send the same over and over for a while, as fast as they can, and read what they are answered.
pub fn flood(server: &Server, sockets: usize, bytes: &[u8]) {
    let mut sockets: Vec<(Client, usize)> =
        (0..sockets).map(|_| (Client::connect(server, Via::WebSocket), 0)).collect();
    let (start, mut answers) = (Instant::now(), vec![0; 1 << 18]);
    while start.elapsed() < Duration::from_secs(SECONDS) {
        for (client, sent) in &mut sockets {
            let Session::WebSocket { ws, .. } = &mut client.session else { continue };
            ws.http.stream.set_nonblocking(true).expect("a TCP socket");
            *sent += ws.http.stream.write(&bytes[*sent % bytes.len()..]).unwrap_or(0);
            let _ = ws.http.stream.read(&mut answers);
        }
    }
}

/// What one connection sends.
pub fn input(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => random.bytes(3_000),
        1 => request(random),
        2 => [upgrade_request(SOCKET).as_bytes(), b"\r\n", &random.bytes(500)].concat(),
        _ => {
            let mut bytes = format!("{}\r\n", upgrade_request(SOCKET)).into_bytes();
            bytes.extend(Frame::text("40").masked());
            for _ in 0..1 + random.below(4) {
                bytes.extend(frames(random));
            }
            let cut = if random.below(3) == 0 { random.below(bytes.len()) } else { bytes.len() };
            bytes.truncate(cut);
            bytes
        }
    }
}

fn request(random: &mut Random) -> Vec<u8> {
    let method = random.pick(&["GET", "POST", "OPTIONS", "HEAD", "PATCH", "DELETE", "PRI", "", "get"]);
    let target = match random.below(7) {
        0 => POLL.to_owned(),
        1 => format!("{POLL}&sid={}", random.pick(&["__proto__", "constructor", "AAAAAAAAAAAAAAAAAAAA", "%00", ""])),
        2 => "/socket.io/?EIO=4&transport=__proto__".to_owned(),
        3 => "/api/messaging/submit".to_owned(),
        4 => format!("/api/messaging/channels/{}/messages?limit=99999999999999999999", uuid(random)),
        5 => "http://a/../%2e%2e/?#".to_owned(),
        _ => "*".to_owned(),
    };
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
    for _ in 0..random.below(4) {
        request.push_str(random.pick(&[
            "Content-Length: 5\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 18446744073709551617\r\n",
            "Content-Length: 1000000\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "X: a\r\n b\r\n",
            "X: a\n",
            "X : a\r\n",
            "Host: b\r\n",
            "Expect: 100-continue\r\n",
            "Connection: close, upgrade\r\n",
            "Origin: null\r\n",
        ]));
    }
    request.push_str(random.pick(&["\r\n", "\r\n", "\n", ""]));
    let body = random.pick(&["", "5\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "{\"channel_id\":{}}", "hello"]);
    [request.as_bytes(), body.as_bytes(), &random.bytes(20)].concat()
}

fn frames(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    match random.below(9) {
        0 => bytes.extend(Frame::text(packet(random)).masked()),
        1 => (0..300).for_each(|_| bytes.extend(Frame::new(true, PING, [1; 125]).masked())),
        2 => {
            bytes.extend(Frame::new(false, TEXT, "4").masked());
            (0..2_000).for_each(|_| bytes.extend(Frame::new(false, CONTINUATION, "x").masked()));
        }
        3 => {
            bytes.extend(Frame::text(r#"4510-["join",{"_placeholder":true,"num":0}]"#).masked());
            (0..9).for_each(|_| bytes.extend(Frame::new(true, BINARY, [7; 5_000]).masked()));
        }
        4 => {
            let frame = Frame {
                fin: random.below(2) == 0,
                rsv: random.below(8) as u8,
                opcode: random.below(16) as u8,
                payload: random.bytes(200),
            };
            bytes.extend(frame.masked());
        }
        5 => bytes.extend(Frame::text("").header(random.next(), Length::SixtyFour, true)),
        6 => bytes.extend(Frame::close(random.next() as u16, "bye").masked()),
        7 => bytes.extend(random.bytes(100)),
        _ => (0..200).for_each(|_| bytes.extend(Frame::text(r#"421["nope",{}]"#).masked())),
    }
    bytes
}

/// A Socket.IO packet as it stands on a WebSocket.
fn packet(random: &mut Random) -> String {
    let (room, user) = (uuid(random), uuid(random));
    let deep = 1 + random.below(50_000);
    match random.below(12) {
        0 => format!(r#"42["message",{}{}]"#, "[".repeat(deep), "]".repeat(deep)),
        1 => format!(
            r#"42["message",{{"text":"x","roomId":"{room}","userId":"{user}","metadata":{}1{}}}]"#,
            r#"{"a":"#.repeat(deep),
            "}".repeat(deep)
        ),
        2 => format!(r#"42["message",{{{}"a":1}}]"#, r#""roomId":1,"#.repeat(deep)),
        3 => format!(
            r#"42["message",{{"text":"\ud800","roomId":"{room}","userId":"{user}","attachments":[1e999,{}]}}]"#,
            "9".repeat(deep)
        ),
        4 => format!(r#"42["{}",{{}}]"#, random.pick(&["__proto__", "constructor", "error", "connect", "toString"])),
        5 => format!(r#"40/{},"#, "n".repeat(deep)),
        6 => format!(
            "451-[\"join\",{{\"_placeholder\":true,\"num\":{}}}]",
            random.pick(&["\"__proto__\"", "1", "-1", "1e0"])
        ),
        7 => random
            .pick(&["450-[]", "4511-[]", "45-[]", "47", "4", "2", "7", "", "1", "41", "44", "40", "43[]", "42[]"])
            .to_owned(),
        8 => format!("42{}[\"join\",{{}}]", random.next()),
        9 => format!("4{}", String::from_utf8_lossy(&random.bytes(300))),
        10 => format!(
            "42{}",
            json!(["1", {"channelId": random.pick(&["__proto__", "x", "constructor"]), "name": "n".repeat(300)}])
        ),
        _ => format!(
            "425{}",
            json!(["message", {"text": "x", "roomId": room, "userId": user, "thought": null, "actions": [[]]}])
        ),
    }
}

/// Abuse of a session's rules: overlapping polls, a cancelled one, a second WebSocket, binary payloads.
fn with_session(server: &Server, random: &mut Random) {
    let session = Session::open(server, Via::Polling, "/socket.io/");
    let Session::Polling(mut polling) = session else { return };
    match random.below(4) {
        0 => drop((polling.get_pending(), polling.get_pending())),
        1 => drop(polling.post(b"\xff\xfe4\x1e\x1eb!!!!")),
        2 => {
            let mut http = Http::connect(server);
            http.request("POST", &polling.target(), "Content-Type: application/octet-stream\r\n", b"\x04hello");
            assert_eq!(http.response().status, 400);
        }
        _ => {
            let mut http = Http::connect(server);
            http.send(format!("{}\r\n", upgrade_request(&polling.upgrade_target())));
            http.send(Frame::text("2probe").masked());
        }
    }
}
