//! What signals do: SIGTERM and SIGINT end the server, SIGHUP reloads its certificate.

use crate::driver::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Signals that do from now on what [`obey`] says; SIGHUP does so only if there is something to reload.
pub fn taken(reloads: bool) -> io::Result<Signals> {
    let hang_up = reloads.then_some(SIGHUP);
    Signals::new([SIGTERM, SIGINT].into_iter().chain(hang_up))
}

/// SIGHUP calls `reload`. From the first other signal on, shards drain; a second one, or the end of `limit`, ends the
/// process whatever they do.
pub fn obey(
    mut signals: Signals,
    control: Arc<Control>,
    limit: Duration,
    reload: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let on_signal = move || {
        let mut signals = signals.forever().filter(|&signal| {
            if signal == SIGHUP {
                reload();
            }
            signal != SIGHUP
        });
        signals.next();
        tracing::info!(connections = control.connections(), "told to stop: draining");
        control.drain();
        let _ = thread::Builder::new().name("drain-limit".to_owned()).spawn(move || {
            thread::sleep(limit);
            process::exit(0);
        });
        signals.next();
        process::exit(0);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(on_signal).map(|_| ())
}
