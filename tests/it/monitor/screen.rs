//! A terminal for a program: a real one (of `script`), read by a terminal emulator.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::MONITOR;

/// A monitor on a terminal.
pub struct Screen {
    child: Child,
    keys: Option<ChildStdin>,
    written: Arc<Mutex<Vec<u8>>>,
    folder: std::path::PathBuf,
    size: (u16, u16),
}

impl Screen {
    /// Starts it in a folder, on so many columns and rows.
    pub fn start(folder: &Path, (columns, rows): (u16, u16), flags: &str) -> Self {
        let command = format!(
            "stty rows {rows} cols {columns}; tty > tty.txt; echo $$ > pid.txt; TERM=xterm exec {MONITOR} {flags}"
        );
        let mut child = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .current_dir(folder)
            .env("SHELL", "/bin/sh")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script (util-linux) runs");
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut stdout = child.stdout.take().expect("piped");
        let kept = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                kept.lock().expect("whole").extend_from_slice(&buffer[..read]);
            }
        });
        let keys = child.stdin.take();
        Self { child, keys, written, folder: folder.to_owned(), size: (columns, rows) }
    }

    pub fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().expect("open");
        pipe.write_all(keys.as_bytes()).and_then(|()| pipe.flush()).expect("pressed");
    }

    /// Changes the terminal's size.
    pub fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.size = (columns, rows);
        let tty = std::fs::read_to_string(self.folder.join("tty.txt")).expect("its name");
        let size = ["rows", &rows.to_string(), "cols", &columns.to_string()];
        let status = Command::new("stty").args(["-F", tty.trim()]).args(size).status().expect("stty runs");
        assert!(status.success());
    }

    /// Everything that went to the terminal.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("whole")).into_owned()
    }

    /// What is to be seen.
    pub fn shown(&self) -> String {
        let size = self.size.1.try_into().ok().zip(self.size.0.try_into().ok()).expect("a size");
        let mut terminal = vt100::Parser::new(size.0, size.1, 0);
        terminal.process(&self.written.lock().expect("whole"));
        terminal.screen().contents()
    }

    /// Waits until this is to be seen; how long that took.
    pub fn wait_shown(&self, text: &str) -> Duration {
        let begun = Instant::now();
        while !self.shown().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{text} is not shown:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    /// The monitor's own process.
    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.folder.join("pid.txt")).expect("its id").trim().to_owned()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Takes the terminal away, and waits for the end of what ran there.
    pub fn hang_up(&mut self) {
        let process = Path::new("/proc").join(self.pid());
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        let begun = Instant::now();
        while process.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it goes on without a terminal");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end: its exit code. The terminal must be as it was.
    pub fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                let written = self.written();
                let (entered, left) = (written.find("\u{1b}[?1049h"), written.rfind("\u{1b}[?1049l"));
                assert!(entered.is_some() && entered < left, "the terminal is not given back");
                assert!(written.rfind("\u{1b}[?25h") > written.rfind("\u{1b}[?25l"), "the cursor is gone");
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal goes with it, and what runs there is hung up.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
