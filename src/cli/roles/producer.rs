//! `producer`: sends orders to Kafka.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::{Common, Exit, Role, RunError, logging, signals};
use crate::config::{KafkaRaw, Layer as _, ProducerRaw, SecretEnv};

/// The role.
pub const ROLE: Role =
    Role { name: "producer", command: Flags::command, sections: &["producer", "kafka"], run };

/// Sends orders to Kafka: generated ones, believable and repeatable by their seed, or the lines of a file.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    producer: ProducerRaw,
    #[command(flatten)]
    kafka: KafkaRaw,
    #[command(flatten)]
    common: Common,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let mut flags = Flags::from_arg_matches(matches)?;
    // A flag goes before the environment, also where the two spell the pace differently.
    match (matches.value_source("interval"), matches.value_source("rate")) {
        (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)) => flags.producer.rate = None,
        (Some(ValueSource::EnvVariable), Some(ValueSource::CommandLine)) => flags.producer.interval = None,
        _ => {}
    }
    let files = flags.common.files()?;
    let _raw = flags.producer.resolve(&files)?;
    let kafka = flags.kafka.over(files.given.kafka).over(files.defaults.kafka);
    let _topics = kafka.topic_creation()?;
    let kafka = kafka.check(&SecretEnv::read())?;
    let _logs = logging::init(&flags.common, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(RunError::io("start the runtime"))?;
    runtime.block_on(async {
        let stop = signals::install().map_err(RunError::io("install the signal handlers"))?;
        if !super::kafka_answers(&kafka, &stop).await? {
            return Ok(Exit::Done);
        }
        Err(RunError::NotBuilt {
            what: "the producer".to_owned(),
            meanwhile: "it follows within this release",
        })
    })
}
