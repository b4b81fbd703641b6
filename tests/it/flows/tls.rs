//! TLS and SASL/SCRAM against the real Kafka, with a certificate authority of the test's own: what is right works in
//! every program, what is wrong is refused with the setting to look at, and the password is in no output.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::secure::{PASSWORD, SecureKafka, USER};
use crate::support::{Audit, World, not_run, program};

/// Long enough for a busy machine; a refusal that is only guessed at takes all of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

const PRODUCER: &str = env!("CARGO_BIN_EXE_producer");
const TRACKER: &str = env!("CARGO_BIN_EXE_tracker");
const DLQ: &str = env!("CARGO_BIN_EXE_dlq");
const AUDIT: &str = env!("CARGO_BIN_EXE_audit");

/// Where the password comes from.
enum Password {
    Environment(&'static str),
    File(&'static str),
    None,
}

/// How a program reaches Kafka.
struct Way {
    servers: String,
    properties: Vec<String>,
    password: Password,
}

impl Way {
    fn new(servers: &str, properties: &[&str], password: Password) -> Self {
        let properties = properties.iter().map(|property| (*property).to_owned()).collect();
        Self { servers: servers.to_owned(), properties, password }
    }

    fn ssl(kafka: &SecureKafka, servers: &str) -> Self {
        let authority = format!("ssl.ca.location={}", kafka.authority("ca"));
        Self::new(servers, &["security.protocol=ssl", &authority], Password::None)
    }

    fn scram(kafka: &SecureKafka, servers: &str, password: Password) -> Self {
        let authority = format!("ssl.ca.location={}", kafka.authority("ca"));
        let user = format!("sasl.username={USER}");
        let properties =
            ["security.protocol=sasl_ssl", "sasl.mechanism=SCRAM-SHA-512", &authority, user.as_str()];
        Self::new(servers, &properties, password)
    }

    /// A program in the world's folder.
    fn command(&self, kafka: &SecureKafka, world: &World, path: &str, flags: &[&str]) -> Command {
        let mut command = program(path);
        let timeout = format!("{}s", CONNECT_TIMEOUT.as_secs());
        command.current_dir(world.path(".")).args(flags);
        command.args(["-b", &self.servers, "--connect-timeout", &timeout]);
        for property in &self.properties {
            command.args(["-X", property]);
        }
        match self.password {
            Password::Environment(password) => drop(command.env("KAFKA_SASL_PASSWORD", password)),
            Password::File(password) => {
                let password = kafka.file("password", &format!("{password}\n"));
                let settings = format!("[kafka]\nsasl-password-file = '{}'\n", password.display());
                command.arg("--config").arg(kafka.file("settings.toml", &settings));
            }
            Password::None => {}
        }
        command
    }
}

/// The password must not be in anything that is said.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(!text.contains("hunter2"), "{text}");
    text
}

fn done(mut command: Command) -> String {
    let output = command.output().expect("the program starts");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {text}");
    text
}

/// Orders go in, one of them bad; they come out, and every program sees them.
fn pipeline_works(kafka: &SecureKafka, way: &Way) {
    let world = World::on(&kafka.plain.servers, "tls", 2);
    let run = |path: &str, flags: &[&str]| done(way.command(kafka, &world, path, flags));
    let sent = run(
        PRODUCER,
        &["--topic", &world.topic, "--count", "20", "--rate", "max", "--seed", "7", "--invalid-ratio", "0.2"],
    );
    assert!(sent.contains("sent 20, acknowledged 20, failed 0"), "{sent}");
    let tracker = [
        "--topic",
        &world.topic,
        "--group",
        &world.group,
        "--dlq-topic",
        &world.dlq,
        "--log-file",
        "tracker.log",
        "--events-file",
        "tracker.events",
        "--exit-at-end",
        // The client's own words about what it does with the password are for this test too.
        "-vv",
        "-X",
        "debug=security,broker,conf",
    ];
    run(TRACKER, &tracker);
    let log = std::fs::read_to_string(world.path("tracker.log")).expect("a log");
    assert!(log.contains("\"started\"") && !log.contains("hunter2"), "{log}");
    let audit: Audit = world.audit("tracker");
    let dead = audit.entries.iter().filter(|entry| entry.failure_reason.is_some()).count();
    assert_eq!((audit.entries.len(), audit.by_offset().len()), (20, 20));
    assert!(dead > 0);
    let listed = run(DLQ, &["list", "--json", "--topic", &world.dlq]);
    assert_eq!(listed.lines().filter(|line| line.contains("VALIDATION_ERROR")).count(), dead, "{listed}");
    let prove = ["prove", "tracker.events", "--topic", &world.topic, "--group", &world.group];
    run(AUDIT, &[&prove[..], &["--dlq-topic", &world.dlq]].concat());
}

/// Every program that connects is refused in the same way: in time, with the remedy, without the password.
fn is_refused(kafka: &SecureKafka, way: &Way, code: i32, remedy: &[&str]) {
    let world = World::on(&kafka.plain.servers, "refused", 1);
    let orders = world.path("orders.jsonl");
    std::fs::write(&orders, "{}\n").expect("written");
    for (path, flags) in [
        (PRODUCER, &["--count", "1", "--topic", &world.topic][..]),
        (TRACKER, &["--exit-at-end", "--topic", &world.topic]),
        (DLQ, &["list", "--topic", &world.dlq]),
    ] {
        let mut command = way.command(kafka, &world, path, flags);
        let begun = Instant::now();
        let output = command.output().expect("the program starts");
        let (took, text) = (begun.elapsed(), said(&output));
        assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
        // Starting and ending take their time on a busy machine.
        assert!(took < CONNECT_TIMEOUT + Duration::from_secs(10), "{took:?}: {text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: ") && last.contains("Kafka") && last.contains(&way.servers),
            "{text}"
        );
        for part in remedy {
            assert!(last.contains(part), "{part} is missing: {last}");
        }
    }
}

#[test]
fn what_is_right_works_and_what_is_wrong_is_refused_with_its_remedy() {
    let kafka = match SecureKafka::start() {
        Ok(kafka) => kafka,
        Err(why) => return not_run("tls", &why),
    };

    pipeline_works(&kafka, &Way::ssl(&kafka, &kafka.ssl));
    pipeline_works(&kafka, &Way::scram(&kafka, &kafka.sasl, Password::Environment(PASSWORD)));
    pipeline_works(&kafka, &Way::scram(&kafka, &kafka.sasl, Password::File(PASSWORD)));

    // The authority is unknown; or it is known, and the certificate is for another host, with and without credentials
    // to be sent there.
    let stranger = format!("ssl.ca.location={}", kafka.authority("stranger"));
    let unknown = Way::new(&kafka.ssl, &["security.protocol=ssl", &stranger], Password::None);
    is_refused(&kafka, &unknown, 2, &["authority", "ssl.ca.location=FILE"]);
    let other_host = ["another host name", "--bootstrap-servers", "advertised.listeners"];
    is_refused(&kafka, &Way::ssl(&kafka, &kafka.elsewhere_ssl), 2, &other_host);
    let elsewhere = Way::scram(&kafka, &kafka.elsewhere, Password::Environment(PASSWORD));
    is_refused(&kafka, &elsewhere, 2, &other_host);

    // The password is wrong.
    for password in [Password::Environment("wrong-hunter2"), Password::File("wrong-hunter2")] {
        let way = Way::scram(&kafka, &kafka.sasl, password);
        is_refused(&kafka, &way, 2, &["sasl.username", "KAFKA_SASL_PASSWORD", "sasl-password-file"]);
    }

    // TLS is missing, or there is none.
    let plaintext = Way::new(&kafka.ssl, &[], Password::None);
    is_refused(&kafka, &plaintext, 5, &["speaks TLS", "security.protocol=ssl"]);
    let plain = Way::ssl(&kafka, &kafka.plain.servers);
    is_refused(&kafka, &plain, 5, &["--bootstrap-servers", "security.protocol"]);
}
