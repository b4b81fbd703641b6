//! What is known at one moment, from whatever lines have been read: pure, it reads and draws nothing itself.

use std::collections::{BTreeMap, VecDeque};

use super::causes::Causes;
use super::lines::{self, EventLine, Parsed};
use super::scrape::Scraped;
use super::told::Told;
use super::window::{Span, Window};
use crate::models::HealthEntry;

/// How many of the newest lines of each file are kept.
pub(super) const NEWEST: usize = 20;

/// A longer line is kept without its payload: `audit trace` shows it.
const MAX_KEPT: usize = 256 * 1024;

/// The most topics that are told apart.
const MAX_TOPICS: usize = 100;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: i64,
    pub time_ms: i64,
    pub latency_ms: Option<i64>,
}

/// What the tracker's own endpoint says.
#[derive(Debug, Clone, Default)]
pub(super) enum Endpoint {
    /// None was named.
    #[default]
    None,
    /// It has not answered yet.
    Waiting,
    /// It does not answer.
    Silent(String),
    /// Its metrics.
    Metrics(Scraped),
}

/// Everything that figures are made of.
pub(super) struct State {
    pub window: Window,
    pub causes: Causes,
    pub told: Told,
    pub topics: Vec<(String, BTreeMap<i32, Place>)>,
    /// The newest outcomes, as lines; the newest is the last.
    pub outcomes: VecDeque<Vec<u8>>,
    pub health: VecDeque<HealthEntry>,
    /// When the last line of the audit log was written.
    pub last_event_ms: Option<i64>,
    /// Lines that could not be read.
    pub unreadable: u64,
    /// Whether counts are estimated from a sample.
    pub is_sampled: bool,
    /// Segments that were not looked at.
    pub left_out: usize,
    pub endpoint: Endpoint,
}

impl State {
    pub(super) fn new(span: Span) -> Self {
        Self {
            window: Window::new(span),
            causes: Causes::default(),
            told: Told::default(),
            topics: Vec::new(),
            outcomes: VecDeque::new(),
            health: VecDeque::new(),
            last_event_ms: None,
            unreadable: 0,
            is_sampled: false,
            left_out: 0,
            endpoint: Endpoint::None,
        }
    }

    /// Counts a line of the audit log that stands for so many; none after `until_ms`.
    pub(super) fn count(&mut self, line: &[u8], weight: f64, until_ms: i64) {
        match lines::parse(line) {
            Parsed::Event(event) if event.time_ms <= until_ms => self.count_event(&event, weight),
            Parsed::Other(time_ms) if time_ms <= until_ms => self.saw_event(time_ms),
            Parsed::Event(_) | Parsed::Other(_) => {}
            Parsed::Unreadable => self.unreadable += 1,
        }
    }

    /// Keeps a line of the audit log as one of the newest.
    pub(super) fn keep(&mut self, line: &[u8], until_ms: i64) {
        let Parsed::Event(event) = lines::parse(line) else { return };
        if event.time_ms > until_ms {
            return;
        }
        let mut kept = match self.outcomes.len() {
            NEWEST.. => self.outcomes.pop_front().unwrap_or_default(),
            _ => Vec::new(),
        };
        kept.clear();
        // A buffer that held a long line once is not kept for short ones.
        kept.shrink_to(2 * line.len());
        if line.len() <= MAX_KEPT {
            kept.extend_from_slice(line);
        } else {
            kept = event.without_payload(line);
        }
        self.outcomes.push_back(kept);
    }

    fn count_event(&mut self, event: &EventLine<'_>, weight: f64) {
        self.saw_event(event.time_ms);
        let cause = event.failure.as_ref().map(|(_, error)| self.causes.number(error));
        self.window.add(event, cause, weight);
        let place = Place { offset: event.offset, time_ms: event.time_ms, latency_ms: event.latency_ms };
        let index = match self.topics.iter().position(|(topic, _)| *topic == event.topic) {
            Some(index) => index,
            None if self.topics.len() < MAX_TOPICS => {
                self.topics.push((event.topic.clone().into_owned(), BTreeMap::new()));
                self.topics.len() - 1
            }
            None => return,
        };
        if let Some((_, partitions)) = self.topics.get_mut(index) {
            let known = partitions.entry(event.partition).or_insert(place);
            if place.time_ms >= known.time_ms {
                *known = place;
            }
        }
    }

    fn saw_event(&mut self, time_ms: i64) {
        self.last_event_ms = self.last_event_ms.max(Some(time_ms));
    }

    /// Takes a line of the health log, if it is not after `until_ms`.
    pub(super) fn take_health(&mut self, line: &[u8], until_ms: i64) {
        let Ok(entry) = serde_json::from_slice::<HealthEntry>(line) else {
            self.unreadable += 1;
            return;
        };
        if entry.timestamp.as_millisecond() > until_ms {
            return;
        }
        self.told.take(&entry);
        if self.health.len() >= NEWEST {
            self.health.pop_front();
        }
        self.health.push_back(entry);
    }

    /// The last sign of life in either file.
    pub(super) fn last_seen_ms(&self) -> Option<i64> {
        self.last_event_ms.max(self.told.last_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::monitor::samples::{dead, processed};

    fn state() -> State {
        State::new(Span::ending_at(59_999, Duration::from_secs(60), 60))
    }

    #[test]
    fn outcomes_are_counted_and_the_newest_kept() {
        let mut state = state();
        for n in 0..30 {
            let line = if n % 10 == 0 { dead(n * 1_000, n, "bad 1") } else { processed(n * 1_000, n) };
            state.count(line.as_bytes(), 1.0, 24_000);
            state.keep(line.as_bytes(), 24_000);
        }
        state.count(b"what?", 1.0, i64::MAX);
        let total = state.window.total();
        assert_eq!((total.processed, total.dead_lettered(), state.unreadable), (22.0, 3.0, 1));
        assert_eq!(state.outcomes.len(), NEWEST);
        assert_eq!(state.outcomes.back().expect("the newest"), processed(24_000, 24).as_bytes());
        assert_eq!(state.last_event_ms, Some(24_000));
        let place = state.topics[0].1[&0];
        assert_eq!((state.topics[0].0.as_str(), place.offset), ("orders", 24));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut state = state();
        let long =
            processed(1, 1).replace("\"hash\"", &format!("\"x\":\"{}\",\"hash\"", "y".repeat(MAX_KEPT)));
        state.keep(long.as_bytes(), i64::MAX);
        assert!(state.outcomes.back().expect("kept").len() < 1_000);
        for topic in 0..1_000 {
            let line = processed(1, 1).replace("\"orders\"", &format!("\"t{topic}\""));
            state.count(line.as_bytes(), 1.0, i64::MAX);
        }
        assert_eq!(state.topics.len(), MAX_TOPICS);
    }

    #[test]
    fn a_health_line_that_is_none_is_only_counted() {
        let mut state = state();
        for line in ["", "{}", "\u{1b}[2J", "{\"timestamp\":\"2026-11-21T00:00:00Z\"}"] {
            state.take_health(line.as_bytes(), i64::MAX);
        }
        assert_eq!((state.unreadable, state.health.len(), state.last_seen_ms()), (4, 0, None));
    }
}
