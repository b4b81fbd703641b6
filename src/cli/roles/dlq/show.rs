//! `dlq show`.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::{Args, CommandFactory as _};
use jiff::Timestamp;

use super::{Context, Flags};
use crate::cli::progress::Counting;
use crate::cli::{Exit, RunError, output};
use crate::dlq::{self, Letter, Payload, Shown, Status, Verdict, Wanted};
use crate::models::{format_timestamp, safe_short, safe_text, to_safe_vec};
use crate::record::Header;

/// How much of a header's value is shown, in characters.
const HEADER_CHARS: usize = 200;
/// How much of a key or a name.
const NAME_CHARS: usize = 300;
/// How much of an error.
const ERROR_CHARS: usize = 2000;
/// How many lines of a stack trace.
const STACK_LINES: usize = 30;

/// Show everything about one dead letter.
#[derive(Args)]
pub struct Show {
    /// Its id, or the beginning of it, or PARTITION:OFFSET in the dead letter topic
    id: Wanted,
    /// Write the original payload, byte for byte, and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let stdout = io::stdout();
        if self.raw && stdout.is_terminal() {
            let message = "--raw writes whatever the payload holds, which a terminal would obey: write it to a file or a pipe";
            return Err(Flags::command().error(clap::error::ErrorKind::ArgumentConflict, message).into());
        }
        context.reach(&|| false)?;
        let mut bar = Counting::new("dead letters");
        let Context { kafka, topic, limits, .. } = context;
        let mut out = BufWriter::new(stdout.lock());
        if self.raw {
            let (_, letter) = dlq::find(kafka, topic, &self.id, |total, done| bar.at(total, done))?;
            drop(bar);
            return raw(&letter, &mut out);
        }
        let shown = dlq::show(kafka, topic, &self.id, limits, |total, done| bar.at(total, done))?;
        drop(bar);
        let written = if context.json { write_json(&shown, &mut out) } else { write(&shown, &mut out) };
        written.and_then(|()| out.flush()).map_err(RunError::io("write the result"))?;
        Ok(Exit::Done)
    }
}

fn raw(letter: &Letter, out: &mut impl Write) -> Result<Exit, RunError> {
    let elsewhere = match &letter.payload {
        Payload::Inline(bytes) => {
            out.write_all(bytes).and_then(|()| out.flush()).map_err(RunError::io("write the payload"))?;
            return Ok(Exit::Done);
        }
        Payload::Null => {
            output::complain("the payload is null: there is nothing to write");
            return Ok(Exit::Done);
        }
        Payload::Omitted { .. } | Payload::Missing => where_else(letter),
    };
    output::complain(&format!("error: the payload is not in the dead letter; {elsewhere}"));
    Ok(Exit::Failure)
}

/// Where a payload is that the dead letter does not hold.
fn where_else(letter: &Letter) -> String {
    match &letter.origin {
        Some(origin) => {
            format!(
                "it is at its source, {}/{}@{}, and in the audit log",
                origin.topic, origin.partition, origin.offset
            )
        }
        None => "its source is not known".to_owned(),
    }
}

fn write_json(shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let mut line = to_safe_vec(&shown.to_json()).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn write(shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let Shown { record, letter, .. } = shown;
    writeln!(out, "dead letter {}", letter.id)?;
    let mut field = |name: &str, value: &str| -> io::Result<()> { writeln!(out, "  {name:11} {value}") };
    field("status", shown.status.as_str())?;
    field("reason", letter.reason.as_str())?;
    field("error", &safe_short(&letter.error, ERROR_CHARS))?;
    if let Some(exception) = &letter.exception {
        field("exception", &safe_short(exception, NAME_CHARS))?;
    }
    let retries = match letter.retry_count {
        0 => String::new(),
        n => format!(", after {n} retries"),
    };
    field("failed at", &format!("{}{retries}", format_timestamp(letter.failed_at)))?;
    if let Some(first) = letter.first_failure {
        field("first at", &format_timestamp(first))?;
    }
    if let Some(origin) = &letter.origin {
        let time = origin.timestamp.and_then(|t| Timestamp::from_millisecond(t.millis).ok());
        let time = time.map(|time| format!(", of {}", format_timestamp(time))).unwrap_or_default();
        field("origin", &format!("{}/{}@{}{time}", origin.topic, origin.partition, origin.offset))?;
    }
    let place = format!("{}/{}@{}", record.topic, record.partition, record.offset);
    field("lies at", &format!("{}, written by {}", safe_text(&place), letter.dialect.as_str()))?;
    for (name, value) in [("group", &letter.group), ("host", &letter.host), ("replay", &letter.replay_id)] {
        if let Some(value) = value {
            field(name, &safe_short(value, NAME_CHARS))?;
        }
    }
    if letter.replay_count > 0 {
        field("replays", &format!("{} before it died this time", letter.replay_count))?;
        field("first one", &letter.root_id.to_string())?;
    }
    let key = match &letter.key {
        Some(key) => safe_short(&String::from_utf8_lossy(key), NAME_CHARS),
        None if letter.key_omitted => "(not in the dead letter)".to_owned(),
        None => "(null)".to_owned(),
    };
    field("key", &key)?;
    match &shown.verdict {
        Verdict::Passes => field("validator", "passes now")?,
        Verdict::Fails { reason, error } => {
            field("validator", &format!("fails: {reason}: {}", safe_short(error, ERROR_CHARS)))?;
        }
        Verdict::Unknown => field("validator", "cannot tell: the payload is not in the dead letter")?,
    }
    let omitted = if letter.headers_omitted { " (the record's own were not copied)" } else { "" };
    writeln!(out, "\nheaders{omitted}")?;
    write_headers(letter.headers.iter(), out)?;
    writeln!(out, "\nheaders of the dead letter")?;
    write_headers(shown.added_headers(), out)?;
    if let Some(stack) = &letter.error_stack {
        writeln!(out, "\nerror stack")?;
        for line in stack.lines().take(STACK_LINES) {
            writeln!(out, "  {}", safe_short(line.trim_end(), HEADER_CHARS))?;
        }
        let more = stack.lines().count().saturating_sub(STACK_LINES);
        if more > 0 {
            writeln!(out, "  … {more} more lines")?;
        }
    }
    write_payload(letter, out)?;
    write_history(shown, out)
}

fn write_headers<'a>(headers: impl Iterator<Item = &'a Header>, out: &mut impl Write) -> io::Result<()> {
    for header in headers {
        let name = safe_short(&header.name, NAME_CHARS);
        match &header.value {
            None => writeln!(out, "  {name}: (null)")?,
            Some(value) => writeln!(out, "  {name}: {}", header_value(value))?,
        }
    }
    Ok(())
}

/// Text as text; what is none (Spring's numbers) in hexadecimal.
fn header_value(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains('\0') => safe_short(text, HEADER_CHARS),
        _ => {
            let hex: String = value.iter().take(HEADER_CHARS / 2).map(|byte| format!("{byte:02x}")).collect();
            format!("0x{hex}{}", if value.len() > HEADER_CHARS / 2 { "…" } else { "" })
        }
    }
}

fn write_payload(letter: &Letter, out: &mut impl Write) -> io::Result<()> {
    match &letter.payload {
        Payload::Null => writeln!(out, "\npayload: null (a tombstone)"),
        Payload::Missing => writeln!(out, "\npayload: not copied; {}", where_else(letter)),
        Payload::Omitted { hash, size } => {
            let hash = safe_short(hash, NAME_CHARS);
            writeln!(
                out,
                "\npayload: {size} bytes, BLAKE3 {hash}, not in the dead letter; {}",
                where_else(letter)
            )
        }
        Payload::Inline(bytes) => {
            writeln!(out, "\npayload, {} bytes", bytes.len())?;
            let (text, left_out) = dlq::pretty(bytes);
            for line in text.lines() {
                writeln!(out, "  {line}")?;
            }
            if left_out > 0 {
                writeln!(out, "  … {left_out} more bytes: --raw writes all of them")?;
            }
            Ok(())
        }
    }
}

/// Dead letters and what was done about them, in the order of time.
fn write_history(shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let died = shown.chain.iter().map(|letter| (letter.failed_at, died(letter)));
    let done = shown.statuses.iter().map(|status| (status.timestamp, done(status)));
    let mut history: Vec<(Timestamp, String)> = died.chain(done).collect();
    history.sort_by_key(|(at, _)| *at);
    writeln!(out, "\nhistory")?;
    for (at, what) in history {
        writeln!(out, "  {}  {what}", format_timestamp(at))?;
    }
    Ok(())
}

fn died(letter: &Letter) -> String {
    let replay = match letter.replay_count {
        0 => String::new(),
        n => format!(" after replay {n}"),
    };
    format!("died{replay}: {}, {}: {}", letter.id, letter.reason, safe_short(&letter.error, HEADER_CHARS))
}

fn done(status: &Status) -> String {
    let to = status.replayed_to.as_ref().map(|to| format!(" to {}/{}@{}", to.topic, to.partition, to.offset));
    let edited = status.edited.as_ref().map(|_| ", edited".to_owned());
    let why = status.why.as_ref().map(|why| format!(": {why}"));
    let rest: String = [to, edited, why].into_iter().flatten().collect();
    safe_short(&format!("{}{rest}, by {} ({})", status.status.as_str(), status.by, status.id), ERROR_CHARS)
}
