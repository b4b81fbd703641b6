//! What a failed sync leaves behind: a hidden file beside the journal that says how far the journal is known to be on disk.
//! After such a failure the page cache can show lines that no disk has, and a sync that is tried again can succeed without
//! them. So the process ends, and the next start cuts the journal there before it believes a line.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::file::sync_folder;
use super::segments;

fn path_of(journal: &Path) -> PathBuf {
    segments::hidden(journal, ".unsynced")
}

/// Leaves the mark. The disk that has just failed may refuse it too.
pub(super) fn mark(journal: &Path, durable_len: u64) -> io::Result<()> {
    let path = path_of(journal);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    writeln!(file, "{durable_len}")?;
    file.sync_all()?;
    sync_folder(&path)
}

/// How long the journal was when all of it was on disk, if a sync has failed since.
///
/// # Errors
/// Also when the mark is no number: then nobody knows which lines to believe.
pub(super) fn marked(journal: &Path) -> io::Result<Option<u64>> {
    let path = path_of(journal);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // It is as long as its number only where its own sync succeeded.
    let number = text.strip_suffix('\n').and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| {
        let remedy = format!(
            "{} does not say how far the log is on disk: remove it if the log is known to be sound",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, remedy)
    })
}

/// Takes the mark away, once the journal has been cut.
pub(super) fn unmark(journal: &Path) -> io::Result<()> {
    let path = path_of(journal);
    std::fs::remove_file(&path)?;
    sync_folder(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_taken_away() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = folder.path().join("tracker.events");
        assert_eq!(marked(&journal).expect("readable"), None);
        mark(&journal, 4711).expect("marked");
        assert_eq!(marked(&journal).expect("readable"), Some(4711));
        mark(&journal, 8).expect("marked");
        assert_eq!(marked(&journal).expect("readable"), Some(8));
        unmark(&journal).expect("removed");
        assert_eq!(marked(&journal).expect("readable"), None);
    }

    #[test]
    fn half_a_mark_is_no_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = folder.path().join("tracker.events");
        for text in ["", "47", "x\n"] {
            std::fs::write(path_of(&journal), text).expect("written");
            let error = marked(&journal).expect_err("not whole");
            assert!(error.to_string().contains("tracker.events.unsynced"), "{error}");
        }
    }
}
