//! The figures in print: once, as text or as one JSON object.

use std::io::{self, Write};

use super::figures::Figures;
use super::words::{self, Fact, grouped};
use crate::models::to_safe_vec;

/// Writes the figures as one JSON object in a line.
pub(super) fn write_json(figures: &Figures, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&to_safe_vec(figures).map_err(io::Error::other)?)?;
    writeln!(out)?;
    out.flush()
}

/// Writes the figures for people.
pub(super) fn write_text(figures: &Figures, out: &mut impl Write) -> io::Result<()> {
    let section = |out: &mut dyn Write, title: &str, facts: &[Fact]| -> io::Result<()> {
        writeln!(out, "{title}")?;
        facts.iter().try_for_each(|fact| writeln!(out, "  {:<10} {}", fact.label, fact.text))
    };
    writeln!(out, "at {:.3}, from {:.3} to {:.3}", figures.at, figures.window.from, figures.window.to)?;
    section(out, "tracker", &words::health(figures))?;
    if !figures.partitions.is_empty() {
        writeln!(out, "partitions")?;
        for partition in &figures.partitions {
            writeln!(out, "  {}", words::partition(partition))?;
        }
    }
    section(out, "outcomes", &words::quality(figures))?;
    section(out, "latency", &words::latency(figures))?;
    writeln!(out, "dead letters by category")?;
    for (category, count) in &figures.categories {
        writeln!(out, "  {:>10} {category}", grouped(*count))?;
    }
    if !figures.causes.is_empty() {
        writeln!(out, "dead letters by cause")?;
        for cause in &figures.causes {
            writeln!(out, "  {:>10} {}", grouped(cause.count), words::safe(&cause.cause))?;
        }
    }
    if !figures.newest_health.is_empty() {
        writeln!(out, "newest of the health log")?;
        figures.newest_health.iter().try_for_each(|entry| writeln!(out, "  {}", words::log_row(entry).0))?;
    }
    if !figures.newest_outcomes.is_empty() {
        writeln!(out, "newest outcomes")?;
        figures
            .newest_outcomes
            .iter()
            .try_for_each(|outcome| writeln!(out, "  {}", words::outcome_row(outcome).0))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::samples;

    #[test]
    fn both_forms_tell_the_same() {
        let figures = samples::figures();
        let (mut text, mut json) = (Vec::new(), Vec::new());
        write_text(&figures, &mut text).expect("written");
        write_json(&figures, &mut json).expect("written");
        let text = String::from_utf8(text).expect("UTF-8");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("one object");
        let total = json["outcomes"]["total"].as_u64().expect("a number");
        assert!(text.contains(&format!("outcomes   {} in 5 min", grouped(total))), "{text}");
        let newest = json["newest_outcomes"].as_array().expect("a list");
        assert_eq!(newest.len(), 20);
        assert!(newest.iter().all(|outcome| outcome.get("line").is_none()));
        assert!(text.contains("up, last line 100 ms ago") && text.contains("/items/#/quantity"), "{text}");
    }

    #[test]
    fn nothing_hostile_is_printed() {
        let figures = samples::hostile();
        let mut text = Vec::new();
        write_text(&figures, &mut text).expect("written");
        write_json(&figures, &mut text).expect("written");
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.contains("evil"), "{text}");
        assert!(!text.lines().any(|line| line.contains(crate::models::is_unsafe)), "{text}");
    }
}
