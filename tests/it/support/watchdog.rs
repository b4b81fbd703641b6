//! Ends a Kafka of the tests with the process that started it, however that ends: its standard input ends then.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Stops the Kafka in `home` and removes that folder, once its standard input is closed.
pub fn watch(script: &str, home: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    // A broker that is stopped by a signal would not hear that it is to end.
    let end = "read -r _; for pid in $(\"$0\" pid); do kill -CONT \"$pid\"; done; \"$0\" stop; rm -rf \"$1\"";
    Command::new("bash")
        .args(["-c", end, script])
        .arg(home)
        .env("KAFKA_HOME_DIR", home)
        .env("KAFKA_STOP_TIMEOUT", "5")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C ends the tests; the watchdog then has its work to do.
        .process_group(0)
        .spawn()
        .expect("bash runs")
}
