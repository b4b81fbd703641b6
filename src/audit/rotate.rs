//! `audit rotate`: seals the live segment now. Where no tracker writes the journal it does that itself; where one does, it
//! asks: a hidden file beside the journal is the request, which the tracker takes away and answers by sealing. That needs
//! neither a signal that could reach another process nor rights beyond those to the folder.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::control::Checkpoint;
use super::scan::first_line;
use super::{AuditError, AuditWriter, Completion, Hashing, Holder, Journal, WriterOptions, segments};
use crate::config::{AuditPayload, EventsCompress};

/// How often a request is looked after.
const GLANCE: Duration = Duration::from_millis(50);

/// A segment that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Its number, from 1.
    pub segment: u64,
    /// Its file.
    pub file: PathBuf,
    /// The tracker that has sealed it, if one has.
    pub by: Option<Holder>,
}

/// Why the live segment was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// There is none.
    #[error("there is no audit log at {path}; name it with --events-file", path = path.display())]
    NoLog {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The journal.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The tracker does not answer.
    #[error(
        "the tracker{} has not sealed the audit log within {waited_s} s; the request is withdrawn",
        holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default()
    )]
    NoAnswer {
        /// Who holds the journal.
        holder: Option<Holder>,
        /// How long it was waited for.
        waited_s: u64,
    },
}

/// Seals the live segment of a journal, or has it sealed by the tracker that writes it, which has so long.
///
/// # Errors
/// [`RotateError`].
pub fn rotate(live: &Path, hashing: Hashing, patience: Duration) -> Result<Rotated, RotateError> {
    let io = |source| AuditError::Io { what: "look at the audit log", path: live.to_owned(), source };
    if !live.try_exists().map_err(io)? {
        return Err(RotateError::NoLog { path: live.to_owned() });
    }
    match Journal::open_any(live, hashing) {
        Ok(journal) => seal(journal),
        Err(AuditError::Locked { holder, .. }) => ask(live, holder, patience),
        Err(error) => Err(error.into()),
    }
}

fn seal(journal: Journal) -> Result<Rotated, RotateError> {
    let (live, segment) = (journal.file.path().to_owned(), journal.place.segment);
    if journal.is_new {
        return Err(RotateError::NoLog { path: live });
    }
    let (report, reports) = channel();
    // Nobody waits for room on a full disk.
    let stop_waiting = Arc::new(AtomicBool::new(true));
    let (writer, thread) = AuditWriter::start(journal, options(), stop_waiting, move |completion| {
        drop(report.send(completion));
    })?;
    writer.rotate();
    drop(writer);
    let failed = reports.iter().find_map(|completion| match completion {
        Completion::Failed(error) => Some(error),
        _ => None,
    });
    if thread.join().is_err() {
        return Err(AuditError::WriterGone { path: live }.into());
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(Rotated { segment, file: segments::path_of(&live, segment), by: None })
}

/// No outcome is written, and no segment gets full.
fn options() -> WriterOptions {
    WriterOptions {
        topic: Arc::from(""),
        segment_bytes: u64::MAX,
        payload: AuditPayload::Full,
        compress: EventsCompress::None,
    }
}

fn ask(live: &Path, holder: Option<Holder>, patience: Duration) -> Result<Rotated, RotateError> {
    let io = |what| move |source| AuditError::Io { what, path: live.to_owned(), source };
    let deadline = Instant::now() + patience;
    // A tracker that has just begun a file has not written its first line yet.
    let segment = loop {
        if let Some(segment) = live_segment(live).map_err(io("read the audit log"))? {
            break segment;
        }
        if Instant::now() >= deadline {
            return Err(RotateError::NoAnswer { holder, waited_s: patience.as_secs() });
        }
        std::thread::sleep(GLANCE);
    };
    let request = request_of(live);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&request)
        .map_err(io("leave a request beside"))?;
    loop {
        if let Some(file) = segments::sealed(live, segment).map_err(io("look at the segments of"))? {
            return Ok(Rotated { segment, file, by: holder });
        }
        if Instant::now() >= deadline {
            // Whoever is late must not find it tomorrow.
            drop(std::fs::remove_file(&request));
            return Err(RotateError::NoAnswer { holder, waited_s: patience.as_secs() });
        }
        std::thread::sleep(GLANCE);
    }
}

/// The number of the live segment, as its first line says; `None` while there is none.
fn live_segment(live: &Path) -> io::Result<Option<u64>> {
    let line = match segments::open(live) {
        Ok(input) => first_line(input)?,
        // Between the rename and the new file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice::<Checkpoint>(&line).ok().map(|first| first.segment))
}

/// The file that asks the tracker to seal its live segment.
fn request_of(live: &Path) -> PathBuf {
    segments::hidden(live, ".rotate")
}

/// Whether somebody asks for it; the request is taken.
pub fn take_rotate_request(live: &Path) -> bool {
    std::fs::remove_file(request_of(live)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::verify;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn journal(folder: &tempfile::TempDir) -> PathBuf {
        let live = folder.path().join("tracker.events");
        let journal = Journal::open(&live, "group", Hashing::PLAIN).expect("new");
        let stop_waiting = Arc::new(AtomicBool::new(true));
        let (writer, thread) = AuditWriter::start(journal, options(), stop_waiting, |_| ()).expect("started");
        drop(writer);
        thread.join().expect("no panic");
        live
    }

    #[test]
    fn without_a_tracker_the_live_segment_is_sealed_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = journal(&folder);
        for number in 1..=3 {
            let rotated = rotate(&live, Hashing::PLAIN, PATIENCE).expect("sealed");
            assert_eq!((rotated.segment, &rotated.by), (number, &None));
            assert!(rotated.file.ends_with(format!("tracker.events.{number:06}")), "{rotated:?}");
        }
        let files: Vec<PathBuf> =
            segments::all(&live).expect("listed").into_values().chain([live.clone()]).collect();
        assert_eq!(verify(&files, Hashing::PLAIN, |_| ()).expect("sound").len(), 4);
        assert_eq!(Journal::open(&live, "group", Hashing::PLAIN).expect("sound").place.segment, 4);
    }

    #[test]
    fn a_log_that_is_not_there_or_keyed_is_not_sealed() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = folder.path().join("tracker.events");
        assert!(matches!(rotate(&live, Hashing::PLAIN, PATIENCE), Err(RotateError::NoLog { .. })));
        std::fs::write(&live, "").expect("written");
        assert!(matches!(rotate(&live, Hashing::PLAIN, PATIENCE), Err(RotateError::NoLog { .. })));
        let live = journal(&folder);
        let keyed = Hashing::new(Some(crate::config::AuditKey::new([1; 32])));
        let error = rotate(&live, keyed, PATIENCE).expect_err("not keyed");
        assert!(matches!(error, RotateError::Audit(AuditError::Key(_))), "{error}");
    }

    #[test]
    fn a_tracker_that_does_not_answer_is_named_and_not_asked_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let live = journal(&folder);
        let held = Journal::open(&live, "group", Hashing::PLAIN).expect("sound");
        let error = rotate(&live, Hashing::PLAIN, Duration::from_millis(100)).expect_err("no answer");
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        assert!(!take_rotate_request(&live), "the request is still there");
        // One that does answer is waited for.
        let tracker = std::thread::spawn({
            let live = live.clone();
            move || {
                while !take_rotate_request(&live) {
                    std::thread::yield_now();
                }
                seal(held).expect("sealed")
            }
        });
        let rotated = rotate(&live, Hashing::PLAIN, PATIENCE).expect("sealed");
        assert_eq!((rotated.segment, rotated.by.map(|by| by.pid)), (1, Some(std::process::id())));
        tracker.join().expect("no panic");
    }
}
