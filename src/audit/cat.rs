//! `audit cat`: the lines of audit logs that pass a filter, byte for byte. Checks no chain: `verify` does.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::{VerifyError, segments};
use crate::failure::Category;
use crate::models::Outcome;

/// How much is read at a time.
const READ_BYTES: usize = 1 << 20;

/// Which lines. Without any condition all of them, checkpoints too; a condition on the outcome leaves outcomes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineFilter {
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// Only this outcome.
    pub outcome: Option<Outcome>,
    /// Only dead letters of this category.
    pub reason: Option<Category>,
}

#[derive(Deserialize)]
struct Head<'a> {
    // The type's own reading takes escapes too; every line of ours has none there.
    timestamp: &'a str,
    outcome: Option<Outcome>,
    failure_reason: Option<Category>,
}

impl LineFilter {
    /// Whether a line passes. A line that cannot be read passes no condition.
    pub fn passes(&self, line: &[u8]) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else { return false };
        let Ok(at) = head.timestamp.parse::<Timestamp>() else { return false };
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.outcome.is_none_or(|outcome| head.outcome == Some(outcome))
            && self.reason.is_none_or(|reason| head.failure_reason == Some(reason))
    }
}

/// Why lines could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum CatError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] VerifyError),
    /// They cannot be written.
    #[error("write the lines")]
    Write(#[source] io::Error),
}

/// Gives the complete lines that pass, each without its line break, file by file.
///
/// # Errors
/// [`CatError::File`] with the file that cannot be read, [`CatError::Write`] with what `take` says.
pub fn cat(
    files: &[PathBuf],
    filter: &LineFilter,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CatError> {
    let mut line = Vec::new();
    for path in files {
        let read = |source| VerifyError::reading(path, source);
        let mut input = BufReader::with_capacity(READ_BYTES, segments::open(path).map_err(read)?);
        loop {
            line.clear();
            input.read_until(b'\n', &mut line).map_err(read)?;
            // What has no line break is torn, or is being written.
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            if filter.passes(whole) {
                take(whole).map_err(CatError::Write)?;
            }
        }
    }
    Ok(())
}

/// The files of a journal, by its live one: its sealed segments in their order, and itself.
///
/// # Errors
/// What listing the folder says.
pub fn files_of(live: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = segments::all(live)?.into_values().collect();
    // Between a rotation's rename and its new file there is none; without segments its absence is worth an error.
    if files.is_empty() || live.try_exists()? {
        files.push(live.to_owned());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSED: &[u8] = br#"{"timestamp":"2026-03-01T12:00:00.000Z","event_type":"message.received","outcome":"processed","order_full":{"outcome":"dead_lettered"},"hash":""}"#;
    const DEAD: &[u8] = br#"{"timestamp":"2026-03-01T13:00:00.000Z","event_type":"message.received","outcome":"dead_lettered","failure_reason":"TIMEOUT_ERROR","hash":""}"#;
    const CHECKPOINT: &[u8] =
        br#"{"timestamp":"2026-03-01T14:00:00.000Z","event_type":"audit.checkpoint","hash":""}"#;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().expect("a timestamp"))
    }

    #[test]
    fn a_line_passes_when_every_condition_holds() {
        let all = LineFilter::default();
        let dead = Some(Outcome::DeadLettered);
        let table = [
            (all, [true, true, true]),
            (LineFilter { since: at("2026-03-01T13:00:00Z"), ..all }, [false, true, true]),
            (LineFilter { until: at("2026-03-01T14:00:00+01:00"), ..all }, [true, false, false]),
            (LineFilter { outcome: Some(Outcome::Processed), ..all }, [true, false, false]),
            (LineFilter { outcome: dead, ..all }, [false, true, false]),
            (LineFilter { reason: Some(Category::Timeout), ..all }, [false, true, false]),
            (LineFilter { reason: Some(Category::Unknown), ..all }, [false, false, false]),
            (
                LineFilter { outcome: dead, since: at("2026-03-01T13:00:00.001Z"), ..all },
                [false, false, false],
            ),
        ];
        for (filter, expected) in table {
            assert_eq!([PROCESSED, DEAD, CHECKPOINT].map(|line| filter.passes(line)), expected, "{filter:?}");
        }
        assert!(!LineFilter { outcome: dead, ..all }.passes(b"{"));
    }

    #[test]
    fn segments_come_before_the_live_file_and_torn_lines_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("tracker.events");
        for (name, text) in [
            ("tracker.events", "live\ntorn"),
            ("tracker.events.000002", "two\n"),
            ("tracker.events.000001", "one\none more\n"),
            ("tracker.events.torn-1-2", "torn"),
            ("tracker.log", "no\n"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let mut found = Vec::new();
        let files = files_of(&live).expect("listed");
        cat(&files, &LineFilter::default(), |line| {
            found.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        })
        .expect("read");
        assert_eq!(found, ["one", "one more", "two", "live"]);
        std::fs::remove_file(&live).expect("removed");
        assert_eq!(files_of(&live).expect("listed").len(), 2);
        assert_eq!(files_of(&folder.path().join("other")).expect("listed"), [folder.path().join("other")]);
    }
}
