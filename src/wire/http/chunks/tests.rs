use super::*;

/// The decoded bytes, and what lies behind the body.
type Decoded = (Vec<u8>, Vec<u8>);

/// Decodes `body` in pieces of `step` bytes. `None`: it is not complete.
fn dechunk(body: &[u8], limit: usize, step: usize) -> Result<Option<Decoded>, BodyError> {
    let mut chunks = Chunks::new(limit);
    let (mut out, mut taken) = (Vec::new(), 0);
    for piece in body.chunks(step) {
        let mut piece = piece.to_vec();
        let (decoded, used) = chunks.decode(&mut piece)?;
        out.extend_from_slice(&piece[..decoded]);
        taken += used;
        assert!(used == piece.len() || chunks.is_done());
        if chunks.is_done() {
            return Ok(Some((out, body[taken..].to_vec())));
        }
    }
    Ok(None)
}

#[test]
fn chunked_bodies() {
    let good: [(&[u8], &[u8], &[u8]); 6] = [
        (b"0\r\n\r\n", b"", b""),
        (b"4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\nGET", b"Wikipedia", b"GET"),
        (b"0000000000000004\r\nWiki\r\n00\r\n\r\n", b"Wiki", b""),
        (b"a;name=\"v;\"\r\n0123456789\r\n0;x\r\nTrailer: t\r\nOther: u\r\n\r\n\r\n", b"0123456789", b"\r\n"),
        (b"A\r\n\r\n0\r\n\r\n\r\n.\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n.", b""),
        (b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", b"ab", b""),
    ];
    for (body, decoded, rest) in good {
        for step in 1..=body.len() {
            assert_eq!(dechunk(body, 10, step), Ok(Some((decoded.to_vec(), rest.to_vec()))), "{body:?} {step}");
        }
        let whole = body.len() - rest.len();
        assert_eq!(dechunk(&body[..whole - 1], 10, 3), Ok(None), "{body:?}");
    }
}

#[test]
fn bad_chunked_bodies_are_refused() {
    let long_extension = [b"1;".to_vec(), vec![b'x'; 1025]].concat();
    let long_trailer = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(1025)].concat();
    let bad: [&[u8]; 27] = [
        b"\r\n",
        b";",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\n",
        b"1\rx",
        b"1;a\n",
        b"1;a\0",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"1\r\na0\r\n",
        b"00000000000000001\r\n",
        b"10000000000000000\r\n",
        b"0\r\n\n",
        b"0\r\n\rx",
        b"0\r\nTrailer: a\nb",
        b"0\r\nTrailer\r\n",
        b"0\r\nTrailer : a\r\n",
        b"0\r\n: a\r\n",
        b"0\r\nTrailer: a\r\n folded\r\n",
        &long_extension,
        &long_trailer,
    ];
    for body in bad {
        for step in [1, 2, body.len()] {
            assert!(matches!(dechunk(body, 100, step), Err(BodyError::Malformed(_))), "{body:?}");
        }
    }
}

#[test]
fn the_limit_of_a_chunked_body_is_judged_from_the_size() {
    assert!(matches!(dechunk(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 10, 4), Ok(Some(_))));
    assert_eq!(dechunk(b"b\r\n", 10, 1), Err(BodyError::TooLarge));
    assert_eq!(dechunk(b"5\r\nhello\r\n6\r\n", 10, 100), Err(BodyError::TooLarge));
    assert_eq!(dechunk(b"ffffffffffffffff\r\n", usize::MAX, 1), Ok(None));
    assert_eq!(dechunk(b"ffffffffffffffff\r\n", 10, 1), Err(BodyError::TooLarge));
}
