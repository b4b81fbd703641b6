//! The screen as a whole: which panes are seen depends on its size. A large one shows all, a small one the chosen one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Wrap};

use super::{charts, lists};
use crate::monitor::app::{App, Pane};
use crate::monitor::figures::Figures;
use crate::monitor::score::Level;
use crate::monitor::words;

/// A screen from this size on shows every pane.
const LARGE: (u16, u16) = (100, 30);

/// A screen from this size on shows some panes beside the chosen one.
const MIDDLE: (u16, u16) = (70, 20);

const HELP: &[(&str, &str)] = &[
    ("q", "quit"),
    ("?", "this help"),
    ("Tab", "next pane (Shift+Tab: the one before)"),
    ("j k ↓ ↑", "down, up"),
    ("gg G", "first, last"),
    ("/", "search in the lists; Esc ends it"),
    ("Enter", "detail of a row; again: close"),
    ("f", "freeze, and go on"),
    ("+ -", "longer, shorter window"),
    ("← →", "back and forth in time"),
    ("PgUp PgDn", "the same, a whole window"),
    ("n End", "back to now"),
    ("x", "export what is shown to a file"),
];

/// Draws everything.
pub(in crate::monitor) fn draw(frame: &mut Frame<'_>, figures: &Figures, app: &App) {
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(header_line(figures, app, header.width), header);
    let size = frame.area();
    if size.width >= LARGE.0 && size.height >= LARGE.1 {
        large(frame, body, figures, app);
    } else if size.width >= MIDDLE.0 && size.height >= MIDDLE.1 {
        middle(frame, body, figures, app);
    } else {
        pane(frame, body, app.focus, figures, app);
    }
    frame.render_widget(footer_line(app), footer);
    overlay(frame, body, app);
}

fn large(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let rows = [Constraint::Length(9), Constraint::Fill(4), Constraint::Length(8), Constraint::Fill(5)];
    let [top, charts, bars, bottom] = Layout::vertical(rows).areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(top);
    pane(frame, left, Pane::Health, figures, app);
    pane(frame, right, Pane::Quality, figures, app);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [left, right] = Layout::horizontal(halves).areas(charts);
    pane(frame, left, Pane::Throughput, figures, app);
    pane(frame, right, Pane::Errors, figures, app);
    let columns = [Constraint::Length(24), Constraint::Fill(2), Constraint::Fill(3)];
    let [left, centre, right] = Layout::horizontal(columns).areas(bars);
    pane(frame, left, Pane::Latency, figures, app);
    pane(frame, centre, Pane::Categories, figures, app);
    pane(frame, right, Pane::Causes, figures, app);
    let [left, right] = Layout::horizontal(halves).areas(bottom);
    pane(frame, left, Pane::Log, figures, app);
    pane(frame, right, Pane::Outcomes, figures, app);
}

fn middle(frame: &mut Frame<'_>, area: Rect, figures: &Figures, app: &App) {
    let rows = [Constraint::Length(8), Constraint::Length(7), Constraint::Fill(1)];
    let [top, charts, bottom] = Layout::vertical(rows).areas(area);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [left, right] = Layout::horizontal(halves).areas(top);
    pane(frame, left, Pane::Health, figures, app);
    pane(frame, right, Pane::Quality, figures, app);
    let [left, right] = Layout::horizontal(halves).areas(charts);
    pane(frame, left, Pane::Throughput, figures, app);
    pane(frame, right, Pane::Errors, figures, app);
    let chosen = match app.focus {
        Pane::Health | Pane::Quality | Pane::Throughput | Pane::Errors => Pane::Outcomes,
        other => other,
    };
    pane(frame, bottom, chosen, figures, app);
}

/// One pane in its frame; a low one has only a title.
pub(super) fn pane(frame: &mut Frame<'_>, area: Rect, pane: Pane, figures: &Figures, app: &App) {
    let focused = app.focus == pane;
    let style =
        if focused { Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD) } else { Style::new() };
    // On a narrow screen every row and column counts.
    let borders = if area.height < 6 || frame.area().width < MIDDLE.0 { Borders::TOP } else { Borders::ALL };
    let sought = match (&*app.search, pane) {
        ("", _) => String::new(),
        (text, Pane::Outcomes | Pane::Log | Pane::Causes | Pane::Health) => {
            format!(" /{}", words::safe(text))
        }
        _ => String::new(),
    };
    let block = Block::new()
        .borders(borders)
        .border_style(style)
        .title(Span::styled(format!(" {}{sought} ", pane.title()), style));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.is_empty() {
        return;
    }
    match pane {
        Pane::Health => lists::health(frame, inner, figures, app),
        Pane::Quality => lists::facts(frame, inner, &words::quality(figures)),
        Pane::Latency => lists::latency(frame, inner, figures),
        Pane::Throughput => charts::throughput(frame, inner, figures),
        Pane::Errors => charts::errors(frame, inner, figures),
        Pane::Categories => lists::categories(frame, inner, figures),
        Pane::Causes => lists::causes(frame, inner, figures, app),
        Pane::Log => lists::log(frame, inner, figures, app),
        Pane::Outcomes => lists::outcomes(frame, inner, figures, app),
    }
}

/// The colour of a level; without colours it is told by words.
pub(super) fn style_of(level: Option<Level>) -> Style {
    match level {
        None => Style::new(),
        Some(Level::Excellent | Level::Good) => Style::new().fg(Color::Green),
        Some(Level::Warning) => Style::new().fg(Color::Yellow),
        Some(Level::Critical) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn header_line(figures: &Figures, app: &App, width: u16) -> Line<'static> {
    let life = Some(words::life_level(figures.tracker.state));
    let mut spans = vec![Span::styled(words::life(figures), style_of(life).add_modifier(Modifier::BOLD))];
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    if app.is_frozen {
        spans.extend([Span::raw("  "), Span::styled("FROZEN", reversed)]);
    }
    if !figures.live {
        let form = if width >= 60 { "AT %Y-%m-%d %H:%M:%SZ" } else { "AT %H:%M:%SZ" };
        spans.extend([Span::raw("  "), Span::styled(figures.at.strftime(form).to_string(), reversed)]);
    }
    if let Some(percent) = figures.outcomes.success_percent {
        spans.push(Span::raw("  "));
        spans.push(Span::styled(format!("{percent:.1} %"), style_of(figures.outcomes.success_level)));
    }
    if width >= 60 {
        let about = if figures.exact { "" } else { "about " };
        spans.push(Span::raw(format!("  {about}{}/s", words::rate(figures.outcomes.per_second))));
        spans.push(Span::raw(format!("  window {}", words::age((figures.window.seconds * 1e3) as i64))));
    }
    Line::from(spans)
}

fn footer_line(app: &App) -> Line<'static> {
    if app.is_typing {
        return Line::raw(format!("/{}_", words::safe(&app.search)));
    }
    if let Some(message) = &app.message {
        return Line::styled(words::safe(message), Style::new().add_modifier(Modifier::BOLD));
    }
    Line::raw("q quit  ? help  Tab pane  / search  Enter detail  f freeze  +- window  ←→ time  x export")
}

/// What lies over the panes: the help or a detail.
fn overlay(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let (title, lines, top) = if app.shows_help {
        let lines = HELP.iter().map(|(keys, what)| Line::raw(format!("{keys:<10} {what}"))).collect();
        ("Keys".to_owned(), lines, 0)
    } else if let Some(detail) = &app.detail {
        (
            detail.title.clone(),
            detail.lines.iter().map(|line| Line::raw(line.as_str())).collect::<Vec<_>>(),
            detail.top,
        )
    } else {
        return;
    };
    let area = if area.width >= LARGE.0 { area.inner(Margin::new(6, 2)) } else { area };
    let block = Block::bordered().title(format!(" {title} ")).border_style(Style::new().fg(Color::Cyan));
    let text: Vec<Line<'_>> = lines.into_iter().skip(top).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).block(block).wrap(Wrap { trim: false }), area);
}
