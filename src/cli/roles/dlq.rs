//! `dlq`: investigates and replays dead letters. One file for each group of actions; this one holds what they share.

mod edit;
mod filters;
mod list;
mod plan;
mod send;
mod settle;
mod show;
mod stats;
mod summary;
mod transfer;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::filters::Filters;
use crate::cli::{Common, Exit, Role, RunError, logging};
use crate::config::{DlqRaw, KafkaRaw, KafkaSettings, Layer as _, SecretEnv, TopicCreation, need};
use crate::dlq::{Reading, ToolFigures, Wanted, find};
use crate::kafka::{KafkaError, wait_until_reachable};
use crate::metrics;
use crate::models::DecodeLimits;

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

#[derive(Subcommand)]
enum Action {
    /// List dead letters
    List(list::List),
    /// Show everything about one dead letter
    Show(show::Show),
    /// Count dead letters by cause, time and origin
    Stats(stats::Stats),
    /// Freeze a set of dead letters and predict what a replay of each would do
    Plan(plan::Plan),
    /// Replay a plan
    Apply(send::Apply),
    /// Tell what became of a plan's replays
    Status(plan::Status),
    /// Plan and apply in one
    Replay(send::Replay),
    /// Edit one dead letter's payload in an editor and replay it
    Edit(edit::Edit),
    /// Note that dead letters will not be replayed
    Discard(settle::Discard),
    /// Take back that dead letters were discarded or replayed: they are open again
    Reopen(settle::Reopen),
    /// Delete the dead letters that are settled
    Purge(settle::Purge),
    /// Write dead letters to a file (JSON Lines), nothing lost
    Export(transfer::Export),
    /// Put exported dead letters into a dead letter topic
    Import(transfer::Import),
}

/// What every action works with.
struct Context {
    kafka: KafkaSettings,
    /// The dead letter topic.
    topic: String,
    /// Whether results are JSON.
    json: bool,
    /// The only topics that may be replayed to; empty for any.
    replay_targets: Vec<String>,
    /// How missing topics are created.
    creation: TopicCreation,
    /// What the tracker here takes as an order.
    limits: DecodeLimits,
    /// The tracker's group: that of dead letters that do not tell theirs.
    group: String,
    /// What is counted for who watches.
    figures: Arc<ToolFigures>,
}

impl Context {
    /// Waits until Kafka answers; false when it is told to stop.
    fn reach(&self, stop: &dyn Fn() -> bool) -> Result<bool, KafkaError> {
        let is_there = wait_until_reachable(&self.kafka, stop)?;
        if is_there {
            self.figures.working();
        }
        Ok(is_there)
    }

    /// The dead letter that is named in one of the ways that `show` takes.
    fn id_of(&self, wanted: &Wanted) -> Result<Uuid, RunError> {
        if let Wanted::Id(id) = wanted {
            return Ok(*id);
        }
        self.reach(&|| false)?;
        let (_, letter) = find(&self.kafka, &self.topic, wanted, |_, _| ())?;
        Ok(letter.id)
    }

    /// Tells those who watch how far a reading is.
    fn note(&self, at: Reading) {
        self.figures.read(at.read);
        self.figures.written(at.written);
    }
}

/// Serves the figures until the runtime is dropped.
fn serve(addr: SocketAddr, figures: &Arc<ToolFigures>) -> Result<Runtime, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(RunError::io("start the runtime of the metrics"))?;
    runtime.block_on(metrics::serve(addr, Arc::clone(figures) as _, Arc::clone(figures) as _))?;
    Ok(runtime)
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let kafka = flags.kafka.over(files.given.kafka).over(files.defaults.kafka);
    let creation = kafka.topic_creation()?;
    let kafka = kafka.check(&SecretEnv::read())?;
    let dlq = flags.dlq.over(files.given.dlq).over(files.defaults.dlq);
    let Some(action) = flags.action else {
        return Err(Flags::command()
            .error(clap::error::ErrorKind::MissingSubcommand, "say what to do")
            .into());
    };
    let tracker = files.given.tracker.over(files.defaults.tracker);
    let metrics_addr = need(dlq.metrics_addr, "metrics-addr")?.0;
    let replay_targets = dlq.replay_targets.iter().flatten().map(|topic| topic.0.clone()).collect();
    let topic = dlq.checked_topic()?;
    let command = matches.subcommand_name().unwrap_or_default();
    let context = Context {
        kafka,
        json: flags.json,
        replay_targets,
        figures: Arc::new(ToolFigures::new(topic.as_str(), command)),
        topic,
        creation,
        limits: tracker
            .max_message_bytes
            .map_or_else(DecodeLimits::default, |size| DecodeLimits { max_message_bytes: size.bytes() }),
        group: tracker.group.map(|group| group.0).unwrap_or_default(),
    };
    let _logs = logging::init(&flags.common, None)?;
    let _serving = metrics_addr.map(|addr| serve(addr, &context.figures)).transpose()?;
    match action {
        Action::List(list) => list.run(&context),
        Action::Show(show) => show.run(&context),
        Action::Stats(stats) => stats.run(&context),
        Action::Plan(plan) => plan.run(&context),
        Action::Apply(apply) => apply.run(&context),
        Action::Status(status) => status.run(&context),
        Action::Replay(replay) => replay.run(&context),
        Action::Edit(edit) => edit.run(&context),
        Action::Discard(discard) => discard.run(&context),
        Action::Reopen(reopen) => reopen.run(&context),
        Action::Purge(purge) => purge.run(&context),
        Action::Export(export) => export.run(&context),
        Action::Import(import) => import.run(&context),
    }
}
