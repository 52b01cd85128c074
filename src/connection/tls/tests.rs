//! A client of rustls on the other side, both versions, any split.

use super::*;
use rustls::client::{ClientConnection, Resumption};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use std::io::{Read, Write};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

struct Identity {
    chain: Vec<u8>,
    key: Vec<u8>,
    roots: RootCertStore,
}

fn identity() -> Identity {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    Identity { chain: cert.pem().into_bytes(), key: signing_key.serialize_pem().into_bytes(), roots }
}

fn client_config(identity: &Identity, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(identity.roots.clone()).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(4);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A client, and the server's side of its connection.
struct Pair {
    client: ClientConnection,
    server: Tls,
    /// What the server decrypted.
    heard: Vec<u8>,
    /// Bytes the server is given at once.
    step: usize,
}

impl Pair {
    fn new(certificates: &Certificates, config: &Arc<ClientConfig>, step: usize) -> Self {
        let client = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        Self { client, server: Tls::new(certificates).unwrap(), heard: Vec::new(), step }
    }

    /// Carries bytes both ways until neither side has any.
    fn exchange(&mut self) {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            for piece in wire.chunks_mut(self.step) {
                self.server.receive(piece, &mut self.heard).unwrap();
            }
            let mut answer = Vec::new();
            self.server.write_pending(&mut |slices| take(slices, usize::MAX, &mut answer)).unwrap();
            self.client_takes(&answer);
            if wire.is_empty() && answer.is_empty() {
                return;
            }
        }
    }

    /// Gives the client bytes; returns what it can read then.
    fn client_takes(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
            while let Ok(n @ 1..) = self.client.reader().read(&mut buffer) {
                read.extend_from_slice(&buffer[..n]);
            }
        }
        read
    }
}

/// A socket that takes at most `room` bytes.
fn take(slices: &[IoSlice<'_>], room: usize, wire: &mut Vec<u8>) -> io::Result<usize> {
    let before = wire.len();
    for slice in slices {
        let left = room - (wire.len() - before);
        wire.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    Ok(wire.len() - before)
}

fn certificates(identity: &Identity) -> Certificates {
    Certificates::new(&identity.chain, &identity.key).unwrap()
}

/// An open connection.
fn open(certificates: &Certificates, config: &Arc<ClientConfig>) -> Pair {
    let mut pair = Pair::new(certificates, config, usize::MAX);
    pair.exchange();
    assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
    pair
}

#[test]
fn what_the_client_says_is_heard_however_it_is_split() {
    let identity = identity();
    let said: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
    for version in VERSIONS {
        let (certificates, config) = (certificates(&identity), client_config(&identity, version));
        for step in [1, 2, 5, 997, 16 * 1024, usize::MAX] {
            let mut pair = Pair::new(&certificates, &config, step);
            pair.exchange();
            assert_eq!(pair.client.alpn_protocol(), Some(&b"http/1.1"[..]));
            pair.client.writer().write_all(&said).unwrap();
            pair.exchange();
            assert!(pair.heard == said, "{version:?}, {step} bytes at a time");
            assert!(!pair.server.has_ended());
        }
    }
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let identity = identity();
    for version in VERSIONS {
        let mut pair = Pair::new(&certificates(&identity), &client_config(&identity, version), 7);
        pair.exchange();
        pair.client.writer().write_all(b"hello").unwrap();
        pair.exchange();
        assert_eq!((pair.server.incoming.capacity(), pair.server.outgoing.capacity()), (0, 0));
    }
}

#[test]
fn what_the_socket_does_not_take_is_pending_and_nothing_is_lost() {
    let identity = identity();
    let said: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
    for version in VERSIONS {
        for room in [1_000, 16_384, 70_000, usize::MAX] {
            let mut pair = open(&certificates(&identity), &client_config(&identity, version));
            let (mut scratch, mut rest) = (Scratch::default(), &said[..]);
            while !rest.is_empty() || pair.server.pending() > 0 {
                let mut wire = Vec::new();
                pair.server.write_pending(&mut |slices| take(slices, room, &mut wire)).unwrap();
                if pair.server.pending() == 0 {
                    let mut is_full = false;
                    let slices: Vec<_> = rest.chunks(70_001).map(IoSlice::new).collect();
                    let mut send = |slices: &[IoSlice<'_>]| {
                        assert!(!is_full, "it is offered more than it takes");
                        let sent = take(slices, room, &mut wire)?;
                        is_full = sent < slices[0].len();
                        Ok(sent)
                    };
                    let taken = pair.server.write(&slices, &mut scratch, &mut send).unwrap();
                    assert!(taken == rest.len() || is_full);
                    assert_eq!(is_full, pair.server.pending() > 0);
                    assert!(pair.server.pending() <= CHUNK + 8 * OVERHEAD);
                    rest = &rest[taken..];
                }
                let heard = pair.client_takes(&wire);
                pair.heard.extend(heard);
            }
            assert!(pair.heard == said, "{version:?}, {room} bytes at a time");
            assert!(scratch.gathered.capacity() <= 4 * CHUNK);
        }
    }
}

#[test]
fn each_side_says_once_that_it_ends() {
    let identity = identity();
    for version in VERSIONS {
        let mut pair = open(&certificates(&identity), &client_config(&identity, version));
        assert!(pair.server.end());
        assert!(!pair.server.end());
        pair.exchange();
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        pair.client.writer().write_all(b"still heard").unwrap();
        pair.client.send_close_notify();
        pair.exchange();
        assert!(pair.server.has_ended());
        assert_eq!(pair.heard, b"still heard");
        pair.server.receive(&mut [0x17; 100], &mut pair.heard).unwrap();
        assert_eq!(pair.server.incoming.len(), 0, "nothing is kept of what comes after the end");
    }
}

#[test]
fn what_is_not_tls_is_answered_with_an_alert() {
    let identity = identity();
    let certificates = certificates(&identity);
    for garbage in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0xff; 64], &[0x16, 3, 1, 0, 5, 9, 0, 0, 1, 0]] {
        let mut server = Tls::new(&certificates).unwrap();
        assert!(server.receive(&mut garbage.to_vec(), &mut Vec::new()).is_err(), "{garbage:?}");
        let alert = [0x15, 3, 3, 0, 2, 2];
        assert_eq!(server.outgoing.get(..6), Some(&alert[..]));
        assert!(!server.end(), "nothing comes after a fatal alert");
    }
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let identity = identity();
    for version in VERSIONS {
        let mut pair = open(&certificates(&identity), &client_config(&identity, version));
        pair.client.writer().write_all(b"hello").unwrap();
        let mut wire = Vec::new();
        pair.client.write_tls(&mut wire).unwrap();
        *wire.last_mut().unwrap() ^= 1;
        assert!(pair.server.receive(&mut wire, &mut pair.heard).is_err());
        assert_eq!(pair.heard, b"");
        let pending = pair.server.pending();
        assert!(pending > 0, "the alert");
        assert!(pair.server.receive(&mut wire, &mut pair.heard).is_err());
        let taken = pair.server.write(&[IoSlice::new(b"too late")], &mut Scratch::default(), &mut |_| unreachable!());
        assert_eq!((taken.unwrap(), pair.server.pending()), (8, pending));
    }
}

#[test]
fn nothing_is_kept_of_a_handshake_message_without_end() {
    let mut server = Tls::new(&certificates(&identity())).unwrap();
    let record = |content: &[u8]| [&[0x16, 3, 1][..], &(content.len() as u16).to_be_bytes(), content].concat();
    let mut outcome = server.receive(&mut record(&[1, 0, 0xff, 0]), &mut Vec::new());
    let mut given = 0;
    while outcome.is_ok() {
        outcome = server.receive(&mut record(&[0; 4000]), &mut Vec::new());
        given += 4000;
        assert!(given <= INCOMING_MAX + 4000, "{given} bytes");
    }
}

#[test]
fn sessions_are_resumed_until_the_certificate_is_another() {
    let first = identity();
    let second = identity();
    for version in VERSIONS {
        let (certificates, mut config) = (certificates(&first), client_config(&first, version));
        assert!(!open(&certificates, &config).server.is_resumed());
        assert!(open(&certificates, &config).server.is_resumed());
        let mut before = open(&certificates, &config);

        assert!(certificates.replace(&second.chain, &first.key).is_err());
        assert!(open(&certificates, &config).server.is_resumed(), "a bad pair changes nothing");
        certificates.replace(&second.chain, &second.key).unwrap();
        before.client.writer().write_all(b"as before").unwrap();
        before.exchange();
        assert_eq!(before.heard, b"as before");

        let mut roots = first.roots.clone();
        roots.extend(second.roots.roots.iter().cloned());
        Arc::make_mut(&mut config).dangerous().set_certificate_verifier(
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), default_provider().into())
                .build()
                .unwrap(),
        );
        let after = open(&certificates, &config);
        assert!(!after.server.is_resumed());
        let seen = &after.client.peer_certificates().unwrap()[0];
        assert_eq!(*seen, CertificateDer::from_pem_slice(&second.chain).unwrap());
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (one, other) = (identity(), identity());
    for (chain, key, why) in [
        (&one.chain, &other.key, "not that of the certificate"),
        (&b"nonsense".to_vec(), &one.key, "no certificate"),
        (&one.key, &one.key, "no certificate"),
        (&one.chain, &one.chain, "no private key"),
        (&one.chain, &b"-----BEGIN PRIVATE KEY-----\n".to_vec(), "no private key"),
        (&b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_vec(), &one.key, ""),
    ] {
        let error = Certificates::new(chain, key).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_connection_can_go_to_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Tls>();
    // Those who have limits on addresses alone do not pay for it.
    assert!(size_of::<crate::connection::Front>() <= 64);
}
