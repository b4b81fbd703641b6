//! Any file of settings and any flags: a mistake is told, never a panic; a secret is in no message and no Debug output;
//! and what is accepted keeps to the bounds that the rooms rely on.

#![no_main]

use clap::{Args as _, Command, FromArgMatches as _};
use libfuzzer_sys::fuzz_target;
use pubsub_kafka::config::{
    AuditRaw, Files, KafkaRaw, Layer as _, ProducerRaw, Secret, SecretEnv, TrackerRaw, TrackerSettings,
};

const MARK: &str = "hunter2-the-secret";

fn told<T>(answer: Result<T, pubsub_kafka::config::ConfigError>) -> Option<T> {
    answer
        .map_err(|error| {
            let text = format!("{error} {error:?} {}", pubsub_kafka::failure::chain_of(&error));
            assert!(!text.contains(MARK), "{text}");
        })
        .ok()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Flags come first, one a line, up to an empty line; then the file.
    let (flags, file) = text.split_once("\n\n").unwrap_or(("", text));
    if text.contains(MARK) {
        return;
    }
    let command = KafkaRaw::augment_args(TrackerRaw::augment_args(Command::new("fuzz").no_binary_name(true)));
    let flags: Vec<&str> = flags.split('\n').filter(|flag| !flag.is_empty()).collect();
    let Ok(matches) = command.disable_help_flag(true).try_get_matches_from(&flags) else { return };
    let mut kafka = KafkaRaw::from_arg_matches(&matches).expect("they matched");
    let mut tracker = TrackerRaw::from_arg_matches(&matches).expect("they matched");

    // A secret before whatever is wrong in the file, and one in an address.
    let file = format!("[kafka.properties]\n\"sasl.password\" = \"{MARK}\"\n{file}");
    let Some(mut files) = told(Files::parse("fuzz.toml", &file)) else { return };
    // These would be opened.
    files.given.kafka.sasl_password_file = None;
    files.given.kafka.ssl_key_password_file = None;
    let address = files.given.tracker.deliver_to.as_deref().and_then(|url| url.split_once("://"));
    files.given.tracker.deliver_to = address.map(|(scheme, rest)| format!("{scheme}://user:{MARK}@{rest}"));
    (tracker.audit_key_file, files.given.tracker.audit_key_file) = (None, None);
    files.given.audit.audit_key_file = None;
    kafka.sasl_password_file = None;

    let env = SecretEnv { ssl_key_password: Some(Secret::new(MARK)), ..SecretEnv::default() };
    if let Some(settings) = told(TrackerSettings::resolve(kafka.clone(), tracker, files.clone(), &env)) {
        assert!(!format!("{settings:?}").contains(MARK), "{settings:?}");
        assert_eq!(settings.kafka.secrets["ssl.key.password"].expose(), MARK);
        assert!(settings.topic != settings.dlq_topic);
        assert!(settings.shutdown_timeout < settings.session_timeout);
        assert!(settings.session_timeout <= settings.max_poll_interval);
        assert!(settings.max_message_bytes <= settings.max_in_flight_bytes);
        assert!(settings.retry.initial <= settings.retry.max && settings.concurrency > 0);
        for key in ["enable.auto.commit", "isolation.level", "acks", "group.id", "bootstrap.servers"] {
            assert!(!settings.kafka.properties.contains_key(key), "{key}");
        }
        assert!(settings.kafka.properties.values().all(|value| value != MARK));
    }
    told(ProducerRaw::default().resolve(&files));
    let kafka = kafka.over(files.given.kafka.clone()).over(files.defaults.kafka.clone());
    if let Some(settings) = told(kafka.check(&env)) {
        assert!(!format!("{settings:?}").contains(MARK), "{settings:?}");
        let audit = AuditRaw::default().over(files.given.audit.clone()).over(files.defaults.audit.clone());
        if let Some(settings) = told(audit.check(settings)) {
            assert!(settings.topic != settings.dlq_topic);
        }
    }
    told(files.given.broker.clone().check());
});
