//! A program under test: started in its test's folder, watched by its files, ended with the test at the latest.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pubsub_kafka::models::HealthEntry;

use super::wait_until;

/// A program without what this test's own environment says.
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KAFKA_")
            || text.starts_with("PUBSUB_KAFKA_")
            || text.starts_with("OTEL_")
            || text == "RUST_LOG"
        {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Starts a program with these variables; its standard error goes to `NAME.stderr`.
pub fn start(path: &str, flags: &[String], variables: &[(&str, &str)], folder: &Path, name: &str) -> Running {
    let mut command = program(path);
    command.args(flags).envs(variables.iter().copied());
    Running::spawn(command, folder, name)
}

/// A running program.
pub struct Running {
    child: Child,
    folder: PathBuf,
    name: String,
}

impl Running {
    pub fn spawn(mut command: Command, folder: &Path, name: &str) -> Self {
        let file = |ending: &str| {
            File::options()
                .create(true)
                .append(true)
                .open(folder.join(format!("{name}.{ending}")))
                .expect("a file")
        };
        command.current_dir(folder).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().expect("the program starts");
        Self { child, folder: folder.to_owned(), name: name.to_owned() }
    }

    fn text(&self, ending: &str) -> String {
        let bytes = std::fs::read(self.folder.join(format!("{}.{ending}", self.name))).unwrap_or_default();
        // What is being written may end within a character.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// The whole lines of its health log.
    pub fn log(&self) -> Vec<HealthEntry> {
        let text = self.text("log");
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// How many lines of its health log begin so.
    pub fn said(&self, beginning: &str) -> usize {
        self.log().iter().filter(|line| line.message.starts_with(beginning)).count()
    }

    pub fn wait_said(&self, beginning: &str, times: usize) {
        wait_until(&format!("{} says {times} times: {beginning}", self.name), 45, || {
            self.said(beginning) >= times
        });
    }

    /// How many outcomes its audit log has, in whole lines.
    pub fn lines(&self) -> usize {
        let text = self.text("events");
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.filter(|line| line.contains("\"event_type\":\"message.received\"")).count()
    }

    pub fn wait_lines(&self, count: usize) {
        wait_until(&format!("{} has {count} audit lines", self.name), 60, || self.lines() >= count);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has held so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end: the exit code, or the signal's number below zero.
    pub fn ended_within(&mut self, patience: Duration) -> i32 {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            if Instant::now() >= deadline {
                panic!("{} still runs after {patience:?}:\n{}", self.name, self.stderr());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it with SIGTERM; it must drain and end well.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let code = self.ended_within(Duration::from_secs(30));
        assert_eq!(code, 0, "{}", self.stderr());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
