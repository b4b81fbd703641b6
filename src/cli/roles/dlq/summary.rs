//! How plans, applies and their outcomes look: a few lines for people, or one JSON object.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::dlq::replay::{Applied, Ended, Outcomes, Plan, Planned, ReplayState};
use crate::models::{safe_short, safe_text, to_safe_vec};

/// How many causes and single outcomes are shown.
const SHOWN: usize = 10;
/// How many replays tell something about how fast they went.
const WORTH_A_RATE: u64 = 1_000;
/// How much of a cause is shown, in characters.
const CAUSE_CHARS: usize = 100;

pub(super) fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = to_safe_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// What a plan holds.
pub(super) fn write_planned(
    planned: &Planned,
    file: &Path,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Planned { plan, repeats, discarded, refused } = planned;
    if json {
        return write_json(&planned.to_json(file), out);
    }
    write_plan_lines(plan, out)?;
    if *repeats > 0 {
        writeln!(out, "  {repeats} more records are repeats of these")?;
    }
    if *discarded > 0 {
        writeln!(out, "  {discarded} more were discarded and are not planned")?;
    }
    for (id, why) in refused.iter().take(SHOWN) {
        writeln!(out, "  not planned: {id}: {}", safe_text(why))?;
    }
    more(refused.len(), out)
}

/// Counts, causes and targets of a plan.
pub(super) fn write_plan_lines(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "plan {} of {}: {} dead letters", plan.plan_id, plan.dlq_topic, plan.entries.len())?;
    writeln!(out, "  expected   {}", listed(plan.counts()))?;
    writeln!(out, "  died of    {}", listed(plan.reasons()))?;
    writeln!(out, "  go to      {}", listed(plan.targets()))?;
    let nowhere = plan.entries.iter().filter(|entry| entry.target.is_none()).count();
    if nowhere > 0 {
        writeln!(out, "  {nowhere} do not say where they came from: apply --to TOPIC")?;
    }
    let mut causes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in &plan.entries {
        if let Some(why) = &entry.why {
            *causes.entry((entry.prediction.as_str(), why)).or_default() += 1;
        }
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((prediction, why), count) in causes.iter().take(SHOWN) {
        writeln!(out, "  {count:>9}  {prediction}: {}", safe_short(why, CAUSE_CHARS))?;
    }
    more(causes.len(), out)
}

fn more(count: usize, out: &mut dyn Write) -> io::Result<()> {
    if count > SHOWN { writeln!(out, "  … and {} more", count - SHOWN) } else { Ok(()) }
}

/// `passes 3, unknown 1`, without what there is none of.
pub(super) fn listed<N: std::fmt::Display>(counts: BTreeMap<N, u64>) -> String {
    let shown: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

/// What an apply did.
pub(super) fn write_applied(
    plan: &Plan,
    applied: &Applied,
    dry_run: bool,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    if json {
        return write_json(&applied.to_json(plan.plan_id, dry_run), out);
    }
    let verb = if dry_run { "would be sent" } else { "sent" };
    writeln!(out, "{} {verb}, {} were there already", applied.sent, applied.found)?;
    if applied.sent >= WORTH_A_RATE {
        let seconds = applied.took.as_secs_f64().max(0.001);
        writeln!(out, "in {seconds:.1} s, {:.0} a second", applied.sent as f64 / seconds)?;
    }
    for (why, count) in &applied.left_out {
        writeln!(out, "{count} left out: {} ({})", why.as_str(), why.remedy())?;
    }
    for problem in &applied.problems.first {
        writeln!(
            out,
            "not sent: {}: {}: {}",
            problem.id,
            problem.kind.as_str(),
            safe_text(&problem.message)
        )?;
    }
    if applied.problems.total() > applied.problems.first.len() as u64 {
        writeln!(out, "not sent in all: {}", listed(applied.problems.counts.clone()))?;
    }
    if let Ended::Aborted(why) = &applied.ended {
        writeln!(out, "aborted: {why}")?;
    }
    if applied.remaining > 0 {
        writeln!(out, "{} remain: the same command goes on with them", applied.remaining)?;
    }
    Ok(())
}

/// What became of a plan.
pub(super) fn write_outcomes(
    plan: &Plan,
    outcomes: &Outcomes,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    if json {
        return write_json(&outcomes.to_json(plan, usize::MAX), out);
    }
    let entries = plan.entries.iter().zip(&outcomes.entries);
    writeln!(out, "plan {} of {}: {} dead letters", plan.plan_id, plan.dlq_topic, plan.entries.len())?;
    writeln!(out, "  {}", listed(outcomes.counts.clone()))?;
    let told: Vec<_> = entries.filter(|(_, outcome)| outcome.state != ReplayState::Processed).collect();
    for (entry, outcome) in told.iter().take(SHOWN) {
        let why = outcome.why.as_deref().map(|why| format!(": {}", safe_text(why))).unwrap_or_default();
        writeln!(out, "  {}  {}{why}", entry.id, outcome.state.as_str())?;
    }
    more(told.len(), out)
}
