//! TLS of one connection: a transformer of bytes around rustls, which knows neither socket nor timer.
//!
//! rustls is used by its unbuffered interface: records are decrypted from the buffer they were read into and encrypted into
//! one that all connections share, so that an idle connection owns its keys and no buffer. It takes the randomness of its
//! handshakes and the time of its tickets from the operating system itself, the one exception below the driver.

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, HandshakeKind, ServerConfig};
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError, RwLock};

#[cfg(test)]
mod tests;

/// Bytes of unfinished records and handshake messages a client may make the server hold: room for one record of either
/// (RFC 8446 §5.2).
const INCOMING_MAX: usize = 24 * 1024;
/// Plaintext that is encrypted before it is tried whether the socket takes more.
const CHUNK: usize = 64 * 1024;
/// Room for what a record adds to each 16 KiB of plaintext, and for a message of the handshake in front.
const OVERHEAD: usize = 512;

/// The certificate chain and key in use, of all shards. Replaced while connections go on with what they began with.
pub struct Certificates(RwLock<Arc<ServerConfig>>);

impl Certificates {
    /// From a certificate chain, the server's own first, and its private key, both in PEM.
    ///
    /// # Errors
    /// What is wrong with which of them, in words.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        server_config(chain, key).map(|config| Self(RwLock::new(Arc::new(config))))
    }

    /// Takes others for connections to come. Tickets given under the old ones are worth nothing any more.
    ///
    /// # Errors
    /// As of [`Certificates::new`]; the old ones stay in use.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let config = Arc::new(server_config(chain, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates(…)")
    }
}

fn server_config(chain: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not in PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("there is no private key in PEM: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => "the private key is not that of the certificate".to_owned(),
            error => error.to_string(),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Sessions are resumed by tickets alone, which are the client's to keep: the server remembers none.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The TLS state of one connection.
pub struct Tls {
    session: UnbufferedServerConnection,
    /// Received and not yet processed: part of a record or of a handshake message.
    incoming: Vec<u8>,
    /// Encrypted and not yet taken by the socket.
    outgoing: Vec<u8>,
    received_end: bool,
    sent_end: bool,
    /// The client broke the protocol: rustls is asked nothing more.
    failed: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incoming, outgoing) = (self.incoming.len(), self.outgoing.len());
        f.debug_struct("Tls").field("incoming", &incoming).field("outgoing", &outgoing).finish_non_exhaustive()
    }
}

/// Buffers that the connections of a shard share.
#[derive(Debug, Default)]
pub struct Scratch {
    gathered: Vec<u8>,
    sealed: Vec<u8>,
}

impl Tls {
    /// A connection that awaits the client's first message.
    ///
    /// # Errors
    /// rustls cannot set it up.
    pub fn new(certificates: &Certificates) -> Result<Self, Error> {
        let session = UnbufferedServerConnection::new(certificates.current())?;
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Ok(Self { session, incoming, outgoing, received_end: false, sent_end: false, failed: false })
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Encrypted bytes that wait for the socket.
    pub fn pending(&self) -> usize {
        self.outgoing.len()
    }

    /// Whether the client has said that it sends nothing more (`close_notify`).
    pub fn has_ended(&self) -> bool {
        self.received_end
    }

    /// Takes received bytes and appends what they decrypt to, whole records only. Answers of the handshake become
    /// [`pending`](Self::pending).
    ///
    /// # Errors
    /// The client broke the protocol. What is pending then ends with the alert that says so; nothing more is to be given.
    pub fn receive(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::General("it failed before".to_owned()));
        }
        let outcome = self.receive_all(bytes, plain);
        if outcome.is_err() {
            self.failed = true;
            self.encode_last();
        }
        outcome
    }

    /// After an error: the alert, and all that was to be said before it. The input must not be looked at again.
    fn encode_last(&mut self) {
        while self.session.wants_write() {
            let encoded = match self.session.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.outgoing),
                _ => return,
            };
            if encoded.is_err() {
                return;
            }
        }
    }

    fn receive_all(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        if self.incoming.is_empty() {
            let taken = self.process(bytes, plain)?;
            self.incoming.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut incoming = std::mem::take(&mut self.incoming);
            incoming.extend_from_slice(bytes);
            let taken = self.process(&mut incoming, plain)?;
            if taken < incoming.len() {
                incoming.drain(..taken);
                self.incoming = incoming;
            }
        }
        if self.received_end {
            self.incoming = Vec::new();
        }
        if self.incoming.len() > INCOMING_MAX {
            return Err(Error::General("too much of one message".to_owned()));
        }
        Ok(())
    }

    /// Processes whole records at the front of `input`; returns how many bytes they took.
    fn process(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Error> {
        let mut taken = 0;
        loop {
            let rest = input.get_mut(taken..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(rest);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        plain.extend_from_slice(record?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.received_end = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                    return Ok(taken + discard);
                }
                Ok(_) => return Err(Error::General("early data was not offered".to_owned())),
                Err(error) => return Err(error),
            }
            taken += discard;
        }
    }

    /// Encrypts `slices` and writes them with `send`. Returns how many of their bytes were taken: fewer than all of them
    /// only when the socket takes no more. What it did not take of those is pending. After a client broke the protocol
    /// everything is taken and nothing said.
    ///
    /// # Errors
    /// Those of `send`; or there is no encrypting (yet, or any more).
    pub fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Scratch,
        send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.failed {
            return Ok(slices.iter().map(|slice| slice.len()).sum());
        }
        if let [slice] = slices {
            return self.write_contiguous(slice, &mut scratch.sealed, send);
        }
        let Scratch { gathered, sealed } = scratch;
        let mut taken = 0;
        let mut slices = slices.iter().peekable();
        while let Some(slice) = slices.next() {
            gathered.extend_from_slice(slice);
            if gathered.len() >= CHUNK || slices.peek().is_none() {
                let written = self.write_contiguous(gathered, sealed, send);
                gathered.clear();
                gathered.shrink_to(2 * CHUNK);
                taken += written?;
                if self.pending() > 0 {
                    break;
                }
            }
        }
        Ok(taken)
    }

    fn write_contiguous(
        &mut self,
        plain: &[u8],
        sealed: &mut Vec<u8>,
        send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        for chunk in plain.chunks(CHUNK) {
            sealed.clear();
            sealed.append(&mut self.outgoing);
            self.seal(chunk, sealed)?;
            taken += chunk.len();
            let sent = send(&[IoSlice::new(sealed)])?;
            self.outgoing = sealed.get(sent..).unwrap_or_default().to_vec();
            if !self.outgoing.is_empty() {
                break;
            }
        }
        Ok(taken)
    }

    /// Writes what is pending with `send`.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn write_pending(&mut self, send: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let sent = send(&[IoSlice::new(&self.outgoing)])?;
        if sent < self.outgoing.len() {
            self.outgoing.drain(..sent);
        } else {
            self.outgoing = Vec::new();
        }
        Ok(())
    }

    /// Says that nothing more will be sent (`close_notify`, RFC 8446 §6.1), once, and not within a handshake or after an alert.
    /// `false`: there was nothing to say.
    pub fn end(&mut self) -> bool {
        if std::mem::replace(&mut self.sent_end, true) || self.failed || self.is_handshaking() {
            return false;
        }
        let mut sealed = std::mem::take(&mut self.outgoing);
        let said = self.put(&mut sealed, 0, |traffic, room| traffic.queue_close_notify(room));
        self.outgoing = sealed;
        said.is_ok()
    }

    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
        self.put(sealed, plain.len(), |traffic, room| traffic.encrypt(plain, room))
    }

    /// Appends what `write` makes of about `len` bytes.
    fn put(
        &mut self,
        sealed: &mut Vec<u8>,
        len: usize,
        mut write: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        let start = sealed.len();
        // The unfinished input has to be given each time: rustls keeps its place in it.
        let mut status = self.session.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(traffic)) = &mut status.state else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut room = len + OVERHEAD;
        loop {
            sealed.resize(start + room, 0);
            match write(traffic, sealed.get_mut(start..).unwrap_or_default()) {
                Ok(written) => {
                    sealed.truncate(start + written);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
                Err(error) => {
                    sealed.truncate(start);
                    return Err(io::Error::other(error));
                }
            }
        }
    }
}

/// Appends a message of the handshake.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), Error> {
    use rustls::unbuffered::EncodeError::InsufficientSize;
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match data.encode(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(InsufficientSize(size)) if size.required_size > room => room = size.required_size,
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}
