//! The journal's live file: opened once, locked, appended to, synced, renamed when its segment ends. What the operating
//! system says is passed on as it is; what to do about it is the writer's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::{AuditError, segments, unsynced};
use crate::failpoint;

/// How much of the file's end is written again before it is believed: more than any group is long.
const TAIL_BYTES: u64 = 64 << 20;
/// How much of the file's end stays in the page cache, for those who follow it, and in which steps the rest is let go.
const CACHED_BYTES: u64 = 64 << 20;
const LET_GO_BYTES: u64 = 8 << 20;
/// After this much of a group the disk begins with it, so that it is busy while the rest is copied.
const WRITEBACK_BYTES: u64 = 256 << 10;
/// How much of it is held at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The open live file.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// Held over rotations, when there is no live file for a moment.
    _lock: Lock,
    /// Everything below is on disk; beyond it only the group that is being written.
    durable_len: u64,
    /// Up to here the page cache was asked to let the file go.
    let_go_to: u64,
}

impl AuditFile {
    /// Opens or creates the file and locks it.
    ///
    /// # Errors
    /// [`AuditError::Locked`] when another process has it, [`AuditError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let lock = Lock::take(path)?;
        let (file, durable_len) = open_live(path)?;
        Ok(Self { path: path.to_owned(), file, _lock: lock, durable_len, let_go_to: durable_len })
    }

    /// Cuts off what a failed sync has left, and says how much that was and where it is now.
    ///
    /// # Errors
    /// [`AuditError::Io`]; the next start tries again.
    pub(super) fn cut_unsynced(&mut self) -> Result<Option<(u64, PathBuf)>, AuditError> {
        let path = self.path.clone();
        let io = |what: &'static str| {
            let path = path.clone();
            move |source| AuditError::Io { what, path, source }
        };
        let marked = unsynced::marked(&path).map_err(io("read the mark that a failed sync left beside"))?;
        let Some(durable_len) = marked else { return Ok(None) };
        let beyond = self.durable_len.saturating_sub(durable_len);
        let cut = if beyond > 0 {
            let side = self.set_aside(durable_len).map_err(io("move what a failed sync left in"))?;
            Some((beyond, side))
        } else {
            None
        };
        unsynced::unmark(&path).map_err(io("remove the mark that a failed sync left beside"))?;
        Ok(cut)
    }

    /// Writes the file's end once more, as it is, and waits until it is on disk. Whoever wrote it may have died between
    /// its write and its sync, or in a sync that failed; a sync alone is not told of an earlier one's failure, and does
    /// nothing for pages that failed to be written.
    ///
    /// # Errors
    /// What the disk said; nothing in the file may be believed then.
    pub(super) fn confirm(&self) -> io::Result<()> {
        // Not to be appended, but to where it is.
        let again = OpenOptions::new().write(true).open(&self.path)?;
        let (ours, named) = (self.file.metadata()?, again.metadata()?);
        if (ours.dev(), ours.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::other("the path names another file by now"));
        }
        let mut at = self.durable_len.saturating_sub(TAIL_BYTES);
        let mut piece = Vec::new();
        while at < self.durable_len {
            piece.resize(usize::try_from(PIECE_BYTES.min(self.durable_len - at)).unwrap_or(0), 0);
            self.file.read_exact_at(&mut piece, at)?;
            again.write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        again.sync_all()
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for reading it.
    pub(super) fn handle(&self) -> &File {
        &self.file
    }

    /// Whether the file begins with these bytes, or with the first of them where it is shorter.
    pub(super) fn begins_with(&self, expected: &[u8]) -> io::Result<bool> {
        (&self.file).seek(SeekFrom::Start(0))?;
        let mut found = Vec::new();
        (&self.file).take(expected.len() as u64).read_to_end(&mut found)?;
        Ok(expected.starts_with(&found))
    }

    /// How long the file is, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.durable_len
    }

    /// Whether the path still names this file, and nobody else has made it longer or shorter.
    pub(super) fn is_untouched(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        let named = match std::fs::metadata(&self.path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(ours.len() == self.durable_len && (named.dev(), named.ino()) == (ours.dev(), ours.ino()))
    }

    /// Appends buffers as one write (several, where the system takes only a part) and waits until they are on disk.
    ///
    /// # Errors
    /// What the write said; the file is cut back to its last durable line then, so that another try starts clean.
    /// [`WriteFailure::Sync`] is final: after a failed sync nothing is known of the file's end, and a mark beside it says
    /// so to the next start.
    pub(super) fn append(&mut self, buffers: &[&[u8]]) -> Result<(), WriteFailure> {
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut left = &mut slices[..];
        let (mut len, mut begun) = (self.durable_len, self.durable_len);
        while !left.is_empty() {
            let piece = piece(left);
            match self.file.write_vectored(&left[..piece]) {
                Ok(0) => return Err(self.cut_back(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    len += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut_back(error)),
            }
            // The last piece is the sync's.
            if len - begun >= WRITEBACK_BYTES && !left.is_empty() {
                self.not_needed(begun, len);
                begun = len;
            }
        }
        self.sync().map_err(|error| self.distrust(error))?;
        self.durable_len = len;
        self.let_go();
        Ok(())
    }

    /// Asks the page cache to let go what is long on disk. Of a log that grows by gigabytes nobody reads but the end, and
    /// Kafka, whose own cache this is too, needs the room; and pages that were in use a moment ago cost less than new ones.
    fn let_go(&mut self) {
        let end = self.durable_len.saturating_sub(CACHED_BYTES);
        if end >= self.let_go_to + LET_GO_BYTES {
            self.not_needed(self.let_go_to, end);
            self.let_go_to = end;
        }
    }

    /// Tells the page cache that these bytes are not needed: it lets go those that are on disk, and begins to write those
    /// that are not.
    #[cfg(target_os = "linux")]
    fn not_needed(&self, from: u64, to: u64) {
        use rustix::fs::{Advice, fadvise};
        // No more than advice: a file system that does not take it keeps the pages.
        if let Err(error) = fadvise(&self.file, from, std::num::NonZero::new(to - from), Advice::DontNeed) {
            tracing::debug!(error = %io::Error::from(error), "the page cache takes no advice");
        }
    }

    /// Other systems are not told: macOS takes no such advice.
    #[cfg(not(target_os = "linux"))]
    fn not_needed(&self, _from: u64, _to: u64) {}

    fn sync(&self) -> io::Result<()> {
        failpoint::reached("after-append");
        failpoint::refuse_sync(&self.file, self.durable_len)?;
        self.file.sync_data()?;
        failpoint::reached("after-fdatasync");
        Ok(())
    }

    fn cut_back(&self, error: io::Error) -> WriteFailure {
        match self.file.set_len(self.durable_len) {
            Ok(()) => WriteFailure::Write(error),
            Err(cut) => self.distrust(cut),
        }
    }

    fn distrust(&self, error: io::Error) -> WriteFailure {
        // A disk without room for the mark may still cut.
        let noted =
            unsynced::mark(&self.path, self.durable_len).or_else(|_| self.file.set_len(self.durable_len));
        if let Err(error) = noted {
            tracing::error!(
                error = %error,
                path = %self.path.display(),
                durable_bytes = self.durable_len,
                "what follows these bytes of the audit log may not be on disk, and this could not be noted beside it",
            );
        }
        WriteFailure::Sync(error)
    }

    /// Copies what follows these bytes into a side file, syncs it, and cuts it off here.
    pub(super) fn set_aside(&mut self, complete: u64) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".torn-{complete}-{}", jiff::Timestamp::now().as_millisecond()));
        let side = PathBuf::from(name);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&side)?;
        (&self.file).seek(SeekFrom::Start(complete))?;
        let copied = io::copy(&mut (&self.file).take(self.durable_len - complete), &mut out);
        if let Err(error) = copied.and_then(|_| out.sync_all()) {
            // Half a copy at each start would take the room that the log needs.
            drop(std::fs::remove_file(&side));
            return Err(error);
        }
        sync_folder(&side)?;
        self.file.set_len(complete)?;
        self.file.sync_all()?;
        self.durable_len = complete;
        Ok(side)
    }

    /// Ends the segment: gives the file its number as a name, and begins a new one. Says where the old one is.
    ///
    /// # Errors
    /// [`AuditError::Io`]; a crash at any point leaves either the sealed live file or no live file, and both are
    /// finished by the next start.
    pub(super) fn rotate(&mut self, segment: u64) -> Result<PathBuf, AuditError> {
        let io =
            |source| AuditError::Io { what: "rename the full segment of", path: self.path.clone(), source };
        let sealed = segments::path_of(&self.path, segment);
        // A rename would silently replace a file of that name.
        if segments::sealed(&self.path, segment).map_err(io)?.is_some() {
            return Err(io(io::ErrorKind::AlreadyExists.into()));
        }
        failpoint::reached("after-seal");
        std::fs::rename(&self.path, &sealed).map_err(io)?;
        sync_folder(&self.path).map_err(io)?;
        failpoint::reached("after-rename");
        (self.file, self.durable_len) = open_live(&self.path)?;
        self.let_go_to = self.durable_len;
        Ok(sealed)
    }
}

/// Opens or creates the live file, and locks it too: it may be reached by another path, with another lock beside it.
fn open_live(path: &Path) -> Result<(File, u64), AuditError> {
    let io = |what: &'static str| move |source| AuditError::Io { what, path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(io("open the audit log"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(AuditError::Locked { path: path.to_owned(), holder: None });
        }
        Err(TryLockError::Error(source)) => return Err(io("lock the audit log")(source)),
    }
    sync_folder(path).map_err(io("sync the folder of the audit log"))?;
    let durable_len = file.metadata().map_err(io("read the size of the audit log"))?.len();
    Ok((file, durable_len))
}

/// How many of the buffers are written at once: until there is enough for the disk to begin with.
fn piece(buffers: &[IoSlice<'_>]) -> usize {
    let mut bytes = 0;
    let long = buffers.iter().position(|buffer| {
        bytes += buffer.len() as u64;
        bytes >= WRITEBACK_BYTES
    });
    long.map_or(buffers.len(), |last| last + 1)
}

/// Why a group is not on disk.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// Nothing of it is in the file; it can be written again.
    Write(io::Error),
    /// It is unknown what is in the file: the process must end.
    Sync(io::Error),
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn the_page_cache_keeps_the_end_of_a_long_file() {
        let folder = folder();
        let mut file = AuditFile::open(&folder.path().join("events")).expect("opened");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..71 {
            file.append(&[&piece]).expect("appended");
        }
        assert_eq!(file.let_go_to, 0, "less than one step");
        file.append(&[&piece]).expect("appended");
        assert_eq!(file.let_go_to, 8 << 20);
        let mut found = Vec::new();
        (&file.file).rewind().expect("rewound");
        (&file.file).read_to_end(&mut found).expect("read");
        assert!(
            found.len() == 72 << 20 && found.iter().all(|byte| *byte == b'x'),
            "what was let go is on disk"
        );
        file.rotate(1).expect("a new segment");
        assert_eq!(file.let_go_to, 0);
    }

    #[test]
    fn a_group_of_several_pieces_is_written_in_order() {
        let folder = folder();
        let mut file = AuditFile::open(&folder.path().join("events")).expect("opened");
        let buffers: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 30_000 + usize::from(n)]).collect();
        let slices: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        let expected = buffers.concat();
        assert!(expected.len() as u64 > 4 * WRITEBACK_BYTES);
        for times in 1..=2 {
            file.append(&slices).expect("appended");
            assert_eq!(file.len(), (expected.len() * times) as u64);
            assert!(file.is_untouched().expect("metadata"));
        }
        assert!(std::fs::read(file.path()).expect("read") == expected.repeat(2));
    }

    #[test]
    fn only_its_owner_may_read_a_new_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let _file = AuditFile::open(&path).expect("open");
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_owner_is_refused() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let _first = AuditFile::open(&path).expect("open");
        assert!(matches!(AuditFile::open(&path), Err(AuditError::Locked { holder: Some(_), .. })));
        // By another path as well.
        let other = folder.path().join("other.events");
        std::os::unix::fs::symlink(&path, &other).expect("linked");
        assert!(matches!(AuditFile::open(&other), Err(AuditError::Locked { holder: None, .. })));
    }

    #[test]
    fn what_others_do_to_the_file_is_noticed() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let touches: [fn(&Path); 4] = [
            |path| std::fs::write(path, "").expect("truncate"),
            |path| std::fs::rename(path, path.with_extension("1")).expect("rename"),
            |path| std::fs::remove_file(path).expect("remove"),
            |path| {
                let mut file = OpenOptions::new().append(true).open(path).expect("open");
                file.write_all(b"x").expect("append");
            },
        ];
        for touch in touches {
            drop(std::fs::remove_file(&path));
            let mut file = AuditFile::open(&path).expect("open");
            file.append(&[b"one\n", b"two\n"]).expect("append");
            assert!(file.is_untouched().expect("metadata"));
            touch(&path);
            assert!(!file.is_untouched().expect("metadata"));
        }
    }

    #[test]
    fn what_is_confirmed_stays_as_it_is() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let text: Vec<u8> = (0..3 << 20).map(|n| u8::try_from(n % 251).expect("small")).collect();
        std::fs::write(&path, &text).expect("written");
        let file = AuditFile::open(&path).expect("open");
        file.confirm().expect("confirmed");
        assert!(file.is_untouched().expect("metadata"));
        assert_eq!(std::fs::read(&path).expect("read"), text);
        std::fs::rename(&path, folder.path().join("moved")).expect("renamed");
        std::fs::write(&path, "another").expect("written");
        file.confirm().expect_err("it is another file");
        assert_eq!(std::fs::read(&path).expect("read"), b"another");
    }

    #[test]
    fn a_mark_that_cannot_be_left_is_replaced_by_a_cut() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let mut file = AuditFile::open(&path).expect("open");
        file.append(&[b"one\n"]).expect("append");
        (&file.file).write_all(b"two\n").expect("written, not synced");
        // A folder has the mark's name.
        std::fs::create_dir(folder.path().join(".tracker.events.unsynced")).expect("made");
        drop(file.distrust(io::ErrorKind::Other.into()));
        assert_eq!(std::fs::read(&path).expect("read"), b"one\n");
    }

    #[test]
    fn a_full_segment_gets_its_number_and_a_new_file_begins() {
        let folder = folder();
        let path = folder.path().join("tracker.events");
        let mut file = AuditFile::open(&path).expect("open");
        file.append(&[b"one\n"]).expect("append");
        file.rotate(7).expect("rotate");
        assert_eq!(file.len(), 0);
        assert_eq!(std::fs::read(folder.path().join("tracker.events.000007")).expect("read"), b"one\n");
        assert!(file.rotate(7).is_err(), "an existing segment is not replaced");
    }
}
