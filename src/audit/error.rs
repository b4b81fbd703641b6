//! Why a journal cannot be opened or written.

use std::io;
use std::path::PathBuf;

use super::{Holder, KeyError};

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Another process writes this file.
    #[error(
        "the audit log {path} is in use by another tracker{}; give each tracker its own --events-file",
        holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default(),
        path = path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who has it, where that is known.
        holder: Option<Holder>,
    },
    /// A line does not follow from the one before it.
    #[error(
        "{path}: line {line} (byte {start}) does not follow from the lines before it: it was changed, or lines were \
         removed, added or moved; keep the file, look at it with `audit verify`, and start with a new --events-file",
        path = path.display()
    )]
    Damaged {
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
    /// It is another group's journal.
    #[error("the audit log {path} is of the group {group}; give this group its own --events-file", path = path.display())]
    OtherGroup {
        /// The file.
        path: PathBuf,
        /// The group that it belongs to.
        group: String,
    },
    /// Somebody else has changed, moved or removed the file while it was being written.
    #[error(
        "{path} was changed, moved or removed by somebody else: nothing after its last confirmed line is committed; \
         bring the file back, or start with a new --events-file",
        path = path.display()
    )]
    Touched {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{what} {path}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There was no room until the end.
    #[error(
        "the audit log {path} cannot grow: records without a line in it are left for the next start, nothing is lost",
        path = path.display()
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// The writer's thread is gone without a word: a defect of this program.
    #[error(
        "the writer of the audit log {path} ended by a panic; nothing after its last confirmed line is committed",
        path = path.display()
    )]
    WriterGone {
        /// The file.
        path: PathBuf,
    },
    /// A sync failed: what is on disk is unknown, so nothing more may be written or committed.
    #[error("sync {path}; nothing after its last confirmed line is committed, restart the tracker on a sound disk", path = path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
