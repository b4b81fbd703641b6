//! `tracker`: validates each order, hands it on, and writes every outcome into the audit log.

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::{Common, Exit, Role, RunError, logging, signals};
use crate::config::{KafkaRaw, SecretEnv, TrackerRaw, TrackerSettings};
use crate::pipeline;

/// The role.
pub const ROLE: Role =
    Role { name: "tracker", command: Flags::command, sections: &["tracker", "kafka"], run };

/// Reads orders from Kafka, validates each one, hands it on with retries, routes what cannot be handled to the dead
/// letter topic, and writes every outcome into the audit log before its offset is committed.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    tracker: TrackerRaw,
    #[command(flatten)]
    kafka: KafkaRaw,
    #[command(flatten)]
    common: Common,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let settings =
        TrackerSettings::resolve(flags.kafka, flags.tracker, flags.common.files()?, &SecretEnv::read())?;
    let _logs = logging::init(&flags.common, Some(&settings.log_file))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("start the runtime"))?;
    let stop = runtime
        .block_on(async { signals::install() })
        .map_err(RunError::io("install the signal handlers"))?;
    // The poll thread is this one; the runtime's threads do the work.
    let ended = pipeline::run(&settings, runtime.handle(), &stop);
    // Tasks that a deadline has given up on must not hold the end back.
    runtime.shutdown_background();
    Ok(ended.map(|()| Exit::Done)?)
}
