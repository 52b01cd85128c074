//! Mutated inputs: any split gives the same result, and nothing panics.
//!
//! `FUZZ_CASES` is the number of inputs per parser; a failure prints the `FUZZ_SEED` that replays it as the first case.

use std::env;

use sockeye::wire::websocket::split_server_frame;
use sockeye::wire::{engine, socket};

use crate::drive::{engine_packets, http_requests, pieces, put_client_frame, websocket_messages};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Changes `input` in one to four places; `tokens` are bytes that mean something to the parser.
    fn mutate(&mut self, input: &mut Vec<u8>, tokens: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let token = tokens[self.below(tokens.len())];
            match (self.below(8), input.get_mut(at)) {
                (0, Some(byte)) => *byte ^= 1 << self.below(8),
                (1, Some(byte)) => *byte = self.next() as u8,
                (2 | 3, Some(byte)) => *byte = token,
                (4, _) => input.insert(at, token),
                (5, Some(_)) => drop(input.remove(at)),
                (6, _) => {
                    let end = (at + self.below(16)).min(input.len());
                    let part = input[at..end].to_vec();
                    let to = self.below(input.len() + 1);
                    input.splice(to..to, part);
                }
                _ if self.below(4) == 0 => input.truncate(at),
                _ => {}
            }
        }
    }
}

/// Prints the seed of a case that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with FUZZ_SEED={} FUZZ_CASES=1", self.0);
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs `check` on mutations of `corpus`.
fn fuzz(corpus: &[&[u8]], tokens: &[u8], check: impl Fn(&[u8], &mut Random)) {
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + number("FUZZ_CASES", 5_000) {
        let _seed = Seed(seed);
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut input = corpus[random.below(corpus.len())].to_vec();
        if random.below(4) == 0 {
            input.extend_from_slice(corpus[random.below(corpus.len())]);
        }
        random.mutate(&mut input, tokens);
        check(&input, &mut random);
    }
}

/// The lengths of a random split.
fn split(random: &mut Random) -> [usize; 3] {
    let bound = [2, 8, 64][random.below(3)];
    std::array::from_fn(|_| 1 + random.below(bound))
}

#[test]
fn any_bytes_as_websocket_frames() {
    let mut corpus = Vec::new();
    let frames: [&[(u8, &[u8])]; 6] = [
        &[(0x81, "hé€😀".as_bytes()), (0x82, &[7; 130])],
        &[(0x01, b"\xe2\x82"), (0x89, b"ping"), (0x00, b""), (0x80, b"\xac")],
        &[(0x02, &[1; 149]), (0x00, &[2; 149]), (0x80, &[3; 2])],
        &[(0x8a, b"x"), (0x88, b"\x03\xe8bye\xc3\xa9")],
        &[(0x82, &[4; 300])],
        &[(0x01, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x80, b"")],
    ];
    for frames in frames {
        let mut input = Vec::new();
        // The mask is zero in half of them, so that mutations of the payload are ones of the text.
        for (number, (first, payload)) in frames.iter().enumerate() {
            put_client_frame(&mut input, *first, payload, [0, number as u8 % 2, 0, 0]);
        }
        corpus.push(input);
    }
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let tokens =
        [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0xfd, 0xfe, 0xff, 0x7e, 0x7f, 0xe2, 0xf4, 0xed];
    fuzz(&corpus, &tokens, |input, random| {
        let whole = websocket_messages(std::iter::once(input));
        assert_eq!(websocket_messages(pieces(input, &split(random))), whole);
        assert_eq!(websocket_messages(input.chunks(1)), whole);
        split_server_frame(input);
    });
}

#[test]
fn any_bytes_as_http_requests() {
    let corpus: [&[u8]; 6] = [
        b"GET /socket.io/?EIO=4&q=%41+b HTTP/1.1\r\nHost: a:80\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"\r\nPOST /p HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\nhello world",
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n00\r\nT: v\r\n\r\n",
        b"GET /w HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET http://b/x?q=%e2%82%ac HTTP/1.1\r\nhost: c\r\nConnection: close\r\n\r\n",
        b"POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ];
    fuzz(&corpus, b"\r\n\0 \t:;,/?%+-019aFgHhx\x7f\xff=*[]", |input, random| {
        let whole = http_requests(std::iter::once(input));
        assert_eq!(http_requests(pieces(input, &split(random))), whole);
        assert_eq!(http_requests(input.chunks(1)), whole);
    });
}

#[test]
fn any_bytes_as_an_engine_payload() {
    let corpus: [&[u8]; 4] = [
        b"4hello\x1e2probe\x1e6",
        b"bAQIDBA==\x1e4\xe2\x82\xac\x1ebYWI",
        b"3\x1e5\x1e1",
        b"42[\"a\",{\"b\":1}]\x1ebAA",
    ];
    fuzz(&corpus, b"\x1e0123456b=+/-_A\xff\xe2\x82", |input, _| {
        let valid = engine_packets(input);
        let mut again = Vec::new();
        for (number, (kind, data)) in valid.iter().flatten().enumerate() {
            let payload = [kind.map_or(&b""[..], |kind| kind_byte(kind)), data].concat();
            engine::put_payload_packet(&mut again, number == 0, kind.is_none(), &payload);
        }
        if valid.is_ok() {
            assert_eq!(engine_packets(&again), valid);
        }
    });
}

fn kind_byte(kind: engine::PacketType) -> &'static [u8] {
    let digits: [&[u8]; 7] = [b"0", b"1", b"2", b"3", b"4", b"5", b"6"];
    digits.into_iter().find(|digit| engine::decode_type(digit[0]) == Some(kind)).expect("a digit for every type")
}

#[test]
fn any_bytes_as_a_socket_packet() {
    let corpus: [&[u8]; 8] = [
        b"0/admin?token=1,{\"token\":\"123\"}",
        b"1/admin,",
        b"2/admin,13[\"bar\",{\"a\":[1,2.5e-3,null,true]},\"\\u00e9\\\"\"]",
        b"3456[\"bar\",-0.0]",
        b"52-/c,7[\"baz\",{\"_placeholder\":true,\"num\":0},[{\"x\":{\"num\":1,\"_placeholder\":true}}]]",
        b"61-15[\"b\\n\",{\"_placeholder\":true,\"num\":0}]",
        b"2[1,\"\xf0\x9f\x98\x80\"]",
        b"2[\"\\u0063onnect\", [ ] , { } ]",
    ];
    fuzz(&corpus, b"0123456789-/,?[]{}\"\\:.eutfn_ \x01\xe2", |input, _| {
        let text = String::from_utf8_lossy(input).into_owned();
        let mut bytes = text.clone().into_bytes();
        let Ok(packet) = socket::decode(&mut bytes) else {
            return;
        };
        assert!(packet.attachments <= socket::MAX_ATTACHMENTS);
        let attachments = packet.attachments;
        let data = std::str::from_utf8(packet.data).expect("a part of valid UTF-8");
        let json = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(data).map(|elements| elements.len());
        assert_eq!(socket::validate_ack_args(data).ok().map(|(_, count)| count), json.as_ref().ok().copied(), "{data}");
        if let Ok(args) = socket::validate_args(data) {
            assert_eq!(Some(args.count + 1), json.ok());
        }
        let verdict = socket::check_placeholders(data, attachments);
        if let Ok(value) = serde_json::from_str(data) {
            assert_eq!(verdict.is_ok(), placeholders_fit(&value, attachments), "{data}");
        }
    });
}

/// What [`socket::check_placeholders`] decides, by recursion.
fn placeholders_fit(value: &serde_json::Value, attachments: u32) -> bool {
    match value {
        serde_json::Value::Array(elements) => elements.iter().all(|element| placeholders_fit(element, attachments)),
        serde_json::Value::Object(members) => {
            let is_placeholder = members.get("_placeholder") == Some(&true.into());
            let num = members.get("num").and_then(serde_json::Value::as_u64);
            (!is_placeholder || num.is_some_and(|num| num < u64::from(attachments)))
                && members.values().all(|member| placeholders_fit(member, attachments))
        }
        _ => true,
    }
}
