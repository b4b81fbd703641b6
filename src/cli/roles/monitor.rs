//! `monitor`: shows what runs, and how well.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::{Common, Exit, Role, RunError};
use crate::config::MonitorRaw;

/// The role.
pub const ROLE: Role = Role { name: "monitor", command: Flags::command, sections: &["monitor"], run };

/// Shows live what the tracker does, from its health log, its audit log and its metrics.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    _monitor: MonitorRaw,
    #[command(flatten)]
    common: Common,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    flags.common.files()?;
    Err(RunError::NotBuilt {
        what: "the monitor".to_owned(),
        meanwhile: "meanwhile: tail -F tracker.log for health; tail -F tracker.events | jq -c '[.outcome, .failure_reason]' \
                    for outcomes",
    })
}
