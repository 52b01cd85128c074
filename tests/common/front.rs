//! nginx in front of a server, as operators put it there: one pool of upstream connections that all clients share.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::kill_at_exit;
use super::{LIMIT, Server};

/// Ports that are tried: somebody else may take a free one first.
const ATTEMPTS: usize = 5;

/// A running nginx that listens on 127.0.0.1; it ends with this value, and at the latest with the test process.
pub struct Nginx {
    addr: SocketAddr,
    label: String,
    child: Child,
    directory: PathBuf,
}

/// Whether nginx can be run here. Where it cannot, that is said for all to see, or fails in CI.
pub fn nginx_is_here() -> bool {
    super::scripts::can_run("nginx", &["-v"])
}

impl Nginx {
    /// Starts one on a free port, with everything it writes in a directory of its own.
    pub fn in_front_of(server: &Server) -> Nginx {
        (0..ATTEMPTS).find_map(|_| Nginx::try_start(server)).expect("nginx listens on a free port")
    }

    /// Clients take it for the server.
    pub fn as_server(&self) -> Server {
        Server::in_front(self.addr, &self.label)
    }

    fn try_start(server: &Server) -> Option<Nginx> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = free.local_addr().expect("a bound socket");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}", addr.port()));
        fs::create_dir_all(&directory).expect("a directory below target/");
        fs::write(directory.join("nginx.conf"), configuration(addr, server.addr())).expect("a file below target/");
        drop(free);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&directory).args(["-c", "nginx.conf", "-e", "error.log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nginx can be run");
        kill_at_exit(child.id());
        let mut nginx = Nginx { addr, label: format!("nginx before {}", server.label), child, directory };
        nginx.listens().then_some(nginx)
    }

    /// Waits until it accepts; `false` when it ends instead.
    fn listens(&mut self) -> bool {
        let start = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            if self.child.try_wait().expect("our own child").is_some() {
                return false;
            }
            assert!(start.elapsed() < LIMIT, "nginx does not listen:\n{}", self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.try_wait().expect("our own child").is_none()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("nginx says:\n{}", self.errors());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One process without a master, so that killing it ends all of it, and so that all clients share one pool.
fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
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
