//! Listeners, one per shard on one port, and the lock that keeps a second server off it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, getsockname, ipproto, listen,
    socket_with, sockopt,
};

/// Connections the kernel completes for a listener before it is asked (it also has its own bound, `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Free ports that are tried if what the kernel chose turns out not to be free.
const ANY_PORT_TRIES: u32 = 16;

/// Why no listener can be had.
#[derive(Debug)]
pub enum ListenError {
    /// Another process listens there.
    Taken(SocketAddr),
    /// The address cannot be used.
    Refused(SocketAddr, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(address) => write!(f, "cannot listen on {address}: another process listens on this port"),
            Self::Refused(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// The listeners of all shards, and what keeps the port theirs.
#[derive(Debug)]
pub struct Listeners {
    /// Where they listen; the port is the real one also when 0 was asked for.
    pub address: SocketAddr,
    /// One per shard: nonblocking, with `TCP_NODELAY`, which accepted sockets inherit.
    pub sockets: Vec<OwnedFd>,
    /// To be kept as long as the port is to be kept.
    pub lock: OwnedFd,
}

/// Listens on `address` with `shards` listeners among which the kernel spreads connections by hash.
///
/// `SO_REUSEPORT` would let a second server of the same user share the port silently. So the first listener is bound
/// without it, which fails if anybody has the port, and gets it only then. Two servers that start at the same moment are
/// told apart by a lock: an abstract Unix socket named after the address, gone with the process however that ends.
/// Connections of an earlier process that linger in TIME_WAIT do not hinder: that is what `SO_REUSEADDR` is for.
///
/// If any port will do (0), one whose lock somebody holds is passed over: a process about to end gives its port back first.
pub fn listeners(address: SocketAddr, shards: usize) -> Result<Listeners, ListenError> {
    let tries = if address.port() == 0 { ANY_PORT_TRIES } else { 1 };
    let mut outcomes = (0..tries).map(|_| listen_on(address, shards));
    let usable = outcomes.find(|outcome| !matches!(outcome, Err(Errno::ADDRINUSE)));
    usable.unwrap_or(Err(Errno::ADDRINUSE)).map_err(|error| match error {
        Errno::ADDRINUSE => ListenError::Taken(address),
        error => ListenError::Refused(address, error.into()),
    })
}

fn listen_on(address: SocketAddr, shards: usize) -> rustix::io::Result<Listeners> {
    let early_lock = if address.port() == 0 { None } else { Some(lock(address)?) };
    let first = bound(address, false)?;
    let address = local_address(&first)?;
    let lock = early_lock.map_or_else(|| lock(address), Ok)?;
    sockopt::set_socket_reuseport(&first, true)?;
    listen(&first, BACKLOG)?;
    let mut sockets = vec![first];
    for _ in 1..shards {
        let socket = bound(address, true)?;
        listen(&socket, BACKLOG)?;
        sockets.push(socket);
    }
    Ok(Listeners { address, sockets, lock })
}

fn bound(address: SocketAddr, shared: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

fn lock(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let name = format!("sockeye/{address}");
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(socket)
}

fn local_address(socket: &OwnedFd) -> rustix::io::Result<SocketAddr> {
    SocketAddr::try_from(getsockname(socket)?)
}

/// What one try to accept came to.
#[derive(Debug)]
pub enum Accepted {
    /// A connection; an IPv4 peer of an IPv6 listener has its IPv4 address.
    Connection(OwnedFd, IpAddr),
    /// It broke before it was taken; there may be more.
    Broken,
    /// There is none.
    None,
    /// The system has no room (descriptors, memory): trying again at once would spin.
    NoRoom(Errno),
}

/// Accepts one connection, never blocks.
pub fn accept(listener: &OwnedFd) -> Accepted {
    match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok((socket, peer)) => match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Accepted::Connection(socket, peer.ip().to_canonical()),
            _ => Accepted::Broken,
        },
        Err(Errno::AGAIN) => Accepted::None,
        // accept(2), "Error handling": network errors of the new connection, to be treated like "try again".
        Err(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT,
        ) => Accepted::Broken,
        Err(error) => Accepted::NoRoom(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn take(listener: &OwnedFd) -> (OwnedFd, IpAddr) {
        for _ in 0..2000 {
            match accept(listener) {
                Accepted::Connection(socket, peer) => return (socket, peer),
                Accepted::None => std::thread::sleep(std::time::Duration::from_millis(1)),
                other => panic!("{other:?}"),
            }
        }
        panic!("no connection arrives");
    }

    #[test]
    fn a_port_is_taken_only_once() {
        let first = listeners(ANY_PORT, 2).unwrap();
        assert_ne!(first.address.port(), 0);
        assert!(matches!(listeners(first.address, 2), Err(ListenError::Taken(_))));
        let address = first.address;
        drop(first);
        listeners(address, 2).unwrap();
    }

    #[test]
    fn any_port_is_one_that_nobody_holds_the_lock_of() {
        // 400 of some 7,000 from which the kernel chooses: odd ones, in the lower half of its range.
        let _held: Vec<_> = (32_769..33_569).step_by(2).map(|port| lock((Ipv4Addr::LOCALHOST, port).into())).collect();
        for _ in 0..500 {
            listeners(ANY_PORT, 1).unwrap();
        }
    }

    #[test]
    fn the_port_of_a_stranger_is_taken() {
        let stranger = TcpListener::bind(ANY_PORT).unwrap();
        assert!(matches!(listeners(stranger.local_addr().unwrap(), 1), Err(ListenError::Taken(_))));
        // One that shares its port is a stranger as well.
        let sharing = bound(ANY_PORT, true).unwrap();
        listen(&sharing, 1).unwrap();
        assert!(matches!(listeners(local_address(&sharing).unwrap(), 1), Err(ListenError::Taken(_))));
    }

    #[test]
    fn an_address_of_somebody_else_is_refused_with_its_reason() {
        let error = listeners("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        assert!(matches!(error, ListenError::Refused(..)));
        assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
    }

    #[test]
    fn a_restart_is_not_hindered_by_connections_in_time_wait() {
        let first = listeners(ANY_PORT, 1).unwrap();
        let mut client = TcpStream::connect(first.address).unwrap();
        let (socket, _) = take(&first.sockets[0]);
        // The side that closes first is the one that waits.
        drop(socket);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        let address = first.address;
        drop(first);
        listeners(address, 1).unwrap();
    }

    #[test]
    fn accepted_sockets_have_nodelay_and_do_not_block() {
        let listeners = listeners(ANY_PORT, 1).unwrap();
        assert!(matches!(accept(&listeners.sockets[0]), Accepted::None));
        let _client = TcpStream::connect(listeners.address).unwrap();
        let (socket, peer) = take(&listeners.sockets[0]);
        assert_eq!(peer, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(rustix::io::read(&socket, &mut [0]), Err(Errno::AGAIN));
    }

    #[test]
    fn a_listener_for_all_addresses_takes_both_families() {
        let Ok(listeners) = listeners("[::]:0".parse().unwrap(), 1) else {
            return; // no IPv6 here
        };
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, listeners.address.port())).unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(take(&listeners.sockets[0]).1, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
