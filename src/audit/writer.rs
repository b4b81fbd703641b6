//! The one thread that writes the journal: it collects what waits, chains it, writes it, syncs it, and only then says
//! so. A [`Durable`] is made nowhere else, and a commit needs one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::buffers::Buffers;
use super::control::{PartitionState, Place, Reason};
use super::file::WriteFailure;
use super::line::line_bytes;
use super::packer::Packer;
use super::{AuditError, AuditFile, Chain, Hashing, Journal, Judged, Lines};
use crate::config::{AuditPayload, EventsCompress};
use crate::record::{Record, TopicPartition};

/// A group is written when it holds this much, or when nothing else waits.
const GROUP_BYTES: usize = 4 << 20;
/// After this many lines a checkpoint is due.
const CHECKPOINT_LINES: u64 = 100_000;
/// How long the writer waits before it tries a full disk again.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);
/// How often a disk that stays full is reported.
const FULL_DISK_NOTICE: Duration = Duration::from_secs(10);

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
    letters_end: Option<i64>,
    waited: Duration,
    kept: Vec<Judged>,
}

impl Durable {
    /// Whose outcomes they are.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The end of the dead letter partition, as far as the dead letters among them tell.
    pub fn letters_end(&self) -> Option<i64> {
        self.letters_end
    }

    /// How long they took from the hand-over to the disk.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The offsets of the records.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// The records that were to be kept until now.
    pub fn take_kept(&mut self) -> Vec<Judged> {
        std::mem::take(&mut self.kept)
    }
}

/// What the writer reports.
#[derive(Debug)]
pub enum Completion {
    /// These outcomes may be committed.
    Durable(Durable),
    /// Everything that was handed over for this scope before its end is settled.
    Drained(Scope),
    /// A checkpoint is on disk.
    Checkpoint {
        /// The journal's id.
        file_id: Uuid,
        /// Where the journal stands after it.
        place: Place,
        /// Why it was written.
        reason: Reason,
    },
    /// The journal cannot be written for now; the writer keeps trying.
    Stalled {
        /// Whether it is so; `false` when it goes on.
        stalled: bool,
    },
    /// The journal cannot be written any more.
    Failed(AuditError),
}

#[expect(clippy::large_enum_variant, reason = "nearly every job is of the large kind")]
enum Job {
    Lines(Scope, Lines, Instant),
    End(Scope),
    Checkpoint(Reason, Vec<PartitionState>),
    Rotate,
}

/// How a journal is written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The topic whose outcomes it gets.
    pub topic: Arc<str>,
    /// A segment ends when it is this long, in bytes.
    pub segment_bytes: u64,
    /// What of the payload a line carries.
    pub payload: AuditPayload,
    /// Whether sealed segments are packed.
    pub compress: EventsCompress,
}

/// A handle for those who hand lines over.
#[derive(Debug, Clone)]
pub struct AuditWriter {
    jobs: Sender<Job>,
    hashing: Hashing,
    payload: AuditPayload,
    buffers: Buffers,
}

impl AuditWriter {
    /// Starts the writer's thread, which begins with a checkpoint. It ends when every handle is gone, and gives its
    /// reports to `report`.
    ///
    /// # Errors
    /// [`AuditError::Io`] when the thread cannot be started.
    pub fn start(
        journal: Journal,
        options: WriterOptions,
        stop_waiting: Arc<AtomicBool>,
        report: impl Fn(Completion) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), AuditError> {
        let (jobs, waiting) = channel();
        let payload = options.payload;
        let (path, hashing) = (journal.file.path().to_owned(), journal.hashing);
        let buffers = Buffers::new(hashing, payload);
        let writer = Writer {
            packer: match options.compress {
                EventsCompress::None => None,
                EventsCompress::Zstd => Some(Packer::start(&path)?),
            },
            chain: Chain::at(journal.place.head, hashing),
            journal,
            options,
            stop_waiting,
            report,
            group: Vec::new(),
            buffers: buffers.clone(),
            rotate_asked: false,
            since_checkpoint: 0,
        };
        let thread = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| AuditError::Io { what: "start the writer of", path, source })?;
        Ok((Self { jobs, hashing, payload, buffers }, thread))
    }

    /// No lines yet, of the form that this journal has.
    pub fn lines(&self) -> Lines {
        Lines::new(self.hashing).carrying(self.payload)
    }

    /// About how long the line of a record is in this journal.
    pub fn line_bytes(&self, record: &Record) -> usize {
        line_bytes(record, self.payload)
    }

    /// No lines yet, with memory for one of about `first` bytes, and others after it, of about `all` bytes together.
    pub fn buffer(&self, first: usize, all: usize) -> Lines {
        self.buffers.take(first, all)
    }

    /// Hands lines over; never waits. How much may be under way is bounded by who delivers the records. They are digested
    /// here, where others can do the same for theirs: the one thread that writes has only to chain them.
    pub fn append(&self, scope: &Scope, mut lines: Lines) {
        lines.digest();
        // The writer is gone only after it has reported why.
        drop(self.jobs.send(Job::Lines(scope.clone(), lines, Instant::now())));
    }

    /// Asks for the end of the segment, whatever its size.
    pub fn rotate(&self) {
        drop(self.jobs.send(Job::Rotate));
    }

    /// Says that nothing more will come for a scope.
    pub fn end(&self, scope: &Scope) {
        drop(self.jobs.send(Job::End(scope.clone())));
    }

    /// Says where the partitions stand, and asks for a checkpoint that says it too.
    pub fn checkpoint(&self, reason: Reason, standing: Vec<PartitionState>) {
        drop(self.jobs.send(Job::Checkpoint(reason, standing)));
    }
}

struct Writer<R> {
    journal: Journal,
    chain: Chain,
    options: WriterOptions,
    /// Set when the process ends: a full disk is not waited for any more.
    stop_waiting: Arc<AtomicBool>,
    report: R,
    packer: Option<Packer>,
    group: Vec<(Scope, Lines, Instant)>,
    /// The segment is to end, whatever its size.
    rotate_asked: bool,
    buffers: Buffers,
    /// Lines since the last checkpoint.
    since_checkpoint: u64,
}

impl<R: Fn(Completion)> Writer<R> {
    fn run(mut self, waiting: &Receiver<Job>) {
        if let Err(error) = self.work(waiting) {
            (self.report)(Completion::Failed(error));
        }
    }

    fn work(&mut self, waiting: &Receiver<Job>) -> Result<(), AuditError> {
        // A segment begins with a checkpoint, even where its very first line was torn.
        self.write_checkpoint(Reason::Start)?;
        if let Some((torn_bytes, side)) = self.journal.torn.take() {
            self.write_control(&mut Lines::recovered(
                self.journal.hashing,
                torn_bytes,
                side.display().to_string(),
            ))?;
        }
        while let Ok(first) = waiting.recv() {
            let (mut ended, mut checkpoint) = (Vec::new(), None);
            let mut bytes = self.take(first, &mut ended, &mut checkpoint);
            while bytes < GROUP_BYTES && checkpoint.is_none() {
                match waiting.try_recv() {
                    Ok(job) => bytes += self.take(job, &mut ended, &mut checkpoint),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.write_group()?;
            for scope in ended {
                (self.report)(Completion::Drained(scope));
            }
            let due = self.since_checkpoint >= CHECKPOINT_LINES;
            if let Some(reason) = checkpoint.or(due.then_some(Reason::Interval)) {
                self.write_checkpoint(reason)?;
            }
            if self.rotate_asked || self.journal.file.len() >= self.options.segment_bytes {
                self.rotate_asked = false;
                self.rotate()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, job: Job, ended: &mut Vec<Scope>, checkpoint: &mut Option<Reason>) -> usize {
        match job {
            Job::Lines(scope, lines, handed_over) => {
                let bytes = lines.bytes.len();
                self.group.push((scope, lines, handed_over));
                return bytes;
            }
            Job::End(scope) => ended.push(scope),
            Job::Rotate => self.rotate_asked = true,
            Job::Checkpoint(reason, standing) => {
                for state in standing {
                    let at = TopicPartition::new(state.topic.as_str(), state.partition);
                    self.journal.known.entry(at).or_default().stand_at(&state);
                }
                *checkpoint = Some(reason);
            }
        }
        0
    }

    /// Writes what was collected, waiting for room if there is none.
    fn write_group(&mut self) -> Result<(), AuditError> {
        let mut group = std::mem::take(&mut self.group);
        self.write(|writer, chain| {
            // A scope may be closed while the disk is full: its lines are nobody's any more.
            group.retain(|(scope, ..)| scope.is_open());
            for (_, lines, _) in &mut group {
                lines.seal(chain);
            }
            if group.is_empty() {
                return Ok(());
            }
            let buffers: Vec<&[u8]> = group.iter().map(|(_, lines, _)| &lines.bytes[..]).collect();
            writer.append(&buffers)
        })?;
        for (scope, mut lines, handed_over) in group.drain(..) {
            let at = TopicPartition { topic: Arc::clone(&self.options.topic), partition: scope.partition };
            self.journal.known.entry(at).or_default().outcomes.insert_all(&lines.offsets);
            self.count(lines.entries.len());
            let (offsets, letters_end) = (std::mem::take(&mut lines.offsets), lines.letters_end);
            let kept = std::mem::take(&mut lines.kept);
            self.buffers.give_back(lines);
            let waited = handed_over.elapsed();
            (self.report)(Completion::Durable(Durable { scope, offsets, letters_end, waited, kept }));
        }
        // The emptied list keeps its room.
        self.group = group;
        Ok(())
    }

    fn write_control(&mut self, lines: &mut Lines) -> Result<(), AuditError> {
        self.write(|writer, chain| {
            lines.seal(chain);
            writer.append(&[&lines.bytes])
        })?;
        self.count(1);
        Ok(())
    }

    /// Writes a checkpoint, unless nothing has happened since the last one.
    fn write_checkpoint(&mut self, reason: Reason) -> Result<(), AuditError> {
        if reason == Reason::Interval && self.since_checkpoint == 0 {
            return Ok(());
        }
        let standing = self.journal.standing();
        let mut line = Lines::checkpoint(
            self.journal.hashing,
            &self.journal.identity,
            self.journal.place,
            reason,
            standing,
        );
        self.write_control(&mut line)?;
        self.since_checkpoint = 0;
        let (file_id, place) = (self.journal.identity.file_id, self.journal.place);
        (self.report)(Completion::Checkpoint { file_id, place, reason });
        Ok(())
    }

    /// Seals the segment, and goes on in a new one.
    fn rotate(&mut self) -> Result<(), AuditError> {
        self.write_checkpoint(Reason::Rotation)?;
        let sealed = self.journal.file.rotate(self.journal.place.segment)?;
        tracing::info!(
            segment = self.journal.place.segment,
            "sealed the audit log's segment: began a new one"
        );
        if let Some(packer) = &self.packer {
            packer.pack(sealed);
        }
        self.journal.place.segment += 1;
        self.write_checkpoint(Reason::Start)
    }

    fn count(&mut self, lines: usize) {
        self.journal.place.lines += lines as u64;
        self.journal.place.head = self.chain.head();
        self.since_checkpoint += lines as u64;
    }

    /// Tries until it is written, or can never be.
    fn write(
        &mut self,
        mut once: impl FnMut(&mut AuditFile, &mut Chain) -> Result<(), WriteFailure>,
    ) -> Result<(), AuditError> {
        let mut noticed: Option<Instant> = None;
        let wrote = loop {
            let path = || self.journal.file.path().to_owned();
            match self.journal.file.is_untouched() {
                Ok(true) => {}
                Ok(false) => return Err(AuditError::Touched { path: path() }),
                Err(source) => {
                    return Err(AuditError::Io { what: "look at the audit log", path: path(), source });
                }
            }
            let mut chain = self.chain;
            match once(&mut self.journal.file, &mut chain) {
                Ok(()) => {
                    let wrote = chain != self.chain;
                    self.chain = chain;
                    break wrote;
                }
                Err(WriteFailure::Sync(source)) => {
                    return Err(AuditError::Sync { path: self.journal.file.path().to_owned(), source });
                }
                Err(WriteFailure::Write(source)) if is_full(&source) => {
                    if noticed.is_none_or(|at| at.elapsed() >= FULL_DISK_NOTICE) {
                        if noticed.is_none() {
                            (self.report)(Completion::Stalled { stalled: true });
                        }
                        noticed = Some(Instant::now());
                        tracing::error!(
                            error = %source,
                            path = %self.journal.file.path().display(),
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
        };
        if noticed.is_some() {
            // Without a line there was nobody left to write for: nothing is known of the disk then.
            if wrote {
                tracing::info!(path = %self.journal.file.path().display(), "the audit log grows again");
            }
            (self.report)(Completion::Stalled { stalled: false });
        }
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> AuditError {
        let path = self.journal.file.path().to_owned();
        AuditError::Io { what: "write the audit log", path, source }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
