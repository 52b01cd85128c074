use super::*;

const LIMIT: usize = 1000;

/// Path and body of each request.
type Requests = Vec<(String, Vec<u8>)>;

/// Takes all complete requests from `decoder`. An error is the status of the response.
fn take(decoder: &mut Decoder, requests: &mut Requests) -> Result<(), u16> {
    let status = |error: BodyError| {
        if error == BodyError::TooLarge { 413u16 } else { 400 }
    };
    loop {
        if !matches!(decoder.held.as_ref().map(|held| held.body), Some(Body::Length(_) | Body::Chunked { .. })) {
            if decoder.head().map_err(|error| error.status())?.is_none() {
                return Ok(());
            }
            decoder.begin_body(LIMIT).map_err(status)?;
        }
        if !decoder.poll_body().map_err(status)? {
            assert!(decoder.request().is_none());
            return Ok(());
        }
        let (head, body) = decoder.request().expect("complete");
        requests.push((head.path.to_owned(), body.to_vec()));
        decoder.finish();
    }
}

fn decode(input: &[u8], step: usize) -> (Requests, Result<(), u16>) {
    let (mut decoder, mut requests) = (Decoder::default(), Vec::new());
    for piece in input.chunks(step) {
        decoder.push(piece);
        let result = take(&mut decoder, &mut requests);
        if result.is_err() {
            return (requests, result);
        }
    }
    (requests, Ok(()))
}

#[test]
fn pipelined_requests_come_one_by_one_at_any_split() {
    let input = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        \r\nPOST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n\
        GET /d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\
        GET /e HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n";
    let requests: Requests = [("/a", &b""[..]), ("/b", b"hello"), ("/c", b"abcde"), ("/d", b"")]
        .map(|(path, body)| (path.to_owned(), body.to_vec()))
        .into();
    for step in 1..=input.len() {
        assert_eq!(decode(input, step), (requests.clone(), Err(400)), "in pieces of {step}");
    }
}

#[test]
fn an_idle_decoder_owns_nothing() {
    let mut decoder = Decoder::default();
    assert!(size_of::<Decoder>() <= 8);
    assert!(decoder.held.is_none() && !decoder.in_request());
    decoder.push(b"");
    assert!(decoder.held.is_none());
    decoder.push(b"GET / HTTP/1.1\r\n");
    assert!(decoder.in_request());
    decoder.push(b"Host: a\r\n\r\n");
    assert_eq!(take(&mut decoder, &mut Vec::new()), Ok(()));
    assert!(decoder.held.is_none() && !decoder.in_request());
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn a_complete_request_is_not_in_request_until_the_next_begins() {
    let mut decoder = Decoder::default();
    decoder.push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\no");
    assert_eq!(decoder.begin_body(LIMIT), Ok(()));
    assert_eq!(decoder.poll_body(), Ok(false));
    assert!(decoder.in_request());
    decoder.push(b"kGET");
    assert_eq!(decoder.poll_body(), Ok(true));
    assert_eq!(decoder.poll_body(), Ok(true), "may be asked again");
    assert!(!decoder.in_request());
    assert!(decoder.request().is_some_and(|(_, body)| body == b"ok"));
    decoder.finish();
    assert!(decoder.in_request());
    assert_eq!(decoder.buffered(), 3);
    assert_eq!(decoder.into_unread(), b"GET");
}

#[test]
fn the_limit_is_inclusive_and_judged_before_the_body_arrives() {
    let post = |len: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n").into_bytes();
    for (len, result) in [("1000", Ok(())), ("1001", Err(413)), ("18446744073709551615", Err(413))] {
        assert_eq!(decode(&post(len), 7), (Vec::new(), result), "{len}");
    }
    let full = [post("1000"), vec![b'x'; 1000]].concat();
    assert_eq!(decode(&full, 64), (vec![("/".to_owned(), vec![b'x'; 1000])], Ok(())));
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n";
    assert_eq!(decode(chunked, 64), (Vec::new(), Err(413)));
}

#[test]
fn tiny_chunks_take_no_more_memory_than_their_data() {
    let mut decoder = Decoder::default();
    decoder.push(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = decoder.buffered();
    decoder.begin_body(100_000).expect("within the limit");
    for count in 1..=500 {
        decoder.push(b"00000001\r\nz\r\n");
        assert_eq!(decoder.poll_body(), Ok(false));
        assert_eq!(decoder.buffered(), head + count);
    }
    assert!(decoder.held.as_ref().is_some_and(|held| held.bytes.capacity() < 4096));
}

#[test]
fn memory_grows_with_what_arrives_up_to_what_is_announced() {
    let mut decoder = Decoder::default();
    decoder.push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let head = decoder.buffered();
    decoder.begin_body(1_000_000).expect("within the limit");
    let capacity = |decoder: &Decoder| decoder.held.as_ref().map_or(0, |held| held.bytes.capacity());
    assert!(capacity(&decoder) < 1000, "nothing is allocated on the word of Content-Length");
    for _ in 0..1000 {
        assert_eq!(decoder.poll_body(), Ok(false));
        decoder.push(&[b'x'; 1000]);
        assert!(capacity(&decoder) <= head + 1_000_000);
    }
    assert_eq!(decoder.poll_body(), Ok(true));
}

#[test]
fn an_endless_head_is_refused_and_looked_at_once() {
    let mut decoder = Decoder::default();
    decoder.push(b"GET / HTTP/1.1\r\n");
    let mut result = Ok(());
    let mut pushed = 16;
    while result.is_ok() {
        decoder.push(b"x");
        pushed += 1;
        result = decoder.head().map(|head| assert!(head.is_none()));
    }
    assert_eq!((result, pushed), (Err(HeadError::TooLarge), MAX_HEAD));
}

#[test]
fn the_head_may_be_asked_for_again_and_handed_over() {
    let input = b"\r\nGET /ws HTTP/1.1\r\nHost: a\r\n\r\nframes";
    let mut decoder = Decoder::default();
    decoder.push(input);
    for _ in 0..2 {
        assert_eq!(decoder.head().map(|head| head.map(|head| head.path)), Ok(Some("/ws")));
    }
    assert_eq!(decoder.into_unread(), input);
    let mut decoder = Decoder::default();
    decoder.push(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    decoder.push(input);
    decoder.begin_body(0).expect("no body");
    assert_eq!(decoder.poll_body(), Ok(true));
    decoder.finish();
    assert!(decoder.head().is_ok_and(|head| head.is_some()));
    assert_eq!(decoder.into_after_head(), b"frames");
}

#[test]
fn finishing_what_is_not_complete_drops_all_of_it() {
    let mut decoder = Decoder::default();
    decoder.push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    decoder.begin_body(LIMIT).expect("within the limit");
    assert_eq!(decoder.poll_body(), Ok(false));
    decoder.finish();
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn nothing_works_without_a_head() {
    let mut decoder = Decoder::default();
    assert!(decoder.begin_body(LIMIT).is_err());
    decoder.push(b"GET / HT");
    assert!(decoder.begin_body(LIMIT).is_err());
    assert_eq!(decoder.poll_body(), Ok(false));
    assert!(decoder.request().is_none());
}
