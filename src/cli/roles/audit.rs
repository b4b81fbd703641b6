//! `audit`: proves that nothing was lost.

mod proof;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::prove::{self, Stage, prove};
use crate::audit::{Verified, verify};
use crate::cli::{Common, Exit, Role, RunError, logging, output};
use crate::config::{AuditRaw, AuditSettings, KafkaRaw, Layer as _, SecretEnv};
use crate::models::{safe_text, to_safe_vec};

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
        /// The file with the key of the hash chain
        #[arg(long, value_name = "FILE")]
        audit_key_file: Option<PathBuf>,
    },
    /// Hold the audit log against Kafka: every committed record has its line, every line its record, every dead letter
    /// both
    Prove {
        /// The audit log's files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The file with the key of the hash chain
        #[arg(long, value_name = "FILE")]
        audit_key_file: Option<PathBuf>,
    },
    /// Tell the story of one order (not built yet)
    Trace {
        /// The order
        order_id: String,
    },
    /// Seal the audit log's file and begin a new one (not built yet)
    Rotate,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let kafka = flags.kafka.over(files.given.kafka).over(files.defaults.kafka).check(&SecretEnv::read())?;
    let audit = flags.audit.over(files.given.audit).over(files.defaults.audit);
    let what = match flags.action {
        None => {
            return Err(Flags::command()
                .error(clap::error::ErrorKind::MissingSubcommand, "say what to do")
                .into());
        }
        Some(Action::Verify { audit_key_file: Some(_), .. }) => "audit verify --audit-key-file",
        Some(Action::Verify { files, .. }) => return verify_files(&files, flags.json),
        Some(Action::Prove { audit_key_file: Some(_), .. }) => "audit prove --audit-key-file",
        Some(Action::Prove { files, .. }) => {
            let _logs = logging::init(&flags.common, None)?;
            return prove_files(&audit.check(kafka)?, &files, flags.json);
        }
        Some(Action::Trace { .. }) => "audit trace",
        Some(Action::Rotate) => "audit rotate",
    };
    Err(RunError::NotBuilt {
        what: what.to_owned(),
        meanwhile: "meanwhile: jq -c 'select(.outcome)' tracker.events shows every outcome",
    })
}

/// Results go to the standard output, one line for each file; a broken chain is an error.
fn verify_files(files: &[PathBuf], json: bool) -> Result<Exit, RunError> {
    let total = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum();
    let bar = progress_bar(total);
    let found = verify(files, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    for file in found? {
        write_verified(&file, json, &mut out).map_err(RunError::io("write the result"))?;
    }
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
    proof::write(&proof, json, &mut io::stdout().lock()).map_err(RunError::io("write the result"))?;
    Ok(if proof.proven { Exit::Done } else { Exit::Integrity })
}

fn stage_bar(progress: &prove::Progress) -> ProgressBar {
    match progress.stage {
        Stage::Verify => progress_bar(progress.total).with_message("chain"),
        Stage::Lines => progress_bar(progress.total).with_message("lines"),
        Stage::Records => count_bar(progress.total).with_message("records"),
        Stage::Letters => count_bar(progress.total).with_message("dead letters"),
    }
}

/// For what comes out of Kafka.
fn count_bar(total: u64) -> ProgressBar {
    bar(total, 100_000, "{msg:12} {bar:40} {pos}/{len} {per_sec} {eta}")
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

/// For what comes from a disk.
fn progress_bar(total: u64) -> ProgressBar {
    bar(total, 64 << 20, "{msg:12} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// On a terminal, for what takes longer than a blink.
fn bar(total: u64, worth_it: u64, template: &str) -> ProgressBar {
    if total < worth_it || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
