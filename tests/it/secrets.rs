//! Secrets in every place where one can be given, beside every mistake that can be made: in no message, no Debug output,
//! no log.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::Command;

use clap::Args as _;
use pubsub_kafka::config::{
    AuditRaw, ConfigError, DEFAULTS, Files, KafkaRaw, Layer as _, MonitorRaw, ProducerRaw, Secret, SecretEnv,
    TrackerRaw, TrackerSettings,
};
use pubsub_kafka::failure::chain_of;

use crate::support::program;

/// What every secret here has in it.
const MARK: &str = "hunter2";

/// Properties that hold secrets; the last two are mistakes.
const SECRETS: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.key.pem",
    "sasl.jaas.config",
    "sasl.pasword",
];

fn is_silent(text: &str) {
    assert!(!text.contains(MARK), "{text}");
}

fn debug(value: &impl Debug) {
    is_silent(&format!("{value:?} {value:#?}"));
}

fn told<T>(answer: Result<T, ConfigError>) -> Option<T> {
    answer
        .map_err(|error| {
            debug(&error);
            is_silent(&format!("{error} {}", chain_of(&error)));
        })
        .ok()
}

/// Everything that can be made of a file of settings; gives what the tracker made of it.
fn resolve(text: &str) -> Option<TrackerSettings> {
    let files = told(Files::parse("settings.toml", text))?;
    let env = SecretEnv {
        sasl_password: Some(Secret::new(format!("{MARK}-env"))),
        ssl_key_password: Some(Secret::new(format!("{MARK}-env"))),
    };
    debug(&env);
    told(ProducerRaw::default().resolve(&files));
    let kafka = KafkaRaw::default().over(files.given.kafka.clone()).over(files.defaults.kafka.clone());
    if let Some(kafka) = told(kafka.check(&env)) {
        debug(&kafka);
        let audit = AuditRaw::default().over(files.given.audit.clone()).over(files.defaults.audit.clone());
        if let Some(audit) = told(audit.check(kafka)) {
            debug(&audit);
        }
    }
    let tracker = told(TrackerSettings::resolve(KafkaRaw::default(), TrackerRaw::default(), files, &env))?;
    debug(&tracker);
    Some(tracker)
}

fn secrets() -> String {
    let line = |key: &&str| format!("\"{key}\" = \"{MARK}-{key}\"\n");
    // Without the feature those of TLS are refused before anything else is looked at.
    let known = SECRETS.iter().filter(|key| cfg!(feature = "tls") || !key.starts_with("ssl."));
    format!("[kafka.properties]\n{}", known.map(line).collect::<String>())
}

/// Each setting of each section, as config/default.toml lists them, those without a default too.
fn every_setting() -> Vec<(String, String)> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if is_key && section != "kafka.properties" {
                found.push((section.clone(), key.to_owned()));
            }
        }
    }
    assert!(found.len() > 50, "{found:?}");
    found
}

#[test]
fn no_setting_beside_a_secret_shows_it() {
    assert!(resolve(&secrets()).is_some(), "secrets alone are no mistake");
    for (section, key) in every_setting() {
        for value in
            ["''", "' '", "-1", "[1]", "'\\u001b'", "{ a = 1 }", "1979-05-27", "'x'\nx = 1", "'unclosed"]
        {
            // The secrets once before the mistake, once behind it; `kafka` itself may not be opened twice.
            let mistake = format!("[{section}]\n{key} = {value}\n");
            resolve(&format!("{}{mistake}", secrets()));
            resolve(&format!("{mistake}{}", secrets()));
        }
    }
}

#[test]
fn no_mistake_in_a_secret_shows_it() {
    for value in [
        MARK.to_owned(),
        format!("'{MARK}"),
        format!("['{MARK}']"),
        format!("{{ a = '{MARK}' }}"),
        format!("'{MARK}'\n\"sasl.password\" = '{MARK}'"),
        format!("'''{MARK}\n{MARK}"),
        format!("\"\\q{MARK}\""),
    ] {
        resolve(&format!("[kafka.properties]\n\"sasl.password\" = {value}\n"));
        resolve(&format!("[kafka.properties]\n\"sasl.password\" = {value}\n[tracker]\nmax-retries = 1\n"));
    }
}

/// The settings that are addresses, by the name of their value in the help.
fn addresses() -> BTreeSet<(&'static str, String)> {
    let of = |section, command: clap::Command| {
        let is_url = |arg: &&clap::Arg| {
            arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "URL"))
        };
        let name = |arg: &clap::Arg| (section, arg.get_id().as_str().replace('_', "-"));
        command.get_arguments().filter(is_url).map(name).collect::<Vec<_>>()
    };
    let tracker = of("tracker", TrackerRaw::augment_args(clap::Command::new("")));
    let monitor = of("monitor", MonitorRaw::augment_args(clap::Command::new("")));
    tracker.into_iter().chain(monitor).collect()
}

#[test]
fn no_address_shows_its_credentials() {
    let addresses = addresses();
    assert!(addresses.contains(&("tracker", "deliver-to".to_owned())), "{addresses:?}");
    for (section, key) in addresses {
        for address in [
            format!("http://user:{MARK}@localhost:8080/orders?token={MARK}"),
            format!("http://{MARK}@localhost"),
            format!("ftp://user:{MARK}@localhost/"),
            format!("user:{MARK}@localhost"),
            format!("http://user:{MARK}@localhost:0/"),
            format!("http://user:{MARK}@/"),
            format!("http://user:{MARK}@localhost/ a"),
            format!("http://user:{MARK}@localhost:{MARK}/"),
        ] {
            let made = resolve(&format!("[{section}]\n{key} = \"{address}\"\n"));
            if let (Some(target), "deliver-to") = (made.and_then(|made| made.deliver_to), key.as_str()) {
                is_silent(target.shown());
            }
        }
    }
}

/// Runs a program in the folder, and greps what it says.
fn says(folder: &tempfile::TempDir, mut command: Command, code: i32) {
    let output = command.current_dir(folder.path()).output().expect("the program starts");
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    is_silent(&text);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    let log = std::fs::read_to_string(folder.path().join("tracker.log")).unwrap_or_default();
    is_silent(&log);
}

/// Nobody listens there: the client says all that it has to say about connecting.
const NOBODY: [&str; 4] = ["-b", "127.0.0.1:1", "--connect-timeout", "300ms"];

fn roles() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        (env!("CARGO_BIN_EXE_producer"), &["--count", "1"]),
        (env!("CARGO_BIN_EXE_tracker"), &[]),
        #[cfg(feature = "dlq")]
        (env!("CARGO_BIN_EXE_dlq"), &["list"]),
        #[cfg(feature = "audit")]
        (env!("CARGO_BIN_EXE_audit"), &["prove", "empty.events"]),
    ]
}

#[test]
fn no_program_shows_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("empty.events", "");
    write("password", &format!("{MARK}-file\n"));
    write("file.toml", "[kafka]\nsasl-password-file = 'password'\n");
    let sasl = ["security.protocol=sasl_plaintext", "sasl.mechanism=PLAIN", "sasl.username=u", "debug=all"];
    for (path, arguments) in roles() {
        let start = || {
            let mut command = program(path);
            command.args(arguments).args(NOBODY).arg("-vv");
            command.env("PUBSUB_KAFKA_DELIVER_TO", format!("http://u:{MARK}@localhost:1/?t={MARK}"));
            command
        };
        let mut from_file = start();
        from_file.args(["--config", "file.toml"]).args(sasl.iter().flat_map(|property| ["-X", property]));
        says(&folder, from_file, 5);
        let mut from_env = start();
        from_env.env("KAFKA_SASL_PASSWORD", MARK).args(sasl.iter().flat_map(|property| ["-X", property]));
        says(&folder, from_env, 5);

        // Refused, each in its way: by us, by the client.
        for flag in SECRETS.iter().take(SECRETS.len() - 1) {
            let mut command = start();
            command.arg("-X").arg(format!("{flag}={MARK}"));
            says(&folder, command, 2);
        }
        for (name, text) in [
            ("misspelt.toml", format!("[kafka.properties]\n\"sasl.pasword\" = \"{MARK}\"\n")),
            ("java.toml", format!("[kafka.properties]\n\"sasl.jaas.config\" = \"x password={MARK};\"\n")),
            ("range.toml", format!("[kafka.properties]\n\"sasl.password\" = [\"{MARK}\"]\n")),
            ("address.toml", format!("[kafka]\nbootstrap-servers = \"user:{MARK}@localhost:1\"\n")),
        ] {
            write(name, &text);
            let mut command = program(path);
            command.args(arguments).args(["--connect-timeout", "300ms", "-vv", "--config", name]);
            says(&folder, command, 2);
        }
    }
}
