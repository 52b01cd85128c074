//! Both drivers do the same, over real sockets.

mod lines;
mod reading;

pub use lines::Lines;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::accept::listeners;
use super::*;
use lines::Mail;

const DRIVERS: [Driver; 2] = [Driver::Epoll, Driver::Uring];
const OPTIONS: Options = Options {
    max_connections: 100_000,
    balance_least: false,
    flush_window_ms: 0,
    drain_limit_ms: 5_000,
    reports: false,
};
/// Long enough for a loaded machine; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    control: Arc<Control>,
    shards: Vec<JoinHandle<io::Result<Counters>>>,
    _lock: OwnedFd,
}

impl Server {
    fn start(driver: Driver, shards: usize, options: Options) -> Self {
        let listeners = listeners((Ipv4Addr::LOCALHOST, 0).into(), shards).unwrap();
        let listener = |socket| vec![Listener { socket, security: Security::Plain }];
        let seated = listeners.sockets.into_iter().map(listener).collect();
        let (seats, control) = seats::<Mail>(seated, options).unwrap();
        let life = |seat: Seat<Mail>| thread::spawn(move || run(driver, Lines::new(seat.index()), seat, || ()));
        let shards = seats.into_iter().map(life).collect();
        Self { address: listeners.address, control, shards, _lock: listeners.lock }
    }

    fn client(&self) -> Client {
        // One that is over the limit may be reset before connect() has returned.
        let stream = (0..100).find_map(|_| TcpStream::connect(self.address).ok()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// A client on a given shard.
    fn client_of(&self, shard: usize) -> Client {
        let mut client = self.client();
        assert_eq!(client.ask(&format!("move {shard}\nwhere")), shard.to_string());
        client
    }

    /// Waits until the server has `count` connections.
    fn wait_for(&self, count: u32) {
        wait(
            || self.control.connections() == count,
            || format!("{} connections, not {count}", self.control.connections()),
        );
    }

    fn stop(self) -> Vec<Counters> {
        self.control.drain();
        self.shards.into_iter().map(|shard| shard.join().unwrap().unwrap()).collect()
    }
}

fn wait(until: impl Fn() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < PATIENCE, "{}", what());
        thread::sleep(Duration::from_millis(1));
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Everything until the server's FIN.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        rest
    }

    fn hashes(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().all(|&b| b == b'#'));
    }

    /// Closes with a reset.
    fn reset(self) {
        sockopt::set_socket_linger(self.0.get_ref(), Some(Duration::ZERO)).unwrap();
    }
}

/// Runs `test` on both drivers with one and with three shards.
fn everywhere(test: impl Fn(&Server)) {
    for driver in DRIVERS {
        for shards in [1, 3] {
            let server = Server::start(driver, shards, OPTIONS);
            test(&server);
            server.stop();
        }
    }
}

/// Runs `body` in a process of its own: the test binary again, with this one test. For what a whole process shares.
fn alone(test: &str, body: impl Fn()) {
    const ALONE: &str = "SOCKEYE_TEST_ALONE";
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        return body();
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn lines_are_answered_in_order() {
    everywhere(|server| {
        let mut client = server.client();
        assert_eq!(client.ask("echo hello"), "hello");
        let many: String = (0..1000).map(|n| format!("echo {n}\n")).collect();
        client.0.get_mut().write_all(many.as_bytes()).unwrap();
        (0..1000).for_each(|n| assert_eq!(client.line(), n.to_string()));
    });
}

#[test]
fn a_slow_reader_gets_every_byte() {
    const BYTES: usize = 32 << 20;
    everywhere(|server| {
        let mut slow = server.client();
        slow.send(&format!("blast {BYTES}"));
        // Its neighbour is served meanwhile, also by the same shard.
        let mut others: Vec<_> = (0..8).map(|_| server.client()).collect();
        others.iter_mut().for_each(|other| assert_eq!(other.ask("echo here"), "here"));
        slow.hashes(BYTES);
        assert_eq!(slow.ask("echo done"), "done");
    });
}

#[test]
fn a_reset_frees_the_connection_also_while_it_cannot_be_written() {
    everywhere(|server| {
        let mut quiet = server.client();
        assert_eq!(quiet.ask("echo x"), "x");
        let mut blocked = server.client();
        blocked.send("blast 20000000");
        blocked.hashes(1000);
        server.wait_for(2);
        quiet.reset();
        blocked.reset();
        server.wait_for(0);
    });
}

#[test]
fn after_a_half_close_by_the_client_answers_still_arrive() {
    everywhere(|server| {
        let mut client = server.client();
        client.send("blast 3000000\necho end");
        client.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        client.hashes(3_000_000);
        assert_eq!(client.rest(), b"end\n");
        server.wait_for(0);
    });
}

#[test]
fn after_a_half_close_by_the_server_it_still_receives() {
    everywhere(|server| {
        let mut client = server.client();
        client.send("echo last\nfin");
        assert_eq!(client.rest(), b"last\n");
        assert_eq!(server.control.connections(), 1);
        client.send("close");
        server.wait_for(0);
    });
}

#[test]
fn a_close_delivers_what_was_sent_and_an_abort_resets() {
    everywhere(|server| {
        let mut client = server.client();
        client.send("echo a\nclose");
        assert_eq!(client.rest(), b"a\n");
        let mut client = server.client();
        client.send("abort");
        let error = client.0.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        server.wait_for(0);
    });
}

#[test]
fn a_connection_closed_while_it_cannot_be_written_ends_and_its_slot_is_used_again() {
    everywhere(|server| {
        for (command, reset) in [("kill", true), ("quit", false)].repeat(5) {
            let mut blocked = server.client();
            blocked.send("blast 20000000");
            blocked.hashes(1);
            blocked.send(command);
            server.wait_for(0);
            // The next one gets the slot; it would fail if it were told of the other's room.
            let mut next = server.client();
            assert_eq!(next.ask("echo x"), "x");
            let mut rest = Vec::new();
            let end = blocked.0.read_to_end(&mut rest);
            assert_eq!(end.is_err(), reset, "{command}: {end:?}");
            assert!(rest.len() < 20_000_000);
            next.send("close");
            server.wait_for(0);
        }
    });
}

#[test]
fn an_idle_server_does_not_turn() {
    for driver in DRIVERS {
        let server = Server::start(driver, 2, OPTIONS);
        let mut clients: Vec<_> = (0..50).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo x"), "x"));
        thread::sleep(Duration::from_millis(300));
        for counters in server.stop() {
            assert!(counters.turns < 300, "{driver}: {counters:?}");
        }
    }
}

#[test]
fn a_connection_changes_its_shard_with_its_unread_bytes() {
    for driver in DRIVERS {
        let server = Server::start(driver, 3, OPTIONS);
        let mut client = server.client();
        // All in one write: what follows `move` is the unread rest, three times over.
        client.send("echo a\nmove 0\nwhere\nmove 1\nwhere\nmove 2\nwhere\necho z");
        let answers: Vec<_> = (0..5).map(|_| client.line()).collect();
        assert_eq!(answers, ["a", "0", "1", "2", "z"], "{driver}");
        let mut places = HashSet::new();
        for n in 0..300 {
            places.insert(client.ask(&format!("move {}\nwhere", n % 3)));
        }
        assert_eq!((places.len(), server.control.connections()), (3, 1));
        client.send("close");
        assert!(client.rest().is_empty());
        server.wait_for(0);
        server.stop();
    }
}

#[test]
fn mail_goes_to_another_shard_and_back_in_order() {
    for driver in DRIVERS {
        let server = Server::start(driver, 3, OPTIONS);
        let mut clients: Vec<_> = (0..3).map(|shard| (shard, server.client_of(shard))).collect();
        for (shard, client) in &mut clients {
            let to = (*shard + 1) % 3;
            assert_eq!(client.ask(&format!("mail {to} hello")), format!("hello by {to}"));
            client.send(&format!("flood {to} 30000"));
        }
        for (shard, client) in &mut clients {
            let to = (*shard + 1) % 3;
            (0..30_000).for_each(|n| assert_eq!(client.line(), format!("{n} by {to}")));
        }
        let spilled: u64 = server.stop().iter().map(|counters| counters.spilled).sum();
        assert!(spilled > 0, "{driver}: the rings were never full");
    }
}

#[test]
fn thousands_of_connections_come_and_go() {
    for driver in DRIVERS {
        let server = Server::start(driver, 2, OPTIONS);
        for _ in 0..2 {
            let mut clients: Vec<_> = (0..2000).map(|_| server.client()).collect();
            clients.iter_mut().enumerate().for_each(|(n, client)| client.send(&format!("echo {n}")));
            clients.iter_mut().enumerate().for_each(|(n, client)| assert_eq!(client.line(), n.to_string()));
            assert_eq!(server.control.connections(), 2000);
            drop(clients);
            server.wait_for(0);
        }
        server.stop();
    }
}

#[test]
fn connections_over_the_maximum_are_refused_and_the_others_served() {
    for driver in DRIVERS {
        let server = Server::start(driver, 2, Options { max_connections: 5, ..OPTIONS });
        let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo in"), "in"));
        for _ in 0..20 {
            let mut refused = server.client();
            assert_eq!(refused.0.read(&mut [0]).map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
        }
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo still"), "still"));
        clients.pop();
        server.wait_for(4);
        assert_eq!(server.client().ask("echo again"), "again");
        assert_eq!(server.stop().iter().map(|counters| counters.refused).sum::<u64>(), 20);
    }
}

#[test]
fn a_clearly_fuller_shard_passes_connections_on() {
    for driver in DRIVERS {
        let server = Server::start(driver, 2, Options { balance_least: true, ..OPTIONS });
        let gather = |count: usize| (0..count).map(|_| server.client_of(0)).collect::<Vec<_>>();
        let _full = gather(100);
        let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo x"), "x"));
        let there = clients.iter_mut().map(|client| client.ask("where")).filter(|place| place == "1").count();
        assert!(there > 75, "{driver}: {there} of 100 on the empty shard");
        let balanced: u64 = server.stop().iter().map(|counters| counters.balanced).sum();
        assert!(balanced > 0, "{driver}");
    }
}

#[test]
fn a_flush_window_merges_and_delays() {
    for driver in DRIVERS {
        let server = Server::start(driver, 1, Options { flush_window_ms: 50, ..OPTIONS });
        let mut client = server.client();
        assert_eq!(client.ask("echo x"), "x");
        let start = Instant::now();
        assert_eq!(client.ask("echo y"), "y");
        assert!(start.elapsed() >= Duration::from_millis(45), "{driver}: {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(200));
        let turns = server.stop()[0].turns;
        assert!(turns < 40, "{driver}: {turns} turns, idle most of the time");
    }
}

#[test]
fn drain_tells_everybody_then_ends() {
    for driver in DRIVERS {
        let server = Server::start(driver, 3, OPTIONS);
        let mut clients: Vec<_> = (0..60).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo x"), "x"));
        let address = server.address;
        let start = Instant::now();
        let counters = server.stop();
        assert!(start.elapsed() < Duration::from_secs(2), "{driver}: {:?}", start.elapsed());
        assert_eq!(counters.iter().map(|counters| counters.accepted).sum::<u64>(), 60);
        clients.iter_mut().for_each(|client| assert_eq!(client.rest(), b"bye\n"));
        assert!(TcpStream::connect(address).is_err(), "still listening");
        listeners(address, 2).unwrap();
    }
}

#[test]
fn drain_ends_at_its_limit_whatever_clients_do() {
    for driver in DRIVERS {
        let server = Server::start(driver, 2, Options { drain_limit_ms: 300, ..OPTIONS });
        let mut never_reads = server.client();
        never_reads.send("blast 20000000");
        never_reads.hashes(1);
        let start = Instant::now();
        server.stop();
        let took = start.elapsed();
        assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&took), "{driver}: {took:?}");
    }
}

#[test]
fn every_descriptor_comes_back() {
    alone("every_descriptor_comes_back", || {
        for driver in DRIVERS {
            let before = open_descriptors();
            let server = Server::start(driver, 2, OPTIONS);
            server.client_of(0).send("close");
            server.client_of(1).send("close");
            server.wait_for(0);
            let idle = open_descriptors();
            for round in 0..200 {
                let mut client = server.client_of(round % 2);
                match round % 5 {
                    0 => client.send("close"),
                    1 => client.send("abort"),
                    2 => client.send("blast 9000000"),
                    3 => client.send("blast 9000000\nclose"),
                    _ => client.send("pause 20"),
                }
                if round % 3 == 0 { client.reset() } else { drop(client) }
            }
            server.wait_for(0);
            wait(|| open_descriptors() == idle, || format!("{driver}: {} descriptors, not {idle}", open_descriptors()));
            server.stop();
            assert_eq!(open_descriptors(), before, "{driver}");
        }
    });
}

#[test]
fn without_descriptors_the_old_are_served_and_the_new_once_there_is_room() {
    alone("without_descriptors_the_old_are_served_and_the_new_once_there_is_room", || {
        for driver in DRIVERS {
            let server = Server::start(driver, 1, OPTIONS);
            let mut old = server.client();
            assert_eq!(old.ask("echo x"), "x");
            // Clients connect first; then this process, which is the server as well, has no descriptor left.
            let mut waiting = server.client();
            assert_eq!(waiting.ask("echo x"), "x");
            let mut hoard = Vec::new();
            while let Ok(fd) = old.0.get_ref().as_fd().try_clone_to_owned() {
                hoard.push(fd);
                assert!(hoard.len() < 2_000_000, "no limit on descriptors");
            }
            hoard.pop();
            // One descriptor is left: the client's end takes it, the server finds none.
            let mut new = server.client();
            new.send("echo new");
            thread::sleep(Duration::from_millis(400));
            assert_eq!(old.ask("echo still"), "still");
            assert_eq!(server.control.connections(), 2, "{driver}");
            let start = Instant::now();
            drop(hoard);
            assert_eq!(new.line(), "new");
            assert!(start.elapsed() < Duration::from_secs(1), "{driver}: {:?}", start.elapsed());
            let counters = server.stop()[0];
            assert!((1..=20).contains(&counters.accept_rests), "{driver}: {counters:?}");
            assert!(counters.turns < 100, "{driver} spins: {counters:?}");
        }
    });
}
