//! Stale keys, short writes, and moves with a poll in flight.

use super::*;
use crate::mesh::{RING_SLOTS, mesh};
use crate::shard::seam::Security;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const KEY: ConnectionKey = ConnectionKey { slot: 3, generation: 0xff00_0001 };

fn connections(watcher: Watcher) -> (Connections<()>, Port<Envelope<()>>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut ports = mesh(2, RING_SLOTS).unwrap();
    let other = ports.pop().unwrap();
    let loads = Arc::new(Loads::new(2, 10));
    assert!(loads.opened(0));
    let mut connections = Connections::new(ports.pop().unwrap(), loads, watcher).unwrap();
    connections.insert(KEY, listener.accept().unwrap().0.into());
    (connections, other, client)
}

#[test]
fn an_entry_takes_eight_bytes() {
    assert_eq!(size_of::<Entry>(), 8);
}

#[test]
fn keys_survive_the_way_through_an_event() {
    assert_eq!(event_key(event_data(KEY)), KEY);
}

#[test]
fn a_stale_key_touches_nothing() {
    let (mut connections, _, _client) = connections(Watcher::Set);
    let stale = ConnectionKey { generation: KEY.generation - 1, ..KEY };
    assert!(connections.readable(stale).is_none() && !connections.unblock(stale));
    assert!(connections.send(stale, &[IoSlice::new(b"x")]).is_err());
    connections.set_reading(stale, false);
    connections.shutdown(stale);
    connections.close(stale, true);
    assert!(connections.readable(KEY).is_some());
    assert_eq!(connections.send(KEY, &[IoSlice::new(b"x")]).unwrap(), 1);
    connections.close(KEY, false);
    assert!(connections.readable(KEY).is_none());
    assert_eq!(connections.loads.total(), 0);
}

#[test]
fn what_is_behind_the_last_connection_is_given_back() {
    let (mut connections, _, _client) = connections(Watcher::Set);
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let far = ConnectionKey { slot: 100_000, generation: 1 };
    connections.insert(far, socket.into());
    connections.shrink();
    assert!(connections.readable(far).is_some() && connections.readable(KEY).is_some());
    connections.close(far, true);
    connections.shrink();
    assert!(connections.entries.capacity() < 10_000 && connections.entries.len() == KEY.slot as usize + 1);
    assert!(connections.readable(far).is_none() && connections.readable(KEY).is_some());
}

#[test]
fn more_slices_than_a_write_takes_go_with_the_next() {
    let (mut connections, _, mut client) = connections(Watcher::Set);
    let slices = vec![IoSlice::new(b"ab"); SLICES_MAX + 1];
    assert_eq!(connections.send(KEY, &slices).unwrap(), 2 * SLICES_MAX);
    assert!(connections.unblock(KEY), "nobody waits for room for the rest");
    assert_eq!(connections.send(KEY, &slices[SLICES_MAX..]).unwrap(), 2);
    client.read_exact(&mut vec![0; 2 * SLICES_MAX + 2]).unwrap();
}

#[test]
fn the_end_travels_with_the_last_bytes() {
    let ends: [fn(&mut Connections<()>); 2] = [|c| c.shutdown(KEY), |c| c.close(KEY, false)];
    for end in ends {
        let (mut connections, _, mut client) = connections(Watcher::Set);
        assert_eq!(connections.send(KEY, &[IoSlice::new(b"first ")]).unwrap(), 6);
        assert_eq!(connections.send_last(KEY, &[IoSlice::new(b"la"), IoSlice::new(b"st")]).unwrap(), 4);
        client.set_nonblocking(true).unwrap();
        let mut bytes = [0; 16];
        assert_eq!(client.read(&mut bytes).unwrap(), 6, "the last bytes went without the end");
        end(&mut connections);
        assert_eq!((client.read(&mut bytes).unwrap(), &bytes[..4]), (4, b"last".as_slice()));
        assert_eq!(client.read(&mut bytes).unwrap(), 0, "the end is still to come");
    }
}

#[test]
fn a_connection_moves_while_a_poll_of_it_is_in_flight() {
    let (mut connections, mut other, mut client) = connections(Watcher::Ring);
    let slices = vec![IoSlice::new(b"a"); SLICES_MAX + 1];
    connections.send(KEY, &slices).unwrap();
    assert_eq!(connections.take_blocked(), [KEY]);
    connections.hand_over(KEY, 1, Handover::fresh(Ipv4Addr::LOCALHOST.into(), Security::Plain));
    assert_eq!((connections.parting.len(), connections.loads.of(1)), (1, 1));
    connections.polled(KEY);
    assert!(connections.parting.is_empty());
    let mut arrived = Vec::new();
    other.drain(|_, envelope| {
        arrived.push(envelope);
        true
    });
    let Some(Envelope::Connection { socket, .. }) = arrived.pop() else { panic!("it did not arrive") };
    rustix::io::write(&socket, b"z").unwrap();
    let mut bytes = vec![0; SLICES_MAX + 1];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[SLICES_MAX], b'z');
}
