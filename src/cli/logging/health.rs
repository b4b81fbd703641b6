//! The health log: what is INFO or worse, as JSON Lines, written by a thread of its own. It may lose lines when the
//! disk stalls; whoever logs never waits for it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer};

use super::event::Fields;
use crate::config::ConfigError;
use crate::models::{HealthEntry, HealthLevel};

/// Opens the log for appending.
pub(super) fn open(path: &Path) -> Result<(HealthLayer, WorkerGuard, ErrorCounter), ConfigError> {
    let file: File =
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|source| {
            ConfigError::OpenFile { setting: "--log-file", path: path.to_owned(), source }
        })?;
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).thread_name("health-log").finish(file);
    let errors = writer.error_counter();
    Ok((HealthLayer { writer }, guard, errors))
}

/// Writes events as lines of the health log.
pub(super) struct HealthLayer {
    writer: NonBlocking,
}

impl<S: Subscriber> Layer<S> for HealthLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => HealthLevel::Error,
            Level::WARN => HealthLevel::Warn,
            _ => HealthLevel::Info,
        };
        if let Ok(line) = entry(Fields::of(event), level, jiff::Timestamp::now()).to_line() {
            // A full queue is counted by the writer itself.
            drop(self.writer.clone().write_all(&line));
        }
    }
}

fn entry(fields: Fields, level: HealthLevel, timestamp: jiff::Timestamp) -> HealthEntry {
    HealthEntry {
        timestamp,
        level,
        message: fields.message,
        service: HealthEntry::TRACKER.to_owned(),
        error: fields.error,
        metadata: Some(fields.others).filter(|others| !others.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_reach_the_file_from_info_on_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        use tracing_subscriber::filter::LevelFilter;
        use tracing_subscriber::layer::SubscriberExt as _;

        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tracker.log");
        let (layer, guard, _) = open(&path).expect("opened");
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO)),
            || {
                tracing::debug!("not this");
                tracing::warn!(error = "no route", attempt = 2_u64, "trying {}", "again");
            },
        );
        drop(guard);
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<HealthEntry> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let [line] = lines.as_slice() else { panic!("{text}") };
        assert_eq!((line.level, line.message.as_str()), (HealthLevel::Warn, "trying again"));
        assert_eq!(line.error.as_deref(), Some("no route"));
        assert_eq!(line.metadata, serde_json::json!({ "attempt": 2 }).as_object().cloned());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = open(Path::new("/nowhere/tracker.log")).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("--log-file: open /nowhere/tracker.log for writing"));
    }
}
