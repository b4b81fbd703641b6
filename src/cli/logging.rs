//! Where log events go: short lines for people on the standard error, and, for the tracker, JSON Lines in its health
//! log. Nothing of a payload's escapes passes in either. Both are written by threads of their own: whoever reads the
//! standard error may stop reading, and no work may wait for that.

mod event;
mod health;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::{Common, output, panics};
use crate::config::ConfigError;
use crate::models::safe_text;
use event::Fields;

/// How many lines may wait for the standard error.
const STDERR_LINES: usize = 4096;

/// Keeps the logs' writers going; its drop writes what is left.
#[derive(Debug)]
#[must_use = "the logs end when this is dropped"]
pub struct Logs {
    health: Option<(WorkerGuard, ErrorCounter)>,
    stderr: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        // Before anything is said past it.
        drop(self.stderr.take());
        if let Some((guard, errors)) = self.health.take() {
            drop(guard);
            let lost = errors.dropped_lines();
            if lost > 0 {
                output::complain(&format!(
                    "warning: the health log lost {lost} lines: its disk was too slow"
                ));
            }
        }
    }
}

/// Starts logging to the standard error, and to the health log if one is named. From then on panics are logged too.
///
/// # Errors
/// [`ConfigError::OpenFile`] when the health log cannot be opened, [`ConfigError::Value`] for an unusable `RUST_LOG`.
pub fn init(common: &Common, health_log: Option<&Path>) -> Result<Logs, ConfigError> {
    let (layer, health) = match health_log.map(health::open).transpose()? {
        Some((layer, guard, errors)) => (Some(layer.with_filter(LevelFilter::INFO)), Some((guard, errors))),
        None => (None, None),
    };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(STDERR_LINES)
        .thread_name("stderr-log")
        .finish(std::io::stderr());
    let stderr = StderrLayer {
        writer,
        colour: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let subscriber = tracing_subscriber::registry().with(layer).with(stderr.with_filter(filter(common)?));
    // A test that has its own subscriber keeps it.
    drop(tracing::subscriber::set_global_default(subscriber));
    panics::install();
    Ok(Logs { health, stderr: Some(guard) })
}

fn filter(common: &Common) -> Result<EnvFilter, ConfigError> {
    let directives = match (common.quiet, common.verbose) {
        (true, _) => "error".to_owned(),
        (false, 0) => {
            std::env::var("RUST_LOG").ok().filter(|d| !d.is_empty()).unwrap_or_else(|| "info".to_owned())
        }
        (false, 1) => "info,pubsub_kafka=debug".to_owned(),
        (false, _) => "info,pubsub_kafka=trace".to_owned(),
    };
    EnvFilter::builder()
        .parse(&directives)
        .map_err(|e| ConfigError::value("RUST_LOG", format!("'{directives}': {e}")))
}

/// One line for each event: time, level, message, fields.
struct StderrLayer {
    writer: NonBlocking,
    colour: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StderrLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line =
            line(&Fields::of(event), *event.metadata().level(), jiff::Timestamp::now(), self.colour);
        line.push('\n');
        // A line that finds no room is lost: nobody reads there.
        drop(self.writer.clone().write_all(line.as_bytes()));
    }
}

fn line(fields: &Fields, level: Level, time: jiff::Timestamp, colour: bool) -> String {
    let level = match (colour, level) {
        (false, level) => format!("{level:>5}"),
        (true, Level::ERROR) => "\u{1b}[31mERROR\u{1b}[0m".to_owned(),
        (true, Level::WARN) => "\u{1b}[33m WARN\u{1b}[0m".to_owned(),
        (true, Level::INFO) => "\u{1b}[32m INFO\u{1b}[0m".to_owned(),
        (true, level) => format!("\u{1b}[2m{level:>5}\u{1b}[0m"),
    };
    let mut line = format!("{} {level} {}", time.strftime("%H:%M:%S%.3fZ"), safe_text(&fields.message));
    for (name, value) in fields.error.iter().map(|e| ("error", e.clone())).chain(fields.shown()) {
        line.push_str(&format!(" {name}={}", safe_text(&value)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_safe() {
        let mut fields = Fields {
            message: "stopped\u{1b}[2J".to_owned(),
            error: Some("no\nroute".to_owned()),
            ..Fields::default()
        };
        fields.others.insert("waited_s".to_owned(), 3.into());
        fields.others.insert("topic".to_owned(), "orders".into());
        let time = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        assert_eq!(
            line(&fields, Level::WARN, time, false),
            "03:04:05.678Z  WARN stopped\\u{1b}[2J error=no\\nroute topic=orders waited_s=3",
        );
        assert!(line(&fields, Level::ERROR, time, true).contains("\u{1b}[31mERROR\u{1b}[0m stopped\\u{1b}"));
    }

    #[test]
    fn flags_choose_the_level() {
        for (quiet, verbose, expected) in
            [(true, 0, "error"), (false, 1, "pubsub_kafka=debug,info"), (false, 2, "pubsub_kafka=trace,info")]
        {
            let common = Common { config: None, quiet, verbose, completions: None, man: None };
            assert_eq!(filter(&common).expect("good").to_string(), expected);
        }
    }
}
