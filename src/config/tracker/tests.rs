//! Tables: what the tracker's settings become, and what is refused with which words.

use clap::{Args as _, FromArgMatches as _};

use super::*;
use crate::config::Secret;

fn resolve(file: &str, flags: &[&str]) -> Result<TrackerSettings, String> {
    // What the test's own environment says must not count here.
    let command = TrackerRaw::augment_args(KafkaRaw::augment_args(clap::Command::new("tracker")))
        .mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
    let matches =
        command.try_get_matches_from(std::iter::once(&"tracker").chain(flags)).map_err(|e| e.to_string())?;
    let kafka = KafkaRaw::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    let tracker = TrackerRaw::from_arg_matches(&matches).map_err(|e| e.to_string())?;
    let files = Files::parse("x.toml", file).map_err(|e| e.to_string())?;
    TrackerSettings::resolve(kafka, tracker, files, &SecretEnv::default()).map_err(|e| e.to_string())
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = resolve("", &[]).expect("the defaults hold");
    let second = Duration::from_secs(1);
    assert_eq!(
        settings,
        TrackerSettings {
            kafka: KafkaSettings::default(),
            create_topics: true,
            topic_partitions: 3,
            topic_replication: -1,
            topic: "orders".to_owned(),
            group: "order-tracker-group".to_owned(),
            dlq_topic: "orders-dlq".to_owned(),
            log_file: "tracker.log".into(),
            events_file: "tracker.events".into(),
            retry: RetrySettings {
                max_retries: 3,
                initial: second,
                max: 30 * second,
                jitter: 0.0,
                attempt_timeout: 5 * second,
            },
            events_max_bytes: 1 << 30,
            deliver_to: None,
            deliver_rate: None,
            notify: NotifySettings { targets: Vec::new(), queue: 1000, queue_bytes: 4 << 20, concurrency: 8 },
            ordering: Ordering::Partition,
            concurrency: 64,
            partition_concurrency: None,
            outage_guard: Some(GuardSettings { failures: 5, wait: 60 * second, probes: 3 }),
            metrics_addr: None,
            exit_at_end: false,
            shutdown_timeout: 15 * second,
            max_message_bytes: 1 << 20,
            events_compress: EventsCompress::None,
            audit_payload: AuditPayload::Full,
            on_gap: OnGap::Stop,
            audit_key: None,
            max_in_flight_bytes: 32 << 20,
            max_in_flight_records: 20_000,
            commit_interval: second,
            session_timeout: 45 * second,
            max_poll_interval: 300 * second,
            metrics_interval: 30 * second,
        }
    );
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let file =
        "[tracker]\ntopic = 'a'\ngroup = 'b'\nexit-at-end = true\nordering = 'key'\n[kafka]\nclient-id = 'c'";
    let settings =
        resolve(file, &["--topic", "d", "--exit-at-end=false", "--outage-guard", "off"]).expect("good");
    assert_eq!((settings.topic.as_str(), settings.group.as_str()), ("d", "b"));
    assert_eq!((settings.exit_at_end, settings.outage_guard), (false, None));
    assert_eq!((settings.ordering, settings.kafka.client_id.as_str()), (Ordering::Key, "c"));
    assert_eq!(settings.dlq_topic, "orders-dlq");
}

#[test]
fn a_default_gives_way_to_an_explicit_setting() {
    for flags in [["--max-poll-interval", "10s"], ["-X", "max.poll.interval.ms=10000"]] {
        let settings = resolve("", &flags).expect("the defaults are fitted");
        assert_eq!(settings.max_poll_interval, Duration::from_secs(10));
        assert_eq!(settings.session_timeout, Duration::from_secs(10));
        assert_eq!(settings.shutdown_timeout, Duration::from_secs(5));
        assert!(settings.kafka.properties.is_empty(), "{:?}", settings.kafka.properties);
    }
}

#[test]
fn settings_that_contradict_each_other_are_named_with_their_values() {
    for (flags, expected) in [
        (&["--dlq-topic", "orders"][..], "--dlq-topic must not be --topic (orders)"),
        (
            &["--log-file", "./a", "--events-file", "a"],
            "--log-file and --events-file must be different files",
        ),
        (&["--retry-initial", "1m"], "--retry-initial (1m) must not be longer than --retry-max (30s)"),
        (
            &["--session-timeout", "6m"],
            "--session-timeout (6m) must not be longer than --max-poll-interval (5m)",
        ),
        (
            &["--shutdown-timeout", "45s"],
            "--shutdown-timeout (45s) must be shorter than --session-timeout (45s)",
        ),
        (
            &["--shutdown-timeout", "20s", "--max-poll-interval", "10s"],
            "--shutdown-timeout (20s) must be shorter than --max-poll-interval (10s)",
        ),
        (
            &["--max-message-bytes", "64MiB"],
            "--max-message-bytes (64MiB) must not be above --max-in-flight-bytes (32MiB)",
        ),
        (&["--topic-replication", "0"], "allowed is -1 or 1 to 32767"),
        (&["-X", "session.timeout.ms=x"], "-X session.timeout.ms=x: a number of milliseconds is needed"),
        (&["--deliver-rate", "0"], "'--deliver-rate <N|max>': a number per second is needed, above 0"),
        (&["--notify", "http://u:hunter2@"], "--notify: the address needs a host"),
        (&["--notify", "http://h/a?x", "--notify", "http://h/a?y"], "--notify: http://h/a is given twice"),
        (&["--max-retries", "-1"], "unexpected argument"),
        (&["--max-retries", "1001"], "'--max-retries <N>': a whole number is needed, from 0 to 1000"),
        (&["--retry-max", "30"], "'--retry-max <DURATION>': the unit is missing, write \"30s\""),
        (&["--ordering", "none"], "[possible values: partition, key]"),
        (&["--topic", "a b"], "a topic's name is 1 to 249 letters"),
    ] {
        let error = resolve("", flags).expect_err(expected);
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
    for (file, flags, rate) in [
        ("deliver-rate = 5", &[][..], Some(5.0)),
        ("deliver-rate = 5", &["--deliver-rate", "0.5"], Some(0.5)),
        ("deliver-rate = 5", &["--deliver-rate", "max"], None),
    ] {
        assert_eq!(resolve(&format!("[tracker]\n{file}"), flags).expect("good").deliver_rate, rate);
    }
}

#[test]
fn secondary_targets_are_a_list_in_the_file_and_a_repeated_flag() {
    let file = "[tracker]\nnotify = ['http://a/', 'http://b/']";
    for (flags, expected) in [
        (&[][..], &["http://a/", "http://b/"][..]),
        (&["--notify", "http://c", "--notify", "http://d"], &["http://c/", "http://d/"]),
        (&["--notify", "http://c,http://d"], &["http://c/", "http://d/"]),
    ] {
        let notify = resolve(file, flags).expect("good").notify;
        let urls: Vec<_> = notify.targets.iter().map(|target| target.url.as_str()).collect();
        assert_eq!(urls, expected);
    }
    let file = "[tracker]\nnotify = 'http://a, http://b'";
    assert_eq!(resolve(file, &[]).expect("good").notify.targets.len(), 2);
    for mistake in ["5", "['http://u:hunter2@h', 5]", "{ a = 'http://u:hunter2@h' }"] {
        let error = resolve(&format!("[tracker]\nnotify = {mistake}"), &[]).expect_err(mistake);
        assert!(error.contains("an address is needed, or a list") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_delivery_target_is_shown_without_its_query() {
    for (text, shown) in [
        ("http://u:secret@localhost:8080/orders?api_key=secret&x=/a", "http://localhost:8080/orders"),
        ("http://h?secret", "http://h/"),
        ("http://h/a/b", "http://h/a/b"),
    ] {
        let target = DeliverTarget::parse("--deliver-to", text).expect(text);
        assert_eq!(target.shown(), shown);
        assert!(!format!("{target:?}").contains("secret"), "{target:?}");
    }
}

#[test]
fn a_delivery_target_hides_its_credentials() {
    for (text, url) in [
        ("http://localhost:8080/orders?x=1", "http://localhost:8080/orders?x=1"),
        ("HTTP://h", "http://h/"),
        ("http://[::1]:80/a#b", "http://[::1]:80/a"),
        ("http://u:p@ss@h:1?q", "http://h:1/?q"),
    ] {
        let target = DeliverTarget::parse("--deliver-to", text).expect(text);
        assert_eq!(target.url, url);
        assert!(!format!("{target:?}").contains("p@ss"), "{target:?}");
        assert_eq!(target.credentials.as_ref().map(Secret::expose), text.contains('@').then_some("u:p@ss"));
    }
    for text in [
        "localhost:8080",
        "ftp://u:hunter2@h",
        "http://",
        "http://u:hunter2@h:0",
        "http://u:hunter2@",
        "http://h/a b",
    ] {
        let error = DeliverTarget::parse("--deliver-to", text).expect_err(text).to_string();
        assert!(error.starts_with("--deliver-to: ") && !error.contains("hunter2"), "{error}");
    }
    #[cfg(not(feature = "tls"))]
    assert!(
        DeliverTarget::parse("--deliver-to", "https://h")
            .expect_err("no tls")
            .to_string()
            .contains("feature `tls`")
    );
}
