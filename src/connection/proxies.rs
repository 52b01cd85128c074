//! Proxies in front of the server that are trusted to say whose connections and requests they pass on.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses with a prefix in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u32,
}

impl Subnet {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits,
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits,
            _ => false,
        }
    }
}

impl FromStr for Subnet {
    type Err = &'static str;

    /// `ADDRESS` or `ADDRESS/BITS`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| "must be an IP address, or ADDRESS/BITS")?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits =
            bits.map_or(Some(max), |bits| Some(bits).filter(is_number)?.parse().ok().filter(|&bits| bits <= max));
        Ok(Self { address, bits: bits.ok_or("the number of bits must be at most 32, or 128 for IPv6")? })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Who is trusted, and with what.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Their addresses.
    pub trusted: Vec<Subnet>,
    /// Whether their connections begin with a PROXY header.
    pub send_header: bool,
}

impl Proxies {
    /// Whether one is at `address`.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|subnet| subnet.contains(address))
    }

    /// The client of a request that came through trusted proxies, from the values of its `X-Forwarded-For`, oldest first. Each
    /// proxy appends the address it was asked from, so the last one that is no proxy's is the client's; what stands in
    /// front of that is what the client says. `None`: there is none, or what the nearest proxy wrote is no address.
    pub fn client<'a>(&self, values: impl DoubleEndedIterator<Item = &'a [u8]>) -> Option<IpAddr> {
        let mut client = None;
        for item in values.rev().flat_map(|value| value.rsplit(|&byte| byte == b',')) {
            let Some(address) = address(item.trim_ascii()) else { break };
            client = Some(address);
            if !self.trust(address) {
                break;
            }
        }
        client
    }
}

/// An address, possibly with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().or_else(|| text.split_once(':')?.0.parse().ok().map(IpAddr::V4)),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Proxies { trusted, send_header: false }
    }

    #[test]
    fn a_subnet_has_the_addresses_with_its_prefix() {
        for (subnet, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.4/30", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::/0", "::1", "127.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            let subnet: Subnet = subnet.parse().unwrap();
            assert!(subnet.contains(inside.parse().unwrap()), "{subnet} {inside}");
            assert!(!subnet.contains(outside.parse().unwrap()), "{subnet} {outside}");
        }
        for bad in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8/8", "a/8"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        let proxies = proxies(&["10.0.0.0/8", "2001:db8::/32"]);
        for (values, client) in [
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            (&["203.0.113.5, 192.0.2.1"], Some("192.0.2.1")),
            (&["203.0.113.5, 192.0.2.1,10.1.1.1 ,10.2.2.2"], Some("192.0.2.1")),
            (&["203.0.113.5", "192.0.2.1", "10.1.1.1, 10.2.2.2"], Some("192.0.2.1")),
            (&["[2001:db9::1]:443, 2001:db8::1"], Some("2001:db9::1")),
            (&["2001:db9::1"], Some("2001:db9::1")),
            (&["192.0.2.1:5000, 10.1.1.1:80"], Some("192.0.2.1")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1")),
            (&["10.3.3.3, 10.1.1.1"], Some("10.3.3.3")),
            (&["unknown, 10.1.1.1"], Some("10.1.1.1")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1,"], None),
            (&[""], None),
            (&[], None),
        ] {
            let values = values.iter().map(|value| value.as_bytes());
            assert_eq!(proxies.client(values.clone()), client.map(|c| c.parse().unwrap()), "{values:?}");
        }
    }
}
