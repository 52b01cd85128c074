//! TLS: any bytes instead of a handshake, within it and after it, while the server has something to say.

use std::io::IoSlice;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sockeye::connection::tls::{Certificates, Scratch, Tls};

use crate::drive::pieces;
use crate::mutation::{fuzz, outcome};

fn server(certificates: &Certificates) -> Tls {
    Tls::new(certificates).expect("a connection")
}

/// What the server has to say now.
fn said(server: &mut Tls) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut send = |slices: &[IoSlice<'_>]| {
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    };
    server.write_pending(&mut send).expect("memory");
    bytes
}

/// A connection whose handshake is done.
fn open(certificates: &Certificates, config: &Arc<ClientConfig>) -> Tls {
    let mut client =
        ClientConnection::new(Arc::clone(config), "localhost".try_into().expect("a name")).expect("a client");
    let mut server = server(certificates);
    while server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory");
        server.receive(&mut bytes, &mut Vec::new()).expect("a good client");
        let bytes = said(&mut server);
        client.read_tls(&mut bytes.as_slice()).expect("memory");
        client.process_new_packets().expect("a good server");
    }
    server
}

/// Gives the server bytes, between which it writes and at last ends. Returns whether they were accepted.
fn give<'a>(server: &mut Tls, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut scratch, mut plain) = (Scratch::default(), Vec::new());
    let mut accepted = true;
    for piece in pieces {
        accepted &= server.receive(&mut piece.to_vec(), &mut plain).is_ok();
        let was_open = !server.is_handshaking();
        let written = server.write(&[IoSlice::new(b"hello"), IoSlice::new(b"you")], &mut scratch, &mut |slices| {
            Ok(slices[0].len() / 2)
        });
        assert!(written.is_ok() || !was_open, "{written:?}");
        said(server);
    }
    server.end();
    assert_eq!(plain, b"", "nobody else can encrypt");
    accepted
}

#[test]
fn any_bytes_as_tls() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".into()]).expect("a certificate");
    let key = signing_key.serialize_pem();
    let certificates = Certificates::new(cert.pem().as_bytes(), key.as_bytes()).expect("a pair");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let config = Arc::new(config);

    let mut client =
        ClientConnection::new(Arc::clone(&config), "localhost".try_into().expect("a name")).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory");
    let change_cipher = b"\x14\x03\x03\0\x01\x01";
    let corpus = [
        hello.clone(),
        [&hello[..], change_cipher, b"\x17\x03\x03\0\x20", &[7; 32]].concat(),
        [&hello[..], b"\x16\x03\x03\0\x04\x01\0\xff\0"].concat(),
        b"\x15\x03\x03\0\x02\x01\0\x17\x03\x03\0\x11AAAAAAAAAAAAAAAAA".to_vec(),
        b"\x16\x03\x03\0\x02\x18\0\x16\x03\x03\0\x03\0\x01\0".to_vec(),
    ];
    let tokens: Vec<&[u8]> = b"\0\x01\x02\x03\x14\x15\x16\x17\x18\x20\x40\x80\xff".chunks(1).collect();
    fuzz(&corpus, &tokens, |input, random| {
        let whole = give(&mut server(&certificates), std::iter::once(input));
        let lengths: [usize; 3] = std::array::from_fn(|_| 1 + random.below(600));
        assert_eq!(give(&mut server(&certificates), pieces(input, &lengths)), whole);
        let after = give(&mut open(&certificates, &config), pieces(input, &lengths));
        outcome((whole, after, input.len() / 64))
    });
}
