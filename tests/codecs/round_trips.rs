//! What was written is what is read.

use proptest::prelude::*;
use sockeye::wire::websocket::{put_header, split_server_frame, unmask};
use sockeye::wire::{engine, socket};
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::drive::{EnginePacket, Got, engine_packets, http_requests, pieces, put_client_frame, websocket_messages};

fn piece_lens() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..400usize], 1..6)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 100..300)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn websocket_messages_survive_fragmenting_and_splitting(
        messages in prop::collection::vec((prop_oneof![
            ".{0,60}".prop_map(|text| Got::Text(text.into_bytes())),
            bytes().prop_map(Got::Binary),
        ], 1..400usize, any::<bool>(), any::<[u8; 4]>()), 0..6),
        lens in piece_lens(),
    ) {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for (message, fragment, ping, mask) in messages {
            let (opcode, payload) = match &message {
                Got::Binary(payload) => (2, payload),
                Got::Text(payload) => (1, payload),
                _ => unreachable!("only these are generated"),
            };
            let fragment = fragment.max(payload.len().div_ceil(8)).max(1);
            let count = payload.len().div_ceil(fragment).max(1);
            for number in 0..count {
                let part = &payload[(number * fragment).min(payload.len())..((number + 1) * fragment).min(payload.len())];
                let first = if number == 0 { opcode } else { 0 };
                put_client_frame(&mut input, first | if number + 1 == count { 0x80 } else { 0 }, part, mask);
                if ping {
                    put_client_frame(&mut input, 0x89, b"ping", mask);
                    if number + 1 < count {
                        expected.push(Got::Ping(b"ping".to_vec()));
                    }
                }
            }
            expected.push(message);
            if ping {
                expected.push(Got::Ping(b"ping".to_vec()));
            }
        }
        prop_assert_eq!(websocket_messages(pieces(&input, &lens)), (expected, None));
    }

    #[test]
    fn http_requests_survive_pipelining_and_splitting(
        requests in prop::collection::vec(("[a-z]{0,8}", bytes(), prop::option::of(1..100usize)), 0..5),
        lens in piece_lens(),
    ) {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for (name, body, chunk) in requests {
            input.extend_from_slice(format!("POST /{name}?q=%61+{name} HTTP/1.1\r\nHost: a\r\n").as_bytes());
            match chunk {
                None => {
                    input.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                    input.extend_from_slice(&body);
                }
                Some(len) => {
                    input.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(len) {
                        input.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                        input.extend_from_slice(chunk);
                        input.extend_from_slice(b"\r\n");
                    }
                    input.extend_from_slice(b"0\r\n\r\n");
                }
            }
            expected.push((format!("/{name}?a {name}"), body));
        }
        prop_assert_eq!(http_requests(pieces(&input, &lens)), (expected, None));
    }

    #[test]
    fn queued_frames_survive_a_poll(packets in prop::collection::vec(prop_oneof![
        "4[^\u{1e}]{0,60}".prop_map(|text| (false, text.into_bytes())),
        bytes().prop_map(|bytes| (true, bytes)),
    ], 1..8)) {
        let mut queued = Vec::new();
        for (binary, payload) in &packets {
            let data = if *binary { Data::Binary } else { Data::Text };
            put_header(&mut queued, OpCode::Data(data), payload.len());
            queued.extend_from_slice(payload);
        }
        let (mut rest, mut body, mut first) = (&queued[..], Vec::new(), true);
        while let Some((frame, after)) = split_server_frame(rest) {
            engine::put_payload_packet(&mut body, first, frame.binary, frame.payload);
            (rest, first) = (after, false);
        }
        let expected: Vec<EnginePacket> = packets.into_iter().map(|(binary, payload)| {
            if binary { (None, payload) } else { (Some(engine::PacketType::Message), payload[1..].to_vec()) }
        }).collect();
        prop_assert_eq!(engine_packets(&body), Ok(expected));
    }

    #[test]
    fn socket_packets_round_trip(
        kind in prop_oneof![
            Just(socket::PacketType::Event), Just(socket::PacketType::Ack),
            Just(socket::PacketType::BinaryEvent), Just(socket::PacketType::BinaryAck),
        ],
        attachments in 1..=socket::MAX_ATTACHMENTS,
        namespace in "/[^,?]{0,10}",
        ack_id in prop::option::of(0..(1u64 << 53)),
        name in ".{1,20}",
        args in prop::collection::vec(".{0,20}", 0..4),
    ) {
        let binary = matches!(kind, socket::PacketType::BinaryEvent | socket::PacketType::BinaryAck);
        let attachments = if binary { attachments } else { 0 };
        let data: Vec<&str> = std::iter::once(&name).chain(&args).map(String::as_str).collect();
        let data = serde_json::to_string(&data).expect("strings");
        let mut text = Vec::new();
        socket::put_prefix(&mut text, kind, attachments, &namespace, ack_id);
        text.extend_from_slice(data.as_bytes());
        let packet = socket::decode(&mut text).expect("valid");
        prop_assert_eq!((packet.kind, packet.attachments, packet.ack_id), (kind, attachments, ack_id));
        prop_assert_eq!((packet.namespace, &*packet.data), (&*namespace, data.as_bytes()));
        let decoded = socket::validate_args(&data).expect("not reserved");
        prop_assert_eq!((&*decoded.name, decoded.count), (&*name, args.len()));
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&format!("[{}]", decoded.rest)).ok(), Some(args));
    }

    #[test]
    fn unmasking_twice_changes_nothing(plain in bytes(), mask: [u8; 4]) {
        let mut bytes = plain.clone();
        unmask(&mut bytes, mask);
        prop_assert!(bytes.iter().zip(&plain).enumerate().all(|(at, (masked, byte))| *masked == byte ^ mask[at % 4]));
        unmask(&mut bytes, mask);
        prop_assert_eq!(bytes, plain);
    }
}
