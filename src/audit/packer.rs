//! The thread that packs sealed segments while the journal goes on. What it cannot pack stays as it is, and every command
//! reads it all the same.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{AuditError, packed, segments};

/// Hands sealed segments over to be packed. The thread ends with its last handle, or with the process.
#[derive(Debug)]
pub(super) struct Packer {
    sealed: Sender<PathBuf>,
}

impl Packer {
    /// Starts the thread; it begins with what an earlier process has left.
    ///
    /// # Errors
    /// [`AuditError::Io`] when the thread cannot be started.
    pub(super) fn start(live: &Path) -> Result<Self, AuditError> {
        let (sealed, waiting) = channel();
        let journal = live.to_owned();
        std::thread::Builder::new()
            .name("audit-packer".to_owned())
            .spawn(move || run(&journal, &waiting))
            .map_err(|source| AuditError::Io {
                what: "start the packer of",
                path: live.to_owned(),
                source,
            })?;
        Ok(Self { sealed })
    }

    /// Never waits.
    pub(super) fn pack(&self, segment: PathBuf) {
        // It is gone only after a panic; then the segment stays as it is.
        drop(self.sealed.send(segment));
    }
}

fn run(live: &Path, waiting: &Receiver<PathBuf>) {
    match segments::plain(live) {
        Ok(left) => left.iter().for_each(|segment| pack(segment)),
        Err(error) => tracing::warn!(%error, "the sealed segments of the audit log cannot be listed"),
    }
    while let Ok(segment) = waiting.recv() {
        pack(&segment);
    }
}

fn pack(segment: &Path) {
    // One that was sealed while the list was made comes twice.
    if !segment.exists() {
        return;
    }
    match packed::pack(segment) {
        Ok((bytes, packed_bytes)) => {
            tracing::info!(segment = %segment.display(), bytes, packed_bytes, "packed a sealed segment of the audit log");
        }
        Err(error) => {
            tracing::warn!(%error, segment = %segment.display(), "a sealed segment of the audit log stays as it is");
        }
    }
}
