//! What is read, how far, and when not.

use super::*;

#[test]
fn bursts_of_any_length_are_read_to_their_end() {
    // Around what one read takes: the set does not report again what a read has left.
    const READ_BYTES: usize = 64 * 1024;
    everywhere(|server| {
        for length in [100, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 2 * READ_BYTES, 5 * READ_BYTES + 7] {
            let text = "x".repeat(length - "echo \n".len());
            for closing in [false, true] {
                let mut client = server.client();
                client.send(&format!("echo {text}"));
                if closing {
                    client.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
                }
                assert!(client.line() == text, "{length} bytes");
            }
        }
        server.wait_for(0);
    });
}

#[test]
fn a_paused_connection_is_not_read_and_loses_nothing() {
    everywhere(|server| {
        let mut client = server.client();
        let start = Instant::now();
        client.send("pause 150");
        thread::sleep(Duration::from_millis(30));
        client.send("echo later");
        assert_eq!(client.line(), "resumed");
        assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
        assert_eq!(client.line(), "later");
    });
}

#[test]
fn a_paused_connection_that_the_client_leaves_does_not_spin() {
    for driver in DRIVERS {
        let server = Server::start(driver, 1, OPTIONS);
        let mut half_closed = server.client();
        half_closed.send("pause 300");
        let mut reset = server.client();
        reset.send("pause 300");
        thread::sleep(Duration::from_millis(30));
        half_closed.0.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
        reset.reset();
        server.wait_for(0);
        let turns = server.stop()[0].turns;
        assert!(turns < 60, "{driver}: {turns} turns");
    }
}

#[test]
fn mail_that_costs_much_holds_nobody_up() {
    const MAIL: usize = 800;
    for driver in DRIVERS {
        let server = Server::start(driver, 2, OPTIONS);
        let (mut sender, mut neighbour) = (server.client_of(0), server.client_of(1));
        sender.send(&format!("slow 1 {MAIL}"));
        let (start, mut slowest) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < Duration::from_millis(400) {
            let asked = Instant::now();
            assert_eq!(neighbour.ask("echo here"), "here");
            slowest = slowest.max(asked.elapsed());
        }
        // In one turn they would take twice as long as this.
        assert!(slowest < Duration::from_millis(MAIL as u64 / 2), "{driver}: {slowest:?}");
        (0..MAIL).for_each(|_| assert_eq!(sender.line(), "slow by 1"));
        server.stop();
    }
}
