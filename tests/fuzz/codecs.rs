//! Every parser: any bytes, in any split.

use std::fmt::{self, Formatter};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use sockeye::wire::proxy::NoHeader;
use sockeye::wire::websocket::split_server_frame;
use sockeye::wire::{engine, proxy, socket};

use crate::drive::{Got, engine_packets, http_requests, pieces, put_client_frame, websocket_messages};
use crate::mutation::{fuzz, outcome};
use crate::random::Random;

/// What kinds of messages there are.
fn kinds(messages: &[Got]) -> Vec<std::mem::Discriminant<Got>> {
    messages.iter().map(std::mem::discriminant).collect()
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
    let tokens: Vec<&[u8]> =
        b"\x00\x01\x02\x80\x81\x82\x88\x89\x8a\xc1\xfd\xfe\xff\x7e\x7f\xe2\xf4\xed".chunks(1).collect();
    fuzz(&corpus, &tokens, |input, random| {
        let whole = websocket_messages(std::iter::once(input));
        assert_eq!(websocket_messages(pieces(input, &split(random))), whole);
        assert_eq!(websocket_messages(input.chunks(1)), whole);
        split_server_frame(input);
        outcome((kinds(&whole.0), whole.1))
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
    let mut tokens: Vec<&[u8]> = b"\r\n\0 \t:;,/?%+-019aFgHhx\x7f\xff=*[]".chunks(1).collect();
    let words: [&[u8]; 8] = [
        b"\r\n\r\n",
        b"Content-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
        b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"Upgrade: websocket\r\n",
        b"18446744073709551616",
    ];
    tokens.extend(words);
    fuzz(&corpus, &tokens, |input, random| {
        let whole = http_requests(std::iter::once(input));
        assert_eq!(http_requests(pieces(input, &split(random))), whole);
        assert_eq!(http_requests(input.chunks(1)), whole);
        outcome((whole.0.iter().map(|(_, body)| body.len().min(3)).collect::<Vec<_>>(), whole.1))
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
    let tokens: Vec<&[u8]> = b"\x1e0123456b=+/-_A\xff\xe2\x82".chunks(1).collect();
    fuzz(&corpus, &tokens, |input, _| {
        let valid = engine_packets(input);
        let mut again = Vec::new();
        for (number, (kind, data)) in valid.iter().flatten().enumerate() {
            let payload = [kind.map_or(&b""[..], |kind| kind_byte(kind)), data].concat();
            engine::put_payload_packet(&mut again, number == 0, kind.is_none(), &payload);
        }
        if valid.is_ok() {
            assert_eq!(engine_packets(&again), valid);
        }
        outcome(valid.map(|packets| packets.iter().map(|(kind, _)| format!("{kind:?}")).collect::<Vec<_>>()).ok())
    });
}

fn kind_byte(kind: engine::PacketType) -> &'static [u8] {
    let digits: [&[u8]; 7] = [b"0", b"1", b"2", b"3", b"4", b"5", b"6"];
    digits.into_iter().find(|digit| engine::decode_type(digit[0]) == Some(kind)).expect("a digit for every type")
}

#[test]
fn any_bytes_as_a_proxy_header() {
    let corpus: [&[u8]; 6] = [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET",
        b"PROXY TCP6 2001:db8::7 ::ffff:1.2.3.4 1 65535\r\n",
        b"PROXY UNKNOWN a b\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0e\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb\x04\0GET",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04\0\x01\0\x02",
    ];
    let mut tokens: Vec<&[u8]> = b"\r\n\0 .:0159af\x11\x12\x20\x21\x31\xff".chunks(1).collect();
    let words: [&[u8]; 5] = [b"TCP4", b"TCP6", b"UNKNOWN", b"\r\n", b"65536"];
    tokens.extend(words);
    fuzz(&corpus, &tokens, |input, _| {
        let whole = proxy::parse(input);
        // Whatever has come of it so far: not enough to tell, or what all of it says.
        for len in 0..input.len() {
            let part = proxy::parse(&input[..len]);
            assert!(part == Ok(None) || part == whole, "{len}: {part:?}, {whole:?}");
        }
        if let Ok(Some((_, len))) = whole {
            assert!(len <= input.len() && len <= 4096);
            assert_eq!(proxy::parse(&input[..len]), whole);
        }
        assert!(whole != Ok(None) || input.len() < 4096);
        let source = whole.map(|found| found.map(|(source, len)| (std::mem::discriminant(&source), len / 16)));
        outcome(source.map_err(|NoHeader(why)| why))
    });
}

#[test]
fn any_bytes_as_a_socket_packet() {
    let corpus: [&[u8]; 9] = [
        b"0/admin?token=1,{\"token\":\"123\"}",
        b"1/admin,",
        b"2/admin,13[\"bar\",{\"a\":[1,2.5e-3,null,true]},\"\\u00e9\\\"\"]",
        b"3456[\"bar\",-0.0]",
        b"52-/c,7[\"baz\",{\"_placeholder\":true,\"num\":0},[{\"x\":{\"num\":1,\"_placeholder\":true}}]]",
        b"51-[\"baz\",{\"num\":{\"_placeholder\":true,\"num\":1},\"num\":0}]",
        b"61-15[\"b\\n\",{\"_placeholder\":true,\"num\":0}]",
        b"2[1,\"\xf0\x9f\x98\x80\"]",
        b"2[\"\\u0063onnect\", [ ] , { } ]",
    ];
    let mut tokens: Vec<&[u8]> = b"0123456789-/,?[]{}\"\\:.eutfn_ \x01\xe2".chunks(1).collect();
    let words: [&[u8]; 5] =
        [b"{\"_placeholder\":true,\"num\":1}", b"18446744073709551616", b"\"__proto__\":", b"\\ud800", b"1e999"];
    tokens.extend(words);
    fuzz(&corpus, &tokens, |input, _| {
        let text = String::from_utf8_lossy(input).into_owned();
        let mut bytes = text.clone().into_bytes();
        let packet = match socket::decode(&mut bytes) {
            Ok(packet) => packet,
            Err(error) => return outcome(format!("{error:?}")),
        };
        assert!(packet.attachments <= socket::MAX_ATTACHMENTS);
        let attachments = packet.attachments;
        let data = std::str::from_utf8(packet.data).expect("a part of valid UTF-8");
        let json = serde_json::from_str::<Vec<serde::de::IgnoredAny>>(data).map(|elements| elements.len());
        assert_eq!(socket::validate_ack_args(data).ok().map(|(_, count)| count), json.as_ref().ok().copied(), "{data}");
        if let Ok(args) = socket::validate_args(data) {
            assert_eq!(Some(args.count + 1), json.as_ref().ok().copied());
        }
        let verdict = socket::check_placeholders(data, attachments);
        if let Ok(value) = serde_json::from_str::<Json>(data) {
            assert_eq!(verdict.is_ok(), placeholders_fit(&value, attachments), "{data}");
        }
        outcome((format!("{:?}", packet.kind), attachments, packet.ack_id.is_some(), json.ok(), verdict.is_ok()))
    });
}

/// What [`socket::check_placeholders`] decides, by recursion.
fn placeholders_fit(value: &Json, attachments: u32) -> bool {
    match value {
        Json::Array(elements) => elements.iter().all(|element| placeholders_fit(element, attachments)),
        Json::Object(members) => {
            let last = |name| members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);
            let is_placeholder = matches!(last("_placeholder"), Some(Json::True));
            let names_one = matches!(last("num"), Some(Json::Number(num)) if *num < u64::from(attachments));
            (!is_placeholder || names_one) && members.iter().all(|(_, member)| placeholders_fit(member, attachments))
        }
        Json::True | Json::Number(_) | Json::Other => true,
    }
}

/// JSON with all members of an object, those that others of the same name replace too.
enum Json {
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    True,
    Number(u64),
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Json::Array(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(if value { Json::True } else { Json::Other })
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
