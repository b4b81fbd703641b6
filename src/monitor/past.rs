//! What is on disk already: the sealed segments of the audit log and the live file as one long text, read from any
//! place, without reading it all. Lines are in the order of time but for what several threads hand over at once, so a
//! time is found by halving.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::lines::time_of;

/// How much is read at a time while lines are passed on.
const CHUNK: usize = 256 * 1024;

/// How much is read at a time while a line's beginning is looked for.
const PEEK: usize = 8 * 1024;

/// A longer line is passed over: 1 MiB of payload takes less, however it is escaped.
pub(super) const MAX_LINE: usize = 8 << 20;

/// How many segments are looked at, the newest ones.
const MAX_SEGMENTS: usize = 500;

/// A file, whatever its name is now: device and inode.
pub(super) type FileId = (u64, u64);

struct Part {
    file: File,
    id: FileId,
    start: u64,
    len: u64,
}

/// A file's lines, and those of its sealed segments before them.
pub(super) struct Past {
    parts: Vec<Part>,
    len: u64,
    /// Whether the last part is the live file.
    has_live: bool,
    /// How many segments are not read: compressed, or too many.
    pub left_out: usize,
}

impl Past {
    /// Of one file. A file that is not there has no past.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let mut past = Self { parts: Vec::new(), len: 0, has_live: false, left_out: 0 };
        match File::open(path) {
            Ok(file) => {
                past.push(file)?;
                past.has_live = true;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(past)
    }

    /// Of an audit log: its segments, then the live file.
    pub(super) fn of_journal(live: &Path) -> io::Result<Self> {
        // The live file first: if it becomes a segment meanwhile, it is found twice rather than never.
        let live_past = Self::of_file(live)?;
        let mut past = Self { parts: Vec::new(), len: 0, has_live: live_past.has_live, left_out: 0 };
        let (mut segments, compressed) = segments_of(live)?;
        past.left_out = compressed + segments.len().saturating_sub(MAX_SEGMENTS);
        for (_, path) in segments.split_off(segments.len().saturating_sub(MAX_SEGMENTS)) {
            match File::open(&path) {
                Ok(file) => past.push(file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for part in live_past.parts {
            past.parts.retain(|segment| segment.id != part.id);
            past.len = past.parts.last().map_or(0, |last| last.start + last.len);
            past.push(part.file)?;
        }
        Ok(past)
    }

    fn push(&mut self, file: File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let part = Part { file, id: (metadata.dev(), metadata.ino()), start: self.len, len: metadata.len() };
        self.len += part.len;
        self.parts.push(part);
        Ok(())
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Where a place is within the live file, and which file that is.
    pub(super) fn in_live(&self, at: u64) -> Option<(FileId, u64)> {
        let live = self.parts.last().filter(|_| self.has_live)?;
        Some((live.id, at.saturating_sub(live.start)))
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let index = self.parts.partition_point(|part| part.start + part.len <= at);
        let Some(part) = self.parts.get(index) else { return Ok(0) };
        let within = at - part.start;
        let room = usize::try_from(part.len - within).unwrap_or(usize::MAX).min(into.len());
        part.file.read_at(&mut into[..room], within)
    }

    /// The beginning of the first line at or after a place; the end where there is none.
    pub(super) fn line_start(&self, at: u64) -> io::Result<u64> {
        let Some(mut from) = at.checked_sub(1) else { return Ok(0) };
        let mut buffer = [0; PEEK];
        loop {
            let read = self.read_at(from, &mut buffer)?;
            if read == 0 {
                return Ok(self.len);
            }
            if let Some(found) = memchr::memchr(b'\n', &buffer[..read]) {
                return Ok(from + found as u64 + 1);
            }
            from += read as u64;
        }
    }

    /// The first line at or after a line's beginning that has a time.
    fn first_time(&self, mut start: u64, before: u64) -> io::Result<Option<(u64, i64)>> {
        let mut head = [0; 128];
        while start < before {
            let read = self.read_at(start, &mut head)?;
            if let Some(time) = time_of(&head[..read]) {
                return Ok(Some((start, time)));
            }
            start = self.line_start(start + 1)?;
        }
        Ok(None)
    }

    /// The beginning of a line before which all lines are older than this; the lines right behind it may be older too.
    pub(super) fn find(&self, time_ms: i64) -> io::Result<u64> {
        self.halve(time_ms).map(|(low, _)| low)
    }

    /// A place from which on no line is older than this.
    pub(super) fn find_end(&self, time_ms: i64) -> io::Result<u64> {
        self.halve(time_ms).map(|(_, high)| high)
    }

    fn halve(&self, time_ms: i64) -> io::Result<(u64, u64)> {
        let (mut low, mut high) = (0, self.len);
        while high - low > PEEK as u64 / 2 {
            let middle = low + (high - low) / 2;
            match self.first_time(self.line_start(middle)?, high)? {
                Some((start, time)) if time < time_ms => low = start,
                _ => high = middle,
            }
        }
        Ok((low, high))
    }

    /// When the first line was written.
    pub(super) fn first(&self) -> io::Result<Option<i64>> {
        Ok(self.first_time(0, self.len)?.map(|(_, time)| time))
    }

    /// When the last line before a place was written.
    pub(super) fn last(&self, before: u64) -> io::Result<Option<i64>> {
        let mut step = 64 * 1024;
        loop {
            let from = self.line_start(before.saturating_sub(step))?;
            let mut last = None;
            self.lines(from, before, |line| last = time_of(line).or(last))?;
            if last.is_some() || step >= before || step > 4 * MAX_LINE as u64 {
                return Ok(last);
            }
            step *= 4;
        }
    }

    /// Passes on each whole line that begins in a range, whose beginning must be a line's. Returns where the next one
    /// begins, and how many were too long.
    pub(super) fn lines(&self, from: u64, to: u64, mut each: impl FnMut(&[u8])) -> io::Result<(u64, u64)> {
        let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK);
        let (mut at, mut too_long) = (from, 0);
        while at < to {
            let filled = buffer.len();
            buffer.resize(filled + CHUNK, 0);
            let read = self.read_at(at + filled as u64, &mut buffer[filled..])?;
            buffer.truncate(filled + read);
            if read == 0 {
                break;
            }
            let mut done = 0;
            for end in memchr::memchr_iter(b'\n', &buffer[filled..]).map(|found| filled + found) {
                if at + done as u64 >= to {
                    break;
                }
                each(&buffer[done..end]);
                done = end + 1;
            }
            buffer.drain(..done);
            at += done as u64;
            if buffer.len() > MAX_LINE {
                at = self.line_start(at + buffer.len() as u64)?;
                buffer.clear();
                too_long += 1;
            }
        }
        Ok((at, too_long))
    }
}

/// The sealed segments of a journal, in order, and how many are there only compressed.
fn segments_of(live: &Path) -> io::Result<(Vec<(u64, PathBuf)>, usize)> {
    let folder = live.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Ok((Vec::new(), 0)) };
    let (mut plain, mut compressed) = (Vec::new(), 0);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((plain, compressed)),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let rest = path.file_name().and_then(|found| found.to_str()?.strip_prefix(name)?.strip_prefix('.'));
        let Some(rest) = rest else { continue };
        let digits = rest.strip_suffix(".zst").unwrap_or(rest);
        if digits.len() < 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        match digits.parse() {
            Ok(number) if digits == rest => plain.push((number, path)),
            _ => compressed += 1,
        }
    }
    plain.sort();
    Ok((plain, compressed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::format_timestamp;

    fn line(time_ms: i64, padding: usize) -> String {
        let time = jiff::Timestamp::from_millisecond(time_ms).expect("a time");
        format!("{{\"timestamp\":\"{}\",\"n\":\"{}\"}}\n", format_timestamp(time), "x".repeat(padding))
    }

    fn all(past: &Past) -> Vec<i64> {
        let mut times = Vec::new();
        past.lines(0, past.len(), |line| times.extend(time_of(line))).expect("read");
        times
    }

    #[test]
    fn segments_come_first_in_their_order_and_side_files_never() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("tracker.events");
        assert_eq!(Past::of_journal(&live).expect("nothing").len(), 0);
        for (name, time) in [
            ("tracker.events", 4000),
            ("tracker.events.000002", 2000),
            ("tracker.events.000010", 3000),
            ("tracker.events.000001", 1000),
            ("tracker.events.torn-1-2", 9),
            ("tracker.events.17", 9),
            ("tracker.events.000000.zst", 9),
            ("other.events.000001", 9),
        ] {
            std::fs::write(folder.path().join(name), line(time, 3)).expect("written");
        }
        let past = Past::of_journal(&live).expect("opened");
        assert_eq!(all(&past), [1000, 2000, 3000, 4000]);
        assert_eq!(
            (past.first().expect("read"), past.last(past.len()).expect("read")),
            (Some(1000), Some(4000))
        );
        assert_eq!(past.left_out, 1);
        let live_len = std::fs::metadata(&live).expect("there").len();
        assert_eq!(past.in_live(past.len()).map(|(_, at)| at), Some(live_len));
        std::fs::hard_link(&live, folder.path().join("tracker.events.000011")).expect("linked");
        assert_eq!(all(&Past::of_journal(&live).expect("opened")).len(), 4, "being renamed");
    }

    #[test]
    fn a_torn_end_and_a_monstrous_line_are_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tracker.events");
        let text =
            line(1000, 1) + &line(2000, MAX_LINE + CHUNK) + &line(3000, 70_000) + "{\"timestamp\":\"2026";
        std::fs::write(&path, &text).expect("written");
        let past = Past::of_file(&path).expect("opened");
        let mut times = Vec::new();
        let (end, too_long) = past.lines(0, past.len(), |line| times.extend(time_of(line))).expect("read");
        assert_eq!((times, too_long), (vec![1000, 3000], 1));
        assert_eq!(end, text.rfind('\n').expect("a break") as u64 + 1);
        assert_eq!(past.last(past.len()).expect("read"), Some(3000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_time_is_found_by_halving(
            sizes in prop::collection::vec((0_i64..50, 0_usize..3000), 1..120),
            asked in -10_i64..3000,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("log");
            let (mut now, mut text, mut starts) = (0, String::new(), Vec::new());
            for (step, padding) in sizes {
                now += step;
                starts.push((text.len() as u64, now));
                text += &line(now, padding);
            }
            std::fs::write(&path, &text).expect("written");
            let past = Past::of_file(&path).expect("opened");
            let found = past.find(asked).expect("read");
            prop_assert!(starts.iter().any(|(start, _)| *start == found));
            let first = starts.iter().find(|(_, time)| *time >= asked).map_or(past.len(), |(start, _)| *start);
            prop_assert!(found <= first && first - found <= 3 * PEEK as u64, "{found} for {first}");
            let end = past.find_end(asked).expect("read");
            let last = starts.iter().rfind(|(_, time)| *time < asked).map_or(0, |(start, _)| *start + 1);
            prop_assert!(last <= end && end <= last + 3 * PEEK as u64, "{end} for {last}");
        }
    }
}
