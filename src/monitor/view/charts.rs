//! The panes over time: a chart where there is room for its axes, otherwise a row of little bars.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph, Sparkline};

use crate::monitor::figures::{Figures, SlotFigures};
use crate::monitor::words;

/// A chart needs this much room.
const ROOM: (u16, u16) = (24, 5);

pub(super) fn throughput(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let points: Vec<_> = past(figures).iter().map(|slot| Some(slot.per_second)).collect();
    over_time(frame, area, figures, &points, 1.0, Color::Green);
}

pub(super) fn errors(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let points: Vec<_> = past(figures).iter().map(|slot| slot.error_percent).collect();
    over_time(frame, area, figures, &points, 5.0, Color::Red);
}

/// Without the slot that is not over yet: it would always look like a fall.
fn past(figures: &Figures) -> &[SlotFigures] {
    match figures.series.split_last() {
        Some((_, past)) if figures.at < figures.window.to => past,
        _ => &figures.series,
    }
}

fn over_time(
    frame: &mut Frame<'_>,
    area: Rect,
    figures: &Figures,
    values: &[Option<f64>],
    least: f64,
    colour: Color,
) {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    if values.iter().flatten().next().is_none() {
        frame.render_widget(Paragraph::new("no outcome"), area);
        return;
    }
    let style = Style::new().fg(colour);
    if area.width < ROOM.0 || area.height < ROOM.1 {
        let newest = values.len().saturating_sub(usize::from(area.width));
        // Little bars show whole numbers.
        let bars: Vec<u64> =
            values.iter().skip(newest).map(|value| (value.unwrap_or(0.0) * 1e3).round() as u64).collect();
        let text = format!("at most {}", words::rate(most));
        if area.height > 1 {
            frame.render_widget(Paragraph::new(text), Rect { height: 1, ..area });
        }
        let rest = area.height.saturating_sub(1).max(1);
        let below = Rect { y: area.y + area.height - rest, height: rest, ..area };
        frame.render_widget(Sparkline::default().data(bars).style(style), below);
        return;
    }
    let top = if most <= least { least } else { most * 1.05 };
    let points: Vec<(f64, f64)> =
        values.iter().enumerate().filter_map(|(at, value)| Some((at as f64, (*value)?))).collect();
    let data =
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(style).data(&points);
    let (from, to) = (words::clock(figures.window.from), words::clock(figures.window.to.min(figures.at)));
    let x = Axis::default().bounds([0.0, values.len().saturating_sub(1).max(1) as f64]).labels([from, to]);
    let y = Axis::default().bounds([0.0, top]).labels([Line::raw("0"), Line::raw(words::rate(top))]);
    frame.render_widget(Chart::new(vec![data]).x_axis(x).y_axis(y).legend_position(None), area);
}
