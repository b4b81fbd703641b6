//! `broker`: the demonstration broker.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::{Common, Exit, Role, RunError};
use crate::config::{BrokerRaw, Layer as _};

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
    let (_listen, _topics) = flags.broker.over(files.given.broker).over(files.defaults.broker).check()?;
    Err(RunError::NotBuilt {
        what: "the demonstration broker".to_owned(),
        meanwhile: "use scripts/kafka.sh start",
    })
}
