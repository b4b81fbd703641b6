//! The health log: what is INFO or worse, as JSON Lines, written by a thread of its own. It may lose lines when the
//! disk stalls; whoever logs never waits for it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer};

use super::event::Fields;
use crate::cli::output::is_unsafe;
use crate::config::ConfigError;

/// The name of the service in every line.
const SERVICE: &str = "order-tracker";

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
}

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
        let line = line(&Fields::of(event), event.metadata().level().as_str(), jiff::Timestamp::now());
        // A full queue is counted by the writer itself.
        drop(self.writer.clone().write_all(line.as_bytes()));
    }
}

fn line(fields: &Fields, level: &str, time: jiff::Timestamp) -> String {
    let line = Line {
        timestamp: time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        level,
        message: &fields.message,
        service: SERVICE,
        error: fields.error.as_deref(),
        metadata: &fields.others,
    };
    // Text and JSON values always serialize.
    let mut text = escaped(&serde_json::to_string(&line).unwrap_or_default());
    text.push('\n');
    text
}

/// Escapes what JSON itself lets pass: in JSON such characters can only stand within a string.
fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_format_says() {
        let time = "2026-01-02T03:04:05.6Z".parse().expect("a time");
        let mut fields = Fields { message: "metrics".to_owned(), ..Fields::default() };
        let plain = r#"{"timestamp":"2026-01-02T03:04:05.600Z","level":"INFO","message":"metrics","service":"order-tracker"}"#;
        assert_eq!(line(&fields, "INFO", time), format!("{plain}\n"));
        fields.error = Some("a\u{1b}\u{9b}\u{7f}\u{202e}\n".to_owned());
        fields.others.insert("records".to_owned(), 3.into());
        let full = format!(
            "{},{}\n",
            plain.trim_end_matches('}'),
            r#""error":"a\u001b\u009b\u007f\u202e\n","metadata":{"records":3}}"#
        );
        assert_eq!(line(&fields, "INFO", time), full);
    }

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
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let [line] = lines.as_slice() else { panic!("{text}") };
        assert_eq!(line["message"], "trying again");
        assert_eq!((&line["level"], &line["error"]), (&Value::from("WARN"), &Value::from("no route")));
        assert_eq!(line["metadata"], serde_json::json!({ "attempt": 2 }));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = open(Path::new("/nowhere/tracker.log")).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("--log-file: open /nowhere/tracker.log for writing"));
    }
}
