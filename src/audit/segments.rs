//! The sealed segments of a journal: `tracker.events.000001` and so on, beside the live file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read at a time while looking for the last line.
const TAIL_STEP: u64 = 64 * 1024;

/// One sealed segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    number: u64,
    path: PathBuf,
}

impl Segment {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its last line, without the line break.
    pub(super) fn last_line(&self) -> io::Result<Vec<u8>> {
        last_line(&mut File::open(&self.path)?)
    }
}

/// The name of a journal's segment.
pub(super) fn path_of(live: &Path, number: u64) -> PathBuf {
    let mut name = live.to_owned().into_os_string();
    name.push(format!(".{number:06}"));
    PathBuf::from(name)
}

/// A hidden file beside a journal, for what is not part of it: `.tracker.events.lock`.
pub(super) fn hidden(live: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(live.file_name().unwrap_or_default());
    name.push(ending);
    live.with_file_name(name)
}

/// The last sealed segment of a journal, if it has one.
pub(super) fn last(live: &Path) -> io::Result<Option<Segment>> {
    let folder = live.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let mut last = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|found| found.to_str()?.strip_prefix(name)?.strip_prefix('.'))
            .filter(|digits| digits.len() >= 6)
            .and_then(|digits| digits.parse().ok());
        last = last.max(number.map(|number| Segment { number, path }));
    }
    Ok(last)
}

/// The last complete line of a file; empty when there is none.
fn last_line(file: &mut File) -> io::Result<Vec<u8>> {
    let mut from = file.metadata()?.len();
    let mut tail: Vec<u8> = Vec::new();
    loop {
        if let Some(end) = memchr::memrchr(b'\n', &tail) {
            let start = memchr::memrchr(b'\n', &tail[..end]).map(|at| at + 1);
            match start {
                Some(start) => return Ok(tail[start..end].to_vec()),
                None if from == 0 => return Ok(tail[..end].to_vec()),
                None => {}
            }
        }
        if from == 0 {
            return Ok(Vec::new());
        }
        let step = TAIL_STEP.max(tail.len() as u64).min(from);
        from -= step;
        let mut earlier = vec![0; usize::try_from(step).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut earlier)?;
        earlier.append(&mut tail);
        tail = earlier;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_is_the_one_with_the_highest_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let live = folder.path().join("tracker.events");
        assert_eq!(last(&live).expect("list"), None);
        for name in ["000002", "000010", "000009", "torn-1-2", "1", "999999.gz"] {
            std::fs::write(folder.path().join(format!("tracker.events.{name}")), "").expect("write");
        }
        assert_eq!(last(&live).expect("list").expect("a segment").path(), path_of(&live, 10));
    }

    #[test]
    fn the_last_line_is_found_however_long_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("segment");
        for long in [0, 1, 70_000, 300_000] {
            let line = "x".repeat(long);
            for (text, expected) in [
                (format!("{line}\n"), line.as_str()),
                (format!("first\n{line}\n"), line.as_str()),
                (format!("first\n{line}\ntorn"), line.as_str()),
                ("torn".to_owned(), ""),
            ] {
                std::fs::write(&path, &text).expect("write");
                let found = last_line(&mut File::open(&path).expect("open")).expect("read");
                assert!(found == expected.as_bytes());
            }
        }
    }
}
