//! A whole process: starting, signals, and how it ends. The server is this test binary again.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::config::Cli;
use crate::driver::tests::Lines;

/// Flags of the server to be; set in the child only.
const FLAGS: &str = "SOCKEYE_TEST_FLAGS";
const PATIENCE: Duration = Duration::from_secs(20);

/// The child's side: a server of [`Lines`], ended like `main` ends one.
#[test]
#[ignore = "the process that the other tests start"]
fn child() {
    let flags = env::var(FLAGS).expect("started by another test");
    let cli = Cli::parse_from(["sockeye"].into_iter().chain(flags.split_whitespace()));
    let _ = log::start(&cli.serve);
    let code = match serve(cli.serve, |_, place| Lines::new(place.index)) {
        Ok(_) => 0,
        Err(error) => {
            eprintln!("sockeye: {error}");
            1
        }
    };
    process::exit(code);
}

struct Server {
    child: Child,
    banner: String,
    address: String,
}

fn spawn(flags: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["server::tests::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FLAGS, flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Server {
    fn start(flags: &str) -> Self {
        let mut child = spawn(flags);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        for line in stdout.lines().map_while(Result::ok) {
            banner += &format!("{line}\n");
            if line.starts_with("listening on") {
                break;
            }
        }
        let address = banner.rsplit_once("listening on http://").map(|(_, address)| address.trim_end().to_owned());
        let mut server = Self { child, banner, address: address.unwrap_or_default() };
        assert!(!server.address.is_empty(), "it does not listen: {:?}", end(&mut server.child));
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Exit code (`None`: killed by a signal) and standard error.
    fn end(mut self) -> (Option<i32>, String) {
        end(&mut self.child)
    }
}

fn end(child: &mut Child) -> (Option<i32>, String) {
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    };
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code(), text)
}

const LOCAL: &str = "--host 127.0.0.1 --port 0";

#[test]
fn either_signal_drains_and_ends_with_zero() {
    for io in ["uring", "epoll"] {
        for signal in [Signal::TERM, Signal::INT] {
            let server = Server::start(&format!("{LOCAL} --io {io} --workers 2"));
            let mut client = server.connect();
            client.write_all(b"echo x\n").unwrap();
            assert_eq!(client.read(&mut [0; 9]).unwrap(), 2);
            server.signal(signal);
            let mut rest = String::new();
            client.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "bye\n");
            let (code, log) = server.end();
            assert_eq!(code, Some(0), "{log}");
            assert!(log.contains("draining") && !log.contains("cut off"), "{log}");
        }
    }
}

#[test]
fn a_client_that_never_reads_holds_the_end_up_to_the_limit() {
    for io in ["uring", "epoll"] {
        let server = Server::start(&format!("{LOCAL} --io {io} --workers 1 --drain-limit 400ms"));
        let mut client = server.connect();
        client.write_all(b"blast 20000000\n").unwrap();
        client.read_exact(&mut [0]).unwrap();
        let start = Instant::now();
        server.signal(Signal::TERM);
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        assert!((300..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert!(log.contains("WARN") && log.contains("the drain limit is reached: cut off connections=1"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Server::start(&format!("{LOCAL} --workers 1 --drain-limit 10m"));
    let mut client = server.connect();
    client.write_all(b"blast 20000000\n").unwrap();
    client.read_exact(&mut [0]).unwrap();
    server.signal(Signal::TERM);
    // The drain has begun once nobody is let in any more.
    while TcpStream::connect(&server.address).is_ok() {
        thread::sleep(Duration::from_millis(2));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_shard_that_panics_takes_the_process_with_it() {
    let server = Server::start(&format!("{LOCAL} --workers 2"));
    server.connect().write_all(b"die\n").unwrap();
    let (code, log) = server.end();
    assert_eq!(code, None, "{log}");
    assert!(log.contains("told to die"), "{log}");
}

#[test]
fn the_block_says_what_runs_and_ends_with_the_address() {
    let server = Server::start(&format!("{LOCAL} --io epoll --workers 3 --ping-interval 7s"));
    for part in ["sockeye 0.", "epoll (asked for)", "shards", "3, pinned to cores", "open files", "ping-interval", "7s"]
    {
        assert!(server.banner.contains(part), "{part} is missing:\n{}", server.banner);
    }
    assert!(!server.address.ends_with(":0") && server.banner.ends_with(&format!("http://{}\n", server.address)));
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn shards_have_names_and_cores_of_their_own() {
    let server = Server::start(&format!("{LOCAL} --workers 2"));
    let allowed = machine::cores().unwrap();
    let mut pinned = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        if field("Name:").starts_with("shard-") {
            pinned.push((field("Name:"), field("Cpus_allowed_list:")));
        }
    }
    pinned.sort();
    let expected: Vec<_> = (0..2).map(|n| (format!("shard-{n}"), allowed[n % allowed.len()].to_string())).collect();
    assert_eq!(pinned, expected);
    server.signal(Signal::TERM);
    server.end();
}

#[test]
fn a_taken_port_is_an_error_and_free_again_right_after_the_end() {
    let first = Server::start(&format!("{LOCAL} --workers 2"));
    let port = first.address.rsplit(':').next().unwrap().to_owned();
    let again = format!("--host 127.0.0.1 --port {port} --workers 2");
    let (code, error) = end(&mut spawn(&again));
    assert_eq!(code, Some(1));
    assert!(error.starts_with("sockeye: cannot listen on 127.0.0.1:"), "{error}");
    assert!(error.contains("another process") && error.trim_end().lines().count() == 1, "{error}");

    let mut client = first.connect();
    first.signal(Signal::TERM);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(first.end().0, Some(0));
    let second = Server::start(&again);
    assert!(second.address.ends_with(&port));
    second.signal(Signal::TERM);
    assert_eq!(second.end().0, Some(0));
}

#[test]
fn io_uring_is_taken_when_it_can_be() {
    let choice = choose_driver(Io::Auto).unwrap();
    match driver::probe_uring() {
        Ok(()) => assert_eq!(choice, (Driver::Uring, "the kernel allows it".to_owned())),
        Err(refusal) => assert_eq!(choice, (Driver::Epoll, format!("io_uring is refused: {refusal}"))),
    }
    assert_eq!(choose_driver(Io::Epoll).unwrap().0, Driver::Epoll);
}
