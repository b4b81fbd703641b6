//! What a plan says: a frozen set of dead letters, each with its place, the hash of its payload, where it is to go and
//! what is expected of it. Knows neither files nor Kafka.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dlq::Dialect;
use crate::failure::Category;
use crate::models::{BytesField, BytesFieldError};

/// What a replay of a dead letter is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The validator of this version takes it.
    Passes,
    /// The validator of this version refuses it.
    FailsAgain,
    /// A newer state of the same order was processed; sent now, the old one would overwrite it.
    Superseded,
    /// It was replayed before.
    AlreadyReplayed,
    /// It is no order, so nobody here can tell.
    Unknown,
}

impl Prediction {
    /// Every prediction, in the order of reports.
    pub const ALL: [Self; 5] =
        [Self::Passes, Self::FailsAgain, Self::Superseded, Self::AlreadyReplayed, Self::Unknown];

    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::FailsAgain => "fails_again",
            Self::Superseded => "superseded",
            Self::AlreadyReplayed => "already_replayed",
            Self::Unknown => "unknown",
        }
    }
}

/// Where the record that failed was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanOrigin {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A payload that is sent instead of the one that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEdit {
    /// BLAKE3 of it, lower-case hex.
    pub edited_hash: String,
    /// The payload, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The payload in Base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

impl PlanEdit {
    /// An edit to this payload.
    pub fn to(payload: &[u8]) -> Self {
        let field = BytesField::encode(Some(payload));
        Self {
            edited_hash: super::payload_hash(payload),
            payload: field.text.map(Into::into),
            payload_base64: field.base64.map(Into::into),
        }
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// Somebody wrote both forms, or what is no Base64.
    pub fn bytes(&self) -> Result<Vec<u8>, BytesFieldError> {
        let field = BytesField {
            text: self.payload.as_deref().map(Into::into),
            base64: self.payload_base64.as_deref().map(Into::into),
        };
        Ok(field.decode()?.unwrap_or_default())
    }
}

/// One dead letter of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEntry {
    /// The dead letter.
    pub id: Uuid,
    /// Its partition in the dead letter topic.
    pub dlq_partition: i32,
    /// Its offset there.
    pub dlq_offset: i64,
    /// Who wrote it; `None` in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// BLAKE3 of the payload that failed, lower-case hex; `None` for Kafka's null.
    pub payload_hash: Option<String>,
    /// Whether the payload was left out of the dead letter, so that it must be taken from elsewhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub payload_elsewhere: bool,
    /// Where the record that failed was read, where the dead letter says so.
    pub origin: Option<PlanOrigin>,
    /// Where it is to go; `None` when nobody knows.
    pub target: Option<String>,
    /// Why it died.
    pub reason: Category,
    /// What happened, shortened.
    pub error: String,
    /// What is expected of a replay.
    pub prediction: Prediction,
    /// Why that is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The order, where the payload is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Its sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// The consumer group that could not handle it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How often it was replayed before it died this time.
    pub replay_count: u32,
    /// What its replay will be called: the UUIDv5 of the plan and the dead letter.
    pub replay_id: Uuid,
    /// What is sent instead of the payload that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<PlanEdit>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its id; every `replay_id` follows from it.
    pub plan_id: Uuid,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it: user and host.
    pub by: String,
    /// The dead letter topic.
    pub dlq_topic: String,
    /// How the set was chosen, in the words of the command line.
    pub filters: Vec<String>,
    /// Whether what has a newer state is to be sent all the same.
    pub include_superseded: bool,
    /// Where the topics ended that were looked at: what comes later was not seen.
    pub seen: Offsets,
    /// The dead letters, in the order in which they are to be sent.
    pub entries: Vec<PlanEntry>,
}

impl Plan {
    /// How many entries there are of each prediction; all of them are named.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<_, _> = Prediction::ALL.iter().map(|p| (p.as_str(), 0)).collect();
        for entry in &self.entries {
            *counts.entry(entry.prediction.as_str()).or_default() += 1;
        }
        counts
    }

    /// How many entries go to each topic.
    pub fn targets(&self) -> BTreeMap<&str, u64> {
        let mut targets = BTreeMap::new();
        for target in self.entries.iter().filter_map(|entry| entry.target.as_deref()) {
            *targets.entry(target).or_default() += 1;
        }
        targets
    }

    /// What is asked before it is sent, to `to` or where it says itself.
    pub fn question(&self, to: Option<&str>) -> String {
        let count = self.entries.len() as u64;
        let targets = to.map_or_else(|| self.targets(), |to| BTreeMap::from([(to, count)]));
        let nowhere = count - targets.values().sum::<u64>();
        let mut parts: Vec<_> = targets.iter().map(|(name, count)| format!("{count} to {name}")).collect();
        if nowhere > 0 {
            parts.push(format!("{nowhere} without a target"));
        }
        let letters = if count == 1 { "dead letter" } else { "dead letters" };
        format!("Replay {count} {letters}: {}. Go on?", parts.join(", "))
    }

    /// How many entries there are of each reason.
    pub fn reasons(&self) -> BTreeMap<&'static str, u64> {
        let mut reasons = BTreeMap::new();
        for entry in &self.entries {
            *reasons.entry(entry.reason.as_str()).or_default() += 1;
        }
        reasons
    }
}

/// The name of a dead letter's replay by a plan: the UUIDv5, in the namespace of the plan's id, of the dead letter's id as
/// text. So a plan that is applied again gives the same names.
pub fn replay_id(plan_id: Uuid, id: Uuid) -> Uuid {
    Uuid::new_v5(&plan_id, id.to_string().as_bytes())
}

/// Puts the entries into the order of sending: by partition and offset of the dead letter topic, but entries of the same
/// key (here a hash of it, beside each entry) in the order in which their records were first read, whatever the order in
/// which they died.
pub fn in_sending_order(mut keyed: Vec<(u64, PlanEntry)>) -> Vec<PlanEntry> {
    keyed.sort_by_key(|(_, entry)| (entry.dlq_partition, entry.dlq_offset));
    let stream = |(key, entry): &(u64, PlanEntry)| {
        let origin = entry.origin.as_ref()?;
        Some((entry.dlq_partition, *key, origin.topic.clone(), origin.partition))
    };
    let mut streams: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, entry) in keyed.iter().enumerate() {
        if let Some(stream) = stream(entry) {
            streams.entry(stream).or_default().push(at);
        }
    }
    let offset = |entry: &PlanEntry| entry.origin.as_ref().map_or(0, |origin| origin.offset);
    let mut order: Vec<usize> = (0..keyed.len()).collect();
    for slots in streams.into_values().filter(|slots| slots.len() > 1) {
        let mut by_origin = slots.clone();
        by_origin.sort_by_key(|at| offset(&keyed[*at].1));
        for (slot, from) in slots.into_iter().zip(by_origin) {
            order[slot] = from;
        }
    }
    let mut entries: Vec<Option<PlanEntry>> = keyed.into_iter().map(|(_, entry)| Some(entry)).collect();
    order.into_iter().filter_map(|from| entries[from].take()).collect()
}

#[cfg(test)]
impl Plan {
    /// A plan for tests, of these entries and nothing else.
    pub(crate) fn of(entries: Vec<PlanEntry>) -> Self {
        Self {
            plan_id: Uuid::from_u128(7),
            created: Timestamp::UNIX_EPOCH,
            by: String::new(),
            dlq_topic: "orders-dlq".to_owned(),
            filters: Vec::new(),
            include_superseded: false,
            seen: Offsets::new(),
            entries,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry at this place of the dead letter topic, whose record was at `origin`.
    pub(in crate::dlq) fn entry(dlq_partition: i32, dlq_offset: i64, origin: i64) -> PlanEntry {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{dlq_partition} {dlq_offset}").as_bytes());
        PlanEntry {
            id,
            dlq_partition,
            dlq_offset,
            dialect: Some(Dialect::PubsubKafka),
            payload_hash: None,
            payload_elsewhere: false,
            origin: Some(PlanOrigin { topic: "orders".to_owned(), partition: dlq_partition, offset: origin }),
            target: Some("orders".to_owned()),
            reason: Category::Validation,
            error: String::new(),
            prediction: Prediction::Passes,
            why: None,
            order_id: None,
            sequence: None,
            group: None,
            replay_count: 0,
            replay_id: replay_id(Uuid::NAMESPACE_DNS, id),
            edited: None,
        }
    }

    #[test]
    fn records_of_one_key_keep_the_order_in_which_they_were_first_read() {
        // Key 7 died in the order 30, 10; key 8 in its order; what was replayed and died again is another stream's.
        let died = [(7, 0, 0, 30), (8, 0, 1, 11), (7, 0, 2, 10), (8, 0, 3, 12), (7, 1, 0, 5)];
        let keyed = died.map(|(key, partition, at, origin)| (key, entry(partition, at, origin)));
        let sent = in_sending_order(keyed.into_iter().rev().collect());
        let places: Vec<_> = sent.iter().map(|e| (e.dlq_partition, e.dlq_offset)).collect();
        assert_eq!(places, [(0, 2), (0, 1), (0, 0), (0, 3), (1, 0)]);
    }

    #[test]
    fn the_question_says_how_many_go_where() {
        let to = |target: Option<&str>| PlanEntry { target: target.map(str::to_owned), ..entry(0, 1, 1) };
        let mut plan = Plan::of(vec![to(Some("orders"))]);
        assert_eq!(plan.question(None), "Replay 1 dead letter: 1 to orders. Go on?");
        plan.entries.extend([to(Some("bills")), to(None), to(Some("orders"))]);
        let question = "Replay 4 dead letters: 1 to bills, 2 to orders, 1 without a target. Go on?";
        assert_eq!(plan.question(None), question);
        assert_eq!(plan.question(Some("other")), "Replay 4 dead letters: 4 to other. Go on?");
    }

    #[test]
    fn a_replays_name_follows_from_plan_and_letter() {
        let (plan, id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(replay_id(plan, id), replay_id(plan, id));
        assert_eq!(replay_id(plan, id).get_version_num(), 5);
        assert_ne!(replay_id(plan, id), replay_id(id, plan));
    }

    #[test]
    fn an_edit_keeps_bytes_that_are_no_text() {
        for payload in [&b"{\"a\":1}"[..], b"", b"\xff\x00"] {
            let edit = PlanEdit::to(payload);
            assert_eq!(edit.bytes().expect("bytes"), payload);
            assert_eq!(edit.payload.is_some(), std::str::from_utf8(payload).is_ok());
        }
    }
}
