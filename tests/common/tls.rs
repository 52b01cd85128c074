//! TLS between tests and servers: certificates made here, and tunnels through which clients that know no TLS speak it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::server::lock;
use super::{LIMIT, Server};

/// A certificate of `localhost` and 127.0.0.1 with its key, and who signed it, in files below `target/`.
pub struct Identity {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    pub der: CertificateDer<'static>,
    roots: RootCertStore,
}

impl Identity {
    pub fn new() -> Identity {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tls-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory below target/");

        let mut of_authority = CertificateParams::new(Vec::new()).expect("parameters");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        of_authority.distinguished_name.push(rcgen::DnType::CommonName, format!("tests {number}"));
        let authority_key = KeyPair::generate().expect("a key");
        let authority = of_authority.self_signed(&authority_key).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let signed = CertificateParams::new(names)
            .and_then(|parameters| parameters.signed_by(&key, &Issuer::new(of_authority, authority_key)))
            .expect("a certificate");

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a certificate");
        let file = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).expect("a file below target/");
            path
        };
        Identity {
            chain: file("chain.pem", signed.pem() + &authority.pem()),
            key: file("key.pem", key.serialize_pem()),
            authority: file("authority.pem", authority.pem()),
            der: signed.der().clone(),
            roots,
        }
    }

    /// Puts this one's files in the place of `other`'s.
    pub fn replaces(&self, other: &Identity) {
        fs::copy(&self.chain, &other.chain).expect("a copy");
        fs::copy(&self.key, &other.key).expect("a copy");
    }

    /// The flags of a server that has it.
    pub fn flags(&self) -> [&str; 6] {
        let text = |path: &'_ PathBuf| -> &'_ str { Box::leak(path.display().to_string().into_boxed_str()) };
        ["--tls-port", "0", "--tls-cert", text(&self.chain), "--tls-key", text(&self.key)]
    }

    /// A client's settings, for these versions of TLS.
    pub fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        client_config(self.roots.clone(), versions)
    }

    /// The settings of a client that trusts another one as well.
    pub fn client_config_with(&self, other: &Identity) -> Arc<ClientConfig> {
        let mut roots = self.roots.clone();
        roots.extend(other.roots.roots.iter().cloned());
        client_config(roots, rustls::ALL_VERSIONS)
    }
}

fn client_config(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let builder = builder.with_protocol_versions(versions).expect("versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Drop for Identity {
    fn drop(&mut self) {
        if let Some(directory) = self.chain.parent() {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// A client's connection whose handshake is done.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Opens a connection and finishes its handshake.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Stream {
    connect_after(address, config, b"")
}

/// As [`connect`], with bytes in front of the handshake.
fn connect_after(address: SocketAddr, config: &Arc<ClientConfig>, before: &[u8]) -> Stream {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).expect("the server accepts");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(LIMIT)).expect("a TCP socket");
    stream.write_all(before).expect("it is open");
    let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into().expect("a name")).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).expect("a handshake");
    }
    Stream::new(tls, stream)
}

/// The certificate that new connections get.
pub fn certificate_of(address: SocketAddr, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    connect(address, config).conn.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

/// A server as clients without TLS see it. Each of their connections is one with TLS to `server`.
pub fn tunnel(server: &Server, config: Arc<ClientConfig>) -> Server {
    tunnel_after(server, config, b"")
}

/// As [`tunnel`], with bytes in front of each handshake.
pub fn tunnel_after(server: &Server, config: Arc<ClientConfig>, before: &'static [u8]) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let own = listener.local_addr().expect("a bound socket");
    let target = server.tls_addr();
    thread::spawn(move || {
        for plain in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || carry(plain, target, &config, before));
        }
    });
    Server::in_front(own, &format!("TLS to {}", server.label))
}

/// Carries bytes both ways until both have ended.
fn carry(mut plain: TcpStream, target: SocketAddr, config: &Arc<ClientConfig>, before: &[u8]) {
    plain.set_nodelay(true).expect("a TCP socket");
    let Stream { conn: tls, sock: mut stream } = connect_after(target, config, before);
    stream.set_read_timeout(None).expect("a TCP socket");
    let tls = Arc::new(Mutex::new(tls));
    let up = {
        let (tls, mut plain, mut stream) = (Arc::clone(&tls), clone(&plain), clone(&stream));
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            loop {
                let read = plain.read(&mut buffer).unwrap_or(0);
                let mut sealed = Vec::new();
                let mut tls = lock(&tls);
                match read {
                    0 => tls.send_close_notify(),
                    read => tls.writer().write_all(&buffer[..read]).expect("memory"),
                }
                while tls.wants_write() {
                    tls.write_tls(&mut sealed).expect("memory");
                }
                drop(tls);
                if stream.write_all(&sealed).is_err() || read == 0 {
                    let _ = stream.shutdown(Shutdown::Write);
                    return;
                }
            }
        })
    };
    down(&tls, &mut stream, &mut plain);
    let _ = plain.shutdown(Shutdown::Write);
    let _ = up.join();
}

fn down(tls: &Mutex<ClientConnection>, stream: &mut TcpStream, plain: &mut TcpStream) {
    let mut buffer = [0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        let (mut sealed, mut opened) = (&buffer[..read], Vec::new());
        while !sealed.is_empty() {
            let mut tls = lock(tls);
            tls.read_tls(&mut sealed).expect("room");
            if tls.process_new_packets().is_err() {
                return;
            }
            let _ = tls.reader().read_to_end(&mut opened);
        }
        if read == 0 || plain.write_all(&opened).is_err() {
            return;
        }
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}
