//! `monitor`: shows what runs, and how well.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use jiff::Timestamp;

use super::{point_in_time, until_stopped};
use crate::cli::{Common, Exit, Role, RunError, logging, output};
use crate::config::{ConfigError, Layer as _, MonitorRaw, MonitorSettings};
#[cfg(feature = "dlq")]
use crate::config::{DlqRaw, Files, KafkaRaw, SecretEnv, values::TopicName};
#[cfg(feature = "dlq")]
use crate::models::DecodeLimits;
#[cfg(feature = "dlq")]
use crate::monitor::LetterSettings;
use crate::monitor::{Options, Sources, WebPage, draw_plot, print_once, watch};

/// The role.
pub const ROLE: Role =
    Role { name: "monitor", command: Flags::command, sections: &["monitor", "kafka"], run };

/// Shows live what the tracker does, from its health log, its audit log and its metrics.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    monitor: MonitorRaw,
    /// Show a moment of the past instead of now: RFC 3339 such as 2026-03-01T12:00:00Z, or how long ago, such as "2h"
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    at: Option<Timestamp>,
    /// Draw throughput, errors and latency of the whole audit log over time into an SVG file, and end; with --at, of the
    /// window that ends there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "json", "web"])]
    plot: Option<PathBuf>,
    #[cfg(feature = "dlq")]
    #[command(flatten)]
    letters: Letters,
    #[cfg(feature = "dlq")]
    #[command(flatten)]
    kafka: KafkaRaw,
    #[command(flatten)]
    common: Common,
}

/// The dead letters that the web page shows; the same settings as the `dlq` tool's.
#[cfg(feature = "dlq")]
#[derive(clap::Args)]
#[command(next_help_heading = "Dead letters on the web page")]
struct Letters {
    /// The dead letter topic [default: orders-dlq]
    #[arg(long, value_name = "TOPIC", env = "PUBSUB_KAFKA_DLQ_TOPIC", hide_env_values = true)]
    dlq_topic: Option<TopicName>,
    /// The only topics that dead letters may be replayed to, separated by commas; without it any that a plan names
    #[arg(
        long,
        value_name = "TOPIC",
        env = "PUBSUB_KAFKA_REPLAY_TARGETS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    replay_targets: Option<Vec<TopicName>>,
}

#[cfg(feature = "dlq")]
impl Letters {
    fn check(self, kafka: KafkaRaw, files: Files) -> Result<LetterSettings, ConfigError> {
        let kafka = kafka.over(files.given.kafka).over(files.defaults.kafka);
        let dlq = DlqRaw { topic: self.dlq_topic, replay_targets: self.replay_targets, ..DlqRaw::default() };
        let dlq = dlq.over(files.given.dlq).over(files.defaults.dlq);
        let tracker = files.given.tracker.over(files.defaults.tracker);
        Ok(LetterSettings {
            creation: kafka.topic_creation()?,
            kafka: kafka.check(&SecretEnv::read())?,
            replay_targets: dlq.replay_targets.iter().flatten().map(|topic| topic.0.clone()).collect(),
            topic: dlq.checked_topic()?,
            limits: tracker
                .max_message_bytes
                .map_or_else(DecodeLimits::default, |size| DecodeLimits { max_message_bytes: size.bytes() }),
            group: tracker.group.map(|group| group.0).unwrap_or_default(),
        })
    }
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let raw = flags.monitor.over(files.given.monitor.clone()).over(files.defaults.monitor.clone());
    let settings = raw.check()?;
    let options = options(&settings, flags.at)?;
    if let Some(path) = flags.plot {
        draw_plot(&options, &path)?;
    } else if let Some(web) = &settings.web {
        let _logs = logging::init(&flags.common, None)?;
        let page = WebPage::bind(web)?;
        #[cfg(feature = "dlq")]
        let page = page.with_letters(flags.letters.check(flags.kafka, files)?);
        output::complain(&page.greeting());
        until_stopped(|stop| page.serve(&options, stop))??;
    } else if settings.once {
        print_once(&options, settings.json, &mut BufWriter::new(std::io::stdout().lock()))?;
    } else {
        until_stopped(|stop| watch(&options, stop))??;
    }
    Ok(Exit::Done)
}

fn options(settings: &MonitorSettings, at: Option<Timestamp>) -> Result<Options, ConfigError> {
    let parse = |url: &String| {
        url.parse().map_err(|error| ConfigError::value("--metrics-url", format!("no address: {error}")))
    };
    Ok(Options {
        sources: Sources {
            log_file: settings.log_file.clone(),
            events_file: settings.events_file.clone(),
            read_bytes: settings.read_bytes,
        },
        metrics_url: settings.metrics_url.as_ref().map(parse).transpose()?,
        window: settings.window,
        at,
    })
}
