//! Fills the state from the files: first from their ends backwards, as far as the window reaches, then by following
//! them. A window with more bytes than may be read is sampled, each of its slots alike.

use std::path::PathBuf;
use std::time::Duration;

use super::MonitorError;
use super::figures::Figures;
use super::past::Past;
use super::state::{Endpoint, State};
use super::tail::{Tail, Turn};
use super::told::Life;
use super::window::{SLOTS, Span};

/// How much of the health log's end is read.
const LOG_TAIL: u64 = 2 << 20;

/// How much of the audit log's end is looked at for the newest outcomes.
const NEWEST_TAIL: u64 = 1 << 20;

/// Lines are that much out of order at most: several threads make them.
const DISORDER_MS: i64 = 2_000;

/// The pieces that a slot's sample consists of.
const PIECES: u64 = 4;

/// What is read, and how much of it.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The health log.
    pub log_file: PathBuf,
    /// The audit log.
    pub events_file: PathBuf,
    /// The most bytes of the audit log that are read to fill a window.
    pub read_bytes: u64,
}

/// Which time is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub length: Duration,
    pub slots: usize,
    /// A moment of the past; now, if there is none.
    pub at_ms: Option<i64>,
}

impl Look {
    pub(super) fn live(length: Duration) -> Self {
        Self { length, slots: SLOTS, at_ms: None }
    }
}

/// The state and what keeps it up to date.
pub(super) struct Feed {
    sources: Sources,
    look: Look,
    state: State,
    events: Tail,
    health: Tail,
    /// Why the files cannot be read right now.
    trouble: Option<String>,
}

impl Feed {
    /// Reads what is there.
    pub(super) fn open(sources: Sources, look: Look, now_ms: i64) -> Result<Self, MonitorError> {
        let (state, events, health) = read(&sources, look, now_ms)?;
        Ok(Self { sources, look, state, events, health, trouble: None })
    }

    /// Looks at another time.
    pub(super) fn look(&mut self, look: Look, now_ms: i64) -> Result<(), MonitorError> {
        let (mut state, events, health) = read(&self.sources, look, now_ms)?;
        state.endpoint = std::mem::take(&mut self.state.endpoint);
        (self.look, self.state, self.events, self.health) = (look, state, events, health);
        Ok(())
    }

    pub(super) fn set_endpoint(&mut self, endpoint: Endpoint) {
        self.state.endpoint = endpoint;
    }

    /// Whether either file was ever there.
    pub(super) fn has_files(&self) -> bool {
        self.sources.log_file.exists()
            || self.state.last_seen_ms().is_some()
            || self.sources.events_file.exists()
    }

    /// Reads what has been added. Whether there was anything.
    pub(super) fn follow(&mut self, now_ms: i64) -> bool {
        if self.look.at_ms.is_some() {
            return false;
        }
        match self.try_follow(now_ms) {
            Ok(changed) => changed | self.trouble.take().is_some(),
            Err(error) => self.trouble.replace(crate::failure::chain_of(&error)).is_none(),
        }
    }

    fn try_follow(&mut self, now_ms: i64) -> Result<bool, MonitorError> {
        let Self { state, events, health, sources, .. } = self;
        let health = health
            .turn(|line| state.take_health(line, i64::MAX))
            .map_err(MonitorError::read(&sources.log_file))?;
        let life = state.told.life(state.last_seen_ms(), now_ms);
        if moves(life) {
            state.window.move_to(now_ms);
        }
        let events = events
            .turn(|line| {
                // A line of what is still the future is not waited for.
                state.window.move_to(super::lines::time_of(line).unwrap_or(i64::MIN).min(now_ms));
                state.count(line, 1.0, i64::MAX);
                state.keep(line, i64::MAX);
            })
            .map_err(MonitorError::read(&sources.events_file))?;
        if Turn::FarBehind == health || Turn::FarBehind == events {
            self.look(self.look, now_ms)?;
            return Ok(true);
        }
        Ok(health == Turn::Grown || events == Turn::Grown)
    }

    pub(super) fn figures(&self, now_ms: i64) -> Figures {
        let mut figures =
            Figures::of(&self.state, self.look.at_ms.unwrap_or(now_ms), self.look.at_ms.is_none());
        figures.notes.extend(self.trouble.clone());
        figures
    }
}

/// Whether the window ends now, and not with what there is.
fn moves(life: Life) -> bool {
    matches!(life, Life::Up | Life::Stopping)
}

fn read(sources: &Sources, look: Look, now_ms: i64) -> Result<(State, Tail, Tail), MonitorError> {
    let until_ms = look.at_ms.unwrap_or(i64::MAX);
    let log = Past::of_file(&sources.log_file).map_err(MonitorError::read(&sources.log_file))?;
    let journal = Past::of_journal(&sources.events_file).map_err(MonitorError::read(&sources.events_file))?;
    // The span is known once the health log is.
    let mut state = State::new(Span::ending_at(now_ms, look.length, look.slots));
    let log_end = read_log(&log, &mut state, until_ms).map_err(MonitorError::read(&sources.log_file))?;
    let events_end = read_events(&journal, &mut state, look, now_ms, sources.read_bytes)
        .map_err(MonitorError::read(&sources.events_file))?;
    let events = Tail::new(&sources.events_file, journal.in_live(events_end));
    let health = Tail::new(&sources.log_file, log.in_live(log_end));
    Ok((state, events, health))
}

fn read_log(log: &Past, state: &mut State, until_ms: i64) -> std::io::Result<u64> {
    let stop = end_before(log, until_ms)?;
    let from = log.line_start(stop.saturating_sub(LOG_TAIL))?;
    let (end, too_long) = log.lines(from, stop, |line| state.take_health(line, until_ms))?;
    state.unreadable += too_long;
    Ok(end)
}

/// Past the last line that is not after a moment.
fn end_before(past: &Past, until_ms: i64) -> std::io::Result<u64> {
    if until_ms == i64::MAX {
        return Ok(past.len());
    }
    past.find_end(until_ms.saturating_add(DISORDER_MS))
}

fn read_events(
    journal: &Past,
    state: &mut State,
    look: Look,
    now_ms: i64,
    budget: u64,
) -> std::io::Result<u64> {
    let until_ms = look.at_ms.unwrap_or(i64::MAX);
    state.left_out = journal.left_out;
    let stop = end_before(journal, until_ms)?;
    let newest = journal.line_start(stop.saturating_sub(NEWEST_TAIL))?;
    let (end, _) = journal.lines(newest, stop, |line| state.keep(line, until_ms))?;

    let last_event = journal.last(stop)?;
    let life = state.told.life(state.told.last_ms.max(last_event), now_ms);
    // Where nobody writes any more, the window ends with what there is.
    let end_ms =
        look.at_ms.unwrap_or_else(|| if moves(life) { now_ms } else { last_event.unwrap_or(now_ms) });
    let span = Span::ending_at(end_ms, look.length, look.slots);
    state.window = super::window::Window::new(span);
    state.last_event_ms = last_event.filter(|last| *last <= until_ms);

    let from = journal.find(span.from_ms.saturating_sub(DISORDER_MS))?;
    if stop.saturating_sub(from) <= budget {
        let (_, too_long) = journal.lines(from, stop, |line| state.count(line, 1.0, until_ms))?;
        state.unreadable += too_long;
    } else {
        sample(journal, state, span, (stop, until_ms), budget)?;
    }
    Ok(end)
}

/// Reads of each slot as much as its part of the budget allows, in pieces, and lets that stand for all of it.
fn sample(
    journal: &Past,
    state: &mut State,
    span: Span,
    (stop, until_ms): (u64, i64),
    budget: u64,
) -> std::io::Result<()> {
    state.is_sampled = true;
    let allowed = (budget / span.slots as u64).max(64 * 1024);
    let mut begin = journal.find(span.from_ms)?;
    for slot in 0..span.slots {
        let end = match slot + 1 {
            next if next < span.slots => journal.find(span.start_of(next))?.clamp(begin, stop),
            _ => stop,
        };
        let size = end - begin;
        let pieces: Vec<(u64, u64)> = if size <= allowed {
            vec![(begin, end)]
        } else {
            let piece = allowed / PIECES;
            let starts = (0..PIECES).map(|n| begin + (size - piece) / (PIECES - 1) * n);
            starts.map(|at| Ok((journal.line_start(at)?, at + piece))).collect::<std::io::Result<_>>()?
        };
        // A piece ends with the line in which it ends.
        let mut taken = 0;
        for (from, to) in &pieces {
            taken += journal.line_start(*to)?.min(end).saturating_sub(*from);
        }
        let weight = if size <= allowed || taken == 0 { 1.0 } else { size as f64 / taken as f64 };
        for (from, to) in pieces {
            journal.lines(from, to, |line| state.count(line, weight, until_ms))?;
        }
        begin = end;
    }
    Ok(())
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
