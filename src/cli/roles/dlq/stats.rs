//! `dlq stats`.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::Args;

use super::{Context, Filters};
use crate::cli::progress::Counting;
use crate::cli::{Exit, RunError};
use crate::dlq;
use crate::models::{format_timestamp, safe_short, to_safe_vec};

/// How many rows a table shows; JSON has all of them.
const ROWS: usize = 20;
/// How many hours.
const HOURS: usize = 48;
/// How wide the longest bar is, in characters.
const BAR: u64 = 30;
/// How much of an error or a name is shown, in characters.
const NAME_CHARS: usize = 100;

/// Count dead letters by cause, time and origin.
#[derive(Args)]
pub struct Stats {
    #[command(flatten)]
    filters: Filters,
}

impl Stats {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        context.reach(&|| false)?;
        let mut bar = Counting::new("dead letters");
        let filter = self.filters.check();
        let progress = |total, done| {
            context.figures.read(done);
            bar.at(total, done);
        };
        let stats = dlq::stats(&context.kafka, &context.topic, &filter, progress);
        drop(bar);
        let stats = stats?;
        let stdout = io::stdout();
        let bars = stdout.is_terminal();
        let mut out = BufWriter::new(stdout.lock());
        let written = if context.json {
            to_safe_vec(&stats)
                .map_err(io::Error::other)
                .and_then(|json| out.write_all(&[&json, &b"\n"[..]].concat()))
        } else {
            write(&stats, bars, &mut out)
        };
        written.and_then(|()| out.flush()).map_err(RunError::io("write the result"))?;
        Ok(Exit::Done)
    }
}

fn write(stats: &dlq::Stats, bars: bool, out: &mut impl Write) -> io::Result<()> {
    let repeats = match stats.repeats {
        0 => String::new(),
        n => format!(", {n} repeats of them not counted"),
    };
    writeln!(
        out,
        "{} dead letters in {}{repeats}",
        stats.dead_letters,
        safe_short(&stats.topic, NAME_CHARS)
    )?;
    if let (Some(oldest), Some(newest)) = (stats.oldest, stats.newest) {
        let (oldest, newest) = (format_timestamp(oldest), format_timestamp(newest));
        writeln!(out, "from {oldest} to {newest}")?;
        writeln!(out, "{} in the last hour, {:.1} an hour on average", stats.last_hour, stats.per_hour)?;
    }
    let mut table = Table { bars, out };
    table.write("status", stats.by_status.iter().map(|one| (one.name.as_str().to_owned(), one.count)))?;
    table.write("reason", stats.by_reason.iter().map(|one| (one.name.as_str().to_owned(), one.count)))?;
    let error =
        |one: &dlq::ErrorCount| format!("{}  (such as {})", safe_short(&one.error, NAME_CHARS), one.example);
    table.write("error", stats.by_error.iter().map(|one| (error(one), one.count)))?;
    let hours = stats.by_hour.len().saturating_sub(HOURS);
    let hour = |one: &dlq::HourCount| (format!("{:.0}", one.hour), one.count);
    table.write_all("hour", stats.by_hour.iter().skip(hours).map(hour), hours)?;
    let origin = |one: &dlq::OriginCount| (format!("{}/{}", one.topic, one.partition), one.count);
    table.write("origin", stats.by_origin.iter().map(origin))?;
    let name = |one: &dlq::Count<String>| (safe_short(&one.name, NAME_CHARS), one.count);
    table.write("host", stats.by_host.iter().map(name))?;
    table.write("group", stats.by_group.iter().map(name))?;
    table
        .write("written by", stats.by_dialect.iter().map(|one| (one.name.as_str().to_owned(), one.count)))?;
    let replays = &stats.replays;
    if replays.died_again > 0 {
        writeln!(
            table.out,
            "\n{} died again after a replay, {} records in all, after {} replays at most",
            replays.died_again, replays.chains, replays.most
        )?;
        table.write(
            "died again, first dead letter",
            replays.longest.iter().map(|one| (one.name.to_string(), one.count)),
        )?;
    }
    Ok(())
}

struct Table<'a, W> {
    bars: bool,
    out: &'a mut W,
}

impl<W: Write> Table<'_, W> {
    /// The first rows.
    fn write(&mut self, title: &str, rows: impl ExactSizeIterator<Item = (String, u64)>) -> io::Result<()> {
        let more = rows.len().saturating_sub(ROWS);
        self.write_all(title, rows.take(ROWS), more)
    }

    fn write_all(
        &mut self,
        title: &str,
        rows: impl Iterator<Item = (String, u64)>,
        more: usize,
    ) -> io::Result<()> {
        let rows: Vec<_> = rows.collect();
        let Some(most) = rows.iter().map(|(_, count)| *count).max() else { return Ok(()) };
        writeln!(self.out, "\nby {title}")?;
        let width = most.to_string().len().max(6);
        for (name, count) in rows {
            let bar = if self.bars { bar(count, most) } else { String::new() };
            writeln!(self.out, "  {count:>width$}  {bar}{name}")?;
        }
        if more > 0 {
            writeln!(self.out, "  {:>width$}  and {more} more: --json has all of them", "")?;
        }
        Ok(())
    }
}

/// At least one block for whatever there is.
fn bar(count: u64, most: u64) -> String {
    let blocks = (count.saturating_mul(BAR) / most.max(1)).max(1);
    let blocks = usize::try_from(blocks).unwrap_or(0);
    let all = usize::try_from(BAR).unwrap_or(0);
    format!("{}{}  ", "█".repeat(blocks), " ".repeat(all.saturating_sub(blocks)))
}
