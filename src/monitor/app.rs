//! What the user has chosen, and what each key does to that: pure, nothing is read or drawn here.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::detail::Detail;
use super::figures::Figures;
use super::gather::Look;
use super::words;

/// What is shown, each in its own frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Health,
    Quality,
    Throughput,
    Errors,
    Latency,
    Categories,
    Causes,
    Log,
    Outcomes,
}

impl Pane {
    /// All, in the order of Tab.
    pub(super) const ALL: [Self; 9] = [
        Self::Outcomes,
        Self::Log,
        Self::Causes,
        Self::Categories,
        Self::Latency,
        Self::Health,
        Self::Quality,
        Self::Throughput,
        Self::Errors,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Health => "Health",
            Self::Quality => "Success and quality",
            Self::Throughput => "Outcomes per second",
            Self::Errors => "Dead letters, %",
            Self::Latency => "Latency",
            Self::Categories => "Dead letters by category",
            Self::Causes => "Dead letters by cause",
            Self::Log => "Health log",
            Self::Outcomes => "Outcomes",
        }
    }

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// The lengths that + and - step through.
const LENGTHS_S: [u64; 6] = [60, 300, 900, 1_800, 2_700, 3_600];

/// What a key asks of the rest of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    None,
    Quit,
    /// Look at another time.
    Look(Look),
    /// Write the figures to a file.
    Export,
}

/// What the user has chosen.
#[derive(Debug)]
pub(super) struct App {
    pub focus: Pane,
    /// The row of the focused list, from 0.
    pub selected: usize,
    /// Only rows with this text are shown; letters count as small ones.
    pub search: String,
    /// Whether keys are letters of the search.
    pub is_typing: bool,
    pub is_frozen: bool,
    pub shows_help: bool,
    pub detail: Option<Detail>,
    pub look: Look,
    /// What the last key brought.
    pub message: Option<String>,
    /// Whether the key before was the first g of gg.
    pub g_begun: bool,
}

impl App {
    pub(super) fn new(look: Look) -> Self {
        Self {
            focus: Pane::Outcomes,
            selected: 0,
            search: String::new(),
            is_typing: false,
            is_frozen: false,
            shows_help: false,
            detail: None,
            look,
            message: None,
            g_begun: false,
        }
    }

    /// The rows of a list that the search leaves, by their places in the figures.
    pub(super) fn rows(&self, pane: Pane, figures: &Figures) -> Vec<usize> {
        let all: Vec<String> = match pane {
            Pane::Log => figures.newest_health.iter().map(|entry| words::log_row(entry).0).collect(),
            Pane::Outcomes => {
                figures.newest_outcomes.iter().map(|outcome| words::outcome_row(outcome).0).collect()
            }
            Pane::Causes => figures.causes.iter().map(|cause| words::safe(&cause.cause)).collect(),
            Pane::Health => figures.partitions.iter().map(words::partition).collect(),
            _ => return Vec::new(),
        };
        let sought = self.search.to_lowercase();
        let found = |(at, row): (usize, String)| row.to_lowercase().contains(&sought).then_some(at);
        all.into_iter().enumerate().filter_map(found).collect()
    }

    /// Does what a key stands for.
    pub(super) fn press(&mut self, key: KeyEvent, figures: &Figures, now_ms: i64) -> Act {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Act::Quit;
        }
        self.message = None;
        if self.is_typing {
            self.type_key(key.code);
            return Act::None;
        }
        let g_begun = std::mem::take(&mut self.g_begun);
        match key.code {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('?') => self.shows_help = !self.shows_help,
            KeyCode::Esc => self.close(),
            KeyCode::Char('j') | KeyCode::Down => self.move_by(1, figures),
            KeyCode::Char('k') | KeyCode::Up => self.move_by(-1, figures),
            KeyCode::Char('g') if g_begun => self.move_by(isize::MIN / 2, figures),
            KeyCode::Char('g') => self.g_begun = true,
            KeyCode::Char('G') => self.move_by(isize::MAX / 2, figures),
            KeyCode::Enter if self.detail.is_some() => self.detail = None,
            _ if self.detail.is_some() || self.shows_help => {}
            KeyCode::Tab => self.focus_on(self.focus.step(1)),
            KeyCode::BackTab => self.focus_on(self.focus.step(Pane::ALL.len() - 1)),
            KeyCode::Char('/') => (self.is_typing, self.selected) = (true, 0),
            KeyCode::Char('f') => self.is_frozen = !self.is_frozen,
            KeyCode::Char('x') => return Act::Export,
            KeyCode::Enter => {
                let row = self.rows(self.focus, figures).get(self.selected).copied();
                self.detail = row.and_then(|row| Detail::of(self.focus, row, figures));
            }
            KeyCode::Char('+' | '=') => return self.resize_window(true),
            KeyCode::Char('-') => return self.resize_window(false),
            KeyCode::Left => return self.travel(-1, 10, figures, now_ms),
            KeyCode::Right => return self.travel(1, 10, figures, now_ms),
            KeyCode::PageUp => return self.travel(-1, 1, figures, now_ms),
            KeyCode::PageDown => return self.travel(1, 1, figures, now_ms),
            KeyCode::End | KeyCode::Char('n') => return self.look_at(Look { at_ms: None, ..self.look }),
            _ => {}
        }
        Act::None
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => (self.is_typing, self.search) = (false, String::new()),
            KeyCode::Backspace => drop(self.search.pop()),
            KeyCode::Char(c) if self.search.chars().count() < 100 => self.search.push(c),
            _ => {}
        }
    }

    /// What is on top goes first.
    fn close(&mut self) {
        if self.shows_help {
            self.shows_help = false;
        } else if self.detail.take().is_none() {
            (self.search, self.selected) = (String::new(), 0);
        }
    }

    fn focus_on(&mut self, pane: Pane) {
        (self.focus, self.selected) = (pane, 0);
    }

    fn move_by(&mut self, by: isize, figures: &Figures) {
        if let Some(detail) = &mut self.detail {
            let last = detail.lines.len().saturating_sub(1);
            detail.top = detail.top.saturating_add_signed(by).min(last);
        } else {
            let last = self.rows(self.focus, figures).len().saturating_sub(1);
            self.selected = self.selected.saturating_add_signed(by).min(last);
        }
    }

    fn resize_window(&mut self, longer: bool) -> Act {
        let now = self.look.length.as_secs();
        let next = if longer {
            LENGTHS_S.into_iter().find(|length| *length > now)
        } else {
            LENGTHS_S.into_iter().rev().find(|length| *length < now)
        };
        match next {
            Some(seconds) => self.look_at(Look { length: Duration::from_secs(seconds), ..self.look }),
            None => Act::None,
        }
    }

    /// Goes a part of the window back or forth; past the present it is live again.
    fn travel(&mut self, direction: i64, part: i64, figures: &Figures, now_ms: i64) -> Act {
        let step = i64::try_from(self.look.length.as_millis()).unwrap_or(i64::MAX) / part;
        // A window that ended with its tracker goes on from there.
        let from = self.look.at_ms.unwrap_or_else(|| figures.window.to.as_millisecond().min(now_ms));
        if self.look.at_ms.is_none() && direction > 0 {
            return Act::None;
        }
        let at = from.saturating_add(direction * step).max(0);
        self.look_at(Look { at_ms: (at < now_ms).then_some(at), ..self.look })
    }

    fn look_at(&mut self, look: Look) -> Act {
        (self.is_frozen, self.look) = (false, look);
        Act::Look(look)
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
