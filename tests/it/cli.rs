//! The command lines: help, refusals, exit codes, precedence.

use std::process::{Command, Output, Stdio};

/// The binaries of the roles that are compiled in.
pub fn binaries() -> Vec<(&'static str, &'static str)> {
    vec![
        #[cfg(feature = "producer")]
        ("producer", env!("CARGO_BIN_EXE_producer")),
        #[cfg(feature = "tracker")]
        ("tracker", env!("CARGO_BIN_EXE_tracker")),
        #[cfg(feature = "monitor")]
        ("monitor", env!("CARGO_BIN_EXE_monitor")),
        #[cfg(feature = "dlq")]
        ("dlq", env!("CARGO_BIN_EXE_dlq")),
        #[cfg(feature = "audit")]
        ("audit", env!("CARGO_BIN_EXE_audit")),
    ]
}

/// How many roles the dispatcher knows.
pub fn roles() -> usize {
    binaries().len() + usize::from(cfg!(feature = "embedded"))
}

/// A program without what this test's own environment says.
fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KAFKA_") || text.starts_with("PUBSUB_KAFKA_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

pub fn run(path: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    said(program(path).args(arguments).output().expect("the program starts"))
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub const DISPATCHER: &str = env!("CARGO_BIN_EXE_pubsub-kafka");

#[test]
fn help_goes_to_stdout_and_names_the_role() {
    for (role, path) in binaries() {
        for flag in ["--help", "-h"] {
            let (code, stdout, stderr) = run(path, &[flag]);
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{role} {flag}");
            assert!(stdout.contains(&format!("Usage: {role} ")), "{role} {flag}: {stdout}");
        }
        let (code, stdout, _) = run(path, &["--version"]);
        assert_eq!((code, stdout), (Some(0), format!("{role} {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    for (role, path) in binaries() {
        let (code, stdout, stderr) = run(path, &["--no-such-flag"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{role}");
        assert!(stderr.contains("--no-such-flag"), "{role}: {stderr}");
    }
}

#[test]
fn completions_are_printed() {
    for (role, path) in binaries() {
        let (code, stdout, stderr) = run(path, &["--completions", "bash"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{role}");
        assert!(stdout.contains(role) && stdout.contains("complete"), "{role}: {stdout}");
    }
}

#[test]
fn the_dispatcher_names_the_roles() {
    let (code, stdout, stderr) = run(DISPATCHER, &["no-such-role"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    if roles() == 0 {
        for feature in ["producer", "tracker", "monitor", "dlq", "audit", "embedded", "tls"] {
            assert!(stderr.contains(feature), "{feature} is missing: {stderr}");
        }
        return;
    }
    for (role, _) in binaries() {
        let (code, stdout, _) = run(DISPATCHER, &[role, "--help"]);
        assert_eq!(code, Some(0), "{role}");
        assert!(stdout.contains("Usage: ") && stdout.contains(role), "{role}: {stdout}");
    }
    let (code, stdout, _) = run(DISPATCHER, &["config"]);
    assert_eq!((code, stdout.as_str()), (Some(0), include_str!("../../config/default.toml")));
    let (code, stdout, _) = run(DISPATCHER, &["completions", "zsh"]);
    assert!(code == Some(0) && stdout.starts_with("#compdef"), "{stdout}");
}

#[test]
fn a_closed_pipe_is_no_reason_to_panic() {
    if roles() == 0 {
        return;
    }
    let mut child = program(DISPATCHER)
        .arg("config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let (code, _, stderr) = said(child.wait_with_output().expect("it ends"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[cfg(feature = "tracker")]
mod tracker {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    const TRACKER: &str = env!("CARGO_BIN_EXE_tracker");

    /// A port where nothing listens: it was free a moment ago, and nothing else is told of it.
    fn closed_port() -> u16 {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    }

    /// A tracker whose files are in a folder of its own, and whose Kafka nobody answers for.
    fn waiting_tracker(dir: &tempfile::TempDir) -> Command {
        let mut command = program(TRACKER);
        command.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    #[test]
    fn kafka_that_does_not_answer_is_named_with_host_and_port() {
        let dir = tempfile::tempdir().expect("a folder");
        let server = format!("127.0.0.1:{}", closed_port());
        let mut command = waiting_tracker(&dir);
        let (code, _, stderr) = said(
            command.args(["-b", &server, "--connect-timeout", "1s"]).output().expect("the program starts"),
        );
        assert_eq!(code, Some(5), "{stderr}");
        assert!(stderr.contains("error: Kafka") && stderr.contains(&server), "{stderr}");
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let servers: Vec<_> = (0..3).map(|_| format!("127.0.0.1:{}", closed_port())).collect();
        let file = format!("[kafka]\nbootstrap-servers = \"{}\"\nconnect-timeout = \"100ms\"", servers[2]);
        std::fs::write(dir.path().join("settings.toml"), file).expect("written");
        for (flag, env, expected) in [(true, true, 0), (false, true, 1), (false, false, 2)] {
            let mut command = waiting_tracker(&dir);
            command.args(["--config", "settings.toml"]);
            if flag {
                command.args(["--bootstrap-servers", &servers[0]]);
            }
            if env {
                command.env("KAFKA_BOOTSTRAP_SERVERS", &servers[1]);
            }
            let (code, _, stderr) = said(command.output().expect("the program starts"));
            let last = stderr.lines().last().unwrap_or_default();
            assert_eq!(code, Some(5), "{stderr}");
            assert!(last.contains(&servers[expected]), "{last}");
        }
    }

    #[test]
    fn bad_settings_are_named_with_what_is_allowed() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("bad.toml"), "[tracker]\ngroop = 'x'").expect("written");
        for (arguments, env, expected) in [
            (&["--max-retries", "many"][..], "3", "from 0 to 1000"),
            (&[], "-1", "from 0 to 1000"),
            (
                &["--config", "bad.toml"],
                "3",
                "bad.toml:2: unknown setting groop in [tracker] (is group meant?)",
            ),
            (&["--config", "missing.toml"], "3", "--config: read missing.toml: No such file"),
            (&["--dlq-topic", "orders"], "3", "--dlq-topic must not be --topic (orders)"),
            (&["-X", "enable.auto.commit=true"], "3", "the Kafka property enable.auto.commit cannot be set"),
            (&["-X", "sasl.password=hunter2"], "3", "KAFKA_SASL_PASSWORD"),
            (&["--log-file", "no/such/folder/t.log"], "3", "--log-file: open no/such/folder/t.log"),
            (&["--group", "a\u{9b}31m"], "3", "a\\u{9b}31m"),
        ] {
            let mut command = waiting_tracker(&dir);
            command.args(arguments).env("PUBSUB_KAFKA_MAX_RETRIES", env);
            let (code, _, stderr) = said(command.output().expect("the program starts"));
            assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
            assert!(stderr.contains(expected) && stderr.starts_with("error: "), "{arguments:?}: {stderr}");
            assert!(!stderr.contains("hunter2") && !stderr.contains('\u{9b}'), "{stderr}");
        }
    }

    #[test]
    fn each_signal_that_asks_for_an_end_ends_it_well() {
        for signal in ["INT", "TERM", "HUP"] {
            let dir = tempfile::tempdir().expect("a folder");
            let server = format!("127.0.0.1:{}", closed_port());
            let mut child = waiting_tracker(&dir).args(["-b", &server]).spawn().expect("the program starts");
            let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
            assert!(stderr.any(|line| line.expect("text").contains("Kafka does not answer yet")));
            send(&child, signal);
            assert_eq!(child.wait().expect("it ends").code(), Some(0), "{signal}");
        }
    }

    fn send(child: &std::process::Child, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}
