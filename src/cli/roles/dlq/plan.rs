//! `dlq plan` and `dlq status`.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::Args;

use super::send::{AuditFiles, Changes};
use super::{Context, Filters, summary};
use crate::cli::{Exit, RunError, output};
use crate::config::values::{Name, TopicName};
use crate::dlq::replay::{
    AuditLines, Choose, PlanRequest, Planned, Watch, follow_up, make_plan, read_plan, write_plan,
};
use crate::dlq::who;

/// Freeze a set of dead letters.
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    filters: Filters,
    /// The plan's file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Plan those to be sent too whose order has a newer state
    #[arg(long)]
    include_superseded: bool,
    /// Where to send them, instead of the topic that each came from
    #[arg(long, value_name = "TOPIC")]
    to: Option<TopicName>,
    /// The tracker's audit log: it knows which newer states were processed
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

impl Plan {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        context.reach(&|| false)?;
        let audit = AuditFiles::of(self.events_file.as_deref())?;
        let filter = self.filters.check();
        let edits = self.changes.check()?;
        let request = PlanRequest {
            choose: Choose { kafka: &context.kafka, dlq_topic: &context.topic, id: None, filter: &filter },
            filters: words(),
            to: self.to.as_ref().map(|topic| topic.0.as_str()),
            edits: &edits,
            limits: context.limits,
            include_superseded: self.include_superseded,
            by: who(),
        };
        let planned = make_plan(&request, audit.as_ref().map(|audit| audit as &dyn AuditLines))?;
        write_plan(&planned.plan, &self.output)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        summary::write_planned(&planned, &self.output, context.json, &mut out)
            .and_then(|()| std::io::Write::flush(&mut out))
            .map_err(RunError::io("write the result"))?;
        let file = self.output.display();
        output::complain(&format!("nothing was sent; the plan is {file}: dlq apply {file} sends it"));
        Ok(exit_of(&planned))
    }
}

/// A plan that leaves out what was asked for is one in part.
pub(super) fn exit_of(planned: &Planned) -> Exit {
    if planned.refused.is_empty() { Exit::Done } else { Exit::Partial }
}

/// How the set was chosen: the arguments as they were given.
pub(super) fn words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Tell what became of a plan's replays.
#[derive(Args)]
pub struct Status {
    /// The plan's file
    plan: PathBuf,
    /// The tracker's audit log; without it the group's offsets and the dead letter topic are asked
    #[arg(long, value_name = "FILE")]
    events_file: Option<PathBuf>,
    /// The consumer group that handles the replays, if it is another than that of the dead letters
    #[arg(long, value_name = "GROUP")]
    group: Option<Name>,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let plan = read_plan(&self.plan)?;
        context.reach(&|| false)?;
        let audit = AuditFiles::of(self.events_file.as_deref())?;
        let watch = Watch {
            kafka: &context.kafka,
            dlq_topic: &plan.dlq_topic,
            dlq_from: plan.seen.get(&plan.dlq_topic).cloned().unwrap_or_default(),
            audit: audit.as_ref().map(|audit| audit as &dyn AuditLines),
            group: self.group.as_ref().map(|group| group.0.as_str()),
            fallback_group: &context.group,
        };
        let outcomes = follow_up(&watch, &plan, &self.plan)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        summary::write_outcomes(&plan, &outcomes, context.json, &mut out)
            .and_then(|()| std::io::Write::flush(&mut out))
            .map_err(RunError::io("write the result"))?;
        Ok(if outcomes.all_succeeded() { Exit::Done } else { Exit::Partial })
    }
}
