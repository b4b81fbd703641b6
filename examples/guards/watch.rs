//! An audit log as it grows: when each order's line was seen.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::acknowledged::At;

/// How often the file is looked at; what is measured is longer by half of it.
const GLANCE: Duration = Duration::from_micros(500);

/// When a line was seen, and whether it says that the order was processed.
pub type Seen = HashMap<At, (Instant, bool)>;

/// Reads what an audit log gains from now on.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(path: PathBuf) -> Self {
        let mut file = File::open(&path).ok();
        if let Some(file) = &mut file {
            file.seek(std::io::SeekFrom::End(0)).expect("the audit log");
        }
        let (seen, stop) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicBool::new(false)));
        let (lines, ends) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut rest, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
            while !ends.load(Ordering::Relaxed) {
                file = file.or_else(|| File::open(&path).ok());
                let length = file.as_mut().map_or(0, |file| file.read(&mut chunk).expect("the audit log"));
                if length == 0 {
                    std::thread::sleep(GLANCE);
                    continue;
                }
                let now = Instant::now();
                rest.extend_from_slice(&chunk[..length]);
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let text = std::str::from_utf8(&rest[..whole]).expect("UTF-8");
                let found =
                    text.lines().filter_map(outcome).map(|(at, is_processed)| (at, (now, is_processed)));
                lines.lock().expect("no panic").extend(found);
                rest.drain(..whole);
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// The outcomes so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic").clone()
    }

    /// The outcomes as soon as these orders are among them, or after so long.
    pub fn wait_for<'a>(&self, orders: impl Iterator<Item = &'a At> + Clone, patience: Duration) -> Seen {
        let deadline = Instant::now() + patience;
        loop {
            let seen = self.seen();
            if orders.clone().all(|at| seen.contains_key(at)) || Instant::now() >= deadline {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn outcome(line: &str) -> Option<(At, bool)> {
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest[..rest.find([',', '}'])?].parse::<i64>().ok()
    };
    let partition = i32::try_from(number("\"kafka_partition\":")?).ok()?;
    let at = (partition, number("\"kafka_offset\":")?);
    line.contains("\"outcome\":\"").then(|| (at, line.contains("\"outcome\":\"processed\"")))
}
