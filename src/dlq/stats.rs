//! Dead letters counted: by cause, by time, by where they came from, and how often records died again. Bounded: a table
//! has room for so many different keys, and the rest counts only in the totals.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::filter::Filter;
use super::letter::{Dialect, Letter};
use super::list::ReadError;
use super::scan::scan;
use super::shape::shape;
use super::states::States;
use super::status::State;
use crate::config::KafkaSettings;
use crate::failure::Category;
use crate::kafka::Reader;
use crate::models::format_timestamp;
use crate::record::Record;

/// The most different keys of one table.
const KEYS: usize = 10_000;
/// The most chains that are told apart.
const CHAINS: usize = 100_000;
/// How many of the longest chains are named.
const NAMED_CHAINS: usize = 10;
const HOUR_MILLIS: i64 = 3_600_000;

/// What the dead letters of a topic have in common.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The dead letter topic.
    pub topic: String,
    /// How many there are.
    pub dead_letters: u64,
    /// Records that repeat one of them; counted nowhere else.
    pub repeats: u64,
    /// When the first one was given up.
    #[serde(serialize_with = "optional_time")]
    pub oldest: Option<Timestamp>,
    /// When the last one was.
    #[serde(serialize_with = "optional_time")]
    pub newest: Option<Timestamp>,
    /// How many were given up in the hour before now.
    pub last_hour: u64,
    /// How many an hour there were on average from the oldest to the newest.
    pub per_hour: f64,
    /// By how they stand.
    pub by_status: Vec<Count<State>>,
    /// By category.
    pub by_reason: Vec<Count<Category>>,
    /// By who wrote them.
    pub by_dialect: Vec<Count<Dialect>>,
    /// By error, without what differs from record to record.
    pub by_error: Vec<ErrorCount>,
    /// By the hour (UTC) in which they were given up, in the order of time.
    pub by_hour: Vec<HourCount>,
    /// By the partition that the record came from.
    pub by_origin: Vec<OriginCount>,
    /// By the host that tried.
    pub by_host: Vec<Count<String>>,
    /// By consumer group or connector.
    pub by_group: Vec<Count<String>>,
    /// Records that died again after a replay.
    pub replays: Replays,
}

/// How many there are of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count<K> {
    /// What.
    pub name: K,
    /// How many.
    pub count: u64,
}

/// Dead letters of one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// The error, without what differs from record to record.
    pub error: String,
    /// Their category.
    pub reason: Category,
    /// How many.
    pub count: u64,
    /// When the first one was given up.
    #[serde(serialize_with = "time")]
    pub first: Timestamp,
    /// When the last one was.
    #[serde(serialize_with = "time")]
    pub last: Timestamp,
    /// One of them.
    pub example: Uuid,
}

/// Dead letters of one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HourCount {
    /// When it begins.
    #[serde(serialize_with = "time")]
    pub hour: Timestamp,
    /// How many.
    pub count: u64,
}

/// Dead letters of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OriginCount {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// How many.
    pub count: u64,
}

/// Records that died again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replays {
    /// Dead letters whose record had been replayed before.
    pub died_again: u64,
    /// The most replays that a record had before it died.
    pub most: u32,
    /// Records that left more than one dead letter.
    pub chains: u64,
    /// Those of them that left the most: the first dead letter's id, and how many came after it.
    pub longest: Vec<Count<Uuid>>,
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_timestamp(*time))
}

fn optional_time<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(format_timestamp).serialize(serializer)
}

/// Counts the dead letters of the topic that pass the filter.
///
/// # Errors
/// [`ReadError::Kafka`] when the topic cannot be read.
pub fn stats(
    settings: &KafkaSettings,
    topic: &str,
    filter: &Filter,
    mut progress: impl FnMut(u64, u64),
) -> Result<Stats, ReadError> {
    let reader = Reader::open(settings, topic)?;
    let offsets = reader.offsets();
    let statuses = States::read(settings, topic)?;
    let an_hour_ago = Timestamp::now().saturating_sub(SignedDuration::from_hours(1)).unwrap_or_default();
    let mut tally = Tally { an_hour_ago, ..Tally::default() };
    let mut read = 0;
    let read_one =
        if filter.order_id.is_some() || filter.text.is_some() { Letter::read } else { Letter::read_to_count };
    let make = |record: Record| {
        let letter = read_one(&record);
        let state = statuses.state(letter.id);
        (letter.id, filter.matches(&letter, state).then(|| Fact::of(letter, state)))
    };
    scan(reader, make, |(id, fact)| {
        read += 1;
        progress(offsets, read);
        tally.take(id, fact);
        match filter.limit {
            Some(limit) if tally.count >= limit => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    Ok(tally.finish(topic))
}

/// What is counted of one dead letter.
struct Fact {
    root: Uuid,
    state: State,
    reason: Category,
    dialect: Dialect,
    error: String,
    failed_at: Timestamp,
    origin: Option<(Arc<str>, i32)>,
    host: Option<String>,
    group: Option<String>,
    replay_count: u32,
}

impl Fact {
    fn of(letter: Letter, state: State) -> Self {
        Self {
            root: letter.root_id,
            state,
            reason: letter.reason,
            dialect: letter.dialect,
            error: shape(&letter.error),
            failed_at: letter.failed_at,
            origin: letter.origin.map(|origin| (origin.topic, origin.partition)),
            host: letter.host,
            group: letter.group,
            replay_count: letter.replay_count,
        }
    }
}

#[derive(Default)]
struct Tally {
    /// From when on the last hour counts.
    an_hour_ago: Timestamp,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    last_hour: u64,
    seen: HashSet<Uuid>,
    count: u64,
    repeats: u64,
    statuses: Table<State>,
    reasons: Table<Category>,
    dialects: Table<Dialect>,
    errors: HashMap<(Category, String), ErrorCount>,
    hours: Table<i64>,
    origins: Table<(Arc<str>, i32)>,
    hosts: Table<String>,
    groups: Table<String>,
    died_again: u64,
    most: u32,
    chains: HashMap<Uuid, u64>,
}

impl Tally {
    fn take(&mut self, id: Uuid, fact: Option<Fact>) {
        if !self.seen.insert(id) {
            self.repeats += 1;
            return;
        }
        let Some(fact) = fact else { return };
        self.count += 1;
        let at = fact.failed_at;
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.last_hour += u64::from(at >= self.an_hour_ago);
        self.statuses.add(fact.state);
        self.reasons.add(fact.reason);
        self.dialects.add(fact.dialect);
        self.hours.add(fact.failed_at.as_millisecond().div_euclid(HOUR_MILLIS));
        if let Some(origin) = fact.origin {
            self.origins.add(origin);
        }
        if let Some(host) = fact.host {
            self.hosts.add(host);
        }
        if let Some(group) = fact.group {
            self.groups.add(group);
        }
        if fact.replay_count > 0 {
            self.died_again += 1;
            self.most = self.most.max(fact.replay_count);
        }
        if fact.root != id && (self.chains.len() < CHAINS || self.chains.contains_key(&fact.root)) {
            *self.chains.entry(fact.root).or_default() += 1;
        }
        self.add_error(id, fact.reason, fact.error, fact.failed_at);
    }

    fn add_error(&mut self, example: Uuid, reason: Category, error: String, at: Timestamp) {
        let key = (reason, error);
        if self.errors.len() >= KEYS && !self.errors.contains_key(&key) {
            return;
        }
        let new = |(_, error): &(_, String)| {
            let error = error.clone();
            ErrorCount { error, reason, count: 0, first: at, last: at, example }
        };
        let entry = self.errors.entry(key).or_insert_with_key(new);
        entry.count += 1;
        entry.first = entry.first.min(at);
        entry.last = entry.last.max(at);
    }

    fn finish(self, topic: &str) -> Stats {
        let mut by_error: Vec<ErrorCount> = self.errors.into_values().collect();
        by_error.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.error.cmp(&b.error)));
        let span = self.oldest.zip(self.newest).map(|(oldest, newest)| newest.duration_since(oldest));
        let hours = span.map(|span| span.as_secs_f64() / 3600.0);
        let mut by_hour: Vec<HourCount> = Vec::new();
        for (hour, count) in self.hours.counts {
            if let Ok(hour) = Timestamp::from_millisecond(hour.saturating_mul(HOUR_MILLIS)) {
                by_hour.push(HourCount { hour, count });
            }
        }
        by_hour.sort_by_key(|one| one.hour);
        let mut by_origin: Vec<OriginCount> = self
            .origins
            .counts
            .into_iter()
            .map(|((topic, partition), count)| OriginCount { topic: topic.to_string(), partition, count })
            .collect();
        by_origin.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let chains = self.chains.len() as u64;
        let mut longest = sorted(self.chains);
        longest.truncate(NAMED_CHAINS);
        Stats {
            topic: topic.to_owned(),
            dead_letters: self.count,
            repeats: self.repeats,
            oldest: self.oldest,
            newest: self.newest,
            last_hour: self.last_hour,
            // Less than an hour is taken for one.
            per_hour: self.count as f64 / hours.unwrap_or_default().max(1.0),
            by_status: self.statuses.sorted(),
            by_reason: self.reasons.sorted(),
            by_dialect: self.dialects.sorted(),
            by_error,
            by_hour,
            by_origin,
            by_host: self.hosts.sorted(),
            by_group: self.groups.sorted(),
            replays: Replays { died_again: self.died_again, most: self.most, chains, longest },
        }
    }
}

/// Counts by key.
struct Table<K> {
    counts: HashMap<K, u64>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { counts: HashMap::new() }
    }
}

impl<K: Hash + Eq + Ord> Table<K> {
    fn add(&mut self, key: K) {
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.counts.len() < KEYS {
            self.counts.insert(key, 1);
        }
    }

    fn sorted(self) -> Vec<Count<K>> {
        sorted(self.counts)
    }
}

/// The most frequent first.
fn sorted<K: Ord>(counts: HashMap<K, u64>) -> Vec<Count<K>> {
    let mut sorted: Vec<_> = counts.into_iter().map(|(name, count)| Count { name, count }).collect();
    sorted.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    sorted
}
