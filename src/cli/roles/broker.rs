//! `broker`: the demonstration broker.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::{Common, Exit, Role, RunError, logging};
use crate::config::{BrokerRaw, Layer as _};
use crate::kafka::embedded::{self, BrokerSettings};

/// The role.
pub const ROLE: Role = Role { name: "broker", command: Flags::command, sections: &["broker"], run };

/// A demonstration broker within this program. It keeps nothing, and does not serve Java clients.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    broker: BrokerRaw,
    #[command(flatten)]
    common: Common,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let (listen, topics) = flags.broker.over(files.given.broker).over(files.defaults.broker).check()?;
    let _logs = logging::init(&flags.common, None)?;
    super::until_stopped(|stop| embedded::run(&BrokerSettings { listen, topics }, stop))??;
    Ok(Exit::Done)
}
