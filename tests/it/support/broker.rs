//! Which Kafka the flows run on: the one that `KAFKA_BOOTSTRAP_SERVERS` names, else an own one that ends with the tests.
//! Without Java there is only the embedded broker, for the flows that it can carry.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::watchdog::watch;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");

/// Whether a missing Kafka (or another client that a flow needs) is a failure.
pub fn required() -> bool {
    std::env::var("REQUIRE_KAFKA").is_ok_and(|value| value == "1")
}

/// Says on the real standard error (the test harness hides what a passing test prints) that a flow was not run.
pub fn not_run(flow: &str, why: &str) {
    assert!(!required(), "{flow} was not run: {why}");
    // The harness names a test's thread after it, unless there is one thread for all.
    let thread = std::thread::current();
    let name = thread.name().filter(|name| name.contains("::")).unwrap_or(flow);
    drop(writeln!(std::io::stderr(), "not run: {name}: {why}"));
}

/// The servers of the real Kafka; one for all tests of this process. `Err` says why there is none.
pub fn real() -> Result<&'static str, &'static str> {
    static SHARED: OnceLock<Result<String, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        if std::env::var("TEST_KAFKA").is_ok_and(|value| value == "embedded") {
            return Err("TEST_KAFKA=embedded".to_owned());
        }
        if let Some(servers) =
            std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok().filter(|servers| !servers.is_empty())
        {
            return Ok(servers);
        }
        // It lives as long as this process does: its watchdog ends it.
        OwnKafka::start().map(|own| Box::leak(Box::new(own)).servers.clone())
    });
    shared.as_deref().map_err(String::as_str)
}

/// Whether a Kafka of one's own can be started; `Err` says why not.
pub fn has_java() -> Result<(), String> {
    let java =
        std::env::var("JAVA_HOME").map_or_else(|_| "java".to_owned(), |home| format!("{home}/bin/java"));
    if std::env::var("TEST_KAFKA").is_ok_and(|value| value == "embedded") || !runs(&java, "-version") {
        return Err("it needs the real Kafka, and there is no Java".to_owned());
    }
    Ok(())
}

fn runs(name: &str, argument: &str) -> bool {
    Command::new(name).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// A Kafka of the test's own.
pub struct OwnKafka {
    pub servers: String,
    home: PathBuf,
    /// Waits for the end of its standard input, which comes with this value's drop or with this process's end, however
    /// that comes; then it stops the broker and removes its folder.
    watchdog: Child,
}

impl OwnKafka {
    /// Starts one. `Err` says what this machine lacks; anything else that goes wrong fails the test.
    pub fn start() -> Result<Self, String> {
        Self::start_with(|_, _| None)
    }

    /// Starts one with further properties: a file that `more` writes, knowing the broker's port and its controller's.
    pub fn start_with(more: impl Fn(u16, u16) -> Option<PathBuf>) -> Result<Self, String> {
        has_java()?;
        let folder = tempfile::Builder::new().prefix("kafka-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let home = folder.expect("a folder for Kafka").keep();
        // From here on its drop stops and removes whatever there is by then.
        let mut own = Self { servers: String::new(), watchdog: watch(SCRIPT, &home), home };
        let mut said = String::new();
        for _ in 0..3 {
            let (port, controller_port) = free_ports();
            let mut start = script(&own.home, &["start"]);
            start
                .env("KAFKA_PORT", port.to_string())
                .env("KAFKA_CONTROLLER_PORT", controller_port.to_string());
            if let Some(file) = more(port, controller_port) {
                start.env("KAFKA_EXTRA_PROPERTIES", file);
            }
            let output = start.output().expect("bash runs");
            if output.status.success() {
                own.servers = format!("127.0.0.1:{port}");
                return Ok(own);
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !runs("mvn", "-version") {
                return Err(format!("it needs the real Kafka, and Maven to fetch it: {said}"));
            }
            // Another process may have taken the port in between.
        }
        panic!("Kafka does not start: {said}");
    }

    /// Runs a class of Kafka's own tools.
    #[cfg(feature = "dlq")]
    pub fn run(&self, arguments: &[&str]) {
        let output = script(&self.home, &[&["run"], arguments].concat()).output().expect("bash runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Kills the broker, as a power cut would.
    pub fn kill(&self) {
        let output = script(&self.home, &["pid"]).output().expect("bash runs");
        let pid = String::from_utf8(output.stdout).expect("a number");
        let status = Command::new("kill").args(["-KILL", pid.trim()]).status();
        assert!(status.expect("kill runs").success(), "no broker to kill: {pid:?}");
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}

fn script(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command.arg(SCRIPT).args(arguments).env("KAFKA_HOME_DIR", home).stdin(Stdio::null());
    command
}

pub fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let (one, two) = (listen(), listen());
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&one), port(&two))
}
