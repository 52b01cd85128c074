//! The types flags have, and the parsers that read them.

use std::ops::RangeInclusive;

use crate::app::Secret;
use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

/// What is mounted on the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Rooms in which people and AI agents talk.
    Agents,
    /// The protocol test app.
    Echo,
}

/// Which driver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Io {
    /// io_uring, or epoll where io_uring is refused.
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// How accepted connections are spread over the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Balance {
    /// By the kernel's hash of the addresses.
    Hash,
    /// By hash, but from a shard that has clearly more connections to the one that has the fewest.
    Least,
}

/// A switch that is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// An allowed value of the `Origin` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`.
    Any,
    /// `scheme://host[:port]` in lower case, or `null`.
    Exact(String),
}

pub const MINUTE_MS: u64 = 60_000;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// A parser of times, to milliseconds within `bound_ms`.
pub fn time(bound_ms: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let (number, unit) = number_and_unit(text)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "" if number == 0 => 1,
            "" => return Err("a unit is missing: ms, s, m or h".to_owned()),
            _ => return Err(format!("`{unit}` is not a unit of time: ms, s, m or h")),
        };
        number
            .checked_mul(factor)
            .filter(|ms| bound_ms.contains(ms))
            .ok_or_else(|| format!("must be between {}ms and {}ms", bound_ms.start(), bound_ms.end()))
    }
}

/// A parser of sizes, to bytes within `bound`.
pub fn size(bound: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let (number, unit) = number_and_unit(text)?;
        let factor = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => {
                return Err(format!("`{unit}` is not a unit of size: B, kB, MB, GB, KiB, MiB or GiB"));
            }
        };
        number
            .checked_mul(factor)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| bound.contains(bytes))
            .ok_or_else(|| format!("must be between {} and {} bytes", bound.start(), bound.end()))
    }
}

/// Splits `25s` into 25 and `s`. No sign, no fraction, no exponent.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err("must begin with a whole number".to_owned());
    }
    let number = digits.parse().map_err(|_| format!("`{digits}` is too large"))?;
    Ok((number, unit))
}

/// A path with a slash at both ends.
pub fn path(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%');
    if text.len() > 255 || !text.starts_with('/') || !text.bytes().all(plain) {
        return Err("must start with a slash, have at most 255 printable characters, and no ?, # or %".to_owned());
    }
    let slash = if text.ends_with('/') { "" } else { "/" };
    Ok(format!("{text}{slash}"))
}

/// `*`, `null` or `scheme://host[:port]` (RFC 6454 §6.2), in lower case.
pub fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "*" => return Ok(Origin::Any),
        "null" => return Ok(Origin::Exact(text.to_owned())),
        _ => {}
    }
    let host = |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\*".contains(&b));
    let scheme =
        |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    match text.split_once("://") {
        Some((before, after)) if scheme(before) && host(after) => Ok(Origin::Exact(text.to_ascii_lowercase())),
        _ => Err("must be * or scheme://host[:port], without a path".to_owned()),
    }
}

/// The hyphenated form only, any version, nil allowed.
pub fn server_id(text: &str) -> Result<Uuid, String> {
    Some(text)
        .filter(|text| text.len() == uuid::fmt::Hyphenated::LENGTH)
        .and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| "must be a uuid: 8-4-4-4-12 hexadecimal digits".to_owned())
}

/// Anything but nothing, so that no message about it repeats it.
pub fn secret(text: &str) -> Result<Secret, String> {
    Secret::new(text).ok_or_else(|| "must not be empty".to_owned())
}

pub fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err("must be off, error, warn, info, debug or trace".to_owned()),
    }
}
