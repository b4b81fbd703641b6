//! What became of replays: from the audit log where there is one, which names each replay. Else from Kafka: a dead letter
//! that carries the replay's id says that it failed again, and an offset that the group has committed past, without such
//! a dead letter, that it was processed; for a dead letter is there before its offset is committed.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arrivals::{Arrival, arrivals};
use super::journal::{Journal, known_start, noted_start};
use super::{AuditLines, Plan, Prediction, ReplayError};
use crate::config::KafkaSettings;
use crate::dlq::{Letter, State, Statuses};
use crate::kafka::{Admin, Delivered, Reader, committed_offsets};
use crate::models::{Outcome, safe_short};

/// How much of an error is told, in characters.
const WHY_CHARS: usize = 200;

/// How a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It was not sent yet, or has no outcome yet.
    Pending,
    /// It was handled.
    Processed,
    /// It is a dead letter again.
    FailedAgain,
    /// It is not to be sent: superseded, replayed by another plan, or discarded.
    LeftOut,
}

impl ReplayState {
    /// Every state, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processed, Self::FailedAgain, Self::LeftOut];

    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::FailedAgain => "failed_again",
            Self::LeftOut => "left_out",
        }
    }
}

/// One replay, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayOutcome {
    /// How it stands.
    pub state: ReplayState,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl ReplayOutcome {
    const PENDING: Self = Self { state: ReplayState::Pending, why: None };
    const PROCESSED: Self = Self { state: ReplayState::Processed, why: None };

    fn failed(error: &str) -> Self {
        Self { state: ReplayState::FailedAgain, why: Some(safe_short(error, WHY_CHARS)) }
    }
}

/// A replay that is asked about.
pub(super) struct Asked<'a> {
    pub replay_id: Uuid,
    /// The group of the dead letter.
    pub group: Option<&'a str>,
    /// Where it arrived, where that is known.
    pub arrival: Option<&'a Arrival>,
}

/// Where to look.
pub struct Watch<'a> {
    /// How Kafka is reached.
    pub kafka: &'a KafkaSettings,
    /// The dead letter topic.
    pub dlq_topic: &'a str,
    /// From where on it may hold new dead letters of the replays.
    pub dlq_from: BTreeMap<i32, i64>,
    /// The audit log, where there is one.
    pub audit: Option<&'a dyn AuditLines>,
    /// The group that handles the replays, whatever the dead letters say.
    pub group: Option<&'a str>,
    /// The group of dead letters that do not tell theirs.
    pub fallback_group: &'a str,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    replay_id: Option<Cow<'a, str>>,
    outcome: Option<Outcome>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

impl Watch<'_> {
    /// How each of these replays stands.
    pub(super) fn outcomes(&self, asked: &[Asked<'_>]) -> Result<Vec<ReplayOutcome>, ReplayError> {
        match self.audit {
            Some(audit) => from_log(audit, asked),
            None => self.asked_of_kafka(asked),
        }
    }

    fn asked_of_kafka(&self, asked: &[Asked<'_>]) -> Result<Vec<ReplayOutcome>, ReplayError> {
        let mut committed: HashMap<(&str, &str), BTreeMap<i32, i64>> = HashMap::new();
        let admin = Admin::new(self.kafka)?;
        // First what is committed, then the dead letters: in the other order one could come in between.
        for asked in asked {
            let Some(arrival) = asked.arrival else { continue };
            let key = (self.group_of(asked), &*arrival.topic);
            if let Entry::Vacant(place) = committed.entry(key) {
                let partitions = admin.topic(key.1)?.map_or(0, |info| info.partitions);
                place.insert(committed_offsets(self.kafka, key.0, key.1, partitions)?);
            }
        }
        let died = self.died()?;
        let outcome = |asked: &Asked<'_>| {
            if let Some(error) = died.get(&asked.replay_id) {
                return ReplayOutcome::failed(error);
            }
            let Some(Arrival { topic, at }) = asked.arrival else { return ReplayOutcome::PENDING };
            let offsets = committed.get(&(self.group_of(asked), &**topic));
            match offsets.and_then(|offsets| offsets.get(&at.partition)) {
                Some(committed) if at.offset < *committed => ReplayOutcome::PROCESSED,
                _ => ReplayOutcome::PENDING,
            }
        };
        Ok(asked.iter().map(outcome).collect())
    }

    fn group_of<'b>(&'b self, asked: &Asked<'b>) -> &'b str {
        self.group.or(asked.group).unwrap_or(self.fallback_group)
    }

    /// The errors of new dead letters, by the replay that died.
    fn died(&self) -> Result<HashMap<Uuid, String>, ReplayError> {
        let admin = Admin::new(self.kafka)?;
        let partitions = admin.topic(self.dlq_topic)?.map_or(0, |info| info.partitions);
        let mut ranges = Vec::new();
        for number in 0..partitions {
            let (log_start, end) = admin.watermarks(self.dlq_topic, number)?;
            // A topic that ends earlier than before is another one.
            let from = self.dlq_from.get(&number).copied().filter(|from| *from <= end).unwrap_or(0);
            if from.max(log_start) < end {
                ranges.push((number, from.max(log_start), end));
            }
        }
        let mut died = HashMap::new();
        if ranges.is_empty() {
            return Ok(died);
        }
        let mut reader = Reader::over(self.kafka, self.dlq_topic, &ranges)?;
        while let Some(record) = reader.read()? {
            let letter = Letter::read(&record);
            if let Some(id) = letter.replay_id.and_then(|id| id.parse().ok()) {
                died.insert(id, letter.error);
            }
        }
        Ok(died)
    }
}

fn from_log(audit: &dyn AuditLines, asked: &[Asked<'_>]) -> Result<Vec<ReplayOutcome>, ReplayError> {
    let mut found: HashMap<Uuid, Option<ReplayOutcome>> =
        asked.iter().map(|asked| (asked.replay_id, None)).collect();
    let mut take = |line: &[u8]| {
        if memchr::memmem::find(line, b"\"replay_id\"").is_none() {
            return;
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return };
        let id = line.replay_id.and_then(|id| id.parse::<Uuid>().ok());
        if let (Some(slot), Some(outcome)) = (id.and_then(|id| found.get_mut(&id)), line.outcome) {
            *slot = Some(match outcome {
                Outcome::Processed => ReplayOutcome::PROCESSED,
                Outcome::DeadLettered => ReplayOutcome::failed(line.error.as_deref().unwrap_or_default()),
            });
        }
    };
    audit.each(&mut take).map_err(ReplayError::AuditLog)?;
    let outcome = |asked: &Asked<'_>| found.get(&asked.replay_id).cloned().flatten();
    Ok(asked.iter().map(|asked| outcome(asked).unwrap_or(ReplayOutcome::PENDING)).collect())
}

/// What became of a plan.
#[derive(Debug)]
pub struct Outcomes {
    /// How many entries are in each state; all of them are named.
    pub counts: BTreeMap<&'static str, u64>,
    /// Each entry's outcome, in the plan's order.
    pub entries: Vec<ReplayOutcome>,
}

impl Outcomes {
    /// Whether everything that was to be sent was processed, and there was anything.
    pub fn all_succeeded(&self) -> bool {
        let good = [ReplayState::Processed, ReplayState::LeftOut];
        let has = |state| self.entries.iter().any(|outcome| outcome.state == state);
        self.entries.iter().all(|outcome| good.contains(&outcome.state))
            && (has(ReplayState::Processed) || !has(ReplayState::LeftOut))
    }
}

/// Tells what became of each entry of a plan.
///
/// # Errors
/// [`ReplayError`] when Kafka or the audit log cannot be read.
pub fn follow_up(watch: &Watch<'_>, plan: &Plan, plan_file: &Path) -> Result<Outcomes, ReplayError> {
    let statuses = Statuses::read(watch.kafka, &plan.dlq_topic)?;
    let mut places: HashMap<usize, Arrival> = HashMap::new();
    if watch.audit.is_none() {
        places = places_of(watch, plan, plan_file, &statuses)?;
    }
    let asked: Vec<Asked<'_>> = plan
        .entries
        .iter()
        .enumerate()
        .map(|(at, entry)| Asked {
            replay_id: entry.replay_id,
            group: entry.group.as_deref(),
            arrival: places.get(&at),
        })
        .collect();
    let mut entries = watch.outcomes(&asked)?;
    for (outcome, entry) in entries.iter_mut().zip(&plan.entries) {
        let status = statuses.get(entry.id);
        let sent = status.and_then(|status| status.replayed_to.as_ref()).map(|to| to.replay_id);
        if outcome.state != ReplayState::Pending || sent == Some(entry.replay_id) {
            continue;
        }
        let why = match (status.map(|status| status.status), entry.prediction) {
            (Some(State::Discarded), _) => "it was discarded",
            (Some(State::Replayed), _) => "it was replayed by another plan",
            (_, Prediction::Superseded) if !plan.include_superseded => {
                "a newer state of the order was processed"
            }
            _ => continue,
        };
        *outcome = ReplayOutcome { state: ReplayState::LeftOut, why: Some(why.to_owned()) };
    }
    let mut counts: BTreeMap<_, _> = ReplayState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    for outcome in &entries {
        *counts.entry(outcome.state.as_str()).or_default() += 1;
    }
    Ok(Outcomes { counts, entries })
}

/// Where the plan's replays arrived: as their statuses say, and what has none of this plan is looked for in the targets.
fn places_of(
    watch: &Watch<'_>,
    plan: &Plan,
    plan_file: &Path,
    statuses: &Statuses,
) -> Result<HashMap<usize, Arrival>, ReplayError> {
    let mut places = HashMap::new();
    let mut missing = HashMap::new();
    for (at, entry) in plan.entries.iter().enumerate() {
        let to = statuses.get(entry.id).and_then(|status| status.replayed_to.as_ref());
        match to.filter(|to| to.replay_id == entry.replay_id) {
            Some(to) => {
                let place = Delivered { partition: to.partition, offset: to.offset };
                places.insert(at, Arrival { topic: to.topic.as_str().into(), at: place });
            }
            None => drop(missing.insert(entry.replay_id, at)),
        }
    }
    let in_kafka = noted_start(watch.kafka, &plan.dlq_topic, plan.plan_id)?;
    let noted = known_start(Journal::read_start(plan_file, plan.plan_id)?.as_ref(), in_kafka);
    if let Some(start) = noted.filter(|_| !missing.is_empty()) {
        places.extend(arrivals(watch.kafka, &start.applied_from, &missing)?);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<String>);

    impl AuditLines for Lines {
        fn each(&self, take: &mut dyn FnMut(&[u8])) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            self.0.iter().for_each(|line| take(line.as_bytes()));
            Ok(())
        }
    }

    #[test]
    fn the_audit_log_names_each_replay() {
        let id = Uuid::from_u128;
        let line = |replay: u128, outcome: &str| {
            format!("{{\"outcome\":\"{outcome}\",\"error\":\"a\\u001bb\",\"replay_id\":\"{}\"}}", id(replay))
        };
        let lines = Lines(vec![
            line(1, "processed"),
            line(2, "dead_lettered"),
            line(9, "processed"),
            "{\"outcome\":\"processed\",\"raw_message\":\"\\\"replay_id\\\"\"}".to_owned(),
        ]);
        let asked: Vec<_> =
            [1, 2, 3].map(|n| Asked { replay_id: id(n), group: None, arrival: None }).into_iter().collect();
        let found = from_log(&lines, &asked).expect("read");
        let failed = ReplayOutcome::failed("a\u{1b}b");
        assert_eq!(failed.why.as_deref(), Some(r"a\u{1b}b"));
        assert_eq!(found, [ReplayOutcome::PROCESSED, failed, ReplayOutcome::PENDING]);
    }
}
