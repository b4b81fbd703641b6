//! `audit verify`: whether a journal is what was written. Reads its segments as the tracker does when it opens one, and
//! names the first line that was changed, removed, added or moved.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::chain::{ChainHash, hex};
use super::control::Place;
use super::reading::{Fault, Reading};
use super::{Hashing, KeyError, packed, segments};

/// One file that was verified: every line of it is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The file.
    pub file: PathBuf,
    /// The journal that it is a segment of; none while it holds no line.
    pub file_id: Option<Uuid>,
    /// The segment's number, from 1.
    pub segment: u64,
    /// Its lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes after the last line break: a line that was torn by a crash, or is being written.
    pub torn_bytes: u64,
    /// The hash of its last line, in hexadecimal digits.
    pub head: String,
    #[serde(skip)]
    before: ChainHash,
    #[serde(skip)]
    after: ChainHash,
}

/// Why a journal is not what was written, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A line does not follow from the one before it.
    #[error(
        "{path}: line {line} (byte {start}) does not follow from the lines before it: it was changed, or lines were \
         removed, added or moved here",
        path = path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// Where it begins, in bytes.
        start: u64,
    },
    /// It was written with another key, or one was not given.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A segment does not go on from the one before it.
    #[error(
        "{path}: line 1 does not follow from the end of {before}: lines are missing in between, or were changed",
        path = path.display(), before = before.display()
    )]
    Apart {
        /// The segment.
        path: PathBuf,
        /// The segment before it.
        before: PathBuf,
    },
    /// A packed file does not unpack.
    #[error(
        "{path} cannot be unpacked{}: it was changed or cut",
        line.map(|line| format!(" from line {line} on")).unwrap_or_default(),
        path = path.display()
    )]
    Unpack {
        /// The file.
        path: PathBuf,
        /// The first line that is not to be had, from 1, where that is known.
        line: Option<u64>,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The file could not be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl VerifyError {
    /// Reading a file failed.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if packed::is_fault(&source) {
            return Self::Unpack { path, line: None, source };
        }
        Self::Read { path, source }
    }
}

/// Verifies files: each one from its first line to its last, and the segments of one journal against each other.
/// `progress` learns how many bytes are done, over all files.
///
/// # Errors
/// [`VerifyError`] with the first line that does not follow, or with the key that is missing.
pub fn verify(
    paths: &[PathBuf],
    hashing: Hashing,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Verified>, VerifyError> {
    let mut done = 0;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let file = verify_file(path, hashing, |bytes| progress(done + bytes))?;
        done += file.bytes;
        files.push(file);
    }
    files.sort_by_key(|file| (file.file_id, file.segment));
    for pair in files.windows(2) {
        let [first, second] = pair else { continue };
        // One that is missing in between is found as well.
        let follows = first.file_id == second.file_id && first.segment < second.segment;
        if follows && second.lines > 0 && first.after != second.before {
            return Err(VerifyError::Apart { path: second.file.clone(), before: first.file.clone() });
        }
    }
    Ok(files)
}

fn verify_file(path: &Path, hashing: Hashing, progress: impl FnMut(u64)) -> Result<Verified, VerifyError> {
    let file = segments::open(path).map_err(|source| VerifyError::reading(path, source))?;
    let mut reading = Reading::new(hashing);
    let read = reading.read(file, progress).map_err(|source| match VerifyError::reading(path, source) {
        VerifyError::Unpack { path, source, .. } => {
            let line = Some(reading.place.lines - reading.before.lines + 1);
            VerifyError::Unpack { path, line, source }
        }
        error => error,
    });
    let scanned = match read? {
        Ok(scanned) => scanned,
        Err(Fault::Broken { line, start }) => {
            return Err(VerifyError::Broken { path: path.to_owned(), line, start });
        }
        Err(Fault::OtherKey(found)) => {
            hashing.check(path, found.as_deref())?;
            return Err(VerifyError::Broken { path: path.to_owned(), line: 1, start: 0 });
        }
    };
    let Place { segment, head, .. } = reading.place;
    Ok(Verified {
        file: path.to_owned(),
        file_id: reading.identity.map(|identity| identity.file_id),
        segment,
        lines: scanned.lines,
        bytes: scanned.bytes,
        torn_bytes: scanned.torn,
        head: hex(&head),
        before: reading.before.head,
        after: head,
    })
}
