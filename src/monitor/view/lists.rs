//! The panes of facts, bars and rows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::screen::style_of;
use crate::monitor::app::{App, Pane};
use crate::monitor::figures::Figures;
use crate::monitor::score::Level;
use crate::monitor::words::{self, Fact, grouped};

pub(super) fn facts(frame: &mut Frame<'_>, area: Rect, facts: &[Fact]) {
    let lines: Vec<Line<'_>> = facts.iter().map(fact).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn fact(fact: &Fact) -> Line<'_> {
    Line::from(vec![
        Span::styled(format!("{:<9} ", fact.label), Style::new().fg(Color::DarkGray)),
        Span::styled(fact.text.as_str(), style_of(fact.level)),
    ])
}

/// The facts, and as many partitions as there is room for.
pub(super) fn health(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let known = words::health(figures);
    let height = u16::try_from(known.len()).unwrap_or(u16::MAX);
    let [top, rest] = Layout::vertical([Constraint::Max(height), Constraint::Fill(1)]).areas(area);
    facts(frame, top, &known);
    let all = app.rows(Pane::Health, figures);
    let shown = |row: &usize| figures.partitions.get(*row).map(|figures| (words::partition(figures), None));
    rows(frame, rest, all.iter().filter_map(shown).collect(), Pane::Health, app);
}

/// Each as a bar of the longest.
pub(super) fn latency(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let Some(latency) = figures.latency_ms else {
        return facts(frame, area, &words::latency(figures));
    };
    // The tracker's own work has no bar: it is of another time.
    let values = [latency.p50, latency.p95, latency.p99, latency.max, 0];
    let lines: Vec<Line<'_>> = words::latency(figures)
        .into_iter()
        .zip(values)
        .map(|(fact, value)| {
            let room = usize::from(area.width).saturating_sub(14);
            Line::from(vec![
                Span::styled(format!("{:<4}", fact.label), Style::new().fg(Color::DarkGray)),
                Span::raw(format!("{:>8} ", fact.text)),
                Span::styled(bar(value, latency.max, room), Style::new().fg(Color::Blue)),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

pub(super) fn categories(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let most = figures.categories.values().copied().max().unwrap_or(0);
    let line = |(category, count): (&&str, &u64)| {
        let name = category.strip_suffix("_ERROR").unwrap_or(category);
        let level = (*count > 0).then_some(Level::Warning);
        let room = usize::from(area.width).saturating_sub(27);
        Line::from(vec![
            Span::raw(format!("{name:<16}")),
            Span::styled(format!("{:>9} ", grouped(*count)), style_of(level)),
            Span::styled(bar(*count, most, room), Style::new().fg(Color::Red)),
        ])
    };
    let mut categories: Vec<_> = figures.categories.iter().collect();
    // The most frequent are seen in a low pane too.
    categories.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let lines: Vec<Line<'_>> = categories.into_iter().map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// A bar that is as long as its part of the longest; what is there at all is seen.
fn bar(value: u64, most: u64, room: usize) -> String {
    if value == 0 || most == 0 {
        return String::new();
    }
    let eighths = (value as f64 / most as f64 * room as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat((eighths / 8).min(room));
    match (eighths % 8, bar.is_empty()) {
        (0, true) => bar.push('▏'),
        (0, false) => {}
        (part, _) => bar.extend("▏▎▍▌▋▊▉".chars().nth(part - 1)),
    }
    bar
}

pub(super) fn causes(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let all = app.rows(Pane::Causes, figures);
    let shown = |row: &usize| {
        let cause = figures.causes.get(*row)?;
        Some((format!("{:>7} {}", grouped(cause.count), words::safe(&cause.cause)), None))
    };
    rows(frame, area, all.iter().filter_map(shown).collect(), Pane::Causes, app);
}

pub(super) fn log(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let all = app.rows(Pane::Log, figures);
    let shown = |row: &usize| figures.newest_health.get(*row).map(words::log_row);
    rows(frame, area, all.iter().filter_map(shown).collect(), Pane::Log, app);
}

pub(super) fn outcomes(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let all = app.rows(Pane::Outcomes, figures);
    let shown = |row: &usize| figures.newest_outcomes.get(*row).map(words::outcome_row);
    rows(frame, area, all.iter().filter_map(shown).collect(), Pane::Outcomes, app);
}

/// Rows, the selected one always among those that are seen.
fn rows(frame: &mut Frame<'_>, area: Rect, rows: Vec<(String, Option<Level>)>, pane: Pane, app: &App) {
    let height = usize::from(area.height);
    let selected = (app.focus == pane).then_some(app.selected);
    let first = selected.map_or(0, |selected| (selected + 1).saturating_sub(height));
    let line = |(at, (text, level)): (usize, (String, Option<Level>))| {
        let style = style_of(level);
        let style = if selected == Some(at) { style.add_modifier(Modifier::REVERSED) } else { style };
        Line::styled(text, style)
    };
    let lines: Vec<Line<'_>> = rows.into_iter().enumerate().skip(first).take(height).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        for (value, most, expected) in [
            (0, 8, ""),
            (8, 8, "████"),
            (4, 8, "██"),
            (1, 8, "▌"),
            (1, 1_000_000, "▏"),
            (5, 8, "██▌"),
            (0, 0, ""),
        ] {
            assert_eq!(bar(value, most, 4), expected, "{value} of {most}");
        }
        assert_eq!(bar(8, 8, 0), "▏");
    }
}
