//! The block printed at start: what runs where, and every limit in force.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::app::demo;
use crate::config::{Config, Origin, Switch};

/// What was found out at start.
pub struct Facts {
    /// Where it listens without TLS.
    pub plain: Option<SocketAddr>,
    /// Where it listens with TLS.
    pub tls: Option<SocketAddr>,
    /// The driver, and why it is this one.
    pub driver: String,
    pub shards: usize,
    /// Core of each shard; empty: not pinned.
    pub cores: Vec<usize>,
    pub open_files: u64,
    /// Where metrics are read, if anywhere.
    pub metrics: Option<SocketAddr>,
}

/// The block; its last line says that the server listens.
pub fn banner(config: &Config, facts: &Facts) -> String {
    let mut text = format!("sockeye {}\n", env!("CARGO_PKG_VERSION"));
    let cores = match facts.cores.as_slice() {
        [] => "not pinned".to_owned(),
        cores => format!("pinned to cores {}", join(cores.iter())),
    };
    let address = |address: Option<SocketAddr>| address.map_or_else(|| "off".to_owned(), |address| address.to_string());
    line(&mut text, "plain", address(facts.plain));
    line(&mut text, "tls", address(facts.tls));
    line(&mut text, "path", &config.path);
    line(&mut text, "app", name(config.app));
    line(&mut text, "driver", &facts.driver);
    line(&mut text, "shards", format!("{}, {cores}", facts.shards));
    line(&mut text, "balance", name(config.balance));
    line(&mut text, "open files", facts.open_files);
    let metrics = facts.metrics.map(|address| format!("{}, http://{address}/metrics", address.port()));
    line(&mut text, "metrics-port", metrics.as_deref().unwrap_or("off"));
    for (name, value) in limits(config) {
        line(&mut text, name, value);
    }
    for (scheme, address) in [("https", facts.tls), ("http", facts.plain)] {
        if let Some(address) = address {
            let _ = writeln!(text, "listening on {scheme}://{address}");
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<24}{value}");
}

/// Every limit, by the name of its flag.
fn limits(config: &Config) -> Vec<(&'static str, String)> {
    let origins = config.cors_origin.iter().map(|origin| match origin {
        Origin::Any => "*",
        Origin::Exact(exact) => exact,
    });
    vec![
        ("cors-origin", join(origins)),
        ("huge-pages", on_or_off(config.huge_pages == Switch::On)),
        ("trusted-proxy", or_none(join(config.trusted_proxy.iter()))),
        ("proxy-protocol", on_or_off(config.proxy_protocol)),
        ("tls-cert", file(config.tls_cert.as_deref())),
        ("tls-key", file(config.tls_key.as_deref())),
        ("auth-token", on_or_off(config.auth_token.is_some())),
        ("jwt-secret", on_or_off(config.jwt_secret.is_some())),
        ("jwt-secret-file", file(config.jwt_secret_file.as_deref())),
        ("jwt-public-key", file(config.jwt_public_key.as_deref())),
        ("require-entity-id", on_or_off(config.require_entity_id)),
        ("public-logs", on_or_off(config.public_logs)),
        ("require-join", config.require_join.to_string()),
        ("demo-agent", if config.demo_agent { format!("on, agent {}", demo::ID) } else { "off".to_owned() }),
        ("max-connections", config.max_connections.map_or_else(String::new, |n| n.to_string())),
        ("max-connections-per-ip", or_off(config.max_connections_per_ip)),
        ("rate-connections", or_off(config.rate_connections)),
        ("rate-messages", or_off(config.rate_messages)),
        ("max-payload", size(config.max_payload_bytes)),
        ("http-body-max", size(config.http_body_max_bytes)),
        ("max-fragments", config.max_fragments.to_string()),
        ("max-queue", size(config.max_queue_bytes)),
        ("text-max", size(config.text_max_bytes)),
        ("max-rooms", config.max_rooms.to_string()),
        ("max-rooms-per-socket", config.max_rooms_per_socket.to_string()),
        ("history", config.history.to_string()),
        ("room-bytes", size(config.room_bytes)),
        ("history-bytes", size(config.history_bytes)),
        ("recovery-bytes", size(config.recovery_bytes)),
        ("recovery-window", time(config.recovery_window_ms)),
        ("complete-timeout", time(config.complete_timeout_ms)),
        ("dedupe-window", time(config.dedupe_window_ms)),
        ("ping-interval", time(config.ping_interval_ms)),
        ("ping-timeout", time(config.ping_timeout_ms)),
        ("connect-timeout", time(config.connect_timeout_ms)),
        ("upgrade-timeout", time(config.upgrade_timeout_ms)),
        ("request-timeout", time(config.request_timeout_ms)),
        ("idle-timeout", time(config.idle_timeout_ms)),
        ("close-timeout", time(config.close_timeout_ms)),
        ("stall-timeout", time(config.stall_timeout_ms)),
        ("handshake-timeout", time(config.handshake_timeout_ms)),
        ("drain-limit", time(config.drain_limit_ms)),
        ("flush-window", time(config.flush_window_ms)),
    ]
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

/// The value as it is written on the command line.
fn name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn on_or_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn file(path: Option<&Path>) -> String {
    path.map_or_else(|| "off".to_owned(), |path| path.display().to_string())
}

fn or_none(list: String) -> String {
    if list.is_empty() { "none".to_owned() } else { list }
}

fn or_off(limit: u32) -> String {
    if limit == 0 { "off".to_owned() } else { limit.to_string() }
}

/// In the largest unit that is exact, as the flags take it.
fn time(ms: u64) -> String {
    match ms {
        0 => "off".to_owned(),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// In the largest unit that is exact, as the flags take it.
fn size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_flag_with_a_bound_is_printed_and_the_last_line_listens() {
        let config = Config::default();
        let address = "127.0.0.1:3000".parse().unwrap();
        let facts = Facts {
            plain: Some(address),
            tls: Some("127.0.0.1:3443".parse().unwrap()),
            driver: "epoll (asked for)".to_owned(),
            shards: 2,
            cores: vec![0, 1],
            open_files: 1024,
            metrics: None,
        };
        let text = banner(&config, &facts);
        let elsewhere = ["host", "port", "tls-port", "workers", "pin", "io", "server-id", "log-level", "metrics-host"];
        for flag in Cli::command().get_arguments().filter_map(|arg| arg.get_long()) {
            let printed = text.lines().any(|line| line.trim_start().starts_with(&format!("{flag} ")));
            assert!(printed || elsewhere.contains(&flag), "--{flag} is not printed:\n{text}");
        }
        assert_eq!(text.lines().last(), Some("listening on http://127.0.0.1:3000"));
        assert!(text.contains("pinned to cores 0 1") && text.contains("epoll (asked for)"));
    }

    #[test]
    fn values_are_printed_as_flags_take_them() {
        assert_eq!([time(0), time(300), time(25_000), time(120_000)], ["off", "300ms", "25s", "2m"]);
        assert_eq!(
            [size(0), size(7), size(1_000_000), size(65_536), size(1 << 20)],
            ["0", "7", "1MB", "64KiB", "1MiB"]
        );
    }
}
