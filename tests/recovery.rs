//! Connection state recovery with unmodified socket.io-clients, whose connections a proxy in front of the server breaks.
//! The scripts are in `tests/clients/`.

mod common;

use common::each_worker_count;
use common::scripts::node_with;

/// The cases of `recovery_cases.mjs` that are for servers with these flags.
fn cases(name: &str, flags: &[&str]) {
    each_worker_count(&[1, 4], flags, |server| {
        let workers = server.flag("--workers").expect("a server of our own");
        node_with("recovery_cases.mjs", server, &[("CASES", name), ("WORKERS", workers)]);
    });
}

#[test]
fn client_recovers_on_any_core_from_any_cut_as_often_as_it_must() {
    cases("usual", &[]);
}

#[test]
fn what_is_no_longer_kept_matters_only_to_who_missed_it() {
    cases("trimmed", &["--recovery-bytes", "64KiB"]);
}

#[test]
fn client_that_comes_back_too_late_starts_afresh() {
    cases("expired", &["--recovery-window", "1s"]);
}

/// A silent connection is found dead soon, so that it can be cut again; but not one whose client waits for a processor.
const IMPATIENT: &[&str] = &["--ping-interval", "300ms", "--ping-timeout", "1500ms"];

/// 200 cuts (`SOCKEYE_TEST_CUTS`) of connections that carry 500 messages a second.
#[test]
fn every_message_arrives_once_however_often_connections_break() {
    each_worker_count(&[1, 4], IMPATIENT, |server| node_with("cuts.mjs", server, &[]));
}
