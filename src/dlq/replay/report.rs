//! Plans, applies and outcomes as JSON objects: what the tool prints with `--json`, and the web page shows.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::{Applied, Ended, Outcomes, Plan, Planned, Problem, ReplayOutcome};

#[derive(Serialize)]
struct PlanJson<'a> {
    plan_id: Uuid,
    file: String,
    dlq_topic: &'a str,
    entries: usize,
    counts: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<&'static str, u64>,
    targets: BTreeMap<&'a str, u64>,
    repeats: u64,
    discarded: u64,
    refused: Vec<Refused<'a>>,
}

#[derive(Serialize)]
struct Refused<'a> {
    id: Uuid,
    why: &'a str,
}

impl Planned {
    /// What the plan in this file holds, and what was left aside.
    pub fn to_json(&self, file: &Path) -> impl Serialize + '_ {
        let Self { plan, repeats, discarded, refused } = self;
        PlanJson {
            plan_id: plan.plan_id,
            file: file.display().to_string(),
            dlq_topic: &plan.dlq_topic,
            entries: plan.entries.len(),
            counts: plan.counts(),
            reasons: plan.reasons(),
            targets: plan.targets(),
            repeats: *repeats,
            discarded: *discarded,
            refused: refused.iter().map(|(id, why)| Refused { id: *id, why }).collect(),
        }
    }
}

#[derive(Serialize)]
struct AppliedJson<'a> {
    plan_id: Uuid,
    dry_run: bool,
    sent: u64,
    already_there: u64,
    left_out: BTreeMap<&'static str, u64>,
    problems: &'a BTreeMap<&'static str, u64>,
    first_problems: &'a [Problem],
    remaining: u64,
    seconds: f64,
    ended: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl Applied {
    /// What was done about a plan.
    pub fn to_json(&self, plan_id: Uuid, dry_run: bool) -> impl Serialize + '_ {
        let (ended, why) = match &self.ended {
            Ended::Complete => ("complete", None),
            Ended::Stopped => ("stopped", None),
            Ended::Aborted(why) => ("aborted", Some(why.as_str())),
        };
        AppliedJson {
            plan_id,
            dry_run,
            sent: self.sent,
            already_there: self.found,
            left_out: self.left_out.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
            problems: &self.problems.counts,
            first_problems: &self.problems.first,
            remaining: self.remaining,
            seconds: self.took.as_secs_f64(),
            ended,
            why,
        }
    }
}

#[derive(Serialize)]
struct OutcomesJson<'a> {
    plan_id: Uuid,
    dlq_topic: &'a str,
    entries: usize,
    counts: &'a BTreeMap<&'static str, u64>,
    replays: Vec<ReplayJson<'a>>,
}

#[derive(Serialize)]
struct ReplayJson<'a> {
    id: Uuid,
    replay_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<&'a str>,
    #[serde(flatten)]
    outcome: &'a ReplayOutcome,
}

impl Outcomes {
    /// What became of a plan, and of its first `shown` entries.
    pub fn to_json<'a>(&'a self, plan: &'a Plan, shown: usize) -> impl Serialize + 'a {
        let replays = plan.entries.iter().zip(&self.entries).take(shown).map(|(entry, outcome)| ReplayJson {
            id: entry.id,
            replay_id: entry.replay_id,
            order_id: entry.order_id.as_deref(),
            outcome,
        });
        OutcomesJson {
            plan_id: plan.plan_id,
            dlq_topic: &plan.dlq_topic,
            entries: plan.entries.len(),
            counts: &self.counts,
            replays: replays.collect(),
        }
    }
}
