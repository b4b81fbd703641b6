//! How the story of an order looks: a few lines for each event, or one JSON object.

use std::io::{self, Write};

use crate::audit::trace::{EventKind, TraceEnd, TraceEvent};
use crate::models::{safe_text, to_safe_vec};

/// Writes a story.
pub(super) fn write(events: &[TraceEvent], json: bool, out: &mut impl Write) -> io::Result<()> {
    for event in events {
        if json {
            let mut line = to_safe_vec(event).map_err(io::Error::other)?;
            line.push(b'\n');
            out.write_all(&line)?;
        } else {
            write_event(event, out)?;
        }
    }
    out.flush()
}

fn write_event(event: &TraceEvent, out: &mut impl Write) -> io::Result<()> {
    let what = match event.event {
        EventKind::Sent => "sent",
        EventKind::Replayed => "replayed",
        EventKind::Processed => "processed",
        EventKind::DeadLettered => "dead-lettered",
    };
    let place = format!("{}/{}@{}", event.topic, event.partition, event.offset);
    write!(out, "{}  {what:13}  {}", event.at, safe_text(&place))?;
    match &event.end {
        None => {
            let facts = [
                event.key.as_ref().map(|key| format!("key {key}")),
                event.order_id.as_ref().map(|id| format!("order {id}")),
                event.sequence.map(|sequence| format!("sequence {sequence}")),
                event.status.as_ref().map(|status| format!("status {status}")),
                event.replay_id.as_ref().map(|id| format!("replay {id}")),
            ];
            let facts: Vec<_> = facts.into_iter().flatten().collect();
            writeln!(out, "  {}", safe_text(&facts.join(", ")))
        }
        Some(end) => write_end(event, end, out),
    }
}

fn write_end(event: &TraceEvent, end: &TraceEnd, out: &mut impl Write) -> io::Result<()> {
    let attempts =
        if end.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", end.attempts) };
    let reason = end.failure_reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let repeated = if end.repeated { ", again" } else { "" };
    writeln!(out, "  after {attempts}{reason}{repeated}")?;
    if let Some(error) = &end.error {
        writeln!(out, "    {}", safe_text(error))?;
    }
    if let (Some(id), Some(partition), Some(offset)) = (end.dlq_id, end.dlq_partition, end.dlq_offset) {
        writeln!(out, "    dead letter {id} in partition {partition} at offset {offset}")?;
    }
    let group = end.consumer_group.as_deref().map(|group| format!("group {group}, ")).unwrap_or_default();
    let file = format!("{group}{} line {}", event.file.display(), event.line);
    writeln!(out, "    {}", safe_text(&file))
}
