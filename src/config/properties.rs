//! Which librdkafka properties may be passed through: all but those that the guarantees rest on. A property that would
//! be overridden anyway is refused too, because a setting that does nothing misleads.

use super::ConfigError;
use super::kafka::is_secret;

const COMMIT: &str = "an offset is committed only after its outcome is on disk";
const IDEMPOTENT: &str = "sends are idempotent and acknowledged by all in-sync replicas";
const ALL_RECORDS: &str = "every record of the topic is read once, in its order, and checked";
const GROUP: &str = "partitions move between trackers by the classic protocol, cooperatively";
const REPORTS: &str = "each send is reported with its partition and offset";

const PACE: &str = "how long a send may take and wait is fixed for each role";
const MEMORY: &str = "what is fetched ahead is bounded";
const QUEUE: &str = "the producer's queue is bounded, with room for its largest record";
const SIZE: &str =
    "use the producer's --max-message-bytes; the limit of dead letters is their topic's max.message.bytes";

/// Fixed properties and why; a name that ends in `*` stands for all that begin so.
const FIXED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use --bootstrap-servers"),
    ("metadata.broker.list", "use --bootstrap-servers"),
    ("client.id", "use --client-id"),
    ("group.id", "use --group"),
    ("enable.auto*", COMMIT),
    ("auto.commit.*", COMMIT),
    ("offset.store.*", COMMIT),
    (
        "auto.offset.reset",
        "a new group starts at the earliest offset, and a position that retention has passed is an alarm",
    ),
    ("isolation.level", ALL_RECORDS),
    ("enable.partition.eof", ALL_RECORDS),
    ("check.crcs", ALL_RECORDS),
    ("queuing.strategy", ALL_RECORDS),
    ("partition.assignment.strategy", GROUP),
    ("group.protocol", GROUP),
    ("group.remote.assignor", GROUP),
    ("enable.idempotence", IDEMPOTENT),
    ("enable.gapless.guarantee", IDEMPOTENT),
    ("acks", IDEMPOTENT),
    ("request.required.acks", IDEMPOTENT),
    ("max.in.flight*", IDEMPOTENT),
    ("transactional.id", "it is how one dlq apply fences another"),
    ("partitioner", "a key goes to the partition that Java clients choose"),
    ("message.timeout.ms", PACE),
    ("delivery.timeout.ms", PACE),
    ("linger.ms", PACE),
    ("queue.buffering.max.ms", PACE),
    ("message.max.bytes", SIZE),
    ("queue.buffering.max.kbytes", QUEUE),
    ("queued.max.messages.kbytes", MEMORY),
    ("delivery.report.only.error", REPORTS),
    ("produce.offset.report", REPORTS),
    ("test.*", "it would replace Kafka by a simulation"),
    ("go.*", "it belongs to another client"),
];

/// Refuses what must not be set.
pub(crate) fn check(key: &str, value: &str) -> Result<(), ConfigError> {
    let refuse = |why: &str| Err(ConfigError::Property { key: key.to_owned(), why: why.to_owned() });
    let fixed = FIXED.iter().find(|(name, _)| match name.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == *name,
    });
    if let Some((_, why)) = fixed {
        return refuse(why);
    }
    if matches!(key, "retries" | "message.send.max.retries") && value.trim() == "0" {
        return refuse(IDEMPOTENT);
    }
    check_encryption(key, value)
}

/// Refuses what this build's client cannot do.
fn check_encryption(key: &str, value: &str) -> Result<(), ConfigError> {
    if cfg!(feature = "tls") {
        return Ok(());
    }
    let value = value.trim().to_ascii_lowercase();
    let needs = match key {
        "security.protocol" => matches!(value.as_str(), "ssl" | "sasl_ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram") || value.starts_with("oauth"),
        _ => key.starts_with("ssl."),
    };
    if !needs {
        return Ok(());
    }
    let what = if key.starts_with("ssl.") { key.to_owned() } else { format!("{key}={value}") };
    Err(ConfigError::NotCompiled { what, feature: "tls" })
}

/// Takes `key=value` of `-X` apart. A secret is refused here, before anything could show it.
pub(crate) fn parse_flag(text: &str) -> Result<(String, String), ConfigError> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(ConfigError::value("-X", "KEY=VALUE is needed, such as -X fetch.wait.max.ms=100"));
    };
    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
    if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ConfigError::value("-X", "KEY=VALUE is needed, the key without blanks"));
    }
    if is_secret(&key) {
        let why = "a secret on the command line can be read by everyone on the machine; give it in the environment \
                   (KAFKA_SASL_PASSWORD, KAFKA_SSL_KEY_PASSWORD) or in the file of --config";
        return Err(ConfigError::Property { key, why: why.to_owned() });
    }
    Ok((key, value))
}

/// Flattens the file's table: `"sasl.mechanism" = …` and `sasl.mechanism = …` (a nested table to TOML) mean the same.
pub(crate) fn flatten(
    prefix: &str,
    table: &toml::Table,
    into: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&key, inner, into)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(ConfigError::value(
                    format!("{key} in [kafka.properties]"),
                    "text or a number is needed",
                ));
            }
        };
        into.push((key, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guarantees_rest_on_cannot_be_set() {
        for property in [
            "bootstrap.servers=a:1",
            "metadata.broker.list=a:1",
            "client.id=x",
            "group.id=g",
            "enable.auto.commit=true",
            "enable.auto.offset.store=true",
            "enable.auto.commit=false",
            "auto.commit.interval.ms=1",
            "auto.commit.enable=true",
            "offset.store.method=file",
            "auto.offset.reset=latest",
            "isolation.level=read_uncommitted",
            "enable.partition.eof=false",
            "check.crcs=false",
            "queuing.strategy=lifo",
            "partition.assignment.strategy=range",
            "group.protocol=consumer",
            "group.remote.assignor=uniform",
            "enable.idempotence=false",
            "acks=1",
            "request.required.acks=0",
            "max.in.flight=9",
            "max.in.flight.requests.per.connection=9",
            "retries=0",
            "message.send.max.retries=0",
            "transactional.id=t",
            "partitioner=random",
            "message.timeout.ms=5000",
            "delivery.timeout.ms=5000",
            "linger.ms=100",
            "queue.buffering.max.ms=100",
            "message.max.bytes=2000000",
            "queue.buffering.max.kbytes=1024",
            "queued.max.messages.kbytes=1024",
            "delivery.report.only.error=true",
            "produce.offset.report=false",
            "enable.gapless.guarantee=true",
            "test.mock.num.brokers=3",
            "go.batch.producer=true",
        ] {
            let (key, value) = parse_flag(property).expect(property);
            let error = check(&key, &value).expect_err(property).to_string();
            assert!(
                error.starts_with(&format!("the Kafka property {key} cannot be set: ")),
                "{property}: {error}"
            );
        }
    }

    #[test]
    fn the_rest_passes() {
        for property in [
            "fetch.wait.max.ms=10",
            "retries=5",
            "log_level=7",
            "debug=cgrp",
            "compression.type=zstd",
            "security.protocol=plaintext",
            "sasl.mechanism=PLAIN",
            "socket.timeout.ms=100",
            "group.instance.id=a",
            "batch.size=1000",
        ] {
            let (key, value) = parse_flag(property).expect(property);
            check(&key, &value).expect(property);
        }
        assert_eq!(parse_flag("a.b = c=d ").ok(), Some(("a.b".to_owned(), "c=d".to_owned())));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_without_being_shown() {
        for key in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "ssl.key.pem",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
        ] {
            let error = parse_flag(&format!("{key}=hunter2")).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains("KAFKA_SASL_PASSWORD"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for text in ["hunter2", "=hunter2", "a hunter2=1"] {
            let error = parse_flag(text).expect_err(text).to_string();
            assert!(error.contains("KEY=VALUE") && !error.contains("hunter2"), "{error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn encryption_names_the_feature_that_it_needs() {
        for (key, value) in [
            ("security.protocol", "SSL"),
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("ssl.ca.location", "ca.pem"),
        ] {
            let error = check(key, value).expect_err(value).to_string();
            assert!(error.contains("feature `tls`") && error.contains(key), "{error}");
        }
    }
}
