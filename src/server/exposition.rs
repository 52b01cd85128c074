//! The text of `/metrics`, in Prometheus' exposition format 0.0.4.
//!
//! By hand, since it is three kinds of lines: a client library would keep a second set of counters beside the shards' own.

use std::fmt::Write;

use crate::driver::Report;
use crate::metrics::{Kind, Series};

/// What goes with the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All series of all shards; each shard is a label, so that sums are the reader's business and an uneven load is seen.
pub fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut shards: Vec<_> = reports.iter().map(|report| report.series().into_iter()).collect();
    // All shards have the same series in the same order; lines of one name must be together.
    let mut last_name = "";
    loop {
        let row: Vec<Series> = shards.iter_mut().filter_map(Iterator::next).collect();
        let Some(first) = row.first() else { return text };
        if first.name != last_name {
            last_name = first.name;
            let kind = match first.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _ =
                writeln!(text, "# HELP sockeye_{} {}\n# TYPE sockeye_{} {kind}", first.name, first.help, first.name);
        }
        for (shard, series) in row.iter().enumerate() {
            let _ = match series.label {
                None => writeln!(text, "sockeye_{}{{shard=\"{shard}\"}} {}", series.name, series.value),
                Some((label, value)) => {
                    writeln!(text, "sockeye_{}{{shard=\"{shard}\",{label}=\"{value}\"}} {}", series.name, series.value)
                }
            };
        }
    }
}
