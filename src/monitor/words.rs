//! Figures in words, for the screen and for `--once`. Everything that was text in a file is made safe here, whatever
//! the place where it is shown does as well.

use jiff::Timestamp;

use super::figures::{Figures, NewestOutcome, PartitionFigures};
use super::score::Level;
use super::told::{Breaker, Life};
use crate::models::{HealthEntry, HealthLevel, Outcome, safe_short};

/// One fact: what it is about, what it is, how good that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub label: &'static str,
    pub text: String,
    pub level: Option<Level>,
}

fn fact(label: &'static str, text: impl Into<String>, level: Option<Level>) -> Fact {
    Fact { label, text: text.into(), level }
}

/// The longest text of a file in a row.
const TEXT_CHARS: usize = 300;

/// Text of a file, safe and short.
pub(super) fn safe(text: &str) -> String {
    safe_short(text, TEXT_CHARS)
}

/// How the tracker fares.
pub(super) fn health(figures: &Figures) -> Vec<Fact> {
    let tracker = &figures.tracker;
    let mut facts = vec![fact("tracker", life(figures), Some(life_level(tracker.state)))];
    if let Some(error) = &tracker.error {
        facts.push(fact("error", safe(error), Some(Level::Critical)));
    }
    let mut group = tracker.group.as_deref().map(safe).unwrap_or_default();
    for (number, what) in
        [(tracker.assigned, "partitions"), (tracker.paused, "paused"), (tracker.in_flight, "in flight")]
    {
        if let Some(number) = number {
            group.push_str(&format!("{}{number} {what}", if group.is_empty() { "" } else { ", " }));
        }
    }
    facts.push(fact("group", if group.is_empty() { "not told".to_owned() } else { group }, None));
    if let Some(breaker) = tracker.breaker {
        let (text, level) = match breaker {
            Breaker::Closed => ("closed: records are delivered", Level::Good),
            Breaker::Open => ("open: records wait for the delivery target", Level::Critical),
            Breaker::HalfOpen => ("half open: one record is tried", Level::Warning),
            Breaker::Unknown => ("not known", Level::Warning),
        };
        facts.push(fact("breaker", text, Some(level)));
    }
    if tracker.disk_full {
        facts.push(fact("disk", "full: nothing is committed until there is room", Some(Level::Critical)));
    }
    let lag = match (tracker.lag, tracker.metrics.as_str()) {
        (Some(lag), _) => format!("{} records", grouped(lag.unsigned_abs())),
        (None, "none") => "only the metrics tell (--metrics-url)".to_owned(),
        (None, "waiting") => "waiting for the metrics".to_owned(),
        (None, "read") => "the metrics do not tell".to_owned(),
        (None, why) => format!("no metrics: {}", safe(why)),
    };
    facts.push(fact("lag", lag, None));
    if let Some(depth) = tracker.dlq_depth {
        let oldest =
            tracker.dlq_oldest.map(|oldest| format!(", the oldest {} old", age(since(oldest, figures.at))));
        let text = format!("{} in the topic{}", grouped(depth.max(0.0) as u64), oldest.unwrap_or_default());
        facts.push(fact("letters", text, None));
    }
    facts.extend(figures.notes.iter().map(|note| fact("note", safe(note), Some(Level::Warning))));
    facts
}

/// One partition.
pub(super) fn partition(figures: &PartitionFigures) -> String {
    let mut text = format!("{}/{}", safe(&figures.topic), figures.partition);
    if let Some(offset) = figures.last_offset {
        text.push_str(&format!("  offset {offset}"));
    }
    if let Some(behind) = figures.behind_ms {
        text.push_str(&format!("  {} behind", age(behind)));
    }
    if let Some(lag) = figures.lag {
        text.push_str(&format!("  lag {lag}"));
    }
    text
}

/// How well it goes.
pub(super) fn quality(figures: &Figures) -> Vec<Fact> {
    let outcomes = &figures.outcomes;
    let level = |level: Option<Level>| level.map(|level| format!("  {}", level.as_str())).unwrap_or_default();
    let about = if figures.exact { "" } else { "about " };
    let success =
        outcomes.success_percent.map_or("no outcome".to_owned(), |percent| format!("{percent:.2} %"));
    let quality = outcomes.quality.map_or("no outcome".to_owned(), |score| format!("{score:.1} of 100"));
    vec![
        fact("success", success + &level(outcomes.success_level), outcomes.success_level),
        fact("quality", quality + &level(outcomes.quality_level), outcomes.quality_level),
        fact(
            "outcomes",
            format!("{about}{} in {}", grouped(outcomes.total), age((figures.window.seconds * 1e3) as i64)),
            None,
        ),
        fact("processed", format!("{about}{}", grouped(outcomes.processed)), None),
        fact(
            "dead",
            format!("{about}{}, {} retried", grouped(outcomes.dead_lettered), grouped(outcomes.retried)),
            None,
        ),
        fact("rate", format!("{} per second", rate(outcomes.per_second)), None),
    ]
}

/// How long it takes.
pub(super) fn latency(figures: &Figures) -> Vec<Fact> {
    let Some(latency) = figures.latency_ms else { return vec![fact("", "no outcome", None)] };
    let mut facts = [("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99), ("max", latency.max)]
        .map(|(label, ms)| fact(label, age(i64::try_from(ms).unwrap_or(i64::MAX)), None))
        .to_vec();
    if let Some(work) = figures.tracker.processing_ms {
        facts.push(fact("work", format!("p95 {} ms", work.p95), None));
    }
    facts
}

/// A row of the health log.
pub(super) fn log_row(entry: &HealthEntry) -> (String, Option<Level>) {
    let mut text = format!("{} {:<5} {}", clock(entry.timestamp), entry.level, safe(&entry.message));
    if let Some(error) = &entry.error {
        text.push_str(&format!(": {}", safe(error)));
    }
    let level = match entry.level {
        HealthLevel::Info => None,
        HealthLevel::Warn => Some(Level::Warning),
        HealthLevel::Error => Some(Level::Critical),
    };
    (text, level)
}

/// A row of the outcomes.
pub(super) fn outcome_row(outcome: &NewestOutcome) -> (String, Option<Level>) {
    let key = outcome.key.as_deref().map_or_else(|| "-".to_owned(), |key| safe_short(key, 40));
    let place = format!("{}/{}/{}", safe(&outcome.topic), outcome.partition, outcome.offset);
    let time = clock(outcome.timestamp);
    match outcome.outcome {
        Outcome::Processed => (format!("{time} ok   {place} {key}"), None),
        Outcome::DeadLettered => {
            let reason = outcome.reason.map_or("", |reason| reason.as_str());
            let error = outcome.error.as_deref().map(safe).unwrap_or_default();
            (format!("{time} dead {place} {key} {reason} {error}"), Some(Level::Warning))
        }
    }
}

/// Whether and how the tracker runs, and how old what is known of it is.
pub(super) fn life(figures: &Figures) -> String {
    let tracker = &figures.tracker;
    let age = tracker.age_ms.map(age).unwrap_or_default();
    match tracker.state {
        Life::Up => format!("up, last line {age} ago"),
        Life::Stopping => format!("stopping, last line {age} ago"),
        Life::Stopped => format!("stopped, the data is {age} old"),
        Life::Failed => format!("ended by an error, the data is {age} old"),
        Life::Silent => format!("silent, the data is {age} old"),
        Life::Unknown => "no line of it yet".to_owned(),
    }
}

/// How good that is.
pub(super) fn life_level(life: Life) -> Level {
    match life {
        Life::Up => Level::Good,
        Life::Stopping | Life::Stopped | Life::Unknown => Level::Warning,
        Life::Failed | Life::Silent => Level::Critical,
    }
}

/// A time of day, in UTC.
pub(super) fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

fn since(then: Timestamp, now: Timestamp) -> i64 {
    now.as_millisecond().saturating_sub(then.as_millisecond()).max(0)
}

/// A stretch of time in its nearest unit.
pub(super) fn age(ms: i64) -> String {
    let seconds = ms as f64 / 1e3;
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{seconds:.1} s"),
        10_000..120_000 => format!("{seconds:.0} s"),
        120_000..7_200_000 => format!("{:.0} min", seconds / 60.0),
        7_200_000..172_800_000 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A rate with as many digits as it deserves.
pub(super) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { grouped(per_second.round() as u64) } else { format!("{per_second:.1}") }
}

/// A count, its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_500, "1.5 s"),
            (59_000, "59 s"),
            (300_000, "5 min"),
            (3_600_000, "60 min"),
            (9_000_000, "2.5 h"),
            (864_000_000, "10.0 days"),
        ] {
            assert_eq!(age(ms), text);
        }
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
        assert_eq!((rate(1.25), rate(12_345.6)), ("1.2".to_owned(), "12,346".to_owned()));
    }
}
