//! The producer at work: waits for Kafka, sees to the topic, sends at its pace, and accounts for every record. Blocks;
//! whoever calls it gives it a thread, because it waits and because it asks `stop` for itself.

use std::fs;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ProducerError;
use super::generator::{Clock, Generator};
use super::input::{Content, Line, LineSource, Next, key_of};
use super::outbox::{Item, Outbox, ROOM_CHECK};
use super::pace::Pacer;
use super::settings::{Input, ProducerSettings};
use super::spoil::Spoiler;
use super::summary::{Counts, Summary};
use crate::kafka::{Admin, KafkaError, Outgoing, Producer, ProducerOptions, TopicSpec, wait_until_reachable};
use crate::trace::Tracer;

/// The longest wait between two looks at `stop`.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(100);

/// How long the client tries a record before it has failed.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the last records may take at the end of the work: the client's own limit, and a little for its answer.
const FINISH: Duration = Duration::from_secs(35);

/// How long the last records may take once the producer is told to stop.
const FINISH_STOPPED: Duration = Duration::from_secs(10);

/// Runs the producer until its count is reached, its input ends, or `stop` says true; every record is accounted for in
/// the summary. `progress` hears the counts about ten times a second, and once at the end.
///
/// `stop` is asked at least every 50 ms, except while the topic is created (15 s at most) and while a producer that
/// ended with a fatal error is replaced (5 s at most). After a stop, what is on its way is waited for up to 10 s.
///
/// With a `tracer` each record says in its headers to which trace it belongs, and its sending is a span.
///
/// Where orders are generated and no seed is given, the chosen one is written to stderr.
///
/// Must not be called from within an async task: it blocks its thread.
///
/// # Errors
/// [`ProducerError::Kafka`] when no broker answers within the settings' connect timeout, or the topic is missing and
/// must not be created or cannot be; [`ProducerError::Input`] when the input cannot be read (what was read before it
/// is sent and accounted for). Records that fail are no error: see [`Summary::verdict`].
pub fn run(
    settings: &ProducerSettings,
    tracer: Option<&Tracer>,
    stop: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Counts),
) -> Result<Summary, ProducerError> {
    let mut source = Source::open(settings)?;
    let seed = source.seed();
    if !wait_until_reachable(&settings.kafka, stop)? {
        return Ok(summary(&Counts::default(), seed));
    }
    ensure_topic(settings)?;

    let options = ProducerOptions {
        message_timeout: MESSAGE_TIMEOUT,
        max_message_bytes: settings.max_message_bytes,
        ..ProducerOptions::default()
    };
    let mut outbox = Outbox::new(|| Producer::new(&settings.kafka, &options), settings.count)?;
    let mut told = Told { progress, last: Instant::now() };
    let ended = send_all(settings, tracer, &mut source, &mut outbox, stop, &mut told);

    let (begun, mut stopped) = (Instant::now(), None);
    let out_of_time = || {
        if stopped.is_none() && stop() {
            stopped = Some(Instant::now());
        }
        begun.elapsed() >= FINISH || stopped.is_some_and(|at| at.elapsed() >= FINISH_STOPPED)
    };
    outbox.finish(out_of_time, |counts| told.maybe(counts));
    told.now(outbox.counts());
    let summary = summary(outbox.counts(), seed);
    match (ended, &settings.input) {
        (Err(error), Some(input)) => Err(input_error(input, summary, error)),
        (Err(error), None) => Err(ProducerError::Start(error)),
        (Ok(()), _) => Ok(summary),
    }
}

fn summary(counts: &Counts, seed: Option<u64>) -> Summary {
    let Counts { sent, acknowledged, failed, .. } = *counts;
    Summary { sent, acknowledged, failed, seed }
}

fn input_error(input: &Input, summary: Summary, source: io::Error) -> ProducerError {
    ProducerError::Input { name: input.to_string(), summary, source }
}

/// Tells progress, not too often.
struct Told<'a> {
    progress: &'a mut dyn FnMut(&Counts),
    last: Instant,
}

impl Told<'_> {
    fn maybe(&mut self, counts: &Counts) {
        if self.last.elapsed() >= PROGRESS {
            self.now(counts);
        }
    }

    fn now(&mut self, counts: &Counts) {
        self.last = Instant::now();
        (self.progress)(counts);
    }
}

/// Sends until there is nothing more to send. The error is the source's.
fn send_all<F: FnMut() -> Result<Producer, KafkaError>>(
    settings: &ProducerSettings,
    tracer: Option<&Tracer>,
    source: &mut Source,
    outbox: &mut Outbox<Producer, F>,
    stop: &dyn Fn() -> bool,
    told: &mut Told<'_>,
) -> io::Result<()> {
    let topic: Arc<str> = settings.topic.as_str().into();
    let mut pacer = Pacer::new(settings.pace, Instant::now());
    while !stop() && !outbox.given_up() && settings.count.is_none_or(|count| outbox.counts().sent < count) {
        told.maybe(outbox.counts());
        let room = outbox.pump();
        let wait = if room { pacer.wait(Instant::now()).min(STOP_CHECK) } else { ROOM_CHECK };
        if !wait.is_zero() {
            std::thread::sleep(wait);
            continue;
        }
        match source.next(&topic)? {
            Fetched::Item(mut item) => {
                if let Some(tracer) = tracer {
                    let span = tracer.send(&topic, None);
                    item.record.headers.extend(span.context().headers());
                    item.span = Some(span);
                }
                outbox.push(item);
            }
            Fetched::TooLong { line, bytes } => outbox.refuse(line, bytes),
            Fetched::Nothing => continue,
            Fetched::End => return Ok(()),
        }
        pacer.sent(Instant::now());
    }
    Ok(())
}

/// Creates the topic where it is missing and may be created.
fn ensure_topic(settings: &ProducerSettings) -> Result<(), ProducerError> {
    let spec = TopicSpec {
        name: settings.topic.clone(),
        partitions: settings.partitions,
        replication: settings.replication,
        config: Vec::new(),
    };
    let admin = Admin::new(&settings.kafka)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(ProducerError::Start)?;
    runtime.block_on(admin.ensure(&spec, settings.create_topics))?;
    Ok(())
}

/// Where records come from.
enum Source {
    Generated { seed: u64, generator: Box<Generator>, spoiler: Box<Spoiler> },
    Given(LineSource),
}

/// What asking the source gives.
enum Fetched {
    Item(Item),
    /// A line with more bytes than any record may have.
    TooLong {
        line: u64,
        bytes: u64,
    },
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

impl Source {
    fn open(settings: &ProducerSettings) -> Result<Self, ProducerError> {
        if let Some(input) = &settings.input {
            let failed = |error| input_error(input, summary(&Counts::default(), None), error);
            check_readable(input).map_err(failed)?;
            return Ok(Self::Given(LineSource::start(input, settings.max_message_bytes).map_err(failed)?));
        }
        let (seed, clock) = match settings.seed {
            Some(seed) => (seed, Clock::Seeded),
            None => (chosen_seed(), Clock::Wall),
        };
        Ok(Self::Generated {
            seed,
            generator: Box::new(Generator::new(seed, clock, settings)),
            spoiler: Box::new(Spoiler::new(seed, settings.invalid_ratio, settings.malformed_ratio)),
        })
    }

    fn seed(&self) -> Option<u64> {
        match self {
            Self::Generated { seed, .. } => Some(*seed),
            Self::Given(_) => None,
        }
    }

    /// The next record; lines are waited for a moment only.
    fn next(&mut self, topic: &Arc<str>) -> io::Result<Fetched> {
        let (key, value, line) = match self {
            Self::Generated { generator, spoiler, .. } => {
                let order = generator.next_order();
                (Some(order.order_id.to_string().into()), spoiler.payload(order)?, None)
            }
            Self::Given(lines) => match lines.next(STOP_CHECK) {
                Next::Line(Line { number, content: Content::Bytes(bytes) }) => {
                    (key_of(&bytes), Some(bytes), Some(number))
                }
                Next::Line(Line { number, content: Content::TooLong(bytes) }) => {
                    return Ok(Fetched::TooLong { line: number, bytes });
                }
                Next::Waiting => return Ok(Fetched::Nothing),
                Next::End => return Ok(Fetched::End),
                Next::Failed(error) => return Err(error),
            },
        };
        let record = Outgoing { topic: Arc::clone(topic), key, value, ..Outgoing::default() };
        Ok(Fetched::Item(Item { record, line, span: None }))
    }
}

/// A mistyped path is said at once, not after Kafka was waited for.
fn check_readable(input: &Input) -> io::Result<()> {
    let Input::File(path) = input else { return Ok(()) };
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Opening a named pipe waits for its writer: that is left to the reader's thread.
    if metadata.is_file() {
        drop(fs::File::open(path)?);
    }
    Ok(())
}

/// A random seed, short enough to be typed again; said on stderr so that the run can be repeated.
fn chosen_seed() -> u64 {
    let seed = uuid::Uuid::new_v4().as_fields().0.into();
    // A closed stderr is no reason not to work.
    drop(writeln!(io::stderr(), "seed {seed} (the same orders again: --seed {seed})"));
    seed
}

#[cfg(all(test, feature = "embedded"))]
#[path = "run_tests.rs"]
mod tests;
