//! Where the server's own log lines go: to standard error, and to the stream for clients that may read them.

use crate::app::logs::{Feed, Line};
use crate::config::Config;
use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to log. The stream comes from what is returned.
pub fn start(config: &Config) -> Arc<Feed> {
    let feed = Arc::<Feed>::default();
    let stream = stream(&feed, config.log_level);
    let text = tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    tracing_subscriber::registry().with(text.with_filter(config.log_level)).with(stream).init();
    feed
}

fn stream<S: Subscriber + for<'a> LookupSpan<'a>>(feed: &Arc<Feed>, level: LevelFilter) -> impl Layer<S> + use<S> {
    // Lines of libraries do not concern clients, and could come of delivering a line.
    let own = filter_fn(move |metadata| *metadata.level() <= level && metadata.target().starts_with(OWN));
    Stream(Arc::clone(feed)).with_filter(own)
}

/// What the targets of the server's own lines begin with.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// Puts log lines into the feed.
struct Stream(Arc<Feed>);

impl<S: Subscriber> Layer<S> for Stream {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !self.0.is_read() {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let time_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.0.push(Line::of_server(number(*event.metadata().level()), time_ms, &text.0));
    }
}

/// A level as agents count it.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 50,
        Level::WARN => 40,
        Level::INFO => 30,
        Level::DEBUG => 20,
        Level::TRACE => 10,
    }
}

/// The message, and behind it the fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{fields}")
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` adds to the feed, as packets.
    fn lines(feed: &Arc<Feed>, level: LevelFilter, write: impl FnOnce()) -> Vec<String> {
        let mut cursor = feed.open();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(stream(feed, level)), write);
        let (lines, missed) = feed.read(&mut cursor);
        feed.close(cursor);
        assert_eq!(missed, 0);
        lines.iter().map(|line| String::from_utf8(line.frames[0].packet().to_vec()).expect("UTF-8")).collect()
    }

    #[test]
    fn a_line_is_the_message_and_its_fields() {
        let found = lines(&Arc::default(), LevelFilter::INFO, || {
            tracing::warn!(connections = 7, name = "a \"b\"", "no room");
            tracing::debug!("too fine");
            tracing::error!(target: "tokio::runtime", "a library's");
        });
        let [line] = found.as_slice() else { panic!("{found:?}") };
        let entry: Vec<serde_json::Value> =
            serde_json::from_str(line.strip_prefix("42").expect("an event")).expect("JSON");
        assert_eq!(entry[0], "logEntry");
        assert_eq!(entry[1]["level"], 40);
        assert_eq!(entry[1]["msg"], r#"no room connections=7 name="a \"b\"""#);
        assert!(entry[1]["time"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{entry:?}");
        assert_eq!((&entry[1]["agentId"], &entry[1]["agentName"]), (&serde_json::Value::Null, &"sockeye".into()));
    }

    #[test]
    fn nothing_is_kept_while_nobody_reads() {
        let feed = Arc::<Feed>::default();
        let subscriber = tracing_subscriber::registry().with(stream(&feed, LevelFilter::TRACE));
        tracing::subscriber::with_default(subscriber, || tracing::error!("lost"));
        assert!(lines(&feed, LevelFilter::TRACE, || ()).is_empty());
    }
}
