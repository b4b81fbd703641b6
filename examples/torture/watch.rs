//! Follows the trackers' audit logs while they grow, to see how far they are: the highest offset with an outcome, by
//! partition. The check of what is in them comes at the end and is another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The highest offset with an outcome, by partition.
pub type Reached = BTreeMap<i32, i64>;

/// Follows some files.
pub struct Watch {
    files: Vec<Follow>,
    pub reached: Reached,
    /// Outcomes seen.
    pub lines: u64,
}

struct Follow {
    path: PathBuf,
    open: Option<(u64, File)>,
    rest: Vec<u8>,
}

impl Watch {
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let files = paths.into_iter().map(|path| Follow { path, open: None, rest: Vec::new() }).collect();
        Self { files, reached: Reached::new(), lines: 0 }
    }

    /// Reads what is new.
    pub fn look(&mut self) {
        for follow in &mut self.files {
            // What is left of a file that was renamed, then the new one.
            follow.read(&mut self.reached, &mut self.lines);
            if inode(&follow.path) != follow.open.as_ref().map(|(inode, _)| *inode) {
                follow.read(&mut self.reached, &mut self.lines);
                follow.open =
                    File::open(&follow.path).ok().and_then(|file| Some((file.metadata().ok()?.ino(), file)));
                follow.rest.clear();
                follow.read(&mut self.reached, &mut self.lines);
            }
        }
    }

    /// Whether every partition is beyond what was reached then.
    pub fn is_beyond(&self, then: &Reached, partitions: i32) -> bool {
        (0..partitions).all(|n| self.reached.get(&n).copied() > then.get(&n).copied())
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(std::fs::metadata(path).ok()?.ino())
}

impl Follow {
    fn read(&mut self, reached: &mut Reached, lines: &mut u64) {
        let Some((_, file)) = &mut self.open else { return };
        // A file that lost its end (fsync error, torn line) is read on from there: what is missed here was no progress.
        drop(file.read_to_end(&mut self.rest));
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        for line in self.rest[..end].split(|byte| *byte == b'\n') {
            if let Some((partition, offset)) = place(line) {
                let highest = reached.entry(partition).or_insert(offset);
                *highest = offset.max(*highest);
                *lines += 1;
            }
        }
        self.rest.drain(..=end);
    }
}

/// The record that an outcome's line is about; both numbers come before anything of the record itself.
fn place(line: &[u8]) -> Option<(i32, i64)> {
    let head = String::from_utf8_lossy(&line[..line.len().min(400)]);
    let number = |name: &str| {
        let from = head.find(name)? + name.len();
        let digits = head[from..].split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<i64>().ok()
    };
    if !head.contains("\"event_type\":\"message.received\"") {
        return None;
    }
    Some((i32::try_from(number("\"kafka_partition\":")?).ok()?, number("\"kafka_offset\":")?))
}
