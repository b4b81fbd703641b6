//! Applies a plan: takes the transactional id, learns what is there already, and sends the rest, each record once. The
//! order of what is noted is fixed: acknowledged in the target, then the status, both committed at once, then the journal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::arrivals::arrivals;
use super::choose::{Choice, choose};
use super::journal::{Journal, Start, known_start, noted_start};
use super::newer::find_newer;
use super::prepare::{Prepared, Workshop};
use super::run::{Progress, Run, Went};
use super::send::Sender;
use super::settle::{Batch, replay_ids, settle, statuses};
use super::targets::{Found, look, refusal};
use super::{AuditLines, Canary, LeftOut, Limits, Plan, PlanEntry, Problems, ReplayError};
use crate::config::{KafkaSettings, TopicCreation};
use crate::dlq::status_writer::StatusWriter;
use crate::dlq::{State, Statuses, status_topic};
use crate::kafka::{Admin, Outgoing, TransactionalProducer};
use crate::models::to_safe_vec;

/// How long Kafka may take for a step of a transaction.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many batches may wait between those who prepare, send and note.
const PREPARED_AHEAD: usize = 16;
const SETTLED_BEHIND: usize = 2;

/// How a plan is applied.
#[derive(Debug)]
pub struct ApplySettings<'a> {
    /// How Kafka is reached.
    pub kafka: &'a KafkaSettings,
    /// How the topic of the statuses is created where it is missing.
    pub creation: TopicCreation,
    /// The plan's file; the journal is beside it.
    pub plan_file: &'a Path,
    /// Who does it.
    pub by: String,
    /// Another target than the plan's.
    pub to: Option<&'a str>,
    /// The only topics that may be targets; empty for any.
    pub replay_targets: &'a [String],
    /// Records per second; `None` for as fast as it goes.
    pub rate: Option<f64>,
    /// What is sent all the same.
    pub limits: Limits,
    /// Whether records keep their own timestamp.
    pub keep_timestamp: bool,
    /// Do everything but write.
    pub dry_run: bool,
    /// Begin with a few, and look what becomes of them.
    pub canary: Option<Canary>,
    /// The group that handles the replays, where the dead letters do not tell or tell another one.
    pub group: Option<&'a str>,
    /// The group of dead letters that do not tell theirs.
    pub fallback_group: &'a str,
}

/// How an apply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything was dealt with.
    Complete,
    /// It was told to stop.
    Stopped,
    /// The canary says that it should not go on, and why.
    Aborted(String),
}

/// What an apply did.
#[derive(Debug)]
pub struct Applied {
    /// Replays that are committed now.
    pub sent: u64,
    /// Replays that an earlier run had sent.
    pub found: u64,
    /// Entries that were left out, by why.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Entries that could not be sent.
    pub problems: Problems,
    /// Entries that were not looked at.
    pub remaining: u64,
    /// From the first record that was sent to the last status that was noted.
    pub took: Duration,
    /// How it ended.
    pub ended: Ended,
}

impl Applied {
    /// Whether nothing is left that should have been sent.
    pub fn is_whole(&self) -> bool {
        let refused = self.left_out.get(&LeftOut::ReplayedTooOften).copied().unwrap_or(0);
        let did_nothing = self.sent + self.found == 0 && self.left_out.values().sum::<u64>() > 0;
        self.problems.total() == 0 && refused == 0 && !did_nothing && !matches!(self.ended, Ended::Aborted(_))
    }
}

/// The target of an entry.
pub(super) fn target_of<'a>(entry: &'a PlanEntry, to: Option<&'a str>) -> Option<&'a str> {
    to.or(entry.target.as_deref())
}

/// Applies a plan.
///
/// # Errors
/// [`ReplayError`] for what stops the whole; what was committed until then is there, and another run goes on from it.
pub fn apply(
    settings: &ApplySettings<'_>,
    plan: &Plan,
    audit: Option<&dyn AuditLines>,
    stop: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Applied, ReplayError> {
    if let Some(why) = settings.to.and_then(|to| refusal(to, &plan.dlq_topic, settings.replay_targets)) {
        return Err(ReplayError::Target(format!("nothing is replayed there: {why}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ReplayError::file("start a runtime for", settings.plan_file))?;
    let topics: HashSet<&str> = plan.entries.iter().filter_map(|e| target_of(e, settings.to)).collect();
    let look = look(settings.kafka, topics.into_iter(), &plan.dlq_topic, settings.replay_targets);
    let targets = runtime.block_on(look)?;
    let mut applied = Applied {
        sent: 0,
        found: 0,
        left_out: BTreeMap::new(),
        problems: Problems::default(),
        remaining: 0,
        took: Duration::ZERO,
        ended: Ended::Complete,
    };
    if settings.dry_run {
        let known = Statuses::read(settings.kafka, &plan.dlq_topic)?;
        let there = HashSet::new();
        let chosen = chosen(settings, plan, audit, &targets, &known, &there, &mut applied)?;
        return rehearse(settings, plan, audit, &targets, chosen, applied);
    }
    // From here on whoever applied before can write no more, and what it wrote is all there.
    let writer = StatusWriter::open(settings.kafka, &plan.dlq_topic, &settings.creation)?;
    let id = format!("dlq-{}", plan.dlq_topic);
    let largest = targets.values().filter_map(|t| t.as_ref().ok()).map(|t| t.max_message_bytes).max();
    let mut producer =
        TransactionalProducer::new(settings.kafka, &id, largest.unwrap_or(1_000_000), PATIENCE)?;
    producer.init().map_err(|source| ReplayError::Transaction { id: id.clone(), source })?;
    let mut journal = Journal::open(settings.plan_file, plan.plan_id)?;
    let is_resumed = note_start(settings, plan, &targets, &mut producer, &mut journal, &id)?;

    // What is there counts as sent, whatever else may have come of its order since.
    let wanted: HashMap<Uuid, usize> =
        plan.entries.iter().enumerate().map(|(at, entry)| (entry.replay_id, at)).collect();
    let arrived = match (&journal.start, is_resumed) {
        (Some(start), true) => arrivals(settings.kafka, &start.applied_from, &wanted)?,
        _ => HashMap::new(),
    };
    let known = Statuses::read(settings.kafka, &plan.dlq_topic)?;
    let in_journal = journal.sent.iter().filter_map(|replay_id| wanted.get(replay_id));
    let there: HashSet<usize> = arrived.keys().chain(in_journal).copied().collect();
    let chosen = chosen(settings, plan, audit, &targets, &known, &there, &mut applied)?;
    let lacking: Batch =
        arrived.into_iter().filter(|(at, _)| lacks_status(&plan.entries[*at], &known)).collect();
    writer.write(statuses(plan, &settings.by, &lacking))?;
    journal.noted(replay_ids(plan, &lacking))?;
    drop(writer);

    std::thread::scope(|scope| {
        let (settled, batches) = sync_channel(SETTLED_BEHIND);
        let noting = scope.spawn(move || settle(plan, &mut journal, &batches));
        let total = chosen.len() as u64;
        let (give, prepared) = sync_channel(PREPARED_AHEAD);
        let (targets, chosen) = (&targets, &chosen);
        scope.spawn(move || Workshop::new(settings, plan, targets, audit).run(chosen, &give));
        let sender = Sender::new(plan, &settings.by, id, producer, settled);
        let before = Progress {
            total,
            found: applied.found,
            left_out: applied.left_out.clone(),
            problems: applied.problems.counts.clone(),
            ..Progress::default()
        };
        let sent = Run::new(settings, plan, audit, stop, progress, before, sender).go(&prepared);
        // Whoever prepares is told by this that nobody wants more.
        drop(prepared);
        let Went { ended, sender, done, begun } = match sent {
            Ok(went) => went,
            // What the other thread says explains more than that it is gone.
            Err(ReplayError::Thread) => {
                return Err(noting
                    .join()
                    .unwrap_or(Err(ReplayError::Thread))
                    .err()
                    .unwrap_or(ReplayError::Thread));
            }
            Err(error) => return Err(error),
        };
        applied.sent = sender.sent;
        applied.problems.merge(sender.problems);
        drop(sender.settled);
        noting.join().unwrap_or(Err(ReplayError::Thread))?;
        applied.took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        applied.remaining = total.saturating_sub(done);
        applied.ended = ended;
        Ok(applied)
    })
}

/// Whether a replay that arrived has no status of its own: an earlier program wrote that after the transaction.
fn lacks_status(entry: &PlanEntry, known: &Statuses) -> bool {
    known
        .get(entry.id)
        .is_none_or(|status| !status.tells_of(entry.replay_id) && status.status != State::Discarded)
}

/// The entries that are to be sent and can go to their target; those that are `there` are not.
fn chosen(
    settings: &ApplySettings<'_>,
    plan: &Plan,
    audit: Option<&dyn AuditLines>,
    targets: &BTreeMap<String, Found>,
    statuses: &Statuses,
    there: &HashSet<usize>,
    applied: &mut Applied,
) -> Result<Vec<usize>, ReplayError> {
    let mut limits = settings.limits;
    limits.include_superseded |= plan.include_superseded;
    let newer =
        if limits.include_superseded { HashSet::new() } else { find_newer(settings.kafka, plan, audit)? };
    let mut chosen = Vec::new();
    for (at, entry) in plan.entries.iter().enumerate() {
        if there.contains(&at) {
            applied.found += 1;
            continue;
        }
        match choose(entry, statuses.get(entry.id), newer.contains(&at), &limits) {
            Choice::Sent => applied.found += 1,
            Choice::Leave(why) => *applied.left_out.entry(why).or_default() += 1,
            Choice::Send => match target_of(entry, settings.to).map(|target| targets.get(target)) {
                Some(Some(Ok(_))) => chosen.push(at),
                Some(Some(Err((kind, why)))) => applied.problems.add(entry.id, *kind, why.clone()),
                Some(None) | None => applied.problems.add(
                    entry.id,
                    super::ProblemKind::NoTarget,
                    "it does not say where its record came from: --to TOPIC says where to send it",
                ),
            },
        }
    }
    Ok(chosen)
}

/// Everything but writing: reads every dead letter and makes its record.
fn rehearse(
    settings: &ApplySettings<'_>,
    plan: &Plan,
    audit: Option<&dyn AuditLines>,
    targets: &BTreeMap<String, Found>,
    chosen: Vec<usize>,
    mut applied: Applied,
) -> Result<Applied, ReplayError> {
    let (give, prepared) = sync_channel(PREPARED_AHEAD);
    std::thread::scope(|scope| {
        let chosen = &chosen;
        scope.spawn(move || Workshop::new(settings, plan, targets, audit).run(chosen, &give));
        for batch in prepared {
            for prepared in batch? {
                match prepared {
                    Prepared::Item(_) => applied.sent += 1,
                    Prepared::Problem(at, kind, why) => {
                        applied.problems.add(plan.entries[at].id, kind, why);
                    }
                }
            }
        }
        Ok(applied)
    })
}

/// Notes where the targets end, before anything is sent; says whether an earlier run had noted something.
fn note_start(
    settings: &ApplySettings<'_>,
    plan: &Plan,
    targets: &BTreeMap<String, Found>,
    producer: &mut TransactionalProducer,
    journal: &mut Journal,
    id: &str,
) -> Result<bool, ReplayError> {
    let failed = |source| ReplayError::Transaction { id: id.to_owned(), source };
    let in_kafka = noted_start(settings.kafka, &plan.dlq_topic, plan.plan_id)?;
    let known = known_start(journal.start.as_ref(), in_kafka.clone());
    let is_resumed = known.is_some();
    let mut start = known.unwrap_or_else(|| Start {
        plan_id: plan.plan_id,
        first_applied: Timestamp::now(),
        applied_from: BTreeMap::new(),
    });
    let admin = Admin::new(settings.kafka)?;
    for (topic, _) in targets.iter().filter(|(_, found)| found.is_ok()) {
        if !start.applied_from.contains_key(topic) {
            start.applied_from.insert(topic.clone(), admin.log_ends(settings.kafka, topic)?);
        }
    }
    if in_kafka.as_ref() != Some(&start) {
        // Within a transaction: a run that was fenced meanwhile cannot overwrite what its successor noted.
        let record = Outgoing {
            topic: status_topic(&plan.dlq_topic).into(),
            key: Some(plan.plan_id.to_string().into()),
            value: Some(to_safe_vec(&start)?.into()),
            ..Outgoing::default()
        };
        producer.begin().map_err(failed)?;
        let sent = producer.send(0, &record);
        let report = producer.settle().pop().map(|report| report.result);
        match (sent, report) {
            (Ok(()), Some(Ok(_))) => producer.commit().map_err(failed)?,
            (Err(source), _) | (_, Some(Err(source))) => {
                return Err(ReplayError::Status { topic: record.topic.to_string(), source });
            }
            (Ok(()), None) => return Err(ReplayError::Stuck),
        }
    }
    journal.started(&start)?;
    Ok(is_resumed)
}
