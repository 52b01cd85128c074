//! Start-up, top to bottom: open files, driver, port, cores, log, threads, signals; then the drain and the end.

mod access;
mod banner;
mod exposition;
mod listen;
mod log;
mod machine;
mod metrics_port;
mod signals;
#[cfg(test)]
mod tests;
mod tls;

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::app::echo::{BARE_ENGINE_PATH, Echo};
use crate::app::logs::Feed;
use crate::app::{Access, Agents, AgentsSettings};
use crate::config::{self, Balance, Config, Io, Switch};
use crate::connection::addresses::{AddressLimits, Addresses};
use crate::connection::proxies::Proxies;
use crate::connection::tls::Certificates;
use crate::driver::accept::ListenError;
use crate::driver::{self, Control, Counters, Driver, Options, Refusal, Report, Seat};
use crate::engine::{Cors, Settings};
use crate::shard::seam::{Core, Now};
use crate::shard::{Routes, Shard};
use crate::socket::{App, Sockets, recovery};
use banner::{Facts, banner};
pub use machine::Entropy;

/// Kept of the drain limit for the process to end after its shards, at most this and a tenth of the limit.
const EXIT_RESERVE_MS: u64 = 500;

/// Why the server did not start.
#[derive(Debug)]
pub enum StartError {
    /// A file that a flag names cannot be used: which, and why.
    File(PathBuf, String),
    /// The certificate and its key do not do: where they are, and why.
    Tls(PathBuf, PathBuf, String),
    /// The port cannot be had.
    Listen(ListenError),
    /// The port for metrics cannot be had.
    Metrics(SocketAddr, io::Error),
    /// `--io uring` where io_uring is refused.
    Uring(Refusal),
    /// A shard's thread or its I/O cannot be set up.
    Shard(usize, io::Error),
    /// The operating system refused something else.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Tls(certificate, key, why) => {
                write!(f, "cannot serve TLS with {} and {}: {why}", certificate.display(), key.display())
            }
            Self::Listen(error) => error.fmt(f),
            Self::Metrics(address, error) => write!(f, "cannot listen on {address} for metrics: {error}"),
            Self::Uring(refusal) => write!(f, "io_uring cannot be used ({refusal}); --io auto takes epoll instead"),
            Self::Shard(index, error) => write!(f, "shard {index} cannot be started: {error}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What a shard is built from, besides the flags.
pub struct Place {
    /// Which shard it is.
    pub index: usize,
    /// How many there are.
    pub shards: usize,
    /// The time at start.
    pub now: Now,
    /// Random bytes of the operating system.
    pub entropy: Entropy,
    /// What all shards use.
    pub shared: Shared,
}

/// What all shards use.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The connections of each address, if they are limited.
    pub addresses: Option<Arc<Addresses>>,
    /// The certificate of connections with TLS, if there are any.
    pub certificates: Option<Arc<Certificates>>,
}

impl Shared {
    fn new(config: &Config, certificates: Option<Arc<Certificates>>) -> Self {
        let limits = AddressLimits { connections: config.max_connections_per_ip, per_second: config.rate_connections };
        Self { addresses: Addresses::new(limits), certificates }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The server did not start; nothing was served.
pub fn run(config: Config) -> Result<ExitCode, StartError> {
    let log_feed = log::start(&config);
    match config.app {
        config::App::Agents => {
            let access = access::load(&config)?;
            serve(config, move |config, place| agents(config, place, access.clone(), Arc::clone(&log_feed)))
        }
        config::App::Echo => serve(config, echo),
    }
}

fn agents(config: &Config, place: Place, access: Access, log_feed: Arc<Feed>) -> Shard<Sockets<Agents>> {
    let settings = AgentsSettings {
        text_max: config.text_max_bytes,
        max_rooms_per_socket: config.max_rooms_per_socket as usize,
        max_rooms: config.max_rooms as usize,
        history: config.history as usize,
        room_bytes: config.room_bytes,
        history_bytes: config.history_bytes,
        complete_timeout_ms: config.complete_timeout_ms,
        server_id: config.server_id,
        require_join: config.require_join,
        demo_agent: config.demo_agent,
        dedupe_window_ms: config.dedupe_window_ms,
        rate_messages: config.rate_messages,
        access,
        public_logs: config.public_logs,
        log_feed,
    };
    let app = Agents::new(settings, place.shards);
    shard(config, place, app, None)
}

fn echo(config: &Config, place: Place) -> Shard<Sockets<Echo>> {
    let bare = Some(BARE_ENGINE_PATH.to_owned());
    shard(config, place, Echo, bare)
}

/// Composes a shard.
fn shard<A: App>(config: &Config, place: Place, app: A, bare: Option<String>) -> Shard<Sockets<A>> {
    let Place { index, shards, now, entropy, shared } = place;
    let recovery = recovery::Settings { window_ms: config.recovery_window_ms, max_bytes: config.recovery_bytes };
    let routes = Routes { socket_io: config.path.clone(), bare, call_body_max: config.http_body_max_bytes };
    let sockets = Sockets::new(app, index, shards, config.max_payload_bytes, recovery);
    Shard::new(settings(config, index, shards, shared), routes, sockets, entropy, now.mono_ms)
}

/// What the flags mean for the engine of `shard`, one of `shards`.
pub fn settings(config: &Config, shard: usize, shards: usize, shared: Shared) -> Settings {
    let listed: Option<Vec<String>> = config
        .cors_origin
        .iter()
        .map(|origin| match origin {
            config::Origin::Any => None,
            config::Origin::Exact(origin) => Some(origin.clone()),
        })
        .collect();
    let cors = listed.map_or_else(Cors::any, Cors::only);
    Settings {
        shard,
        shards,
        ping_interval_ms: config.ping_interval_ms,
        ping_timeout_ms: config.ping_timeout_ms,
        max_payload: config.max_payload_bytes,
        connect_timeout_ms: config.connect_timeout_ms,
        upgrade_timeout_ms: config.upgrade_timeout_ms,
        request_timeout_ms: config.request_timeout_ms,
        idle_timeout_ms: config.idle_timeout_ms,
        close_timeout_ms: config.close_timeout_ms,
        stall_timeout_ms: config.stall_timeout_ms,
        max_fragments: config.max_fragments,
        max_connections: config.max_connections.unwrap_or(u32::MAX) as usize,
        max_queue: config.max_queue_bytes,
        cors,
        addresses: shared.addresses,
        proxies: Proxies { trusted: config.trusted_proxy.clone(), send_header: config.proxy_protocol },
        certificates: shared.certificates,
        handshake_timeout_ms: config.handshake_timeout_ms,
    }
}

/// Serves until SIGTERM or SIGINT, with one shard built by `shard` on each thread.
///
/// In the `config` that `shard` gets, `workers` and `max_connections` are set.
///
/// # Errors
/// The server did not start; nothing was served.
pub fn serve<C, F>(mut config: Config, shard: F) -> Result<ExitCode, StartError>
where
    C: Core + 'static,
    F: Fn(&Config, Place) -> C + Send + Sync + 'static,
{
    let open_files = machine::raise_open_files();
    if let Err(error) = machine::set_huge_pages(config.huge_pages == Switch::On) {
        tracing::warn!(%error, "cannot choose the size of pages");
    }
    let (driver, why) = choose_driver(config.io).map_err(StartError::Uring)?;
    let shards = usize::from(*config.workers.get_or_insert_with(machine::shards_by_default));
    let room = machine::connections_within(open_files, shards);
    let max_connections = *config.max_connections.get_or_insert(room);
    let identity = tls::Files::of(&config);
    let certificates = identity.as_ref().map(tls::Files::load).transpose()?;
    let ports = listen::ports(&config, shards)?;
    let cores = cores_of(&config, shards).map_err(|error| StartError::System("cannot tell the cores", error))?;
    if max_connections > room {
        tracing::warn!(max_connections, open_files, "more connections are allowed than descriptors can be opened");
    }
    let no_signals = |error| StartError::System("cannot take signals", error);
    let signals = signals::taken(identity.is_some()).map_err(no_signals)?;

    let options = options(&config, max_connections);
    let (seats, control) = driver::seats(ports.listeners, options)
        .map_err(|error| StartError::System("cannot connect the shards", error))?;
    let metrics = metrics_address(&config, &control)?;
    let driver_text = format!("{driver} ({why})");
    let (plain, tls) = (ports.plain, ports.tls);
    let facts = Facts { plain, tls, driver: driver_text, shards, cores, open_files, metrics };
    let shared = Shared::new(&config, certificates.clone());
    let config = Arc::new(config);
    let threads = start_shards(&config, driver, seats, &facts.cores, &shared, Arc::new(shard))?;
    let mut stdout = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = stdout.write_all(banner(&config, &facts).as_bytes()).and_then(|()| stdout.flush());
    drop(stdout);

    let reload =
        move || identity.iter().zip(&certificates).for_each(|(files, certificates)| files.reload(certificates));
    let drain_limit = Duration::from_millis(config.drain_limit_ms);
    signals::obey(signals, Arc::clone(&control), drain_limit, reload).map_err(no_signals)?;
    for thread in threads {
        if thread.join().is_err() {
            process::abort();
        }
    }
    let left = control.connections();
    if left > 0 {
        tracing::warn!(connections = left, "the drain limit is reached: cut off");
    }
    log_summary(&control);
    drop(ports.locks);
    Ok(ExitCode::SUCCESS)
}

/// Serves metrics, if they are asked for, and says where.
fn metrics_address(config: &Config, control: &Arc<Control>) -> Result<Option<SocketAddr>, StartError> {
    let Some(port) = config.metrics_port else { return Ok(None) };
    let address = SocketAddr::new(config.metrics_host, port);
    metrics_port::serve(address, Arc::clone(control)).map(Some).map_err(|error| StartError::Metrics(address, error))
}

/// What all shards did from start to end, in one line.
fn log_summary(control: &Control) {
    let reports = control.reports();
    let sum = |value: fn(&Report) -> u64| reports.iter().map(value).sum::<u64>();
    tracing::info!(
        connections = sum(|report| report.driver.accepted),
        refused = sum(|report| report.driver.refused),
        sessions = sum(|report| report.shard.counters.sessions_opened),
        messages = sum(|report| report.shard.counters.messages_received),
        deliveries = sum(|report| report.shard.counters.deliveries),
        bytes_sent = sum(|report| report.shard.counters.bytes_sent),
        cut_offs = sum(|report| report.shard.counters.cut_offs()),
        connections_left = control.connections(),
        "stopped"
    );
}

/// Which driver, and why.
fn choose_driver(io: Io) -> Result<(Driver, String), Refusal> {
    match (io, driver::probe_uring) {
        (Io::Epoll, _) => Ok((Driver::Epoll, "asked for".to_owned())),
        (Io::Uring, probe) => probe().map(|()| (Driver::Uring, "asked for".to_owned())),
        (Io::Auto, probe) => Ok(match probe() {
            Ok(()) => (Driver::Uring, "the kernel allows it".to_owned()),
            Err(refusal) => (Driver::Epoll, format!("io_uring is refused: {refusal}")),
        }),
    }
}

/// A core for each shard, over again when there are fewer; none when shards are not pinned.
fn cores_of(config: &Config, shards: usize) -> io::Result<Vec<usize>> {
    match config.pin {
        Switch::Off => Ok(Vec::new()),
        Switch::On => Ok(machine::cores()?.into_iter().cycle().take(shards).collect()),
    }
}

fn options(config: &Config, max_connections: u32) -> Options {
    let reserve = (config.drain_limit_ms / 10).min(EXIT_RESERVE_MS);
    Options {
        max_connections,
        balance_least: config.balance == Balance::Least,
        flush_window_ms: config.flush_window_ms,
        drain_limit_ms: config.drain_limit_ms - reserve,
        reports: config.metrics_port.is_some(),
    }
}

/// Starts all shards and waits until each is ready to accept.
fn start_shards<C, F>(
    config: &Arc<Config>,
    driver: Driver,
    seats: Vec<Seat<C::Mail>>,
    cores: &[usize],
    shared: &Shared,
    shard: Arc<F>,
) -> Result<Vec<JoinHandle<Counters>>, StartError>
where
    C: Core + 'static,
    F: Fn(&Config, Place) -> C + Send + Sync + 'static,
{
    let shards = seats.len();
    let (ready, readiness) = mpsc::channel();
    let mut threads = Vec::with_capacity(shards);
    for seat in seats {
        let index = seat.index();
        let (config, shared) = (Arc::clone(config), shared.clone());
        let (shard, ready) = (Arc::clone(&shard), ready.clone());
        let core = cores.get(index).copied();
        let life = move || {
            let _guard = AbortOnPanic;
            let place = || Place { index, shards, now: driver::now(), entropy: machine::entropy(), shared };
            live(index, &ready, |started| {
                core.map_or(Ok(()), machine::pin)?;
                driver::run(driver, shard(&config, place()), seat, started)
            })
        };
        let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(life);
        threads.push(thread.map_err(|error| StartError::Shard(index, error))?);
    }
    for _ in 0..shards {
        readiness.recv().unwrap_or_else(|_| Err(StartError::Shard(0, io::Error::other("it ended early"))))?;
    }
    Ok(threads)
}

/// The life of a shard's thread: says when it is ready, or why it never was. Failed later by the kernel, it ends the
/// process.
fn live(
    index: usize,
    ready: &Sender<Result<(), StartError>>,
    run: impl FnOnce(&dyn Fn()) -> io::Result<Counters>,
) -> Counters {
    let is_ready = Cell::new(false);
    // Nobody listens any more when another shard could not start; the process ends then.
    let result = run(&|| {
        is_ready.set(true);
        let _ = ready.send(Ok(()));
    });
    match result {
        Ok(counters) => {
            tracing::debug!(shard = index, ?counters, "shard ended");
            counters
        }
        Err(error) if is_ready.get() => {
            tracing::error!(shard = index, %error, "shard failed");
            process::exit(1);
        }
        Err(error) => {
            let _ = ready.send(Err(StartError::Shard(index, error)));
            Counters::default()
        }
    }
}

/// A shard that panics takes the process with it: the rest of it would be a half-dead server.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}
