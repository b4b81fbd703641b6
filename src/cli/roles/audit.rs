//! `audit`: proves that nothing was lost.

mod proof;
mod story;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;

use super::{category, point_in_time};
use crate::audit::cat::{LineFilter, cat, files_of};
use crate::audit::prove::{self, Stage, prove};
use crate::audit::trace::trace;
use crate::audit::{Hashing, Rotated, Verified, is_set_aside, rotate, size_of, verify};
use crate::cli::progress::{byte_bar, count_bar};
use crate::cli::{Common, Exit, Role, RunError, logging, output};
use crate::config::values::Span;
use crate::config::{AuditRaw, AuditSettings, KafkaRaw, Layer as _, SecretEnv};
use crate::failure::Category;
use crate::models::{Outcome, safe_text, to_safe_vec};

/// The role.
pub const ROLE: Role = Role { name: "audit", command: Flags::command, sections: &["audit", "kafka"], run };

/// Checks the audit log, and proves it against Kafka.
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    audit: AuditRaw,
    /// Write JSON to the standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    kafka: KafkaRaw,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand)]
enum Action {
    /// Check the hash chain; the first line that was changed, removed, added or reordered is named
    Verify {
        /// The audit log's files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Hold the audit log against Kafka: every committed record has its line, every line its record, every dead letter
    /// both
    Prove {
        /// The audit log's files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Tell the story of one order, in the order of time
    Trace {
        /// The order's id, or the key of its records
        #[arg(value_name = "ORDER_ID|KEY")]
        order_id: String,
        /// The audit log's files; by default the one of --events-file, with its sealed segments
        files: Vec<PathBuf>,
    },
    /// Print lines of the audit log as they are (JSON Lines)
    Cat {
        #[command(flatten)]
        filters: CatFilters,
        /// The audit log's files; by default the one of --events-file, with its sealed segments
        files: Vec<PathBuf>,
    },
    /// Seal the live file of --events-file now and begin a new one; a tracker that writes it is asked to do so
    Rotate {
        /// How long the tracker may take
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        timeout: Span<100, 3_600_000>,
    },
}

/// Which lines.
#[derive(clap::Args)]
struct CatFilters {
    /// Only lines from this time on: RFC 3339 such as 2026-03-01T12:00:00Z, or how long ago, such as "2h"
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<Timestamp>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<Timestamp>,
    /// Only outcomes of this kind: processed or dead_lettered
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<Outcome>,
    /// Only dead letters of this category, such as VALIDATION_ERROR
    #[arg(long, value_name = "REASON", value_parser = category)]
    reason: Option<Category>,
}

fn outcome(text: &str) -> Result<Outcome, String> {
    [Outcome::Processed, Outcome::DeadLettered]
        .into_iter()
        .find(|outcome| outcome.as_str() == text.to_ascii_lowercase().replace('-', "_"))
        .ok_or_else(|| "processed or dead_lettered is needed".to_owned())
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let kafka = flags.kafka.over(files.given.kafka).over(files.defaults.kafka).check(&SecretEnv::read())?;
    let audit = flags.audit.over(files.given.audit).over(files.defaults.audit);
    match flags.action {
        None => {
            Err(Flags::command().error(clap::error::ErrorKind::MissingSubcommand, "say what to do").into())
        }
        Some(Action::Verify { files }) => {
            verify_files(&of_the_log(files), Hashing::new(audit.key()?), flags.json)
        }
        Some(Action::Prove { files }) => {
            let _logs = logging::init(&flags.common, None)?;
            prove_files(&audit.check(kafka)?, &of_the_log(files), flags.json)
        }
        Some(Action::Trace { order_id, files }) => {
            let files = files_or_own(files, audit.check(kafka)?)?;
            trace_order(&order_id, &files, flags.json)
        }
        Some(Action::Cat { filters, files }) => {
            cat_files(&files_or_own(files, audit.check(kafka)?)?, &filters)
        }
        Some(Action::Rotate { timeout }) => {
            let _logs = logging::init(&flags.common, None)?;
            rotate_log(&audit.check(kafka)?, timeout.0, flags.json)
        }
    }
}

fn rotate_log(settings: &AuditSettings, patience: Duration, json: bool) -> Result<Exit, RunError> {
    let Rotated { segment, file, by } = rotate(&settings.events_file, Hashing::new(settings.key), patience)?;
    let mut out = io::stdout().lock();
    let written = if json {
        let line = serde_json::json!({ "segment": segment, "file": file, "sealed_by": by });
        to_safe_vec(&line).map_err(io::Error::other).and_then(|line| {
            out.write_all(&line)?;
            out.write_all(b"\n")
        })
    } else {
        let by = by.map_or_else(String::new, |holder| format!(", by the tracker ({holder})"));
        writeln!(out, "sealed {}{by}", safe_text(&file.to_string_lossy()))
    };
    written.map_err(RunError::io("write the result"))?;
    Ok(Exit::Done)
}

/// What `tracker.events*` names and is no part of the log any more is passed over, if there is anything else.
fn of_the_log(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let (aside, log): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_set_aside(file));
    if log.is_empty() {
        return aside;
    }
    for file in aside {
        let name = file.to_string_lossy();
        output::complain(&format!(
            "note: {name} was moved aside by a start, and is no part of the log any more"
        ));
    }
    log
}

/// Results go to the standard output, one line for each file; a broken chain is an error.
fn verify_files(files: &[PathBuf], hashing: Hashing, json: bool) -> Result<Exit, RunError> {
    let bar = byte_bar(size_of(files));
    let found = verify(files, hashing, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    for file in found? {
        write_verified(&file, json, &mut out).map_err(RunError::io("write the result"))?;
    }
    Ok(Exit::Done)
}

/// The files that were given, or the own journal's.
fn files_or_own(files: Vec<PathBuf>, settings: AuditSettings) -> Result<Vec<PathBuf>, RunError> {
    if !files.is_empty() {
        return Ok(files);
    }
    files_of(&settings.events_file).map_err(RunError::io("list the audit log's files"))
}

/// An order of which no line knows is a failure, so that scripts notice.
fn trace_order(order_id: &str, files: &[PathBuf], json: bool) -> Result<Exit, RunError> {
    let bar = byte_bar(size_of(files));
    let events = trace(order_id, files, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let events = events?;
    if events.is_empty() {
        output::complain(&format!("no line is about the order or key {order_id}"));
        return Ok(Exit::Failure);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    story::write(&events, json, &mut out).map_err(RunError::io("write the result"))?;
    Ok(Exit::Done)
}

/// On a terminal nothing of an order's own bytes may do anything.
fn cat_files(files: &[PathBuf], filters: &CatFilters) -> Result<Exit, RunError> {
    let CatFilters { since, until, outcome, reason } = *filters;
    let filter = LineFilter { since, until, outcome, reason };
    let is_terminal = io::stdout().is_terminal();
    let mut out = BufWriter::new(io::stdout().lock());
    cat(files, &filter, |line| {
        if is_terminal {
            out.write_all(safe_text(&String::from_utf8_lossy(line)).as_bytes())?;
        } else {
            out.write_all(line)?;
        }
        out.write_all(b"\n")
    })?;
    out.flush().map_err(RunError::io("write the lines"))?;
    Ok(Exit::Done)
}

/// A refutation is a result, with an exit code of its own.
fn prove_files(settings: &AuditSettings, files: &[PathBuf], json: bool) -> Result<Exit, RunError> {
    let mut bar = (None, ProgressBar::hidden());
    let proof = prove(settings, files, |progress| {
        if bar.0 != Some(progress.stage) {
            bar.1.finish_and_clear();
            bar = (Some(progress.stage), stage_bar(&progress));
        }
        bar.1.set_position(progress.done);
    });
    bar.1.finish_and_clear();
    let proof = proof?;
    for violation in &proof.violations.first {
        output::complain(&format!("violated: {violation}"));
    }
    for journal in proof.journals.iter().filter(|journal| !proof.proven && journal.not_given > 0) {
        output::complain(&format!(
            "note: {} lines of the journal {} are in segments that were not given: give them too, such as with \
             tracker.events*",
            journal.not_given, journal.file_id
        ));
    }
    proof::write(&proof, json, &mut io::stdout().lock()).map_err(RunError::io("write the result"))?;
    Ok(if proof.proven { Exit::Done } else { Exit::Integrity })
}

fn stage_bar(progress: &prove::Progress) -> ProgressBar {
    match progress.stage {
        Stage::Verify => byte_bar(progress.total).with_message("chain"),
        Stage::Lines => byte_bar(progress.total).with_message("lines"),
        Stage::Records => count_bar(progress.total).with_message("records"),
        Stage::Letters => count_bar(progress.total).with_message("dead letters"),
    }
}

fn write_verified(file: &Verified, json: bool, out: &mut impl io::Write) -> io::Result<()> {
    if json {
        let mut line = to_safe_vec(file).map_err(io::Error::other)?;
        line.push(b'\n');
        return out.write_all(&line);
    }
    let torn = match file.torn_bytes {
        0 => String::new(),
        bytes => format!(", then a torn line of {bytes} bytes"),
    };
    let name = safe_text(&file.file.to_string_lossy()).into_owned();
    writeln!(out, "{name}: sound, {} lines, {} bytes{torn}, head {}", file.lines, file.bytes, file.head)
}
