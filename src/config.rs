//! Every flag once: name, default, bound, doc.
//!
//! Parsed, not validated later: a [`Config`] holds only values within their bounds. Times are milliseconds, sizes bytes.
//!
//! On the command line a time is a whole number with a unit (`300ms`, `25s`, `2m`, `1h`; a bare `0` needs none), a size
//! a whole number of bytes, or one with a decimal (`kB`, `MB`, `GB`) or binary (`KiB`, `MiB`, `GiB`) unit.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::app::Secret;
use crate::bench::BenchArgs;
use crate::connection::proxies::Subnet;
use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

#[cfg(test)]
mod tests;
pub(crate) mod values;

pub use values::{App, Balance, Io, Origin, Switch};
use values::{HOUR_MS, KIB, MIB, MINUTE_MS};
use values::{log_level, origin, path, secret, server_id, size, time};

/// The command line: flags alone serve.
#[derive(Debug, Parser)]
#[command(
    name = "sockeye",
    version,
    about,
    max_term_width = 120,
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Config,
}

/// What there is to do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure a server: a load generator for the documented API
    Bench(BenchArgs),
}

/// Everything that can be set, within its bounds.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on, IPv4 or IPv6 (`::` takes both)
    #[arg(long, default_value = "0.0.0.0", value_name = "IP", help_heading = "Listening")]
    pub host: IpAddr,

    /// Port to listen on; 0: the kernel picks one, printed at start
    #[arg(long, default_value_t = 3000, help_heading = "Listening")]
    pub port: u16,

    /// Whether to listen on that port; `off`: with TLS only
    #[arg(long, value_enum, default_value_t = Switch::On, requires_if("off", "tls_cert"), help_heading = "Listening")]
    pub plain: Switch,

    /// File with the certificate chain in PEM, the server's own first: listens with TLS as well (`https://`, `wss://`)
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Listening")]
    pub tls_cert: Option<PathBuf>,

    /// File with the private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Listening")]
    pub tls_key: Option<PathBuf>,

    /// Port to listen on with TLS; 0: the kernel picks one, printed at start
    #[arg(long, default_value_t = 3443, help_heading = "Listening")]
    pub tls_port: u16,

    /// Path of the Socket.IO endpoint [1 to 255 bytes, starts with a slash]
    #[arg(long, default_value = "/socket.io/", value_parser = path, help_heading = "Listening")]
    pub path: String,

    /// Addresses of proxies in front, which are trusted to name their clients: ADDRESS or ADDRESS/BITS (repeatable, or
    /// separated by commas)
    #[arg(long, value_delimiter = ',', value_parser = str::parse::<Subnet>, value_name = "SUBNET", help_heading = "Listening")]
    pub trusted_proxy: Vec<Subnet>,

    /// Connections of trusted proxies begin with a PROXY protocol header, version 1 or 2
    #[arg(long, requires = "trusted_proxy", help_heading = "Listening")]
    pub proxy_protocol: bool,

    /// Allowed origins: `*`, or `scheme://host[:port]` (repeatable, or separated by commas)
    #[arg(long, default_value = "*", value_delimiter = ',', value_parser = origin, value_name = "ORIGIN", help_heading = "Listening")]
    pub cors_origin: Vec<Origin>,

    /// Token that clients must present: `auth.token`, `auth.apiKey` or header X-API-KEY [1 byte or more]
    #[arg(long, env = "SOCKEYE_AUTH_TOKEN", hide_env_values = true, value_parser = secret, value_name = "TOKEN", help_heading = "Access")]
    pub auth_token: Option<Secret>,

    /// Secret of signed tokens (JWT, HS256), which then give access as well
    #[arg(long, env = "SOCKEYE_JWT_SECRET", hide_env_values = true, value_parser = secret, value_name = "SECRET", group = "jwt", help_heading = "Access")]
    pub jwt_secret: Option<Secret>,

    /// File with that secret; a line break at its end does not count
    #[arg(long, value_name = "FILE", group = "jwt", help_heading = "Access")]
    pub jwt_secret_file: Option<PathBuf>,

    /// File with the public key of signed tokens in PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)
    #[arg(long, value_name = "FILE", group = "jwt", help_heading = "Access")]
    pub jwt_public_key: Option<PathBuf>,

    /// Refuse sockets whose `auth.entityId` is not a uuid
    #[arg(long, help_heading = "Access")]
    pub require_entity_id: bool,

    /// Shards, each a thread with its own listener, sessions and rooms [1 to 64; default: number of cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N", help_heading = "Threads and I/O")]
    pub workers: Option<u16>,

    /// Pin each shard to a core of its own
    #[arg(long, value_enum, default_value_t = Switch::On, help_heading = "Threads and I/O")]
    pub pin: Switch,

    /// Let memory be mapped in pages of 2 MiB: less CPU with much memory in use, more memory with little
    #[arg(long, value_enum, default_value_t = Switch::Off, help_heading = "Threads and I/O")]
    pub huge_pages: Switch,

    /// How the kernel is asked for I/O; `auto`: io_uring, or epoll where io_uring is refused
    #[arg(long, value_enum, default_value_t = Io::Auto, help_heading = "Threads and I/O")]
    pub io: Io,

    /// How accepted connections are spread over the shards
    #[arg(long, value_enum, default_value_t = Balance::Hash, help_heading = "Threads and I/O")]
    pub balance: Balance,

    /// Delay of every flush, to merge more frames into one write [0 to 100ms]
    #[arg(long = "flush-window", default_value = "0ms", value_parser = time(0..=100), value_name = "TIME", help_heading = "Threads and I/O")]
    pub flush_window_ms: u64,

    /// Time between two pings to a client [100ms to 1h]
    #[arg(long = "ping-interval", default_value = "25s", value_parser = time(100..=HOUR_MS), value_name = "TIME", help_heading = "Times")]
    pub ping_interval_ms: u64,

    /// Time a client has to answer a ping [100ms to 1h]
    #[arg(long = "ping-timeout", default_value = "20s", value_parser = time(100..=HOUR_MS), value_name = "TIME", help_heading = "Times")]
    pub ping_timeout_ms: u64,

    /// Time a session has to connect to a namespace [100ms to 1h]
    #[arg(long = "connect-timeout", default_value = "45s", value_parser = time(100..=HOUR_MS), value_name = "TIME", help_heading = "Times")]
    pub connect_timeout_ms: u64,

    /// Time a session has to finish its upgrade to WebSocket [100ms to 10m]
    #[arg(long = "upgrade-timeout", default_value = "10s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub upgrade_timeout_ms: u64,

    /// Time a connection has to send a complete request, headers and body [100ms to 10m]
    #[arg(long = "request-timeout", default_value = "10s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub request_timeout_ms: u64,

    /// Time a connection may wait between two requests [100ms to 1h]
    #[arg(long = "idle-timeout", default_value = "75s", value_parser = time(100..=HOUR_MS), value_name = "TIME", help_heading = "Times")]
    pub idle_timeout_ms: u64,

    /// Time a connection that ends may take for it [100ms to 10m]
    #[arg(long = "close-timeout", default_value = "10s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub close_timeout_ms: u64,

    /// Time a reader for whom half of --max-queue waits may take nothing of it [100ms to 10m]
    #[arg(long = "stall-timeout", default_value = "5s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub stall_timeout_ms: u64,

    /// Time a connection has for its TLS handshake [100ms to 10m]
    #[arg(long = "handshake-timeout", default_value = "10s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub handshake_timeout_ms: u64,

    /// Time the orderly end after SIGTERM or SIGINT may take [100ms to 10m]
    #[arg(long = "drain-limit", default_value = "10s", value_parser = time(100..=10 * MINUTE_MS), value_name = "TIME", help_heading = "Times")]
    pub drain_limit_ms: u64,

    /// Connections at one time, all shards together [1 to 10000000; default: the open-file limit less a reserve]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "N", help_heading = "Limits")]
    pub max_connections: Option<u32>,

    /// Connections at one time from one address; 0: no limit [0 to 10000000]
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000), value_name = "N", help_heading = "Limits")]
    pub max_connections_per_ip: u32,

    /// New connections a second from one address, more are answered 429; 0: no limit [0 to 1000000]
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "N", help_heading = "Limits")]
    pub rate_connections: u32,

    /// Messages a second from one connection; 0: no limit [0 to 1000000]
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "N", help_heading = "Limits")]
    pub rate_messages: u32,

    /// Longest polling payload, WebSocket message or packet with its attachments [1kB to 64MiB]
    #[arg(long = "max-payload", default_value = "1MB", value_parser = size(1_000..=64 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub max_payload_bytes: usize,

    /// Longest body of a call of the HTTP API [1kB to 64MiB]
    #[arg(long = "http-body-max", default_value = "1MiB", value_parser = size(1_000..=64 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub http_body_max_bytes: usize,

    /// Frames of one WebSocket message [1 to 1000000]
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N", help_heading = "Limits")]
    pub max_fragments: u32,

    /// Bytes queued for one session before it is cut off [64KiB to 1GiB]
    #[arg(long = "max-queue", default_value = "1MiB", value_parser = size(64 * KIB..=1024 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub max_queue_bytes: usize,

    /// Longest `text` of a message [1 B to 16MiB]
    #[arg(long = "text-max", default_value = "64KiB", value_parser = size(1..=16 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub text_max_bytes: usize,

    /// Rooms one socket may be in [1 to 100000]
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N", help_heading = "Limits")]
    pub max_rooms_per_socket: u32,

    /// Rooms with state, all shards together [1 to 100000000]
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000), value_name = "N", help_heading = "Limits")]
    pub max_rooms: u32,

    /// Messages kept of a room [0 to 1000]
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1000), value_name = "N", help_heading = "Rooms")]
    pub history: u32,

    /// Bytes of messages kept of a room [1kB to 1GiB]
    #[arg(long, default_value = "512KiB", value_parser = size(1_000..=1024 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub room_bytes: usize,

    /// Bytes of messages kept of all rooms, all shards together [64KiB to 1TiB]
    #[arg(long, default_value = "256MiB", value_parser = size(64 * KIB..=1024 * 1024 * MIB), value_name = "SIZE", help_heading = "Limits")]
    pub history_bytes: usize,

    /// What is mounted: rooms of people and agents, or the protocol test app
    #[arg(long, value_enum, default_value_t = App::Agents, help_heading = "Rooms")]
    pub app: App,

    /// Server id of what names none
    #[arg(long, default_value = "00000000-0000-0000-0000-000000000000", value_parser = server_id, value_name = "UUID", help_heading = "Rooms")]
    pub server_id: Uuid,

    /// Refuse messages to rooms the socket has not joined
    #[arg(long, help_heading = "Rooms")]
    pub require_join: bool,

    /// Have an agent that answers people in every room that names it, to try things with
    #[arg(long, help_heading = "Rooms")]
    pub demo_agent: bool,

    /// Time a message waits for a silent agent before it is complete; 0: for ever [0 to 1h]
    #[arg(long = "complete-timeout", default_value = "60s", value_parser = time(0..=HOUR_MS), value_name = "TIME", help_heading = "Rooms")]
    pub complete_timeout_ms: u64,

    /// Time in which a repeated `messageId` or `Idempotency-Key` is the same message; 0: never [0 to 1h]
    #[arg(long = "dedupe-window", default_value = "2m", value_parser = time(0..=HOUR_MS), value_name = "TIME", help_heading = "Rooms")]
    pub dedupe_window_ms: u64,

    /// Time in which a broken connection can be recovered; 0: recovery is off [0 to 1h]
    #[arg(long = "recovery-window", default_value = "120s", value_parser = time(0..=HOUR_MS), value_name = "TIME", help_heading = "Rooms")]
    pub recovery_window_ms: u64,

    /// Bytes of broadcasts a shard keeps for recovery [64KiB to 64GiB]
    #[arg(long = "recovery-bytes", default_value = "64MiB", value_parser = size(64 * KIB..=64 * 1024 * MIB), value_name = "SIZE", help_heading = "Rooms")]
    pub recovery_bytes: usize,

    /// Let anybody read the server's own log lines over the log stream
    #[arg(long, help_heading = "Metrics and logs")]
    pub public_logs: bool,

    /// Port for `/metrics` and `/healthz`; 0: the kernel picks one, printed at start [default: off]
    #[arg(long, value_name = "PORT", help_heading = "Metrics and logs")]
    pub metrics_port: Option<u16>,

    /// Address to listen on for `/metrics` and `/healthz`
    #[arg(long, default_value = "127.0.0.1", value_name = "IP", help_heading = "Metrics and logs")]
    pub metrics_host: IpAddr,

    /// Least severe level written to stderr [off, error, warn, info, debug, trace]
    #[arg(long, default_value = "info", value_parser = log_level, value_name = "LEVEL", help_heading = "Metrics and logs")]
    pub log_level: LevelFilter,
}

impl Default for Config {
    /// What is in force without flags.
    fn default() -> Self {
        // The parser is built at every parse, and tests build shards by the thousand.
        static DEFAULT: LazyLock<Config> = LazyLock::new(|| Cli::parse_from(["sockeye"]).serve);
        DEFAULT.clone()
    }
}

impl Config {
    /// Whether a request with this `Origin` header may be served.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.cors_origin.iter().any(|allowed| match allowed {
            Origin::Any => true,
            Origin::Exact(exact) => exact.eq_ignore_ascii_case(origin),
        })
    }
}
