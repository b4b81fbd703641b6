//! The monitor as a program, without Kafka: in print, on a terminal, and with more to read than it may.

mod large;
mod print;
mod screen;
mod terminal;
pub mod web;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

pub const MONITOR: &str = env!("CARGO_BIN_EXE_monitor");

/// The monitor without what this test's own environment says.
pub fn monitor(folder: &Path) -> Command {
    let mut command = Command::new(MONITOR);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PUBSUB_KAFKA_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// The figures as `--once --json` prints them.
pub fn figures(folder: &Path, flags: &[&str]) -> serde_json::Value {
    let ran = monitor(folder).args(["--once", "--json"]).args(flags).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!((ran.status.code(), stderr.as_str()), (Some(0), ""));
    serde_json::from_slice(&ran.stdout).expect("one JSON object")
}

pub fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn time(time_ms: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(time_ms).expect("a time"))
}

/// An audit line as the journal writes it.
pub fn event(time_ms: i64, key: &str, error: Option<&str>) -> String {
    let text = |text: &str| serde_json::to_string(text).expect("text");
    let order = format!("{{\"order_id\":{},\"note\":\"{}\"}}", text(key), "n".repeat(1_000));
    let rest = match error {
        None => format!("\"order_full\":{order},\"outcome\":\"processed\",\"attempts\":1"),
        Some(error) => format!(
            "\"error\":{},\"outcome\":\"dead_lettered\",\"failure_reason\":\"VALIDATION_ERROR\",\"attempts\":1",
            text(error)
        ),
    };
    format!(
        "{{\"timestamp\":\"{}\",\"event_type\":\"message.received\",\"kafka_topic\":\"orders\",\"kafka_partition\":0,\
         \"kafka_offset\":1,\"kafka_timestamp\":{},\"consumer_group\":\"g\",\"kafka_key\":{},\"raw_message\":{},\
         \"message_size\":{},\"deserialized\":true,{rest},\"hash\":\"{}\"}}",
        time(time_ms),
        time_ms - 25,
        text(key),
        text(&order),
        order.len(),
        hash(),
    )
}

/// Another one for each line; it chains nothing.
fn hash() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:064x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A line of the health log.
pub fn health(time_ms: i64, message: &str) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"level\":\"INFO\",\"message\":{},\"service\":\"order-tracker\"}}",
        time(time_ms),
        serde_json::to_string(message).expect("text")
    )
}

/// A folder with the files of a tracker.
pub struct Files {
    pub folder: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn events(&self, lines: impl IntoIterator<Item = String>) {
        self.append("tracker.events", lines);
    }

    pub fn log(&self, lines: impl IntoIterator<Item = String>) {
        self.append("tracker.log", lines);
    }

    fn append(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        let file = std::fs::File::options().create(true).append(true).open(self.path(name)).expect("opened");
        let mut out = std::io::BufWriter::new(file);
        for line in lines {
            writeln!(out, "{line}").expect("written");
        }
        out.flush().expect("written");
    }
}
