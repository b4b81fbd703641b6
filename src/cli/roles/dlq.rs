//! `dlq`: investigates and replays dead letters.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::category;
use crate::cli::{Common, Exit, Role, RunError, logging, output};
use crate::config::values::Rate;
use crate::config::{DlqListSettings, DlqRaw, KafkaRaw, Layer as _, SecretEnv};
use crate::dlq;
use crate::failure::Category;
use crate::kafka::wait_until_reachable;

/// The role.
pub const ROLE: Role = Role { name: "dlq", command: Flags::command, sections: &["dlq", "kafka"], run };

/// Investigates and replays the dead letters of a topic.
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    dlq: DlqRaw,
    /// Write JSON to the standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    kafka: KafkaRaw,
    #[command(flatten)]
    common: Common,
}

/// Which dead letters.
#[derive(Args)]
struct Filters {
    /// Only dead letters of this category, such as VALIDATION_ERROR
    #[arg(long, value_name = "REASON", value_parser = category)]
    reason: Option<Category>,
    /// Only dead letters with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only dead letters of this order
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// How a replay is sent.
#[derive(Args)]
struct Sending {
    /// The most records per second, or "max"
    #[arg(long, value_name = "N|max")]
    rate: Option<Rate>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Keep the original timestamp
    #[arg(long)]
    keep_timestamp: bool,
    /// Send those too whose order has a newer state
    #[arg(long)]
    include_superseded: bool,
}

#[derive(Subcommand)]
enum Action {
    /// List dead letters
    List {
        #[command(flatten)]
        filters: Filters,
    },
    /// Show everything about one dead letter (not built yet)
    Show {
        /// The dead letter
        id: String,
    },
    /// Count dead letters by cause (not built yet)
    Stats {
        #[command(flatten)]
        filters: Filters,
    },
    /// Freeze a set of dead letters and predict what a replay of each would do (not built yet)
    Plan {
        #[command(flatten)]
        filters: Filters,
        /// The plan's file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Plan those too whose order has a newer state
        #[arg(long)]
        include_superseded: bool,
    },
    /// Replay a plan (not built yet)
    Apply {
        /// The plan's file
        plan: PathBuf,
        #[command(flatten)]
        sending: Sending,
    },
    /// Tell what became of a plan's replays (not built yet)
    Status {
        /// The plan's file
        plan: PathBuf,
        /// The tracker's audit log
        #[arg(long, value_name = "FILE")]
        events_file: Option<PathBuf>,
    },
    /// Plan and apply in one (not built yet)
    Replay {
        /// One dead letter; without it those that the filters choose
        id: Option<String>,
        #[command(flatten)]
        filters: Filters,
        /// Change the payload at a JSON Pointer; may be repeated
        #[arg(long, value_name = "POINTER=VALUE")]
        set: Vec<String>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Edit one dead letter's payload and replay it (not built yet)
    Edit {
        /// The dead letter
        id: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Note that dead letters will not be replayed (not built yet)
    Discard {
        /// One dead letter; without it those that the filters choose
        id: Option<String>,
        #[command(flatten)]
        filters: Filters,
        /// Why
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Delete the dead letters that are settled (not built yet)
    Purge {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Write dead letters to a file (not built yet)
    Export {
        #[command(flatten)]
        filters: Filters,
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let kafka = flags.kafka.over(files.given.kafka).over(files.defaults.kafka).check(&SecretEnv::read())?;
    let dlq = flags.dlq.over(files.given.dlq).over(files.defaults.dlq);
    let Some(action) = flags.action else {
        return Err(Flags::command()
            .error(clap::error::ErrorKind::MissingSubcommand, "say what to do")
            .into());
    };
    let what = match action {
        Action::List { filters } => {
            let _logs = logging::init(&flags.common, None)?;
            return list(&DlqListSettings {
                kafka,
                topic: dlq.checked_topic()?,
                json: flags.json,
                reason: filters.reason,
                limit: filters.limit,
                key: filters.key,
                order_id: filters.order_id,
            });
        }
        Action::Show { .. } => "show",
        Action::Stats { .. } => "stats",
        Action::Plan { .. } => "plan",
        Action::Apply { .. } => "apply",
        Action::Status { .. } => "status",
        Action::Replay { .. } => "replay",
        Action::Edit { .. } => "edit",
        Action::Discard { .. } => "discard",
        Action::Purge { .. } => "purge",
        Action::Export { .. } => "export",
    };
    Err(not_built(what))
}

fn not_built(what: &str) -> RunError {
    RunError::NotBuilt {
        what: format!("dlq {what}"),
        meanwhile: "meanwhile: dlq list --json, or any Kafka client on the dead letter topic",
    }
}

fn list(settings: &DlqListSettings) -> Result<Exit, RunError> {
    // Nothing is changed and nothing has to be drained: a signal may end it where it is.
    wait_until_reachable(&settings.kafka, &|| false)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let found = dlq::list(settings, &mut out)?;
    let foreign = match found.foreign {
        0 => String::new(),
        n => format!(", {n} records of the topic are no dead letters of this pipeline"),
    };
    output::complain(&format!("{} dead letters{foreign}", found.listed));
    Ok(Exit::Done)
}
