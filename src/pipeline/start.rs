//! Puts the tracker together: Kafka reached, topics there, journal open; then the poll thread runs on the caller's
//! thread, and the workers on the runtime.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::attend::attend;
use super::deliver::Target;
use super::figures::TrackerFigures;
use super::gate::{Gate, Limits};
use super::guard::{DELIVERY, Guard};
use super::heads::{self, Heads};
use super::intake::Shared;
use super::judge::Judge;
use super::notify::Notify;
use super::probe::Pulse;
use super::standing::{Standing, Watch};
use super::stats::Stats;
use super::traces::Traces;
use super::tracker::{Known, Tracker};
use super::work::Work;
use crate::audit::{AuditError, AuditWriter, Hashing, Head, Identity, Journal, OffsetSet, WriterOptions};
use crate::config::{DeliverTarget, TrackerSettings};
use crate::dlq::{Handler, HandlerConfig, KafkaSink, KafkaSinkConfig, RetryPolicy};
use crate::failpoint;
use crate::kafka::{
    Admin, Consumer, ConsumerOptions, KafkaError, TopicInfo, TopicSpec, wait_until_reachable,
};
use crate::metrics::{self, ListenError};
use crate::models::DecodeLimits;
use crate::record::TopicPartition;
use crate::trace::{TraceError, Tracer};

/// How much the client fetches ahead of the poll.
const FETCH_AHEAD_BYTES: usize = 8 << 20;
/// A topic's largest record where the broker does not say (Kafka's own default).
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;
/// How long the last spans may take at the end.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// How much larger than its payload a dead letter may be: the payload is escaped as JSON text.
const ENVELOPE_FACTOR: usize = 4;

/// Why the tracker could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The journal.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The group's position is beyond the end of the partition.
    #[error(
        "the group's position {committed} in {partition} is beyond its end {end}: the topic was deleted and created \
         again, or records were lost; give the tracker a new --group to read it from the start"
    )]
    BeyondEnd {
        /// The partition, as `topic/number`.
        partition: String,
        /// Where the group stands.
        committed: i64,
        /// Where the partition ends.
        end: i64,
    },
    /// The topic is another one than the journal's.
    #[error(
        "the topic {topic} was deleted and created again since the audit log was written: its offsets mean other \
         records; give the tracker a new --events-file and a new --group"
    )]
    TopicReplaced {
        /// The topic's name.
        topic: String,
    },
    /// The broker does not tell the topic's id, which it has told before.
    #[error(
        "Kafka does not tell the id of the topic {topic}, without which the outcomes in the audit log cannot be relied \
         on; try again, or give the tracker a new --events-file"
    )]
    TopicUntold {
        /// The topic's name.
        topic: String,
    },
    /// The journal is older than its last published head.
    #[error(
        "{path} ends at line {lines}, but line {published} was published to Kafka: lines were cut off, or an older copy \
         was put in its place; bring the file back, or start with a new --events-file",
        path = path.display()
    )]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// How many lines the journal has.
        lines: u64,
        /// How many it had when its head was published.
        published: u64,
    },
    /// A defect of this program.
    #[error(
        "the work on {partition} ended by a panic; nothing of it is lost: what has no outcome is read again"
    )]
    Crashed {
        /// The partition, as `topic/number`.
        partition: String,
    },
    /// The system gives no thread.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// A defect of this program.
    #[error("looking at the topics ended by a panic")]
    StartPanicked,
    /// The address for metrics cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Traces cannot be exported as the environment says.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The address of a target is none.
    #[error("the target {url} is not a URL")]
    Target {
        /// What was given, as it may be shown.
        url: String,
        /// Why not.
        #[source]
        source: hyper::http::uri::InvalidUri,
    },
}

/// Runs the tracker until `stop`, the end (with `--exit-at-end`) or an error.
///
/// # Errors
/// [`PipelineError`], after everything durable has been committed.
pub fn run(
    settings: &TrackerSettings,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    let target = settings.deliver_to.as_ref();
    let target = target.map(|target| Target::from_settings(target, settings.retry.attempt_timeout));
    track(settings, target.transpose()?.map(Target::into_work), runtime, stop)
}

/// The same with work of the caller's own instead of the delivery target: with the same order, concurrency, retries,
/// guards, dead letters, audit log and commits.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    settings: &TrackerSettings,
    work: Work,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    track(settings, Some(work), runtime, stop)
}

fn track(
    settings: &TrackerSettings,
    work: Option<Work>,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    failpoint::announce();
    let tracer = Tracer::from_env("order-tracker", runtime)?;
    let journal = Journal::open(&settings.events_file, &settings.group, Hashing::new(settings.audit_key))?;
    if let Some((torn_bytes, side)) = &journal.torn {
        tracing::warn!(
            torn_bytes,
            side_file = %side.display(),
            "the audit log's end was torn by a crash or left by a failed sync: moved it aside, its records are read again",
        );
    }
    if journal.is_new {
        tracing::info!(
            events_file = %settings.events_file.display(),
            "a new audit log: going on from the group's committed offsets",
        );
    }
    let (stats, standing) = (Arc::new(Stats::default()), Arc::new(Standing::default()));
    let guard = settings.outage_guard.clone().map(|guard| Arc::new(Guard::new(guard, &DELIVERY)));
    let takes_any = work.as_ref().is_some_and(Work::takes_any);
    let limits = Limits {
        concurrency: settings.concurrency,
        partition_concurrency: settings.partition_concurrency,
        per_second: settings.deliver_rate,
    };
    let gate = work.map(|work| Arc::new(Gate::new(work, limits)));
    let pulse = Arc::new(Pulse::new(Arc::clone(&standing)));
    let (notify, outlet) = Notify::start(settings)?.unzip();
    if let Some(addr) = settings.metrics_addr {
        let figures =
            TrackerFigures::new(settings, &stats, &standing, guard.as_ref(), gate.as_ref(), notify.as_ref())
                .with_spans(tracer.as_ref().map(|tracer| tracer.counts()));
        runtime.block_on(metrics::serve(addr, Arc::new(figures), Arc::clone(&pulse) as _))?;
    }
    if !wait_until_reachable(&settings.kafka, &|| {
        pulse.beat();
        stop.is_cancelled()
    })? {
        return Ok(());
    }
    let look = {
        let (settings, runtime, identity) = (settings.clone(), runtime.clone(), journal.identity.clone());
        move || Seen::look(&settings, &runtime, &identity)
    };
    let Some(seen) = attend(&settings.kafka.bootstrap_servers, stop, &pulse, look)? else { return Ok(()) };
    let Seen { topics, head, ends } = seen;
    check_topic(settings, &journal, topics.id.as_deref())?;
    if let Some(head) = head {
        heads::check(&journal, &head)?;
    }
    let settled = settled(&journal, &settings.topic, topics.id.as_deref());

    let handler = Arc::new(handler(settings, &topics)?);
    let judge = Judge {
        limits: DecodeLimits { max_message_bytes: settings.max_message_bytes },
        gate,
        takes_any,
        guard,
        handler,
        stats: Arc::clone(&stats),
        traces: tracer.as_ref().map(|tracer| Traces::new(tracer, settings)),
    };
    let (report, completions) = channel();
    let give_up = Arc::new(AtomicBool::new(false));
    let report = move |completion| drop(report.send(completion));
    let options = WriterOptions {
        topic: Arc::from(settings.topic.as_str()),
        segment_bytes: settings.events_max_bytes,
        payload: settings.audit_payload,
        compress: settings.events_compress,
    };
    let (writer, writer_thread) = AuditWriter::start(journal, options, Arc::clone(&give_up), report)?;
    let shared = Shared {
        runtime: runtime.clone(),
        judge: Arc::new(judge),
        writer,
        stats,
        standing: Arc::clone(&standing),
        group: Arc::from(settings.group.as_str()),
        ordering: settings.ordering,
        dlq_partitions: topics.dlq.partitions.max(1),
        topic_id: topics.id,
        outlet,
        heads: topics.heads.then(|| Heads::new(&settings.kafka, &settings.group, runtime)).transpose()?,
    };
    let options = ConsumerOptions {
        group: settings.group.clone(),
        session_timeout: settings.session_timeout,
        max_poll_interval: settings.max_poll_interval,
        fetch_ahead_bytes: FETCH_AHEAD_BYTES,
    };
    let consumer = Consumer::new(&settings.kafka, &options)?;
    // Only who can be asked has a reason to ask.
    let watch = |_| Watch::start(&settings.kafka, &settings.topic, &settings.dlq_topic, &standing);
    let _watch = settings.metrics_addr.map(watch).transpose()?;
    tracing::info!(
        topic = settings.topic,
        group = settings.group,
        dlq_topic = settings.dlq_topic,
        partitions = topics.source.partitions,
        events_file = %settings.events_file.display(),
        deliver_to = settings.deliver_to.as_ref().map(DeliverTarget::shown),
        "started"
    );
    let (ended, over_at) =
        Tracker::new(settings, consumer, shared, completions, pulse, Known { ends, settled }, stop.clone())
            .run();
    // Nobody hands lines over any more; the file is closed when its thread has ended.
    give_up.store(true, Ordering::Release);
    while !writer_thread.is_finished() && Instant::now() < over_at {
        std::thread::sleep(Duration::from_millis(2));
    }
    if let Some(notify) = notify {
        notify.close(over_at);
    }
    if let Some(tracer) = tracer {
        runtime.block_on(tracer.close(LAST_SPANS.min(over_at.saturating_duration_since(Instant::now()))));
    }
    match &ended {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!(error = crate::failure::chain_of(error), "stopped by an error"),
    }
    ended
}

/// A topic that was deleted and created again holds other records under the same offsets.
fn check_topic(settings: &TrackerSettings, journal: &Journal, id: Option<&str>) -> Result<(), PipelineError> {
    let ours = journal.known.iter().filter(|(at, _)| *at.topic == *settings.topic);
    for known in ours.filter_map(|(_, known)| known.topic_id.as_deref()) {
        match id {
            Some(id) if id == known => {}
            Some(_) => return Err(PipelineError::TopicReplaced { topic: settings.topic.clone() }),
            // Taken for unknown, it would let outcomes be repeated.
            None => return Err(PipelineError::TopicUntold { topic: settings.topic.clone() }),
        }
    }
    Ok(())
}

/// The outcomes that the journal has already, by partition: they are not repeated. Without the topic's id it is not known
/// that they are of the same records.
fn settled(journal: &Journal, topic: &str, id: Option<&str>) -> BTreeMap<i32, OffsetSet> {
    let ours = journal
        .known
        .iter()
        .filter(|(at, known)| *at.topic == *topic && id.is_some() && known.topic_id.as_deref() == id);
    ours.map(|(at, known)| (at.partition, known.outcomes.clone())).collect()
}

/// What Kafka has to say before the start.
struct Seen {
    topics: Topics,
    /// The last published head of the journal.
    head: Option<Head>,
    /// With `--exit-at-end`: the ends of the partitions that hold records.
    ends: Option<BTreeMap<i32, i64>>,
}

impl Seen {
    fn look(
        settings: &TrackerSettings,
        runtime: &Handle,
        identity: &Identity,
    ) -> Result<Self, PipelineError> {
        let admin = Admin::new(&settings.kafka)?;
        let topics = runtime.block_on(ensure_topics(settings, &admin))?;
        let head = if topics.heads { heads::last_published(&settings.kafka, identity)? } else { None };
        let ends = settings.exit_at_end.then(|| ends(settings, &admin, &topics.source)).transpose()?;
        Ok(Self { topics, head, ends })
    }
}

struct Topics {
    source: TopicInfo,
    dlq: TopicInfo,
    dlq_max_message_bytes: usize,
    /// The source's id, where the broker tells it.
    id: Option<String>,
    /// Whether there is a topic for the journal's heads.
    heads: bool,
}

/// Finds both topics, or creates them: the dead letter topic with the source's partitions, replicas and minimum of
/// in-sync ones, kept for ever, with room for a dead letter's envelope.
async fn ensure_topics(settings: &TrackerSettings, admin: &Admin) -> Result<Topics, PipelineError> {
    let spec = TopicSpec {
        name: settings.topic.clone(),
        partitions: settings.topic_partitions,
        replication: settings.topic_replication,
        config: Vec::new(),
    };
    let source = admin.ensure(&spec, settings.create_topics).await?;
    let source_config = topic_config(admin, &settings.topic).await;
    let mut config =
        vec![("retention.ms".to_owned(), "-1".to_owned()), ("retention.bytes".to_owned(), "-1".to_owned())];
    if let Some(min_isr) = source_config.get("min.insync.replicas") {
        config.push(("min.insync.replicas".to_owned(), min_isr.clone()));
    }
    let room = max_message_bytes(&source_config).saturating_mul(ENVELOPE_FACTOR).min(1 << 30);
    config.push(("max.message.bytes".to_owned(), room.to_string()));
    let spec = TopicSpec {
        name: settings.dlq_topic.clone(),
        partitions: source.partitions,
        replication: source.replication,
        config,
    };
    let dlq = admin.ensure(&spec, settings.create_topics).await?;
    let dlq_config = topic_config(admin, &settings.dlq_topic).await;
    for risk in risks(&dlq_config, &source_config) {
        tracing::warn!(
            topic = settings.dlq_topic,
            "dead letters can be lost: {}={} {}; set it to {} with kafka-configs.sh --alter",
            risk.setting,
            risk.value,
            risk.means,
            risk.remedy,
        );
    }
    let dlq_max_message_bytes = max_message_bytes(&dlq_config);
    let id = admin.topic_id(&settings.topic);
    let heads = heads::ensure_topic(admin, source.replication, settings.create_topics).await;
    Ok(Topics { source, dlq, dlq_max_message_bytes, id, heads })
}

/// A topic's settings; none where the broker does not tell (the embedded one cannot, others may forbid it).
async fn topic_config(admin: &Admin, topic: &str) -> TopicConfig {
    admin.topic_config(topic).await.unwrap_or_else(|error| {
        tracing::debug!(
            error = crate::failure::chain_of(&error),
            topic,
            "the topic's settings are not to be had"
        );
        TopicConfig::new()
    })
}

/// A setting of the dead letter topic by which Kafka loses dead letters without a word.
#[derive(Debug, PartialEq, Eq)]
struct Risk<'a> {
    setting: &'static str,
    value: &'a str,
    means: &'static str,
    remedy: &'a str,
}

fn risks<'a>(dlq: &'a TopicConfig, source: &'a TopicConfig) -> Vec<Risk<'a>> {
    let value = |setting| dlq.get(setting).map(String::as_str);
    let policy = value("cleanup.policy").unwrap_or("delete");
    let mut risks = Vec::new();
    if policy.contains("compact") {
        let means = "keeps only the last dead letter of each key, and refuses those without one";
        risks.push(Risk { setting: "cleanup.policy", value: policy, means, remedy: "delete" });
    }
    for (setting, means) in [
        ("retention.ms", "deletes them after that time"),
        ("retention.bytes", "deletes them beyond that size"),
    ] {
        if let Some(limit) = value(setting).filter(|limit| *limit != "-1" && policy.contains("delete")) {
            risks.push(Risk { setting, value: limit, means, remedy: "-1" });
        }
    }
    let setting = "min.insync.replicas";
    if let (Some(ours), Some(theirs)) = (value(setting), source.get(setting))
        && let (Ok(few), Ok(wanted)) = (ours.parse::<u32>(), theirs.parse::<u32>())
        && few < wanted
    {
        let means = "takes them with fewer replicas than the records that they replace";
        risks.push(Risk { setting, value: ours, means, remedy: theirs });
    }
    risks
}

/// A topic's settings, by Kafka's names.
type TopicConfig = HashMap<String, String>;

fn max_message_bytes(config: &TopicConfig) -> usize {
    config.get("max.message.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES)
}

/// The end of every partition that holds records.
fn ends(
    settings: &TrackerSettings,
    admin: &Admin,
    source: &TopicInfo,
) -> Result<BTreeMap<i32, i64>, PipelineError> {
    let mut ends = BTreeMap::new();
    for number in 0..source.partitions {
        let at = TopicPartition::new(settings.topic.as_str(), number);
        let (log_start, end) = admin.watermarks(&at.topic, number)?;
        if end > log_start {
            ends.insert(number, end);
        }
    }
    Ok(ends)
}

fn handler(settings: &TrackerSettings, topics: &Topics) -> Result<Handler<KafkaSink>, PipelineError> {
    let sink = KafkaSink::new(
        &settings.kafka,
        KafkaSinkConfig {
            topic: topics.dlq.name.clone(),
            partitions: topics.dlq.partitions,
            max_message_bytes: topics.dlq_max_message_bytes,
        },
    )?;
    let retry = RetryPolicy {
        max_retries: settings.retry.max_retries,
        initial: settings.retry.initial,
        max: settings.retry.max,
        jitter: settings.retry.jitter,
        attempt_timeout: settings.retry.attempt_timeout,
    };
    let config = HandlerConfig::new(&*settings.group).with_retry(retry);
    Ok(Handler::new(config, sink))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_topic_that_forgets_is_named_with_its_remedy() {
        let config = |settings: &[(&str, &str)]| -> TopicConfig {
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let sound = [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
        let source = config(&[("min.insync.replicas", "2"), ("retention.ms", "1000")]);
        assert_eq!(risks(&config(&sound), &source), []);
        // Where the broker does not tell, there is nothing to say.
        assert_eq!(risks(&config(&[]), &config(&[])), []);
        for (setting, value, remedy) in [
            ("retention.ms", "604800000", "-1"),
            ("retention.bytes", "1000000", "-1"),
            ("cleanup.policy", "compact", "delete"),
            ("cleanup.policy", "compact,delete", "delete"),
            ("min.insync.replicas", "1", "2"),
        ] {
            let mut dlq = config(&sound);
            dlq.insert(setting.to_owned(), value.to_owned());
            let found = risks(&dlq, &source);
            let [risk] = found.as_slice() else { panic!("{setting}={value}: {found:?}") };
            assert_eq!((risk.setting, risk.value, risk.remedy), (setting, value, remedy));
        }
    }
}
