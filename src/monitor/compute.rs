//! From the state to its figures at one moment.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::figures::{
    CauseFigures, Figures, LatencyFigures, NewestOutcome, OutcomeFigures, PartitionFigures,
    ProcessingFigures, SlotFigures, TrackerFigures, WindowFigures,
};
use super::lines::{self, FullLine, Parsed};
use super::score::{quality, quality_level, success_level};
use super::state::{Endpoint, State};
use super::told::{Breaker, Life};
use super::window::Slot;
use crate::failure::Category;
use crate::models::Outcome;

/// The most causes that are listed.
const MAX_CAUSES: usize = 50;

impl Figures {
    /// The figures of a state.
    pub(super) fn of(state: &State, now_ms: i64, live: bool) -> Self {
        let span = state.window.span();
        let total = state.window.total();
        let past_ms = now_ms.clamp(span.from_ms + 1, span.to_ms()) - span.from_ms;
        let quantile = |share| total.quantile(share);
        let latency = || {
            let (p50, p95) = (quantile(0.5)?, quantile(0.95)?);
            Some(LatencyFigures { p50, p95, p99: quantile(0.99)?, max: quantile(1.0)? })
        };
        Self {
            at: time(now_ms),
            live,
            window: WindowFigures {
                from: time(span.from_ms),
                to: time(span.to_ms()),
                seconds: (span.to_ms() - span.from_ms) as f64 / 1e3,
            },
            exact: !state.is_sampled,
            tracker: tracker(state, now_ms),
            partitions: partitions(state),
            outcomes: outcomes(&total, past_ms),
            latency_ms: latency(),
            categories: Category::ALL
                .map(|category| (category.as_str(), whole(total.dead[category as usize])))
                .into(),
            causes: causes(state, &total),
            series: state
                .window
                .slots()
                .enumerate()
                .map(|(n, slot)| series(time(span.start_of(n)), span.slot_ms, slot))
                .collect(),
            newest_outcomes: state.outcomes.iter().rev().filter_map(|line| newest(line)).collect(),
            newest_health: state.health.iter().rev().cloned().collect(),
            notes: notes(state),
        }
    }
}

fn time(time_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(time_ms).unwrap_or_default()
}

fn whole(count: f64) -> u64 {
    count.round().max(0.0) as u64
}

/// To three digits behind the point: nobody reads more.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn tracker(state: &State, now_ms: i64) -> TrackerFigures {
    let told = &state.told;
    let last_seen = state.last_seen_ms();
    let scraped = match &state.endpoint {
        Endpoint::Metrics(scraped) => Some(scraped),
        Endpoint::None | Endpoint::Waiting | Endpoint::Silent(_) => None,
    };
    let mut life = told.life(last_seen, now_ms);
    if scraped.is_some() && matches!(life, Life::Silent | Life::Unknown) {
        life = Life::Up;
    }
    let breaker = scraped.and_then(|scraped| scraped.breaker).or_else(|| {
        let known = told.breaker();
        (told.delivers || known == Breaker::Open).then_some(known)
    });
    TrackerFigures {
        state: life,
        last_seen: last_seen.map(time),
        age_ms: last_seen.map(|seen| now_ms.saturating_sub(seen).max(0)),
        started: told.started_ms.map(time),
        error: told.error.clone(),
        group: told.group.clone(),
        assigned: scraped.and_then(|scraped| scraped.assigned).or(told.assigned),
        paused: scraped.and_then(|scraped| scraped.paused).or(told.metric("paused")),
        in_flight: scraped.and_then(|scraped| scraped.in_flight).or(told.metric("in_flight")),
        breaker,
        disk_full: scraped.and_then(|scraped| scraped.is_stalled).unwrap_or(told.no_room),
        lag: scraped.filter(|scraped| !scraped.lag.is_empty()).map(|scraped| scraped.lag.values().sum()),
        dlq_depth: scraped.and_then(|scraped| scraped.dlq_depth),
        dlq_oldest: scraped
            .and_then(|scraped| scraped.dlq_oldest_s)
            .map(|seconds| time((seconds * 1e3) as i64)),
        processing_ms: scraped.and_then(|scraped| {
            let ms = |share| scraped.processing_ms(share);
            Some(ProcessingFigures { p50: ms(0.5)?, p95: ms(0.95)?, p99: ms(0.99)? })
        }),
        metrics: match &state.endpoint {
            Endpoint::None => "none".to_owned(),
            Endpoint::Waiting => "waiting".to_owned(),
            Endpoint::Silent(why) => why.clone(),
            Endpoint::Metrics(_) => "read".to_owned(),
        },
    }
}

fn partitions(state: &State) -> Vec<PartitionFigures> {
    let mut all: BTreeMap<(&str, i32), PartitionFigures> = BTreeMap::new();
    let unknown = |topic: &str, partition| PartitionFigures {
        topic: topic.to_owned(),
        partition,
        last_offset: None,
        last_seen: None,
        behind_ms: None,
        lag: None,
    };
    for (topic, places) in &state.topics {
        for (partition, place) in places {
            let figures = PartitionFigures {
                last_offset: Some(place.offset),
                last_seen: Some(time(place.time_ms)),
                behind_ms: place.latency_ms,
                ..unknown(topic, *partition)
            };
            all.insert((topic, *partition), figures);
        }
    }
    if let Endpoint::Metrics(scraped) = &state.endpoint {
        for ((topic, partition), lag) in &scraped.lag {
            all.entry((topic, *partition)).or_insert_with(|| unknown(topic, *partition)).lag = Some(*lag);
        }
    }
    let mut all: Vec<PartitionFigures> = all.into_values().collect();
    all.sort_by_key(|figures| {
        std::cmp::Reverse((figures.lag, figures.lag.is_none().then_some(figures.behind_ms)))
    });
    all
}

fn outcomes(total: &Slot, past_ms: i64) -> OutcomeFigures {
    let all = total.outcomes();
    let share = |part: f64| (all > 0.0).then(|| part / all);
    let success_percent = share(total.processed).map(|share| rounded(share * 100.0));
    let quality = quality(share(total.processed), share(total.first_try), share(total.on_time)).map(rounded);
    OutcomeFigures {
        total: whole(all),
        processed: whole(total.processed),
        dead_lettered: whole(total.dead_lettered()),
        retried: whole(all - total.first_try),
        per_second: rounded(all * 1e3 / past_ms.max(1) as f64),
        success_percent,
        success_level: success_percent.map(success_level),
        quality,
        quality_level: quality.map(quality_level),
    }
}

fn causes(state: &State, total: &Slot) -> Vec<CauseFigures> {
    let mut causes: Vec<CauseFigures> = total
        .causes
        .iter()
        .map(|(number, count)| CauseFigures {
            cause: state.causes.name(*number).to_owned(),
            count: whole(*count),
        })
        .collect();
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
    causes.truncate(MAX_CAUSES);
    causes
}

fn series(at: Timestamp, slot_ms: i64, slot: &Slot) -> SlotFigures {
    let all = slot.outcomes();
    SlotFigures {
        at,
        outcomes: whole(all),
        dead_lettered: whole(slot.dead_lettered()),
        per_second: rounded(all * 1e3 / slot_ms as f64),
        error_percent: (all > 0.0).then(|| rounded(slot.dead_lettered() / all * 100.0)),
        p95_ms: slot.quantile(0.95),
    }
}

fn newest(line: &[u8]) -> Option<NewestOutcome> {
    let Parsed::Event(event) = lines::parse(line) else { return None };
    let outcome = if event.failure.is_none() { Outcome::Processed } else { Outcome::DeadLettered };
    let (reason, error) = event.failure.map(|(reason, error)| (reason, error.into_owned())).unzip();
    Some(NewestOutcome {
        timestamp: time(event.time_ms),
        topic: event.topic.into_owned(),
        partition: event.partition,
        offset: event.offset,
        key: FullLine::parse(line).and_then(|full| full.key()),
        outcome,
        reason,
        error,
        attempts: event.attempts,
        latency_ms: event.latency_ms,
        line: line.to_vec(),
    })
}

fn notes(state: &State) -> Vec<String> {
    let mut notes = Vec::new();
    if state.is_sampled {
        notes.push("estimated from a sample; a larger --read-bytes counts more".to_owned());
    }
    if state.unreadable > 0 {
        notes.push(format!("{} lines could not be read", state.unreadable));
    }
    if state.left_out > 0 {
        notes.push(format!("{} sealed segments were not looked at", state.left_out));
    }
    if let Endpoint::Silent(why) = &state.endpoint {
        notes.push(format!("the metrics cannot be read: {why}"));
    }
    notes
}

#[cfg(test)]
#[path = "compute_tests.rs"]
mod tests;
