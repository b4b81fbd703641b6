//! `producer`: sends orders to Kafka.

use std::sync::Arc;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Common, Exit, Role, RunError, logging, output};
use crate::config::values::{Int, Rate};
use crate::config::{ConfigError, Files, KafkaRaw, Layer as _, ProducerRaw, SecretEnv, need};
use crate::metrics;
use crate::models::to_safe_string;
use crate::producer::{self, Counts, Input, Pace, ProducerError, ProducerFigures, ProducerSettings, Verdict};
use crate::trace::Tracer;

/// How long the last spans may take at the end.
const LAST_SPANS: Duration = Duration::from_secs(2);

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
    let settings = settings(flags.producer, flags.kafka, flags.common.files()?, &SecretEnv::read())?;
    let logs = logging::init(&flags.common, None)?;
    let bar = bar(flags.common.quiet);
    let sent = super::until_stopped(|stop| {
        let runtime = tokio::runtime::Handle::current();
        let tracer = Tracer::from_env("order-producer", &runtime).map_err(ProducerError::from)?;
        let spans = tracer.as_ref().map(|tracer| tracer.counts());
        let figures = Arc::new(ProducerFigures::new(&*settings.topic).with_spans(spans));
        if let Some(addr) = settings.metrics_addr {
            let served = metrics::serve(addr, Arc::clone(&figures) as _, Arc::clone(&figures) as _);
            runtime.block_on(served).map_err(ProducerError::from)?;
        }
        let sent = producer::run(&settings, tracer.as_deref(), stop, &mut |counts: &Counts| {
            figures.note(counts);
            bar.set_length(counts.total.unwrap_or(counts.sent));
            bar.set_position(counts.acknowledged + counts.failed);
        });
        if let Some(tracer) = tracer {
            runtime.block_on(tracer.close(LAST_SPANS));
        }
        sent
    });
    bar.finish_and_clear();
    let summary = sent??;
    let text = if settings.json { to_safe_string(&summary).unwrap_or_default() } else { summary.to_string() };
    // The counts come last, also where both outputs go to one file.
    drop(logs);
    output::print_text(&format!("{text}\n"));
    Ok(match summary.verdict() {
        Verdict::Done => Exit::Done,
        Verdict::Partly => Exit::Partial,
        Verdict::Failed => Exit::Failure,
    })
}

/// Progress on a terminal; nothing elsewhere.
fn bar(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let template = "{elapsed_precise} [{wide_bar}] {human_pos}/{human_len} ({per_sec})";
    // The template is fixed and valid; the bar's own one stands in otherwise.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn settings(
    given: ProducerRaw,
    kafka: KafkaRaw,
    files: Files,
    env: &SecretEnv,
) -> Result<ProducerSettings, ConfigError> {
    let raw = given.resolve(&files)?;
    let kafka = kafka.over(files.given.kafka).over(files.defaults.kafka);
    let topics = kafka.topic_creation()?;
    Ok(ProducerSettings {
        kafka: kafka.check(env)?,
        topic: need(raw.topic, "topic")?.0,
        pace: match (raw.rate, raw.interval) {
            (Some(Rate::Max), _) => Pace::Unlimited,
            (Some(Rate::PerSecond(rate)), _) => Pace::Rate(rate),
            (None, interval) => Pace::Interval(need(interval, "interval")?.0),
        },
        count: raw.count.map(Int::to),
        seed: raw.seed.map(Int::to),
        input: raw.input.map(|path| if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path) }),
        invalid_ratio: need(raw.invalid_ratio, "invalid-ratio")?.0,
        malformed_ratio: need(raw.malformed_ratio, "malformed-ratio")?.0,
        tax: need(raw.tax, "tax")?.0,
        shipping_fee: need(raw.shipping_fee, "shipping-fee")?.0,
        currency: need(raw.currency, "currency")?.0,
        payment_method: need(raw.payment_method, "payment-method")?.0,
        warehouse: need(raw.warehouse, "warehouse")?.0,
        create_topics: topics.allowed,
        partitions: topics.partitions,
        replication: topics.replication,
        json: need(raw.json, "json")?.0,
        metrics_addr: need(raw.metrics_addr, "metrics-addr")?.0,
        max_message_bytes: need(raw.max_message_bytes, "max-message-bytes")?.bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_producers_own() {
        let files = Files::parse("", "").expect("the defaults hold");
        let found = settings(ProducerRaw::default(), KafkaRaw::default(), files, &SecretEnv::default());
        assert_eq!(found.expect("the defaults hold"), ProducerSettings::default());
    }
}
