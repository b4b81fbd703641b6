//! A stretch of time in slots of equal width, and what is counted in each slot. Counts are weighted, so that a sample
//! can stand for what was not read; all weights are 1 where everything was.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::lines::EventLine;
use crate::failure::Category;

/// The slots of a window on a screen.
pub(super) const SLOTS: usize = 60;

/// An outcome within this time of its record's own timestamp is on time.
const ON_TIME_MS: i64 = 5_000;

/// The longest latency that is told apart from longer ones: a day.
const MAX_LATENCY_MS: u64 = 86_400_000;

/// Which stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first slot's beginning, a multiple of the width.
    pub from_ms: i64,
    /// A slot's width.
    pub slot_ms: i64,
    /// How many slots there are.
    pub slots: usize,
}

impl Span {
    /// The slots of which the last one holds `end_ms`.
    pub(super) fn ending_at(end_ms: i64, length: Duration, slots: usize) -> Self {
        let count = i64::try_from(slots.max(1)).unwrap_or(1);
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let slot_ms = (length / count).max(1);
        let last = end_ms.div_euclid(slot_ms);
        Self { from_ms: (last - count + 1).saturating_mul(slot_ms), slot_ms, slots: slots.max(1) }
    }

    /// The first moment after it.
    pub(super) fn to_ms(self) -> i64 {
        self.start_of(self.slots)
    }

    /// A slot's beginning.
    pub(super) fn start_of(self, slot: usize) -> i64 {
        self.from_ms.saturating_add(self.slot_ms.saturating_mul(i64::try_from(slot).unwrap_or(i64::MAX)))
    }

    fn slot_of(self, time_ms: i64) -> Option<usize> {
        let slot = time_ms.checked_sub(self.from_ms)?.div_euclid(self.slot_ms);
        usize::try_from(slot).ok().filter(|slot| *slot < self.slots)
    }
}

/// What happened in one slot.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub processed: f64,
    pub dead: [f64; Category::ALL.len()],
    pub first_try: f64,
    pub on_time: f64,
    pub latency: Option<Histogram<u32>>,
    pub causes: BTreeMap<u16, f64>,
}

impl Slot {
    pub(super) fn dead_lettered(&self) -> f64 {
        self.dead.iter().sum()
    }

    pub(super) fn outcomes(&self) -> f64 {
        self.processed + self.dead_lettered()
    }

    fn add(&mut self, line: &EventLine<'_>, cause: Option<u16>, weight: f64) {
        match &line.failure {
            None => self.processed += weight,
            Some((category, _)) => self.dead[*category as usize] += weight,
        }
        if let Some(cause) = cause {
            *self.causes.entry(cause).or_default() += weight;
        }
        if line.attempts <= 1 {
            self.first_try += weight;
        }
        // A record without a timestamp cannot be late.
        if line.latency_ms.is_none_or(|latency| latency <= ON_TIME_MS) {
            self.on_time += weight;
        }
        if let Some(latency) = line.latency_ms
            && let Some(histogram) = self.latencies()
        {
            // A weight is below 2^32 by far.
            histogram.saturating_record_n(latency.unsigned_abs(), weight.round().max(1.0) as u32);
        }
    }

    /// The latencies, two digits of each; these bounds are good ones.
    fn latencies(&mut self) -> Option<&mut Histogram<u32>> {
        if self.latency.is_none() {
            self.latency = Histogram::new_with_bounds(1, MAX_LATENCY_MS, 2).ok();
        }
        self.latency.as_mut()
    }

    /// Adds another slot's counts.
    pub(super) fn merge(&mut self, other: &Self) {
        self.processed += other.processed;
        for (sum, more) in self.dead.iter_mut().zip(other.dead) {
            *sum += more;
        }
        self.first_try += other.first_try;
        self.on_time += other.on_time;
        for (cause, count) in &other.causes {
            *self.causes.entry(*cause).or_default() += count;
        }
        if let Some(more) = &other.latency
            && let Some(histogram) = self.latencies()
        {
            // Both have the same bounds, so that it always fits.
            let added = histogram.add(more);
            debug_assert!(added.is_ok(), "{added:?}");
        }
    }

    /// The latency that this share of the outcomes keeps to, to two digits.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let latency = self.latency.as_ref().filter(|latency| !latency.is_empty())?;
        Some(latency.value_at_quantile(share).min(latency.max()))
    }
}

/// The slots of a span.
pub(super) struct Window {
    span: Span,
    slots: VecDeque<Slot>,
}

impl Window {
    pub(super) fn new(span: Span) -> Self {
        Self { span, slots: VecDeque::from(vec![Slot::default(); span.slots]) }
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    pub(super) fn slots(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Moves on until a time is in the last slot; never back.
    pub(super) fn move_to(&mut self, now_ms: i64) {
        let beyond = now_ms.saturating_sub(self.span.to_ms()).max(-1);
        let steps = (beyond + self.span.slot_ms) / self.span.slot_ms;
        self.span.from_ms += steps * self.span.slot_ms;
        for _ in 0..usize::try_from(steps).unwrap_or(usize::MAX).min(self.slots.len()) {
            self.slots.pop_front();
            self.slots.push_back(Slot::default());
        }
    }

    /// Counts an outcome, if it is of this time.
    pub(super) fn add(&mut self, line: &EventLine<'_>, cause: Option<u16>, weight: f64) {
        if let Some(slot) = self.span.slot_of(line.time_ms).and_then(|slot| self.slots.get_mut(slot)) {
            slot.add(line, cause, weight);
        }
    }

    /// Everything in one slot.
    pub(super) fn total(&self) -> Slot {
        let mut total = Slot::default();
        for slot in &self.slots {
            total.merge(slot);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_ms: i64, latency_ms: i64) -> EventLine<'static> {
        EventLine {
            time_ms,
            topic: "orders".into(),
            partition: 0,
            offset: 0,
            latency_ms: Some(latency_ms),
            attempts: 1,
            failure: None,
        }
    }

    #[test]
    fn the_last_slot_holds_the_end() {
        for (end, from, to) in [(59_999, 0, 60_000), (60_000, 1_000, 61_000), (-1, -60_000, 0)] {
            let span = Span::ending_at(end, Duration::from_secs(60), 60);
            assert_eq!((span.from_ms, span.to_ms(), span.slot_ms), (from, to, 1_000));
            assert_eq!(span.slot_of(end), Some(59));
            assert_eq!((span.slot_of(from), span.slot_of(from - 1), span.slot_of(to)), (Some(0), None, None));
        }
    }

    #[test]
    fn what_time_leaves_behind_is_not_counted_any_more() {
        let mut window = Window::new(Span::ending_at(9_999, Duration::from_secs(10), 10));
        for time in [-1, 0, 999, 5_000, 9_999, 10_000] {
            window.add(&at(time, 1), None, 1.0);
        }
        assert_eq!(window.total().processed, 4.0);
        window.move_to(9_000);
        assert_eq!(window.total().processed, 4.0);
        window.move_to(10_000);
        assert_eq!((window.span().from_ms, window.total().processed), (1_000, 2.0));
        window.add(&at(10_000, 1), None, 1.0);
        assert_eq!(window.slots().last().map(Slot::outcomes), Some(1.0));
        window.move_to(i64::from(i32::MAX));
        assert_eq!(window.total().outcomes(), 0.0);
    }

    #[test]
    fn quantiles_keep_two_digits_and_weights_count() {
        let mut window = Window::new(Span::ending_at(999, Duration::from_secs(1), 1));
        assert_eq!(window.total().quantile(0.5), None);
        for latency in 1..=1_000 {
            window.add(&at(0, latency), None, 1.0);
        }
        let total = window.total();
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = total.quantile(share).expect("a latency") as f64;
            assert!((found - expected).abs() <= expected * 0.01, "{share}: {found}");
        }
        window.add(&at(0, 1_000_000_000), None, 9_000.0);
        let total = window.total();
        assert!(total.quantile(0.5).expect("a latency") >= MAX_LATENCY_MS * 99 / 100);
        assert_eq!((total.processed, total.on_time, total.first_try), (10_000.0, 1_000.0, 10_000.0));
    }
}
