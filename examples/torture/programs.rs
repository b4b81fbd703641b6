//! The programs under test, as processes: this program again, as one of its roles.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program.
pub struct Program {
    pub name: String,
    child: Child,
}

/// This program, as one of its roles, in a folder; nothing of the caller's settings reaches it.
pub fn role(role: &str, folder: &Path) -> Command {
    let own = std::env::current_exe().expect("this program's path");
    let mut command = Command::new(own);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KAFKA_") || text.starts_with("PUBSUB_KAFKA_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.arg(role).current_dir(folder).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts it; what it says goes to `NAME.out` and `NAME.err`.
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let file = |ending: &str| {
            let path: PathBuf = folder.join(format!("{name}.{ending}"));
            File::options().create(true).append(true).open(path).expect("a file")
        };
        command.stdout(file("out")).stderr(file("err"));
        Self { name: name.to_owned(), child: command.spawn().expect("the program starts") }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "{} is not there", self.name);
    }

    /// The exit code, or the signal's number below zero; `None` while it runs.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("its state")?;
        Some(status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)))
    }

    /// Waits for its end.
    pub fn ended_within(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}
