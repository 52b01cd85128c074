//! Proxies in front of a server, as operators put them there: nginx with one pool of upstream connections that all clients
//! share, HAProxy for TCP and for HTTP.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::net::getsockname;

use super::http::bound_socket;
use super::server::kill_at_exit;
use super::{LIMIT, Server};

/// Ports that are tried: somebody else may take a free one first.
const ATTEMPTS: usize = 5;

/// A running proxy that listens on an address of its own; it ends with this value, and at the latest with the test process.
pub struct Front {
    addr: SocketAddr,
    label: String,
    child: Child,
    directory: PathBuf,
}

/// Whether nginx can be run here. Where it cannot, that is said for all to see, or fails in CI.
pub fn nginx_is_here() -> bool {
    super::scripts::can_run("nginx", &["-v"])
}

/// The same of HAProxy.
pub fn haproxy_is_here() -> bool {
    super::scripts::can_run("haproxy", &["-v"])
}

impl Front {
    /// nginx, which names the client of each request.
    pub fn nginx(server: &Server) -> Front {
        Front::start(server, "nginx", &["-p", ".", "-e", "errors", "-c"], nginx)
    }

    /// HAProxy, which names the client of each connection (`send-proxy-v2`).
    pub fn haproxy_tcp(server: &Server) -> Front {
        Front::start(server, "haproxy", &["-db", "-f"], |listen, server| {
            haproxy("tcp", "", "send-proxy-v2", listen, server)
        })
    }

    /// HAProxy, which names the client of each request.
    pub fn haproxy_http(server: &Server) -> Front {
        Front::start(server, "haproxy", &["-db", "-f"], |listen, server| {
            haproxy("http", "option forwardfor", "", listen, server)
        })
    }

    /// Clients take it for the server.
    pub fn as_server(&self) -> Server {
        Server::in_front(self.addr, &self.label)
    }

    /// Starts `program` on a free port, with everything it writes in a directory of its own. `args` end with the option for
    /// the file with what `configuration` says.
    fn start(
        server: &Server,
        program: &str,
        args: &[&str],
        configuration: impl Fn(SocketAddr, SocketAddr) -> String,
    ) -> Front {
        let listening = (0..ATTEMPTS).find_map(|_| {
            // It does not listen: a process that another test is about to start may hold a copy for a moment longer, and
            // would seem to be the proxy that accepts.
            let free = bound_socket(own_address());
            let addr = SocketAddr::try_from(getsockname(&free).expect("a bound socket")).expect("an address of TCP");
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{program}-{}", addr.port()));
            fs::create_dir_all(&directory).expect("a directory below target/");
            let file = directory.join("configuration");
            fs::write(&file, configuration(addr, server.addr())).expect("a file below target/");
            drop(free);
            let mut command = Command::new(program);
            command.args(args).arg(file).current_dir(&directory);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(File::create(directory.join("said")).expect("a file below target/"));
            let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
            kill_at_exit(child.id());
            let mut front = Front { addr, label: format!("{program} before {}", server.label), child, directory };
            front.listens().then_some(front)
        });
        listening.unwrap_or_else(|| panic!("{program} listens on no port"))
    }

    /// Waits until it accepts; `false` when it ends instead.
    fn listens(&mut self) -> bool {
        let start = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            if self.child.try_wait().expect("our own child").is_some() {
                return false;
            }
            assert!(start.elapsed() < LIMIT, "it does not listen:\n{}", self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.try_wait().expect("our own child").is_none()
    }

    fn errors(&self) -> String {
        ["said", "errors"].map(|file| fs::read_to_string(self.directory.join(file)).unwrap_or_default()).concat()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} says:\n{}", self.label, self.errors());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A loopback address that nobody else listens on: what accepts there is the proxy, however long it takes to start.
fn own_address() -> Ipv4Addr {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 + STARTED.fetch_add(1, Ordering::Relaxed) % 64, high, low)
}

/// One process without a master, so that killing it ends all of it, and so that all clients share one pool.
fn nginx(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log errors warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' '';
    }}
    upstream sockeye {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://sockeye;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_next_upstream off;
            proxy_read_timeout 60s;
        }}
    }}
}}
"
    )
}

/// One process without a master; `option` and `flags` name clients to the server.
fn haproxy(mode: &str, option: &str, flags: &str, listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global
    maxconn 1000
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen sockeye
    mode {mode}
    {option}
    bind {listen}
    server one {server} {flags}
"
    )
}
