use super::*;

const LIMITS: Limits = Limits { max_payload: 1000, max_fragments: 16 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const CONTINUE: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

/// A masked frame, `first` being its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
    out
}

/// A [`Message`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Feeds `decoder`, collects the messages.
fn feed(decoder: &mut Decoder, input: &[u8], limits: &Limits) -> Result<Vec<Got>, Violation> {
    let mut input = input.to_vec();
    let mut rest = &mut input[..];
    let mut got = Vec::new();
    loop {
        let (message, after) = decoder.next(rest, limits)?;
        rest = after;
        got.push(match message {
            None => break,
            Some(Message::Text(bytes)) => Got::Text(bytes.to_vec()),
            Some(Message::Binary(bytes)) => Got::Binary(bytes.to_vec()),
            Some(Message::Ping(bytes)) => Got::Ping(bytes.to_vec()),
            Some(Message::Pong) => Got::Pong,
            Some(Message::Close(code)) => Got::Close(code),
        });
    }
    assert!(rest.is_empty(), "input is used up");
    Ok(got)
}

/// Decodes `frames` whole, cut in two at every place, and byte by byte: the result must be one.
fn decode(frames: &[Vec<u8>]) -> Result<Vec<Got>, Violation> {
    let input = frames.concat();
    let whole = feed(&mut Decoder::new(), &input, &LIMITS);
    for cut in 0..=input.len() {
        let mut decoder = Decoder::new();
        let (front, back) = input.split_at(cut);
        let split = feed(&mut decoder, front, &LIMITS).and_then(|mut got| {
            got.append(&mut feed(&mut decoder, back, &LIMITS)?);
            Ok(got)
        });
        assert_eq!(split, whole, "cut at {cut}");
    }
    let mut decoder = Decoder::new();
    let mut bytewise = Ok(Vec::new());
    for byte in &input {
        match (&mut bytewise, feed(&mut decoder, &[*byte], &LIMITS)) {
            (Ok(all), Ok(mut got)) => all.append(&mut got),
            (bytewise, Err(violation)) => {
                *bytewise = Err(violation);
                break;
            }
            (Err(_), Ok(_)) => unreachable!("fed no further"),
        }
    }
    assert_eq!(bytewise, whole, "byte by byte");
    whole
}

fn code_of(frames: &[Vec<u8>]) -> Option<u16> {
    decode(frames).err().map(|violation| violation.code)
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 24);
    assert_eq!(Decoder::new().buffered(), 0);
}

#[test]
fn examples_of_the_rfc() {
    let hello = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&[hello]), Ok(vec![Got::Text(b"Hello".to_vec())]));
    assert_eq!(decode(&[frame(TEXT, b"Hel"), frame(FIN | CONTINUE, b"lo")]), Ok(vec![Got::Text(b"Hello".to_vec())]));
    assert_eq!(decode(&[frame(FIN | PING, b"Hello")]), Ok(vec![Got::Ping(b"Hello".to_vec())]));
    assert_eq!(decode(&[frame(FIN | BINARY, &[7; 256])]), Ok(vec![Got::Binary(vec![7; 256])]));
}

#[test]
fn a_whole_frame_is_given_out_in_place() {
    let mut input = frame(FIN | TEXT, b"Hello");
    input.extend(frame(FIN | BINARY, b"next"));
    let range = input.as_ptr_range();
    let mut decoder = Decoder::new();
    let (message, rest) = decoder.next(&mut input, &LIMITS).expect("valid");
    let Some(Message::Text(text)) = message else { panic!("a text") };
    assert!(range.contains(&text.as_ptr()));
    assert_eq!((&*text, rest.len()), (&b"Hello"[..], 10));
    assert!(decoder.partial.is_none());
}

#[test]
fn control_frames_come_between_fragments() {
    assert_eq!(
        decode(&[
            frame(TEXT, "€".as_bytes()),
            frame(FIN | PING, b"1"),
            frame(CONTINUE, b""),
            frame(FIN | PONG, b"ignored"),
            frame(FIN | CONTINUE, b"b"),
            frame(FIN | TEXT, b""),
            frame(FIN | CLOSE, b"\x03\xe8bye"),
        ]),
        Ok(vec![
            Got::Ping(b"1".to_vec()),
            Got::Pong,
            Got::Text("€b".into()),
            Got::Text(Vec::new()),
            Got::Close(Some(1000)),
        ])
    );
}

#[test]
fn framing_violations_are_1002() {
    let unmasked = vec![0x81, 0x01, b'a'];
    let long_form = |form: u8, len: &[u8]| [&[0x82, 0x80 | form], len, &MASK[..]].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("unmasked", vec![unmasked]),
        ("RSV1", vec![frame(FIN | 0x40 | TEXT, b"a")]),
        ("RSV2", vec![frame(FIN | 0x20 | TEXT, b"a")]),
        ("RSV3", vec![frame(FIN | 0x10 | PING, b"a")]),
        ("opcode 3", vec![frame(FIN | 0x3, b"a")]),
        ("opcode 7", vec![frame(FIN | 0x7, b"a")]),
        ("opcode 11", vec![frame(FIN | 0xb, b"")]),
        ("opcode 15", vec![frame(FIN | 0xf, b"")]),
        ("fragmented ping", vec![frame(PING, b"a")]),
        ("long ping", vec![frame(FIN | PING, &[0; 126])]),
        ("long close", vec![frame(FIN | CLOSE, &[0; 126])]),
        ("continuation without start", vec![frame(FIN | CONTINUE, b"a")]),
        ("continuation after the end", vec![frame(FIN | TEXT, b"a"), frame(FIN | CONTINUE, b"b")]),
        ("text inside a message", vec![frame(TEXT, b"a"), frame(FIN | TEXT, b"b")]),
        ("binary inside a message", vec![frame(TEXT, b"a"), frame(BINARY, b"b")]),
        ("125 in 16 bits", vec![long_form(126, &[0, 125])]),
        ("65535 in 64 bits", vec![long_form(127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff])]),
        ("top bit", vec![long_form(127, &[0x80, 0, 0, 0, 0, 0, 0, 0])]),
        ("close payload of one byte", vec![frame(FIN | CLOSE, b"\x03")]),
    ];
    for (name, frames) in cases {
        assert_eq!(code_of(&frames), Some(1002), "{name}");
    }
}

#[test]
fn what_the_first_bytes_forbid_is_refused_at_once() {
    for start in [&[0xc1][..], &[0x83], &[0x80], &[0x09], &[0x81, 0x05], &[0x89, 0xfe]] {
        let result = feed(&mut Decoder::new(), start, &LIMITS);
        assert_eq!(result.map_err(|violation| violation.code), Err(1002), "{start:?}");
    }
}

#[test]
fn close_codes() {
    let close = |code: u16| decode(&[frame(FIN | CLOSE, &code.to_be_bytes())]);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 3999, 4000, 4999] {
        assert_eq!(close(code), Ok(vec![Got::Close(Some(code))]), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(close(code).map_err(|violation| violation.code), Err(1002), "{code}");
    }
    assert_eq!(decode(&[frame(FIN | CLOSE, b"")]), Ok(vec![Got::Close(None)]));
    assert_eq!(code_of(&[frame(FIN | CLOSE, b"\x03\xe8\xff")]), Some(1007));
}

#[test]
fn invalid_utf8_is_1007() {
    let bad: [&[u8]; 7] = [
        b"\xff",
        b"a\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"cut \xe2\x82",
    ];
    for text in bad {
        assert_eq!(code_of(&[frame(FIN | TEXT, text)]), Some(1007), "{text:?}");
        let (front, back) = text.split_at(text.len() / 2);
        let fragments = [frame(TEXT, front), frame(CONTINUE, back), frame(FIN | CONTINUE, b"")];
        assert_eq!(code_of(&fragments), Some(1007), "{text:?}");
        assert_eq!(
            decode(&[frame(FIN | BINARY, text)]),
            Ok(vec![Got::Binary(text.to_vec())]),
            "binary may be anything"
        );
    }
    let split = [frame(TEXT, b"\xf0\x9f"), frame(CONTINUE, b"\x98"), frame(FIN | CONTINUE, b"\x80")];
    assert_eq!(decode(&split), Ok(vec![Got::Text("😀".into())]));
}

#[test]
fn an_invalid_byte_fails_before_its_frame_is_complete() {
    let cases: [(&[u8], usize); 4] =
        [(b"ab\xffcdefgh", 3), (b"ab\xc0\x80cdefg", 3), (b"ab\xed\xa0\x80efg", 4), (b"\xf4\x90\x80\x80abc", 2)];
    for (text, offending) in cases {
        let input = frame(FIN | TEXT, text);
        let header = input.len() - text.len();
        let (before, bad) = input[..header + offending].split_at(header + offending - 1);
        let mut decoder = Decoder::new();
        assert_eq!(feed(&mut decoder, before, &LIMITS), Ok(Vec::new()), "{text:?}");
        assert_eq!(feed(&mut decoder, bad, &LIMITS), Err(Violation::INVALID_UTF8), "{text:?}");
    }
}

#[test]
fn the_limit_is_judged_from_the_header_and_is_inclusive() {
    assert_eq!(decode(&[frame(FIN | BINARY, &[1; 1000])]), Ok(vec![Got::Binary(vec![1; 1000])]));
    let parts = [frame(BINARY, &[1; 400]), frame(FIN | CONTINUE, &[1; 600])];
    assert_eq!(decode(&parts), Ok(vec![Got::Binary(vec![1; 1000])]));
    assert_eq!(feed(&mut Decoder::new(), &frame(FIN | BINARY, &[1; 1001])[..8], &LIMITS), Err(Violation::TOO_BIG));
    let mut decoder = Decoder::new();
    assert_eq!(feed(&mut decoder, &frame(BINARY, &[1; 400]), &LIMITS), Ok(Vec::new()));
    assert_eq!(feed(&mut decoder, &frame(FIN | CONTINUE, &[1; 601])[..8], &LIMITS), Err(Violation::TOO_BIG));
}

#[test]
fn nothing_is_allocated_on_the_word_of_a_length() {
    let limits = Limits { max_payload: usize::MAX >> 1, max_fragments: 1 };
    let mut input = vec![0x82, 0xff];
    input.extend_from_slice(&(i64::MAX as u64).to_be_bytes());
    input.extend_from_slice(&MASK);
    input.extend_from_slice(b"ten bytes.");
    let mut decoder = Decoder::new();
    assert_eq!(feed(&mut decoder, &input, &limits), Ok(Vec::new()));
    let partial = decoder.partial.as_ref().expect("a frame has begun");
    assert!(partial.data.capacity() < 64 && decoder.buffered() == 10);
}

#[test]
fn memory_stays_below_the_limit_and_is_given_back() {
    let limits = Limits { max_payload: 100_000, max_fragments: 1_000_000 };
    let mut decoder = Decoder::new();
    feed(&mut decoder, &frame(BINARY, b""), &limits).expect("valid");
    for _ in 0..100_000 {
        feed(&mut decoder, &frame(CONTINUE, b"x"), &limits).expect("valid");
        let partial = decoder.partial.as_ref().expect("a message has begun");
        assert!(partial.data.capacity() <= limits.max_payload);
    }
    assert!(decoder.in_message());
    assert_eq!(decoder.buffered(), 100_000);
    let got = feed(&mut decoder, &frame(FIN | CONTINUE, b""), &limits).expect("valid");
    assert_eq!(got, [Got::Binary(vec![b'x'; 100_000])]);
    assert!(!decoder.in_message() && decoder.partial.is_none());
}

#[test]
fn fragments_are_counted_empty_ones_too() {
    let fragments = |count: usize| {
        let mut frames = vec![frame(BINARY, b"")];
        frames.extend((2..count).map(|_| frame(CONTINUE, b"")));
        frames.push(frame(FIN | CONTINUE, b""));
        frames
    };
    assert_eq!(decode(&fragments(16)), Ok(vec![Got::Binary(Vec::new())]));
    assert_eq!(code_of(&fragments(17)), Some(1009));
}

#[test]
fn in_message_tells_begun_from_complete() {
    let input = [frame(TEXT, b"ab"), frame(FIN | PING, b"p"), frame(FIN | CONTINUE, b"c")].concat();
    let mut decoder = Decoder::new();
    assert!(!decoder.in_message());
    for (at, byte) in input.iter().enumerate() {
        feed(&mut decoder, &[*byte], &LIMITS).expect("valid");
        assert_eq!(decoder.in_message(), at + 1 < input.len(), "after byte {at}");
    }
    feed(&mut decoder, &frame(FIN | PING, b"p")[..3], &LIMITS).expect("valid");
    assert!(decoder.in_message());
}
