//! One line of either file in full, made readable: an order's JSON is indented, nothing of it obeys.

use super::app::Pane;
use super::figures::{Figures, NewestOutcome};
use super::lines::FullLine;
use super::words;
use crate::models::{HealthEntry, format_timestamp, safe_short, to_safe_string};

/// The most lines of a detail.
const MAX_LINES: usize = 5_000;

/// The longest of its lines.
const MAX_CHARS: usize = 2_000;

/// What Enter shows.
#[derive(Debug)]
pub(super) struct Detail {
    pub title: String,
    /// Safe already.
    pub lines: Vec<String>,
    /// The first line that is seen.
    pub top: usize,
}

impl Detail {
    /// Of a row of a list.
    pub(super) fn of(pane: Pane, row: usize, figures: &Figures) -> Option<Self> {
        let (title, lines) = match pane {
            Pane::Outcomes => outcome(figures.newest_outcomes.get(row)?),
            Pane::Log => health(figures.newest_health.get(row)?),
            Pane::Causes => {
                let cause = figures.causes.get(row)?;
                ("Dead letters by cause".to_owned(), vec![format!("{} ×", cause.count), cause.cause.clone()])
            }
            Pane::Health => ("Partition".to_owned(), vec![words::partition(figures.partitions.get(row)?)]),
            _ => return None,
        };
        let mut safe: Vec<String> =
            lines.iter().take(MAX_LINES).map(|line| safe_short(line, MAX_CHARS)).collect();
        if lines.len() > MAX_LINES {
            safe.push("…".to_owned());
        }
        Some(Self { title: safe_short(&title, 100), lines: safe, top: 0 })
    }
}

fn outcome(outcome: &NewestOutcome) -> (String, Vec<String>) {
    let title = format!("{}/{}/{}", outcome.topic, outcome.partition, outcome.offset);
    let mut lines = vec![
        format!("outcome    {}, attempts {}", outcome.outcome, outcome.attempts),
        format!("written    {}", format_timestamp(outcome.timestamp)),
    ];
    if let Some(latency) = outcome.latency_ms {
        lines.push(format!("took       {} since the record's own timestamp", words::age(latency)));
    }
    lines.push(format!("key        {}", outcome.key.as_deref().unwrap_or("none")));
    if let Some(reason) = outcome.reason {
        lines.push(format!("reason     {reason}"));
    }
    if let Some(error) = &outcome.error {
        lines.push(format!("error      {error}"));
    }
    let Some(full) = FullLine::parse(&outcome.line) else { return (title, lines) };
    if let Some(id) = &full.dlq_id {
        let place = full.dlq_partition.zip(full.dlq_offset);
        let place = place.map(|(partition, offset)| format!(", partition {partition}, offset {offset}"));
        lines.push(format!("letter     {id}{}", place.unwrap_or_default()));
    }
    if let Some(id) = &full.replay_id {
        lines.push(format!("replay     {id}"));
    }
    lines.push(format!("payload    {} bytes", full.message_size));
    lines.push(String::new());
    match (full.order_full, full.payload()) {
        (Some(order), _) => lines.extend(indent(order.get())),
        (None, Some(payload)) => lines.extend(payload.lines().map(str::to_owned)),
        (None, None) if full.message_size > 0 => {
            lines.push("the line does not have it (--audit-payload, or it is too large to show)".to_owned());
        }
        (None, None) => lines.push("null".to_owned()),
    }
    (title, lines)
}

fn health(entry: &HealthEntry) -> (String, Vec<String>) {
    let mut lines =
        vec![format!("{} {}", format_timestamp(entry.timestamp), entry.level), entry.message.clone()];
    lines.extend(entry.error.clone());
    if let Some(Ok(facts)) = entry.metadata.as_ref().map(to_safe_string) {
        lines.push(String::new());
        lines.extend(indent(&facts));
    }
    ("Health log".to_owned(), lines)
}

/// JSON text with a line for each value; its tokens stay as they are, double keys and all.
fn indent(json: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            line.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        let mut broken = |line: &mut String, depth: usize| {
            lines.push(std::mem::take(line));
            line.push_str(&"  ".repeat(depth.min(50)));
        };
        match c {
            c if c.is_ascii_whitespace() => {}
            '{' | '[' => {
                line.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    line.push(close);
                } else {
                    depth += 1;
                    broken(&mut line, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                broken(&mut line, depth);
                line.push(c);
            }
            ',' => {
                line.push(c);
                broken(&mut line, depth);
            }
            ':' => line.push_str(": "),
            c => {
                in_string = c == '"';
                line.push(c);
            }
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::is_unsafe;
    use crate::monitor::samples;

    #[test]
    fn json_is_indented_and_nothing_of_it_lost() {
        let json = r#"{ "a\"{": [1, {"b":{ }, "b":[]}],"c" : "x,\\" }"#;
        let lines = indent(json);
        let expected = [
            "{",
            r#"  "a\"{": ["#,
            "    1,",
            "    {",
            r#"      "b": {},"#,
            r#"      "b": []"#,
            "    }",
            "  ],",
            r#"  "c": "x,\\""#,
            "}",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_outcome_is_shown_with_all_that_is_known_of_it() {
        let figures = samples::figures();
        let dead =
            figures.newest_outcomes.iter().position(|outcome| outcome.error.is_some()).expect("a dead one");
        let detail = Detail::of(Pane::Outcomes, dead, &figures).expect("a detail");
        let text = detail.lines.join("\n");
        for part in
            ["dead_lettered, attempts 2", "VALIDATION_ERROR", "2d3e68ed", "32 bytes", "took       400 ms"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let detail = Detail::of(Pane::Log, 1, &figures).expect("a detail");
        assert!(detail.lines.contains(&"  \"in_flight\": 4,".to_owned()), "{:?}", detail.lines);
        assert!(Detail::of(Pane::Outcomes, 99, &figures).is_none());
    }

    #[test]
    fn a_detail_is_safe_and_bounded() {
        let figures = samples::hostile();
        for pane in [Pane::Outcomes, Pane::Log, Pane::Causes, Pane::Health] {
            for row in 0..20 {
                let Some(detail) = Detail::of(pane, row, &figures) else { continue };
                let text = detail.title + &detail.lines.concat();
                assert!(!text.contains(is_unsafe), "{pane:?}: {text:?}");
            }
        }
        let mut figures = samples::figures();
        figures.newest_health[0].message = "x".repeat(100_000);
        let detail = Detail::of(Pane::Log, 0, &figures).expect("a detail");
        assert!(detail.lines.iter().all(|line| line.len() <= MAX_CHARS + 10));
    }
}
