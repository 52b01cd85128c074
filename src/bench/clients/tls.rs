//! TLS of a client. The server's certificate is not checked: only servers of this machine are measured.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// What all clients have in common. Sessions are not resumed: every handshake is a whole one.
pub fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.map(|config| config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    let mut config = config.expect("the provider has suites for both versions");
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A connection that is about to begin.
pub fn connection(config: &Arc<ClientConfig>) -> Box<ClientConnection> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).expect("settings that go together");
    tls.set_buffer_limit(None);
    Box::new(tls)
}

/// Reads what has come and decrypts some of it into `buffer`, which is not empty. `Ok(0)`: there will be no more.
pub fn receive(tls: &mut ClientConnection, fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match tls.reader().read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(0),
        }
        tls.read_tls(&mut Socket(fd)).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        tls.process_new_packets().map_err(|_| Errno::PROTO)?;
    }
}

/// Encrypts `plain`, which is empty then, and appends that and what the handshake has to say to `sealed`.
pub fn seal(tls: &mut ClientConnection, plain: &mut Vec<u8>, sealed: &mut Vec<u8>) {
    // Both write to memory.
    let _ = tls.writer().write_all(plain);
    plain.clear();
    while tls.wants_write() {
        let _ = tls.write_tls(sealed);
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        net::recv(self.0, buffer, RecvFlags::empty()).map(|(_, received)| received).map_err(io::Error::from)
    }
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
