//! The header with which a proxy names its client at the start of a connection: PROXY protocol, versions 1 and 2
//! (HAProxy's specification of 2020).

use super::parse_decimal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// Longest header of version 1, its CRLF included (§2.1).
const TEXT_MAX: usize = 107;
/// Longest header of version 2 that is taken, extensions included.
const BINARY_MAX: usize = 4096;
/// How version 1 begins.
const TEXT_START: &[u8] = b"PROXY ";
/// How version 2 begins (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 up to the length of what follows.
const FIXED_LEN: usize = 16;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client's; an IPv4 address mapped to IPv6 is one of IPv4.
    Client(IpAddr),
    /// The proxy's own (a health check), or of a client it does not know the address of.
    Unknown,
}

/// What is there is no header, or not one that is understood. Says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader(pub &'static str);

/// The header at the start of `bytes` and its length; `None`: more is needed. At most 4,096 bytes ever are.
pub fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, NoHeader> {
    if starts(bytes, SIGNATURE) {
        return parse_binary(bytes);
    }
    if starts(bytes, TEXT_START) {
        return parse_text(bytes);
    }
    Err(NoHeader("neither version begins like this"))
}

/// Whether `bytes` begin with `start`, as far as they go.
fn starts(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

fn parse_text(bytes: &[u8]) -> Result<Option<(Source, usize)>, NoHeader> {
    let within = bytes.get(..TEXT_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        let is_too_long = within.len() == TEXT_MAX;
        return if is_too_long { Err(NoHeader("the line is too long")) } else { Ok(None) };
    };
    let wrong = NoHeader("the line is not as it should be");
    let line = within.get(TEXT_START.len()..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(wrong)?;
    Ok(Some((text_source(line).ok_or(wrong)?, end + 2)))
}

/// The source from a line without its start and its end.
fn text_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Unknown);
    }
    let [from, to, from_port, to_port] = [words.next()?, words.next()?, words.next()?, words.next()?];
    if words.next().is_some() || !is_port(from_port) || !is_port(to_port) {
        return None;
    }
    let from = match family {
        "TCP4" => IpAddr::from(pair::<Ipv4Addr>(from, to)?),
        "TCP6" => IpAddr::from(pair::<Ipv6Addr>(from, to)?),
        _ => return None,
    };
    Some(Source::Client(from.to_canonical()))
}

/// The first of two addresses.
fn pair<A: std::str::FromStr>(from: &str, to: &str) -> Option<A> {
    to.parse::<A>().ok().and_then(|_| from.parse().ok())
}

fn is_port(digits: &str) -> bool {
    let is_shortest = digits == "0" || !digits.starts_with('0');
    is_shortest && parse_decimal(digits.as_bytes()).is_some_and(|port| port <= u64::from(u16::MAX))
}

fn parse_binary(bytes: &[u8]) -> Result<Option<(Source, usize)>, NoHeader> {
    let Some(&version_and_command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader("the version or command is unknown")),
    };
    let Some(fixed) = bytes.first_chunk::<FIXED_LEN>() else { return Ok(None) };
    let [.., family, high, low] = *fixed;
    let end = FIXED_LEN + usize::from(u16::from_be_bytes([high, low]));
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(NoHeader("the address family or transport is unknown"));
    }
    if end > BINARY_MAX {
        return Err(NoHeader("it is too long"));
    }
    let address_len = match family {
        0x11 => 12,
        0x21 => 36,
        _ => 0,
    };
    if !is_local && FIXED_LEN + address_len > end {
        return Err(NoHeader("it is too short for its addresses"));
    }
    let Some(rest) = bytes.get(FIXED_LEN..end) else { return Ok(None) };
    // What follows the addresses are extensions, which mean nothing here.
    let source = match family {
        _ if is_local => None,
        0x11 => rest.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        0x21 => rest.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    };
    Ok(Some((source.map_or(Source::Unknown, |address| Source::Client(address.to_canonical())), end)))
}
