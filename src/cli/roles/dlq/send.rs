//! `dlq apply` and `dlq replay`, and the flags by which anything is sent again.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::plan::{exit_of, words};
use super::{Context, Filters, summary};
use crate::audit::cat::{LineFilter, cat, files_of};
use crate::cli::roles::until_stopped;
use crate::cli::{Exit, RunError, confirm, output};
use crate::config::values::{Name, Rate, Span, TopicName};
use crate::dlq::replay::{
    ApplySettings, Assignment, AuditLines, Canary, Choose, Edits, Ended, Limits, Patch, Plan, PlanRequest,
    Planned, Progress, ReplayError, apply, make_plan, read_plan, write_plan,
};
use crate::dlq::{Wanted, who};

/// A share, as "5%" or 0.05.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share(f64);

fn share(text: &str) -> Result<Share, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().ok().map(|number| number / scale);
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .map(Share)
        .ok_or_else(|| "a share is needed, such as 5% or 0.05".to_owned())
}

/// How a replay is sent.
#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub(super) struct Sending {
    /// The most records per second, or "max" [default: max]
    #[arg(long, value_name = "N|max")]
    rate: Option<Rate>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Where to send them, instead of the topic that the plan names
    #[arg(long, value_name = "TOPIC")]
    to: Option<TopicName>,
    /// Do everything but write
    #[arg(long)]
    dry_run: bool,
    /// Begin with so many, then so many more, waiting for their outcomes in between, such as 1,10,100
    #[arg(long, value_name = "N,N…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    canary: Vec<u64>,
    /// End when a larger share of the canary fails again [default: 5%]
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "canary")]
    abort_above: Option<Share>,
    /// How long the outcomes of one step of the canary may take [default: 5m]
    #[arg(long, value_name = "DURATION", requires = "canary")]
    canary_timeout: Option<Span<100, 86_400_000>>,
    /// Keep the original timestamp
    #[arg(long)]
    keep_timestamp: bool,
    /// Send those too whose order has a newer state
    #[arg(long)]
    include_superseded: bool,
    /// Send those again that another plan has sent
    #[arg(long)]
    include_replayed: bool,
    /// Send those too that were replayed --max-replays times
    #[arg(long)]
    include_over_replayed: bool,
    /// How often a record may be replayed [default: 3]
    #[arg(long, value_name = "N")]
    max_replays: Option<u32>,
    /// The tracker's audit log: for outcomes, newer states, and payloads that dead letters were too large for
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,
    /// The consumer group that handles the replays, if it is another than that of the dead letters
    #[arg(long, value_name = "GROUP")]
    group: Option<Name>,
}

impl Sending {
    /// The audit log that was named.
    pub(super) fn events_file(&self) -> Option<&Path> {
        self.events_file.as_deref()
    }

    /// How it begins with a few.
    fn canary(&self) -> Canary {
        let usual = Canary::of(self.canary.clone());
        Canary {
            abort_above: self.abort_above.map_or(usual.abort_above, |share| share.0),
            timeout: self.canary_timeout.map_or(usual.timeout, |timeout| timeout.0),
            ..usual
        }
    }

    /// The topic that is sent to instead of the plan's.
    fn to(&self) -> Option<&str> {
        self.to.as_ref().map(|topic| topic.0.as_str())
    }

    /// Asks, then does what comes `before` the first send, and sends.
    fn send(
        &self,
        context: &Context,
        plan: &Plan,
        file: &Path,
        before: &dyn Fn() -> Result<(), ReplayError>,
    ) -> Result<Exit, RunError> {
        if !self.dry_run && !plan.entries.is_empty() {
            confirm(&plan.question(self.to()), self.yes)?;
        }
        if !self.dry_run {
            before()?;
        }
        let audit = AuditFiles::of(self.events_file.as_deref())?;
        let settings = ApplySettings {
            kafka: &context.kafka,
            creation: context.creation,
            plan_file: file,
            by: who(),
            to: self.to(),
            replay_targets: &context.replay_targets,
            rate: self.rate.and_then(|rate| match rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            }),
            limits: Limits {
                include_superseded: self.include_superseded,
                include_replayed: self.include_replayed,
                include_over_replayed: self.include_over_replayed,
                max_replays: self.max_replays.unwrap_or(Limits::default().max_replays),
            },
            keep_timestamp: self.keep_timestamp,
            dry_run: self.dry_run,
            canary: (!self.canary.is_empty()).then(|| self.canary()),
            group: self.group.as_ref().map(|group| group.0.as_str()),
            fallback_group: &context.group,
        };
        let bar = progress_bar(plan.entries.len() as u64);
        let applied = until_stopped(|stop| {
            context.reach(stop)?;
            let mut show = |progress: &Progress| {
                context.figures.replay(progress, settings.rate);
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            };
            apply(&settings, plan, audit.as_ref().map(|audit| audit as &dyn AuditLines), stop, &mut show)
        });
        bar.finish_and_clear();
        let applied = applied?.inspect_err(|error| {
            if !matches!(error, ReplayError::Target(_)) {
                output::complain(&format!("what was committed stays: dlq apply {} goes on", file.display()));
            }
        })?;
        let mut out = BufWriter::new(io::stdout().lock());
        summary::write_applied(plan, &applied, self.dry_run, context.json, &mut out)
            .and_then(|()| out.flush())
            .map_err(RunError::io("write the result"))?;
        if applied.ended == Ended::Stopped {
            output::complain(&format!("stopped: dlq apply {} goes on with the rest", file.display()));
        } else if !self.dry_run && applied.sent + applied.found > 0 {
            output::complain(&format!("dlq status {} tells what becomes of them", file.display()));
        }
        Ok(if applied.is_whole() { Exit::Done } else { Exit::Partial })
    }
}

fn progress_bar(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The audit log's files.
pub(super) struct AuditFiles(Vec<PathBuf>);

impl AuditFiles {
    /// The file that was named, with its sealed segments.
    pub(super) fn of(live: Option<&Path>) -> Result<Option<Self>, RunError> {
        live.map(|live| files_of(live).map(Self).map_err(RunError::io("list the audit log's files")))
            .transpose()
    }
}

impl AuditLines for AuditFiles {
    fn each(&self, take: &mut dyn FnMut(&[u8])) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        cat(&self.0, &LineFilter::default(), |line| {
            take(line);
            Ok(())
        })?;
        Ok(())
    }
}

/// How payloads are changed.
#[derive(Args)]
#[command(next_help_heading = "Changes")]
pub(super) struct Changes {
    /// Change the payload at a JSON Pointer; may be repeated
    #[arg(long, value_name = "POINTER=VALUE")]
    set: Vec<Assignment>,
    /// Change the payload with a jq program, such as '.total = 12.5'
    #[arg(long, value_name = "JQ", visible_alias = "jq")]
    patch: Option<String>,
}

impl Changes {
    /// The changes, the program read.
    pub(super) fn check(self) -> Result<Edits, RunError> {
        let patch = self.patch.as_deref().map(Patch::new).transpose().map_err(ReplayError::from)?;
        Ok(Edits { replacement: None, set: self.set, patch })
    }
}

/// Replay a plan.
#[derive(Args)]
pub struct Apply {
    /// The plan's file
    plan: PathBuf,
    #[command(flatten)]
    sending: Sending,
}

impl Apply {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let plan = read_plan(&self.plan)?;
        // Those who are asked see what it is about.
        let mut told = Vec::new();
        summary::write_plan_lines(&plan, &mut told).map_err(RunError::io("show the plan"))?;
        output::complain_lines(&String::from_utf8_lossy(&told));
        self.sending.send(context, &plan, &self.plan, &|| Ok(()))
    }
}

/// Plan and apply in one.
#[derive(Args)]
pub struct Replay {
    /// One dead letter, by its id, the beginning of it, or PARTITION:OFFSET in the dead letter topic; without it those
    /// that the filters choose
    id: Option<Wanted>,
    #[command(flatten)]
    filters: Filters,
    /// Where to keep the plan [default: replay-ID.plan.json in the current folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    sending: Sending,
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let edits = self.changes.check()?;
        let id = self.id.map(|wanted| context.id_of(&wanted)).transpose()?;
        replay(context, id, &self.filters.check(), &edits, self.output, &self.sending)
    }
}

/// Makes a plan, shows it, asks, and applies it.
pub(super) fn replay(
    context: &Context,
    id: Option<Uuid>,
    filter: &crate::dlq::Filter,
    edits: &Edits,
    file: Option<PathBuf>,
    sending: &Sending,
) -> Result<Exit, RunError> {
    context.reach(&|| false)?;
    let audit = AuditFiles::of(sending.events_file.as_deref())?;
    let request = PlanRequest {
        choose: Choose { kafka: &context.kafka, dlq_topic: &context.topic, id, filter },
        filters: words(),
        to: sending.to(),
        edits,
        limits: context.limits,
        include_superseded: sending.include_superseded,
        by: who(),
    };
    let planned = make_plan(&request, audit.as_ref().map(|audit| audit as &dyn AuditLines))?;
    let file = file.unwrap_or_else(|| format!("replay-{}.plan.json", planned.plan.plan_id).into());
    tell(&planned, &file)?;
    if planned.plan.entries.is_empty() {
        output::complain("there is nothing to replay");
        return Ok(exit_of(&planned));
    }
    // Before anything is sent: a run that is killed can be gone on with by its plan.
    let write = || write_plan(&planned.plan, &file);
    let sent = sending.send(context, &planned.plan, &file, &write)?;
    Ok(if sent == Exit::Done { exit_of(&planned) } else { sent })
}

/// Shows the plan's summary to whoever is asked.
fn tell(planned: &Planned, file: &Path) -> Result<(), RunError> {
    let mut told = Vec::new();
    summary::write_planned(planned, file, false, &mut told).map_err(RunError::io("show the plan"))?;
    output::complain_lines(&String::from_utf8_lossy(&told));
    Ok(())
}
