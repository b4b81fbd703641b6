//! What must hold after all faults, found out without the code under test: the topic, the audit logs and the dead letters
//! are read as they are, and held against each other and against what the delivery target has taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::topics::{Raw, Reader};

/// What was counted, and what is wrong.
#[derive(Debug, Default, Clone)]
pub struct Found {
    pub records: u64,
    pub processed: u64,
    pub dead_lettered: u64,
    /// Records without any line.
    pub missing: u64,
    /// Records with two lines in one journal.
    pub duplicates: u64,
    /// Lines about no record.
    pub orphans: u64,
    /// Lines of records that have one in another journal.
    pub repeats: u64,
    /// Records that one journal calls processed and another dead-lettered.
    pub mixed: u64,
    /// Dead letters beyond the first of a record.
    pub letters_repeated: u64,
    /// Whatever else is wrong, and all of the above that is, in words.
    pub wrong: Vec<String>,
}

/// Where to look.
pub struct Sources<'a> {
    pub servers: &'a str,
    pub topic: &'a str,
    pub dlq: &'a str,
    pub group: &'a str,
    /// The files of each journal, in their order.
    pub journals: &'a [Vec<PathBuf>],
    /// How often each record was taken by the target, by topic/partition/offset.
    pub taken: &'a BTreeMap<String, u32>,
    /// Whether outcomes follow the offsets of a partition, or only those of a key.
    pub by_key: bool,
}

#[derive(Deserialize)]
struct Line {
    event_type: String,
    #[serde(default)]
    kafka_partition: i32,
    #[serde(default)]
    kafka_offset: i64,
    kafka_key: Option<String>,
    kafka_key_base64: Option<String>,
    raw_message: Option<String>,
    raw_message_base64: Option<String>,
    outcome: Option<String>,
    dlq_id: Option<String>,
    dlq_partition: Option<i32>,
    dlq_offset: Option<i64>,
}

#[derive(Deserialize)]
struct Letter {
    id: String,
    consumer_group: String,
    original_topic: String,
    original_partition: i32,
    original_offset: i64,
    original_key: Option<String>,
    original_key_base64: Option<String>,
    original_payload: Option<String>,
    original_payload_base64: Option<String>,
}

type At = (i32, i64);

/// One journal's view of a record.
struct Seen {
    journal: usize,
    processed: bool,
    letter: Option<(String, At)>,
}

/// Looks at everything.
pub fn check(sources: &Sources<'_>) -> Found {
    let mut found = Found::default();
    let reader = Reader::new(sources.servers);
    let records: HashMap<At, Raw> =
        reader.read(sources.topic).into_iter().map(|raw| ((raw.partition, raw.offset), raw)).collect();
    found.records = records.len() as u64;
    no_record_twice(&records, &mut found);
    let mut seen: HashMap<At, Vec<Seen>> = HashMap::new();
    for (number, files) in sources.journals.iter().enumerate() {
        let mut order = Order { by_key: sources.by_key, last: HashMap::new() };
        for line in files.iter().flat_map(|file| lines(file)) {
            take(number, line, &records, &mut seen, &mut order, &mut found);
        }
    }
    for at in records.keys().filter(|at| !seen.contains_key(at)) {
        found.missing += 1;
        wrong(&mut found, format!("{at:?} has no line"));
    }
    for (at, views) in &seen {
        let processed = views.iter().filter(|view| view.processed).count();
        found.repeats += views.len() as u64 - 1;
        found.mixed += u64::from(processed > 0 && processed < views.len());
        if views[0].processed {
            found.processed += 1;
        } else {
            found.dead_lettered += 1;
        }
        let key = format!("{}/{}/{}", sources.topic, at.0, at.1);
        if processed > 0 && !sources.taken.contains_key(&key) {
            wrong(&mut found, format!("{at:?} is called processed, but the target never took it"));
        }
    }
    letters(sources, &reader, &records, &seen, &mut found);
    found
}

fn wrong(found: &mut Found, what: String) {
    // The first ones say enough.
    if found.wrong.len() < 50 {
        found.wrong.push(what);
    }
}

/// The idempotent producer sends nothing twice, whatever answers are lost.
fn no_record_twice(records: &HashMap<At, Raw>, found: &mut Found) {
    let mut payloads = HashSet::new();
    for (at, record) in records {
        // Spoiled payloads can be the same by chance.
        let Some(value) =
            record.value.as_deref().filter(|value| value.starts_with(b"{\"order_id\":\"order-"))
        else {
            continue;
        };
        if !payloads.insert(blake3::hash(value)) {
            wrong(found, format!("{at:?} is in the topic twice"));
        }
    }
}

fn lines(path: &Path) -> Vec<Line> {
    let text = String::from_utf8(std::fs::read(path).expect("an audit log")).expect("UTF-8");
    let parse =
        |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", path.display()));
    text.split_terminator('\n').map(parse).collect()
}

/// The order of outcomes in one journal.
struct Order {
    by_key: bool,
    last: HashMap<(i32, Option<Vec<u8>>), i64>,
}

impl Order {
    /// Whether an outcome follows the ones before. A dead letter whose line was missing comes before its turn, when its
    /// partition is taken over: it moves nothing forward.
    fn follows(&mut self, partition: i32, offset: i64, processed: bool, key: Option<Vec<u8>>) -> bool {
        if self.by_key && key.is_none() {
            return true;
        }
        let last = self.last.entry((partition, key.filter(|_| self.by_key))).or_insert(-1);
        let follows = offset > *last;
        if processed {
            *last = offset.max(*last);
        }
        follows
    }
}

fn bytes(text: Option<String>, base64: Option<String>) -> Option<Vec<u8>> {
    match base64 {
        Some(base64) => Some(BASE64.decode(base64).expect("Base64")),
        None => text.map(String::into_bytes),
    }
}

fn take(
    journal: usize,
    line: Line,
    records: &HashMap<At, Raw>,
    seen: &mut HashMap<At, Vec<Seen>>,
    order: &mut Order,
    found: &mut Found,
) {
    if line.event_type != "message.received" {
        return;
    }
    let at = (line.kafka_partition, line.kafka_offset);
    let (key, value) =
        (bytes(line.kafka_key, line.kafka_key_base64), bytes(line.raw_message, line.raw_message_base64));
    match records.get(&at) {
        None => {
            found.orphans += 1;
            wrong(found, format!("{at:?} has a line and is no record"));
        }
        Some(record) if record.key != key || record.value != value => {
            wrong(found, format!("the line of {at:?} has another key or payload"));
        }
        Some(_) => {}
    }
    let processed = line.outcome.as_deref() == Some("processed");
    if !order.follows(at.0, at.1, processed, key) {
        wrong(found, format!("{at:?} comes too late in journal {journal}"));
    }
    let letter = line.dlq_id.zip(line.dlq_partition.zip(line.dlq_offset));
    if processed == letter.is_some() {
        wrong(found, format!("the line of {at:?} does not say which dead letter it has"));
    }
    let views = seen.entry(at).or_default();
    if views.iter().any(|view| view.journal == journal) {
        found.duplicates += 1;
        wrong(found, format!("{at:?} has two lines in journal {journal}"));
    } else {
        views.push(Seen { journal, processed, letter });
    }
}

/// Each line of a dead letter has it, and each dead letter its line.
fn letters(
    sources: &Sources<'_>,
    reader: &Reader,
    records: &HashMap<At, Raw>,
    seen: &HashMap<At, Vec<Seen>>,
    found: &mut Found,
) {
    let mut stored: HashMap<At, String> = HashMap::new();
    let mut of: HashMap<At, u64> = HashMap::new();
    for raw in reader.read(sources.dlq) {
        let letter: Letter =
            serde_json::from_slice(raw.value.as_deref().unwrap_or_default()).expect("a dead letter");
        assert_eq!(
            (letter.consumer_group.as_str(), letter.original_topic.as_str()),
            (sources.group, sources.topic)
        );
        let at = (letter.original_partition, letter.original_offset);
        let own = (
            bytes(letter.original_key, letter.original_key_base64),
            bytes(letter.original_payload, letter.original_payload_base64),
        );
        if records.get(&at).is_none_or(|record| (&record.key, &record.value) != (&own.0, &own.1)) {
            wrong(found, format!("the dead letter of {at:?} has another key or payload"));
        }
        let listed = seen.get(&at).is_some_and(|views| {
            views.iter().any(|view| view.letter.as_ref().is_some_and(|(id, _)| *id == letter.id))
        });
        if !listed {
            wrong(found, format!("{at:?} has a dead letter of which no line tells"));
        }
        let times = of.entry(at).or_default();
        *times += 1;
        found.letters_repeated += u64::from(*times > 1);
        stored.insert((raw.partition, raw.offset), letter.id);
    }
    for (at, view) in seen.iter().flat_map(|(at, views)| views.iter().map(move |view| (at, view))) {
        if let Some((id, place)) = &view.letter
            && stored.get(place) != Some(id)
        {
            wrong(found, format!("the dead letter of {at:?} is not at {place:?}"));
        }
    }
}
