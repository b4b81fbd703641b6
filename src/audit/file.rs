//! The journal's file: opened once, locked, appended to, synced. What the operating system says is passed on as it is;
//! what to do about it is the writer's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::AuditError;
use super::chain::{Chain, split_line};
use super::line::LINE_START;

/// How much is read at a time while looking for the last line.
const TAIL_STEP: u64 = 64 * 1024;

/// The open journal.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// Everything below is on disk; beyond it only the group that is being written.
    durable_len: u64,
}

/// What was found when the journal was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub file: AuditFile,
    /// The chain after its last line.
    pub chain: Chain,
    /// Where a torn last line was moved to, if there was one.
    pub torn: Option<PathBuf>,
}

impl AuditFile {
    /// Opens or creates the journal, locks it, and finds the chain's head in its last line. A last line without a line
    /// break was torn by a crash: it is moved into a side file.
    ///
    /// # Errors
    /// [`AuditError::Locked`] when another process has it, [`AuditError::Damaged`] when the last line is none of ours,
    /// [`AuditError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Opened, AuditError> {
        let io = |what: &'static str| move |source| AuditError::Io { what, path: path.to_owned(), source };
        let existed = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(io("open the audit log"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io("lock the audit log")(source)),
        }
        if !existed {
            sync_folder(path).map_err(io("sync the folder of the audit log"))?;
        }
        let mut journal = Self { path: path.to_owned(), file, durable_len: 0 };
        let len = journal.file.metadata().map_err(io("read the size of the audit log"))?.len();
        let (complete, last_line) = journal.last_line(len).map_err(io("read the end of the audit log"))?;
        // Looked at before anything is changed: it may be somebody else's file.
        let chain = match last_line {
            None if journal.is_ours_so_far(len).map_err(io("read the audit log"))? => Chain::START,
            None => return Err(AuditError::Damaged { path: path.to_owned() }),
            Some(line) => match split_line(&line) {
                Some((_, hash)) => Chain::at(hash),
                None => return Err(AuditError::Damaged { path: path.to_owned() }),
            },
        };
        let torn = if complete < len {
            Some(journal.set_aside(complete, len).map_err(io("move the torn last line of the audit log"))?)
        } else {
            None
        };
        journal.durable_len = complete;
        Ok(Opened { file: journal, chain, torn })
    }

    /// Appends buffers as one write (several, where the system takes only a part) and waits until they are on disk.
    ///
    /// # Errors
    /// What the write said; the file is cut back to its last durable line then, so that another try starts clean.
    /// [`WriteFailure::Sync`] is final: after a failed sync nothing is known of the file's end.
    pub(super) fn append(&mut self, buffers: &[&[u8]]) -> Result<(), WriteFailure> {
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(self.cut_back(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut_back(error)),
            }
        }
        self.file.sync_data().map_err(WriteFailure::Sync)?;
        self.durable_len += buffers.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        Ok(())
    }

    /// The journal's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn cut_back(&self, error: io::Error) -> WriteFailure {
        match self.file.set_len(self.durable_len) {
            Ok(()) => WriteFailure::Write(error),
            Err(cut) => WriteFailure::Sync(cut),
        }
    }

    /// Where the last complete line ends, and that line.
    fn last_line(&mut self, len: u64) -> io::Result<(u64, Option<Vec<u8>>)> {
        let mut tail = Vec::new();
        let mut from = len;
        loop {
            let end = tail.iter().rposition(|byte| *byte == b'\n');
            let start =
                end.and_then(|end| tail[..end].iter().rposition(|byte| *byte == b'\n')).map(|at| at + 1);
            match (start, end) {
                (Some(start), Some(end)) => {
                    return Ok((from + end as u64 + 1, Some(tail[start..end].to_vec())));
                }
                (None, Some(end)) if from == 0 => return Ok((end as u64 + 1, Some(tail[..end].to_vec()))),
                (_, None) if from == 0 => return Ok((0, None)),
                _ => {}
            }
            let step = TAIL_STEP.max(tail.len() as u64).min(from);
            from -= step;
            let mut earlier = vec![0; usize::try_from(step).unwrap_or(usize::MAX)];
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(&mut earlier)?;
            earlier.append(&mut tail);
            tail = earlier;
        }
    }

    /// Whether a file without a line break can be the beginning of our first line: it begins as that, or holds only the
    /// zeros that a file system leaves where data did not reach the disk.
    fn is_ours_so_far(&mut self, len: u64) -> io::Result<bool> {
        let mut start = vec![0; LINE_START.len().min(usize::try_from(len).unwrap_or(usize::MAX))];
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_exact(&mut start)?;
        Ok(LINE_START.starts_with(&start) || start.iter().all(|byte| *byte == 0))
    }

    /// Copies what follows the last complete line into a side file, syncs it, and cuts it off here.
    fn set_aside(&mut self, complete: u64, len: u64) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".torn-{complete}-{}", jiff::Timestamp::now().as_millisecond()));
        let side = PathBuf::from(name);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&side)?;
        self.file.seek(SeekFrom::Start(complete))?;
        io::copy(&mut (&self.file).take(len - complete), &mut out)?;
        out.flush()?;
        out.sync_all()?;
        sync_folder(&side)?;
        self.file.set_len(complete)?;
        self.file.sync_all()?;
        Ok(side)
    }
}

/// Why a group is not on disk.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// Nothing of it is in the file; it can be written again.
    Write(io::Error),
    /// It is unknown what is in the file: the process must end.
    Sync(io::Error),
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{HASH_FIELD, LINE_END};

    fn line(text: &str) -> Vec<u8> {
        let mut line = format!("{{\"a\":\"{text}\"").into_bytes();
        line.extend_from_slice(HASH_FIELD);
        line.extend_from_slice("ab".repeat(32).as_bytes());
        line.extend_from_slice(LINE_END);
        line
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_new_file_starts_the_chain_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let opened = AuditFile::open(&path).expect("open");
        assert_eq!(opened.chain, Chain::START);
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_owner_is_refused() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let _first = AuditFile::open(&path).expect("open");
        assert!(matches!(AuditFile::open(&path), Err(AuditError::Locked { .. })));
    }

    #[test]
    fn a_torn_last_line_is_moved_aside_and_the_chain_goes_on_from_the_line_before() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        for long in [10, 200_000] {
            let whole = [line("first"), line(&"x".repeat(long))].concat();
            std::fs::write(&path, [&whole[..], &line(&"torn".repeat(long))[..100]].concat()).expect("write");
            let opened = AuditFile::open(&path).expect("open");
            assert_eq!(opened.chain, Chain::at([0xab; 32]));
            assert_eq!(std::fs::read(&path).expect("read"), whole);
            let side = opened.torn.expect("a side file");
            assert_eq!(std::fs::read(side).expect("read"), line(&"torn".repeat(long))[..100]);
        }
    }

    #[test]
    fn a_torn_first_line_is_moved_aside_too() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        for torn in [&b"{\"time"[..], b"{\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"eve", &[0; 5000]] {
            std::fs::write(&path, torn).expect("write");
            let opened = AuditFile::open(&path).expect("open");
            assert_eq!(opened.chain, Chain::START);
            assert_eq!(std::fs::read(opened.torn.expect("a side file")).expect("read"), torn);
        }
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused_and_left_as_it_is() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        for text in ["{\"a\":1}\n", "{\"a\":1}\ntorn", "{\"a\":1}", "x"] {
            std::fs::write(&path, text).expect("write");
            assert!(matches!(AuditFile::open(&path), Err(AuditError::Damaged { .. })), "{text}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }
}
