use super::*;

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

fn good() -> Vec<(Vec<u8>, Source)> {
    let four = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 0xbb];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    six[15] = 7;
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
    let extended = [&four[..], &[0x04, 0, 2, 1, 2, 0x05, 0, 0]].concat();
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_vec(), client("192.0.2.1")),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(), client("255.255.255.255")),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), client("2001:db8::7")),
        (b"PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n".to_vec(), client("10.1.2.3")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unknown),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Source::Unknown),
        (binary(0x21, 0x11, &four), client("192.0.2.1")),
        (binary(0x21, 0x11, &extended), client("192.0.2.1")),
        (binary(0x21, 0x21, &six), client("2001:db8::7")),
        (binary(0x21, 0x21, &mapped), client("10.1.2.3")),
        (binary(0x20, 0x00, &[]), Source::Unknown),
        (binary(0x20, 0x11, &four), Source::Unknown),
        (binary(0x20, 0x11, &[]), Source::Unknown),
        (binary(0x21, 0x00, &[1, 2, 3]), Source::Unknown),
        (binary(0x21, 0x31, &[0; 216]), Source::Unknown),
    ]
}

#[test]
fn headers_name_their_source_wherever_they_are_cut() {
    for (header, source) in good() {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(None), "{header:?} up to {cut}");
        }
        for behind in [&b""[..], b"G", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"] {
            let bytes = [&header, behind].concat();
            assert_eq!(parse(&bytes), Ok(Some((source, header.len()))), "{header:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let bad: [&[u8]; 24] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXX",
        b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY \xff\r\n",
        b"PROXY \r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x11",
        b"\r\n\r\n\0\r\nQUIT\n\x22",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x13\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
    ];
    for bytes in bad {
        assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        // Once there is enough to tell, more does not change it.
        let first = (0..=bytes.len()).find(|&len| parse(&bytes[..len]).is_err()).unwrap();
        assert!((first..=bytes.len()).all(|len| parse(&bytes[..len]).is_err()));
    }
}

#[test]
fn no_header_is_awaited_that_is_longer_than_it_may_be() {
    let claim = |len: u16| [SIGNATURE, &[0x21, 0], &len.to_be_bytes()].concat();
    assert_eq!(parse(&claim((BINARY_MAX - FIXED_LEN) as u16)), Ok(None));
    assert!(parse(&claim((BINARY_MAX - FIXED_LEN + 1) as u16)).is_err());
    let line = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    assert_eq!(parse(&line[..TEXT_MAX - 1]), Ok(None));
    assert!(parse(&line[..TEXT_MAX]).is_err());
}
