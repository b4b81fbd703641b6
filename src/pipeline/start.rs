//! Puts the tracker together: Kafka reached, topics there, journal open; then the poll thread runs on the caller's
//! thread, and the workers on the runtime.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::deliver::Target;
use super::guard::{Guard, GuardConfig};
use super::intake::Shared;
use super::judge::Judge;
use super::probe::{self, Pulse};
use super::stats::Stats;
use super::tracker::Tracker;
use crate::audit::{AuditError, AuditFile, AuditWriter, Opened};
use crate::config::TrackerSettings;
use crate::dlq::{Handler, HandlerConfig, KafkaSink, KafkaSinkConfig, RetryPolicy};
use crate::kafka::{
    Admin, Consumer, ConsumerOptions, KafkaError, TopicInfo, TopicSpec, wait_until_reachable,
};
use crate::models::DecodeLimits;
use crate::record::TopicPartition;

/// How long the journal's thread may take to end after the last line was handed over.
const WRITER_END: Duration = Duration::from_secs(5);
/// How much the client fetches ahead of the poll.
const FETCH_AHEAD_BYTES: usize = 16 << 20;
/// A topic's largest record where the broker does not say (Kafka's own default).
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;
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
    /// A defect of this program.
    #[error(
        "the work on {partition} ended by a panic; nothing of it is lost: what has no outcome is read again"
    )]
    Crashed {
        /// The partition, as `topic/number`.
        partition: String,
    },
    /// The address for `/healthz` cannot be had.
    #[error("listen on --metrics-addr {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The delivery target's address is none.
    #[error("--deliver-to {url} is not a URL")]
    Target {
        /// What was given.
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
    let Opened { file, chain, torn } = AuditFile::open(&settings.events_file)?;
    if let Some(side) = torn {
        tracing::warn!(side_file = %side.display(), "the last audit line was torn by a crash: moved it aside");
    }
    let pulse = Arc::new(Pulse::new());
    if let Some(addr) = settings.metrics_addr {
        runtime.block_on(probe::serve(addr, Arc::clone(&pulse)))?;
    }
    if !wait_until_reachable(&settings.kafka, &|| {
        pulse.beat();
        stop.is_cancelled()
    })? {
        return Ok(());
    }
    let admin = Admin::new(&settings.kafka)?;
    let topics = runtime.block_on(ensure_topics(settings, &admin))?;
    let ends = settings.exit_at_end.then(|| ends(settings, &admin, &topics.source)).transpose()?;
    drop(admin);

    let handler = Arc::new(handler(settings, &topics)?);
    let target = settings.deliver_to.as_ref().map(Target::from_settings).transpose()?;
    let guard = settings.outage_guard.then(|| Guard::new(GuardConfig::default()));
    let judge = Judge {
        limits: DecodeLimits { max_message_bytes: settings.max_message_bytes },
        target,
        guard,
        handler,
    };
    let (report, completions) = channel();
    let give_up = Arc::new(AtomicBool::new(false));
    let report = move |completion| drop(report.send(completion));
    let (writer, writer_thread) = AuditWriter::start(file, chain, Arc::clone(&give_up), report)?;
    let shared = Shared {
        runtime: runtime.clone(),
        judge: Arc::new(judge),
        writer,
        stats: Arc::new(Stats::default()),
        group: Arc::from(settings.group.as_str()),
        ordering: settings.ordering,
    };
    let options = ConsumerOptions {
        group: settings.group.clone(),
        session_timeout: settings.session_timeout,
        max_poll_interval: settings.max_poll_interval,
        fetch_ahead_bytes: FETCH_AHEAD_BYTES,
    };
    let consumer = Consumer::new(&settings.kafka, &options)?;
    tracing::info!(
        topic = settings.topic,
        group = settings.group,
        dlq_topic = settings.dlq_topic,
        partitions = topics.source.partitions,
        events_file = %settings.events_file.display(),
        deliver_to = settings.deliver_to.as_ref().map(|target| target.url.as_str()),
        "started"
    );
    let ended = Tracker::new(settings, consumer, shared, completions, pulse, ends, stop.clone()).run();
    // Nobody hands lines over any more; the file is closed when its thread has ended.
    give_up.store(true, Ordering::Release);
    let begun = Instant::now();
    while !writer_thread.is_finished() && begun.elapsed() < WRITER_END {
        std::thread::sleep(Duration::from_millis(2));
    }
    match &ended {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!(error = crate::failure::chain_of(error), "stopped by an error"),
    }
    ended
}

struct Topics {
    source: TopicInfo,
    dlq: TopicInfo,
    dlq_max_message_bytes: usize,
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
    let dlq_max_message_bytes = max_message_bytes(&topic_config(admin, &settings.dlq_topic).await);
    Ok(Topics { source, dlq, dlq_max_message_bytes })
}

/// A topic's settings; none where the broker does not tell (the embedded one cannot, others may forbid it).
async fn topic_config(admin: &Admin, topic: &str) -> std::collections::HashMap<String, String> {
    admin.topic_config(topic).await.unwrap_or_else(|error| {
        tracing::debug!(
            error = crate::failure::chain_of(&error),
            topic,
            "the topic's settings are not to be had"
        );
        std::collections::HashMap::new()
    })
}

fn max_message_bytes(config: &std::collections::HashMap<String, String>) -> usize {
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
    Ok(Handler::new(config, sink).with_concurrency(settings.concurrency))
}
