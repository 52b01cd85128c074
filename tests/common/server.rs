//! A server process of the built binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long start-up may take.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub struct Server {
    addr: SocketAddr,
    /// What distinguishes it in failure output, for example `uring, 2 workers`.
    pub label: String,
    child: Option<Mutex<Child>>,
    log: Log,
    /// Its URL, if it is not made of its address.
    url: Option<String>,
}

/// What the process has written, standard output and error in one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// A server that ended by itself.
#[derive(Debug)]
pub struct Exited {
    pub status: ExitStatus,
    pub output: String,
}

impl Server {
    /// Starts the binary on a free port of 127.0.0.1 with `flags` and waits until it listens.
    pub fn start(flags: &[&str]) -> Server {
        match Server::try_start(flags) {
            Ok(server) => server,
            Err(exited) => panic!("the server did not start ({}):\n{}", exited.status, exited.output),
        }
    }

    /// As [`Server::start`], for flags it may refuse. `--port 0` is added unless `flags` name a port.
    pub fn try_start(flags: &[&str]) -> Result<Server, Exited> {
        Server::try_start_with(flags, &[])
    }

    /// As [`Server::try_start`], with environment variables.
    pub fn try_start_with(flags: &[&str], variables: &[(&str, &str)]) -> Result<Server, Exited> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        command.args(flags).envs(variables.iter().copied());
        for (flag, value) in [("--port", "0"), ("--host", "127.0.0.1")] {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built binary can be run");
        let log = Log::default();
        let (found, listening) = mpsc::channel();
        let scheme = if flags.contains(&"--plain") { "https" } else { "http" };
        log.collect(child.stdout.take().expect("piped"), Some((found, scheme)));
        log.collect(child.stderr.take().expect("piped"), None);
        match listening.recv_timeout(START_LIMIT) {
            Ok(addr) => Ok(Server { addr, label: flags.join(" "), child: Some(Mutex::new(child)), log, url: None }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().expect("our own child");
                // Standard error may end a moment later than standard output.
                std::thread::sleep(Duration::from_millis(50));
                Err(Exited { status, output: log.text() })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("no line `listening on http://…` within {START_LIMIT:?}:\n{}", log.text());
            }
        }
    }

    /// The server that the environment variable names, if it is set.
    pub fn external(variable: &str) -> Option<Server> {
        let url = std::env::var(variable).ok()?;
        let authority = url.trim_start_matches("http://").trim_end_matches('/');
        let addr = authority
            .to_socket_addrs()
            .ok()
            .and_then(|mut addrs| addrs.next())
            .unwrap_or_else(|| panic!("{variable} is not http://host:port"));
        Some(Server { addr, label: url, child: None, log: Log::default(), url: None })
    }

    /// What listens at `addr` in front of a server: a proxy.
    pub fn in_front(addr: SocketAddr, label: &str) -> Server {
        Server { addr, label: label.to_string(), child: None, log: Log::default(), url: None }
    }

    /// Leaves the server to live until the test process ends.
    pub fn outlive_tests(self) -> Arc<Server> {
        if let Some(child) = &self.child {
            kill_at_exit(lock(child).id());
        }
        Arc::new(self)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens with TLS.
    pub fn tls_addr(&self) -> SocketAddr {
        let log = self.log();
        log.lines().find_map(|line| listening_address(line, "https")).expect("a port with TLS")
    }

    /// The server as those see it who speak TLS with it themselves.
    pub fn with_tls(&self) -> Server {
        let url = format!("https://localhost:{}", self.tls_addr().port());
        Server {
            addr: self.tls_addr(),
            label: format!("TLS, {}", self.label),
            url: Some(url),
            child: None,
            log: Log::default(),
        }
    }

    pub fn url(&self) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        format!("http://{}", self.addr)
    }

    /// The value of a flag that it was started with.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let mut words = self.label.split(' ');
        words.find(|word| *word == name).and_then(|_| words.next())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        lock(self.child.as_ref().expect("a server of our own")).id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&lock(self.child.as_ref().expect("a server of our own")));
        kill_process(pid, signal).expect("the server is alive");
    }

    /// Whether the process still runs. Always so for one that is not ours.
    pub fn is_alive(&self) -> bool {
        self.child.as_ref().is_none_or(|child| lock(child).try_wait().expect("our own child").is_none())
    }

    /// Ends a server that was started with `--log-level debug`, cleanly, and gives the shards' counters it logs.
    pub fn stopped_counters(self) -> Counters {
        self.signal(Signal::TERM);
        let status = self.exit_status(super::LIMIT);
        assert!(status.success(), "{status}:\n{}", self.log());
        super::eventually("the last line of the log", || self.log().contains("stopped"));
        Counters(self.log().lines().filter(|line| line.contains("shard ended")).map(str::to_string).collect())
    }

    /// Waits for the process to end.
    pub fn exit_status(&self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            let child = self.child.as_ref().expect("a server of our own");
            if let Some(status) = lock(child).try_wait().expect("our own child") {
                return status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What the shards of a server have counted: a logged line for each.
pub struct Counters(Vec<String>);

impl Counters {
    /// A counter of each shard.
    pub fn of_each(&self, name: &str) -> Vec<u64> {
        let value = |line: &String| {
            let (_, after) = line.split_once(&format!(" {name}: ")).unwrap_or_else(|| panic!("no {name}: {line}"));
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        self.0.iter().map(value).collect()
    }

    /// A counter of all shards together.
    pub fn sum(&self, name: &str) -> u64 {
        self.of_each(name).iter().sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let mut child = lock(child);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Log {
    /// `found`: who is told of the address with a scheme.
    fn collect(&self, stream: impl Read + Send + 'static, mut found: Option<(mpsc::Sender<SocketAddr>, &'static str)>) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = lock(&log.0);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                if let Some((sender, scheme)) = &found
                    && let Some(addr) = listening_address(&line, scheme)
                {
                    let _ = sender.send(addr);
                    found = None;
                }
            }
        });
    }

    fn text(&self) -> String {
        lock(&self.0).clone()
    }
}

/// The address in a line that says that the server is ready.
fn listening_address(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("listening on ")?.1.split_once(scheme)?;
    let after = after.strip_prefix("://")?;
    after.split(|c: char| c.is_whitespace() || c == '/').next()?.parse().ok()
}

/// A poisoned lock only says that another test failed.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Statics are not dropped when a test process ends: a shell that reads our pipe to its end kills what they hold.
pub fn kill_at_exit(pid: u32) {
    static REAPER: OnceLock<Mutex<Child>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let script = "while read -r pid; do all=\"$all $pid\"; done; kill -9 $all";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Mutex::new(command.spawn().expect("sh"))
    });
    let mut reaper = lock(reaper);
    let pipe = reaper.stdin.as_mut().expect("piped");
    writeln!(pipe, "{pid}").expect("the reaper reads");
}
