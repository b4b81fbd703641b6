//! The one thread that writes the journal: it collects what waits, chains it, writes it, syncs it, and only then says
//! so. A [`Durable`] is made nowhere else, and a commit needs one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::file::WriteFailure;
use super::{AuditFile, Chain, Lines};

/// A group is written when it holds this much, or when nothing else waits.
const GROUP_BYTES: usize = 2 << 20;
/// How long the writer waits before it tries a full disk again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);
/// How often a disk that stays full is reported.
const FULL_DISK_NOTICE: Duration = Duration::from_secs(10);

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Another process writes this file.
    #[error("the audit log {path} is in use by another tracker; give each tracker its own --events-file", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The last line is complete, but it does not end in a hash: it was changed, or it is no audit log.
    #[error(
        "the last line of {path} is not an audit line; move the file away to start a new one, or look at it with \
         `audit verify`",
        path = path.display()
    )]
    Damaged {
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

/// One assignment of one partition. Work is tagged with it, so that what an earlier assignment left behind is told apart.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The partition's number.
    pub partition: i32,
    /// Counts the assignments of this process.
    pub epoch: u64,
    open: Arc<AtomicBool>,
}

impl Scope {
    /// A scope that may be written.
    pub fn new(partition: i32, epoch: u64) -> Self {
        Self { partition, epoch, open: Arc::new(AtomicBool::new(true)) }
    }

    /// Ends it: lines that the writer has not begun to write are thrown away.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// Outcomes that are on disk. Only the writer makes one, after the sync.
#[derive(Debug)]
pub struct Durable {
    scope: Scope,
    offsets: Vec<i64>,
}

impl Durable {
    /// Whose outcomes they are.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The offsets of the records.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }
}

/// What the writer reports.
#[derive(Debug)]
pub enum Completion {
    /// These outcomes may be committed.
    Durable(Durable),
    /// Everything that was handed over for this scope before its end is settled.
    Drained(Scope),
    /// The journal cannot be written for now; the writer keeps trying.
    Stalled {
        /// Whether it is so; `false` when it goes on.
        stalled: bool,
    },
    /// The journal cannot be written any more.
    Failed(AuditError),
}

enum Job {
    Lines(Scope, Lines),
    End(Scope),
}

/// A handle for those who hand lines over.
#[derive(Debug, Clone)]
pub struct AuditWriter {
    jobs: Sender<Job>,
}

impl AuditWriter {
    /// Starts the writer's thread. It ends when every handle is gone, and gives its reports to `report`.
    ///
    /// # Errors
    /// [`AuditError::Io`] when the thread cannot be started.
    pub fn start(
        file: AuditFile,
        chain: Chain,
        stop_waiting: Arc<AtomicBool>,
        report: impl Fn(Completion) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), AuditError> {
        let (jobs, waiting) = channel();
        let path = file.path().to_owned();
        let writer = Writer { file, chain, stop_waiting, report, group: Vec::new() };
        let thread = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| AuditError::Io { what: "start the writer of", path, source })?;
        Ok((Self { jobs }, thread))
    }

    /// Hands lines over; never waits. How much may be under way is bounded by who delivers the records.
    pub fn append(&self, scope: &Scope, lines: Lines) {
        // The writer is gone only after it has reported why.
        drop(self.jobs.send(Job::Lines(scope.clone(), lines)));
    }

    /// Says that nothing more will come for a scope.
    pub fn end(&self, scope: &Scope) {
        drop(self.jobs.send(Job::End(scope.clone())));
    }
}

struct Writer<R> {
    file: AuditFile,
    chain: Chain,
    /// Set when the process ends: a full disk is not waited for any more.
    stop_waiting: Arc<AtomicBool>,
    report: R,
    group: Vec<(Scope, Lines)>,
}

impl<R: Fn(Completion)> Writer<R> {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut ended = Vec::new();
            let mut bytes = self.take(first, &mut ended);
            while bytes < GROUP_BYTES {
                match waiting.try_recv() {
                    Ok(job) => bytes += self.take(job, &mut ended),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if let Err(error) = self.write_group() {
                (self.report)(Completion::Failed(error));
                return;
            }
            for scope in ended {
                (self.report)(Completion::Drained(scope));
            }
        }
    }

    fn take(&mut self, job: Job, ended: &mut Vec<Scope>) -> usize {
        match job {
            Job::Lines(scope, lines) => {
                let bytes = lines.bytes.len();
                self.group.push((scope, lines));
                bytes
            }
            Job::End(scope) => {
                ended.push(scope);
                0
            }
        }
    }

    /// Writes what was collected, waiting for room if there is none.
    fn write_group(&mut self) -> Result<(), AuditError> {
        let mut noticed: Option<Instant> = None;
        loop {
            // A scope may be closed while the disk is full: its lines are nobody's any more.
            self.group.retain(|(scope, _)| scope.is_open());
            if self.group.is_empty() {
                break;
            }
            let mut chain = self.chain;
            for (_, lines) in &mut self.group {
                lines.seal(&mut chain);
            }
            let buffers: Vec<&[u8]> = self.group.iter().map(|(_, lines)| &lines.bytes[..]).collect();
            match self.file.append(&buffers) {
                Ok(()) => {
                    self.chain = chain;
                    break;
                }
                Err(WriteFailure::Sync(source)) => {
                    return Err(AuditError::Sync { path: self.file.path().to_owned(), source });
                }
                Err(WriteFailure::Write(source)) if is_full(&source) => {
                    if noticed.is_none_or(|at| at.elapsed() >= FULL_DISK_NOTICE) {
                        if noticed.is_none() {
                            (self.report)(Completion::Stalled { stalled: true });
                        }
                        noticed = Some(Instant::now());
                        tracing::error!(
                            error = %source,
                            path = %self.file.path().display(),
                            "the audit log cannot grow: nothing is committed until there is room",
                        );
                    }
                    if self.stop_waiting.load(Ordering::Acquire) {
                        return Err(self.write_error(source));
                    }
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                Err(WriteFailure::Write(source)) => return Err(self.write_error(source)),
            }
        }
        if noticed.is_some() {
            // Without a group there is nobody left to write for: nothing is known of the disk then.
            if !self.group.is_empty() {
                tracing::info!(path = %self.file.path().display(), "the audit log grows again");
            }
            (self.report)(Completion::Stalled { stalled: false });
        }
        for (scope, lines) in self.group.drain(..) {
            (self.report)(Completion::Durable(Durable { scope, offsets: lines.offsets }));
        }
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> AuditError {
        AuditError::Io { what: "write the audit log", path: self.file.path().to_owned(), source }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
