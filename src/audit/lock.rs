//! Who writes a journal: one process at a time, from its start to its end. The lock is the kernel's (`flock`), on a hidden
//! file beside the journal: it ends with its process however that ends, so a stale one cannot be. What stands in the file
//! says who has it; that is for people, and decides nothing.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AuditError, segments};
use crate::models::{format_timestamp, safe_short};

/// How much of the lock's file is read: more than it ever holds.
const HOLDER_BYTES: u64 = 4096;
/// How much of a host's name is shown.
const HOST_CHARS: usize = 80;

/// The process that writes a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number, on its host.
    pub pid: u32,
    /// The host's name.
    pub host: String,
    /// When it opened the journal, RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, since } = self;
        write!(f, "pid {pid} on {}, since {}", safe_short(host, HOST_CHARS), safe_short(since, HOST_CHARS))
    }
}

impl Holder {
    fn this_process() -> Self {
        let host = hostname::get().map(|name| name.to_string_lossy().into_owned());
        Self {
            pid: std::process::id(),
            host: host.unwrap_or_else(|_| "unknown".to_owned()),
            since: format_timestamp(Timestamp::now()),
        }
    }
}

/// The right to write a journal, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// # Errors
    /// [`AuditError::Locked`] when another process has it, [`AuditError::Io`] otherwise.
    pub(super) fn take(journal: &Path) -> Result<Self, AuditError> {
        let io = |source| AuditError::Io { what: "lock the audit log", path: journal.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path_of(journal))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read(&mut file).ok().flatten();
                return Err(AuditError::Locked { path: journal.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        note(&mut file).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// The lock's file. Its name begins with a dot, so that `tracker.events*` means the journal's own files.
fn path_of(journal: &Path) -> PathBuf {
    segments::hidden(journal, ".lock")
}

/// What a holder wrote; `None` while it has not done so yet.
fn read(file: &mut File) -> io::Result<Option<Holder>> {
    let mut text = Vec::new();
    file.take(HOLDER_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

fn note(file: &mut File) -> io::Result<()> {
    let mut text = serde_json::to_vec(&Holder::this_process())?;
    text.push(b'\n');
    file.set_len(0)?;
    file.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_of_the_first_one_until_that_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = folder.path().join("tracker.events");
        let first = Lock::take(&journal).expect("free");
        let Err(AuditError::Locked { holder: Some(holder), .. }) = Lock::take(&journal) else {
            panic!("it was taken twice")
        };
        assert_eq!(holder, Holder { since: holder.since.clone(), ..Holder::this_process() });
        let shown = holder.to_string();
        assert!(
            shown.starts_with(&format!("pid {} on {}, since 2", std::process::id(), holder.host)),
            "{shown}"
        );
        drop(first);
        let lock = Lock::take(&journal).expect("free again");
        // Whoever came before had more to say.
        std::fs::write(path_of(&journal), "x".repeat(500)).expect("written");
        assert!(matches!(Lock::take(&journal), Err(AuditError::Locked { holder: None, .. })));
        drop(lock);
        let _lock = Lock::take(&journal).expect("free again");
        assert!(matches!(Lock::take(&journal), Err(AuditError::Locked { holder: Some(_), .. })));
    }

    #[test]
    fn what_stands_in_the_file_does_nothing_to_a_terminal() {
        let holder = Holder { pid: 1, host: "h\u{1b}[31m".to_owned(), since: "\u{9b}".to_owned() };
        assert!(!holder.to_string().contains(['\u{1b}', '\u{9b}']));
    }
}
