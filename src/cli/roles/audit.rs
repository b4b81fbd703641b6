//! `audit`: proves that nothing was lost.

use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::cli::{Common, Exit, Role, RunError};
use crate::config::{AuditRaw, KafkaRaw, Layer as _, SecretEnv};

/// The role.
pub const ROLE: Role = Role { name: "audit", command: Flags::command, sections: &["audit", "kafka"], run };

/// Checks the audit log, and proves it against Kafka.
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    _audit: AuditRaw,
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
    /// Check the hash chain; the first line that was changed, removed, added or reordered is named (not built yet)
    Verify {
        /// The audit log's files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The file with the key of the hash chain
        #[arg(long, value_name = "FILE")]
        audit_key_file: Option<PathBuf>,
    },
    /// Compare the audit log with Kafka, record by record (not built yet)
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
    flags.kafka.over(files.given.kafka).over(files.defaults.kafka).check(&SecretEnv::read())?;
    let what = match flags.action {
        None => {
            return Err(Flags::command()
                .error(clap::error::ErrorKind::MissingSubcommand, "say what to do")
                .into());
        }
        Some(Action::Verify { .. }) => "audit verify",
        Some(Action::Prove { .. }) => "audit prove",
        Some(Action::Trace { .. }) => "audit trace",
        Some(Action::Rotate) => "audit rotate",
    };
    Err(RunError::NotBuilt {
        what: what.to_owned(),
        meanwhile: "meanwhile: jq -c 'select(.outcome)' tracker.events shows every outcome",
    })
}
