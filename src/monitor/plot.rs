//! Plots for documents: throughput, errors and latency of an audit log over time, as one SVG.

use std::path::Path;

use plotters::prelude::*;

use super::MonitorError;
use super::figures::{Figures, SlotFigures};
use super::words;

const SIZE: (u32, u32) = (900, 720);

/// Draws the series of figures into a file.
pub(super) fn plot(figures: &Figures, path: &Path) -> Result<(), MonitorError> {
    let svg = svg(figures)?;
    std::fs::write(path, svg).map_err(|source| MonitorError::Write { path: path.to_owned(), source })
}

fn svg(figures: &Figures) -> Result<String, MonitorError> {
    let mut svg = String::new();
    draw(figures, &mut svg).map_err(|error| MonitorError::Plot(error.to_string()))?;
    Ok(svg)
}

fn draw(figures: &Figures, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let about = if figures.exact { "" } else { ", estimated from a sample" };
    let total = words::grouped(figures.outcomes.total);
    let title = format!(
        "{total} outcomes, {} dead-lettered, {:.0} to {:.0}{about}",
        words::grouped(figures.outcomes.dead_lettered),
        figures.window.from,
        figures.window.to,
    );
    let area = area.titled(&title, ("sans-serif", 18))?;
    let value = |of: fn(&SlotFigures) -> Option<f64>| figures.series.iter().map(of).collect::<Vec<_>>();
    let charts = [
        ("outcomes per second", GREEN, value(|slot| Some(slot.per_second))),
        ("dead letters, % of the outcomes", RED, value(|slot| slot.error_percent)),
        ("latency p95, ms", BLUE, value(|slot| slot.p95_ms.map(|ms| ms as f64))),
    ];
    for (part, (label, colour, values)) in area.split_evenly((charts.len(), 1)).into_iter().zip(charts) {
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        let top = if most > 0.0 { most * 1.05 } else { 1.0 };
        let mut chart = ChartBuilder::on(&part)
            .caption(label, ("sans-serif", 15))
            .margin_right(20)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..figures.window.seconds.max(1.0), 0.0..top)?;
        let from = figures.window.from;
        let moment = |seconds: &f64| {
            let then = from.checked_add(jiff::SignedDuration::from_secs_f64(seconds.max(0.0)));
            then.map(words::clock).unwrap_or_default()
        };
        chart
            .configure_mesh()
            .x_labels(9)
            .y_labels(5)
            .x_label_formatter(&moment)
            .y_label_formatter(&|value| words::rate(*value))
            .light_line_style(WHITE)
            .draw()?;
        let width = figures.window.seconds / figures.series.len().max(1) as f64;
        let points: Vec<Vec<(f64, f64)>> = runs(&values)
            .into_iter()
            .map(|run| run.into_iter().map(|(at, value)| ((at as f64 + 0.5) * width, value)).collect())
            .collect();
        for run in points {
            chart.draw_series(LineSeries::new(run.iter().copied(), colour.stroke_width(2)))?;
            if let [only] = run[..] {
                chart.draw_series([Circle::new(only, 2, colour.filled())])?;
            }
        }
    }
    area.present()?;
    Ok(())
}

/// The values that follow each other without a gap: a line over a gap would say what nobody knows.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut runs: Vec<Vec<(usize, f64)>> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|(last, _)| last + 1 == at) => run.push((at, *value)),
            _ => runs.push(vec![(at, *value)]),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::samples;

    #[test]
    fn a_plot_has_three_lines_and_its_words() {
        let figures = samples::figures();
        let total = format!("{} outcomes", words::grouped(figures.outcomes.total));
        let svg = svg(&figures).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for part in
            [total.as_str(), "300 dead-lettered", "outcomes per second", "latency p95, ms", "11:55:00"]
        {
            assert!(svg.contains(part), "{part} is missing");
        }
        for colour in ["#00FF00", "#FF0000", "#0000FF"] {
            let lines = svg.matches("<polyline").count();
            assert!(lines >= 3 && svg.contains(colour), "{colour}: {lines}");
        }
    }

    #[test]
    fn a_gap_is_a_gap() {
        let values = [Some(1.0), None, Some(2.0), Some(3.0), None];
        assert_eq!(runs(&values), [vec![(0, 1.0)], vec![(2, 2.0), (3, 3.0)]]);
        assert!(svg(&samples::hostile()).expect("drawn").contains("30 outcomes"));
    }
}
