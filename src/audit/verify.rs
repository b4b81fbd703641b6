//! `audit verify`: whether a journal is what was written. Names the first line that was changed, removed, added or
//! moved.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::chain::{Chain, ChainHash};
use super::scan::{Line, Link, Scanned, scan};

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines, all of them sound.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes after the last line break: a line that was torn by a crash, or is being written.
    pub torn: u64,
    /// The hash of the last line.
    pub head: ChainHash,
}

/// Why a journal is not what was written, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A line does not fit the chain.
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
    /// A line is complete, but it does not end in a hash.
    #[error("{path}: line {line} (byte {start}) is no audit line", path = path.display())]
    NoLine {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// Where it begins, in bytes.
        start: u64,
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

/// What is wrong with a line, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    line: u64,
    start: u64,
    is_line: bool,
}

/// Verifies one file from its first line to its last. `progress` learns of every line's end, in bytes.
///
/// # Errors
/// [`VerifyError`] with the first line that does not fit.
pub fn verify(path: &Path, mut progress: impl FnMut(u64)) -> Result<Verified, VerifyError> {
    let read = |source| VerifyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let mut chain = Chain::START;
    let ended = scan(
        file,
        |_| (),
        |line| {
            progress(line.start + line.len);
            link(&mut chain, &line)
        },
    );
    match ended.map_err(read)? {
        ControlFlow::Continue(Scanned { lines, bytes, torn }) => {
            Ok(Verified { lines, bytes, torn, head: chain.head() })
        }
        ControlFlow::Break(Fault { line, start, is_line: true }) => {
            Err(VerifyError::Broken { path: path.to_owned(), line, start })
        }
        ControlFlow::Break(Fault { line, start, is_line: false }) => {
            Err(VerifyError::NoLine { path: path.to_owned(), line, start })
        }
    }
}

fn link<T>(chain: &mut Chain, line: &Line<T>) -> ControlFlow<Fault> {
    let fault = |is_line| ControlFlow::Break(Fault { line: line.number, start: line.start, is_line });
    match &line.link {
        None => fault(false),
        Some(Link { digest, claimed }) if chain.push(digest) != *claimed => fault(true),
        Some(_) => ControlFlow::Continue(()),
    }
}
