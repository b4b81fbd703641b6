//! Follows a file as it grows: through renames (the old file is read to its end first) and through cuts.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::past::{FileId, MAX_LINE};

/// How much is read in one turn: drawing and keys come between.
const TURN: usize = 8 << 20;

/// How much is read at a time.
const CHUNK: usize = 128 * 1024;

/// Further behind than this, following is given up for a look at the end.
const FAR: u64 = 64 << 20;

/// How many of the last bytes are remembered: the hash at a line's end differs.
const SEEN: usize = 64;

/// What a turn brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing new.
    Still,
    /// Lines; there may be more.
    Grown,
    /// Too much to follow.
    FarBehind,
}

/// A file that is followed.
pub(super) struct Tail {
    path: PathBuf,
    open: Option<(File, FileId)>,
    /// Up to where the open file was read.
    at: u64,
    /// When the open file was changed last, as far as it was looked at.
    changed: Option<SystemTime>,
    /// The last bytes that were read: what was cut and has grown again has others there.
    seen: Vec<u8>,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
    /// Whether the rest of a line that is too long is still to come.
    skipping: bool,
}

impl Tail {
    /// From a place in the file that was found there; without one, from the beginning of whatever comes.
    pub(super) fn new(path: &Path, place: Option<(FileId, u64)>) -> Self {
        let mut tail = Self {
            path: path.to_owned(),
            open: None,
            at: 0,
            changed: None,
            seen: Vec::new(),
            begun: Vec::new(),
            skipping: false,
        };
        if let Some((id, at)) = place
            && let Ok(file) = File::open(path)
            && id_of(&file).is_ok_and(|now| now == id)
        {
            (tail.open, tail.at) = (Some((file, id)), at);
        }
        tail
    }

    /// Passes on the lines that have come since the last turn.
    pub(super) fn turn(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<Turn> {
        let mut budget = TURN;
        let mut turn = Turn::Still;
        loop {
            if self.open.is_none() && !self.reopen()? {
                return Ok(turn);
            }
            let Some((file, id)) = &self.open else { return Ok(turn) };
            let (id, metadata) = (*id, file.metadata()?);
            let len = metadata.len();
            let changed = metadata.modified().ok();
            if len < self.at || changed != self.changed && !self.is_as_seen(file)? {
                // Cut: what is there now is new.
                (self.at, self.skipping) = (0, false);
                self.seen.clear();
                self.begun.clear();
            }
            self.changed = changed;
            if len - self.at > FAR {
                return Ok(Turn::FarBehind);
            }
            let begun = self.begun.len();
            self.begun.resize(begun + CHUNK, 0);
            let read = file.read_at(&mut self.begun[begun..], self.at);
            self.begun.truncate(begun + read.as_ref().map_or(0, |read| *read));
            let read = read?;
            if read == 0 {
                if !self.was_replaced(id) {
                    return Ok(turn);
                }
                self.open = None;
                continue;
            }
            self.at += read as u64;
            self.see(begun);
            if self.pass_on(begun, &mut each) {
                turn = Turn::Grown;
            }
            budget = budget.saturating_sub(read);
            if budget == 0 {
                return Ok(turn);
            }
        }
    }

    /// Remembers the last bytes that were read; `from` is where the new ones begin.
    fn see(&mut self, from: usize) {
        self.seen.extend_from_slice(&self.begun[from.max(self.begun.len().saturating_sub(SEEN))..]);
        let beyond = self.seen.len().saturating_sub(SEEN);
        self.seen.drain(..beyond);
    }

    fn is_as_seen(&self, file: &File) -> io::Result<bool> {
        let mut now = vec![0; self.seen.len()];
        let from = self.at.saturating_sub(now.len() as u64);
        let read = file.read_at(&mut now, from)?;
        Ok(now[..read] == self.seen)
    }

    /// Passes on whole lines; `from` is where the new bytes begin.
    fn pass_on(&mut self, from: usize, each: &mut impl FnMut(&[u8])) -> bool {
        let mut done = 0;
        for end in memchr::memchr_iter(b'\n', &self.begun[from..]).map(|found| from + found) {
            if !std::mem::take(&mut self.skipping) {
                each(&self.begun[done..end]);
            }
            done = end + 1;
        }
        self.begun.drain(..done);
        if self.begun.len() > MAX_LINE {
            self.skipping = true;
        }
        if self.skipping {
            self.begun.clear();
        }
        done > 0
    }

    fn reopen(&mut self) -> io::Result<bool> {
        match File::open(&self.path) {
            Ok(file) => {
                let id = id_of(&file)?;
                (self.open, self.at, self.skipping) = (Some((file, id)), 0, false);
                self.seen.clear();
                self.begun.clear();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether another file has the name now. A name that is gone may come back.
    fn was_replaced(&self, id: FileId) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) != id)
    }
}

fn id_of(file: &File) -> io::Result<FileId> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        tail: Tail,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let tail = Tail::new(&folder.path().join("log"), None);
            Self { folder, tail }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("log")
        }

        fn append(&self, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.path()).expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        }

        fn read(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            loop {
                let each = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
                if self.tail.turn(each).expect("read") != Turn::Grown {
                    return lines;
                }
            }
        }
    }

    #[test]
    fn whole_lines_come_once_as_they_are_written() {
        let mut it = Fixture::new();
        assert!(it.read().is_empty());
        it.append("a\nb");
        assert_eq!(it.read(), ["a"]);
        assert!(it.read().is_empty());
        it.append("c\n\nd\n");
        assert_eq!(it.read(), ["bc", "", "d"]);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
        let mut it = Fixture::new();
        it.append("a\n");
        assert_eq!(it.read(), ["a"]);
        it.append("b\n");
        std::fs::rename(it.path(), it.folder.path().join("log.1")).expect("renamed");
        assert_eq!(it.read(), ["b"]);
        it.append("c\n");
        assert_eq!(it.read(), ["c"]);
        std::fs::remove_file(it.path()).expect("removed");
        assert!(it.read().is_empty());
        it.append("d\n");
        assert_eq!(it.read(), ["d"]);
    }

    #[test]
    fn a_cut_file_begins_anew() {
        let mut it = Fixture::new();
        it.append("first\nbegun");
        assert_eq!(it.read(), ["first"]);
        File::options().write(true).open(it.path()).expect("opened").set_len(0).expect("cut");
        it.append("new\n");
        assert_eq!(it.read(), ["new"]);
        // As long as before, and longer.
        for text in ["two\n", "three\nfour\n"] {
            std::fs::write(it.path(), text).expect("written");
            assert_eq!(it.read(), text.lines().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_monstrous_line_is_passed_over_and_a_monstrous_gap_is_named() {
        let mut it = Fixture::new();
        it.append("a\n");
        assert_eq!(it.read(), ["a"]);
        it.append(&"x".repeat(MAX_LINE + 3 * CHUNK));
        assert!(it.read().is_empty());
        assert!(it.tail.begun.capacity() <= MAX_LINE + 4 * CHUNK);
        it.append("y\nb\n");
        assert_eq!(it.read(), ["b"]);
        let file = File::options().write(true).open(it.path()).expect("opened");
        file.set_len(it.tail.at + FAR + 1).expect("a hole");
        assert_eq!(it.tail.turn(|_| ()).expect("read"), Turn::FarBehind);
    }

    #[test]
    fn it_goes_on_from_a_place_in_the_file_that_was_there() {
        let it = Fixture::new();
        it.append("a\nb\n");
        let id = id_of(&File::open(it.path()).expect("opened")).expect("an id");
        for (place, expected) in [((id, 2), vec!["b"]), (((id.0, id.1 + 1), 2), vec!["a", "b"])] {
            let mut lines = Vec::new();
            let mut tail = Tail::new(&it.path(), Some(place));
            tail.turn(|line| lines.push(String::from_utf8_lossy(line).into_owned())).expect("read");
            assert_eq!(lines, expected);
        }
    }
}
