//! From raw to checked: what every role that talks to Kafka shares.

use std::collections::BTreeMap;
use std::path::Path;

use super::kafka::is_secret;
use super::values::{Name, TopicName};
use super::{ConfigError, KafkaRaw, KafkaSettings, Secret, properties};

/// The secrets of the environment.
#[derive(Debug, Clone, Default)]
pub struct SecretEnv {
    /// `KAFKA_SASL_PASSWORD`.
    pub sasl_password: Option<Secret>,
    /// `KAFKA_SSL_KEY_PASSWORD`.
    pub ssl_key_password: Option<Secret>,
}

impl SecretEnv {
    /// Reads them; an empty variable counts as absent.
    pub fn read() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new);
        Self { sasl_password: read("KAFKA_SASL_PASSWORD"), ssl_key_password: read("KAFKA_SSL_KEY_PASSWORD") }
    }
}

/// How missing topics are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicCreation {
    /// Whether they are created at all.
    pub allowed: bool,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; -1 leaves it to the broker.
    pub replication: i32,
}

/// A setting that `config/default.toml` gives a value; absent only if that file lost it.
pub(crate) fn need<T>(value: Option<T>, setting: &str) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError::value(format!("--{setting}"), "has no value"))
}

/// The text of a name.
pub(crate) fn name(value: Option<Name>, setting: &str) -> Result<String, ConfigError> {
    need(value, setting).map(|name| name.0)
}

/// The text of a topic's name.
pub(crate) fn topic(value: Option<TopicName>, setting: &str) -> Result<String, ConfigError> {
    need(value, setting).map(|name| name.0)
}

impl KafkaRaw {
    /// Checks how Kafka is reached.
    ///
    /// # Errors
    /// [`ConfigError`] for an address that is none, a property that must not be set, a password file that cannot be read.
    pub fn check(&self, env: &SecretEnv) -> Result<KafkaSettings, ConfigError> {
        let mut all = Vec::new();
        properties::flatten("", self.properties.as_ref().unwrap_or(&toml::Table::new()), &mut all)?;
        for text in self.flag_properties.iter().flatten() {
            all.push(properties::parse_flag(text)?);
        }
        let mut settings = KafkaSettings {
            bootstrap_servers: servers(&need(self.bootstrap_servers.clone(), "bootstrap-servers")?)?,
            client_id: name(self.client_id.clone(), "client-id")?,
            properties: BTreeMap::new(),
            secrets: BTreeMap::new(),
            connect_timeout: need(self.connect_timeout, "connect-timeout")?.0,
        };
        for (key, value) in all {
            properties::check(&key, &value)?;
            if is_secret(&key) {
                settings.secrets.insert(key, Secret::new(value));
            } else {
                settings.properties.insert(key, value);
            }
        }
        let sasl =
            secret(env.sasl_password.as_ref(), self.sasl_password_file.as_deref(), "sasl-password-file")?;
        let key = secret(
            env.ssl_key_password.as_ref(),
            self.ssl_key_password_file.as_deref(),
            "ssl-key-password-file",
        )?;
        settings.secrets.extend(sasl.map(|value| ("sasl.password".to_owned(), value)));
        settings.secrets.extend(key.map(|value| ("ssl.key.password".to_owned(), value)));
        Ok(settings)
    }

    /// Checks how missing topics are created.
    ///
    /// # Errors
    /// [`ConfigError`] for replicas of 0.
    pub fn topic_creation(&self) -> Result<TopicCreation, ConfigError> {
        let replication = need(self.topic_replication, "topic-replication")?.to();
        if replication == 0 {
            return Err(ConfigError::value(
                "--topic-replication",
                "0 replicas hold nothing; allowed is -1 or 1 to 32767",
            ));
        }
        Ok(TopicCreation {
            allowed: need(self.create_topics, "create-topics")?.0,
            partitions: need(self.topic_partitions, "topic-partitions")?.to(),
            replication,
        })
    }
}

fn secret(
    env: Option<&Secret>,
    file: Option<&Path>,
    setting: &'static str,
) -> Result<Option<Secret>, ConfigError> {
    if let (None, Some(path)) = (env, file) {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::ReadFile {
            setting,
            path: path.to_owned(),
            source,
        })?;
        return Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))));
    }
    Ok(env.cloned())
}

/// `host:port` or `host`, several separated by commas.
fn servers(text: &str) -> Result<String, ConfigError> {
    let wrong = |found: &str| {
        ConfigError::value(
            "--bootstrap-servers",
            format!(
                "'{found}' is no address; HOST:PORT is needed, several separated by commas, the port from 1 to 65535"
            ),
        )
    };
    let mut servers = Vec::new();
    for server in text.split(',').map(str::trim) {
        let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
        // An IPv6 address has its colons within brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok().filter(|p| *p > 0)),
            _ => (rest, Some(9092)),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
        if server.contains('@') {
            return Err(ConfigError::value(
                "--bootstrap-servers",
                "an address takes no user name and no password: those are sasl.username and KAFKA_SASL_PASSWORD",
            ));
        }
        if host.is_empty() || port.is_none() || !host.chars().all(legal) {
            return Err(wrong(server));
        }
        servers.push(server);
    }
    Ok(servers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Files, Layer as _};

    fn checked(toml: &str, flags: &[&str], env: &SecretEnv) -> Result<KafkaSettings, ConfigError> {
        let files = Files::parse("test.toml", toml)?;
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let raw = KafkaRaw { flag_properties: Some(flags), ..KafkaRaw::default() };
        raw.over(files.given.kafka).over(files.defaults.kafka).check(env)
    }

    #[test]
    fn the_default_of_the_type_is_that_of_the_file() {
        let settings = checked("", &[], &SecretEnv::default()).expect("the defaults hold");
        assert_eq!(settings, KafkaSettings::default());
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("localhost:9092", "localhost:9092"),
            ("a:1, b:2", "a:1,b:2"),
            ("kafka", "kafka"),
            ("[::1]:9092", "[::1]:9092"),
            ("PLAINTEXT://a:1", "PLAINTEXT://a:1"),
        ] {
            assert_eq!(servers(text).expect(text), expected);
        }
        for text in ["", "a:1,,b:2", "a:", "a:0", "a:65536", ":9092", "a b:1", "a\u{1b}:1"] {
            let error = servers(text).expect_err(text).to_string();
            assert!(
                error.starts_with("--bootstrap-servers: ") && error.contains("1 to 65535"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_without_being_shown() {
        for text in ["user:hunter2@a:1", "sasl_ssl://user:hunter2@a:1", "a:1,hunter2@b"] {
            let error = servers(text).expect_err(text).to_string();
            assert!(error.contains("KAFKA_SASL_PASSWORD") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_flag_property_goes_before_the_files() {
        let file = "[kafka.properties]\n\"fetch.wait.max.ms\" = 1\nsocket.timeout.ms = \"2\"";
        let settings = checked(file, &["fetch.wait.max.ms=3"], &SecretEnv::default()).expect("allowed");
        let found: Vec<_> = settings.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, [("fetch.wait.max.ms", "3"), ("socket.timeout.ms", "2")]);
    }

    #[test]
    fn secrets_come_from_environment_then_password_file_then_properties_and_are_never_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("password");
        std::fs::write(&path, "from-file\n").expect("written");
        let properties = "[kafka.properties]\nsasl.password = \"from-properties\"";
        let file = format!("[kafka]\nsasl-password-file = '{}'\n{properties}", path.display());
        let env = SecretEnv { sasl_password: Some(Secret::new("from-env")), ..SecretEnv::default() };
        for (toml, env, expected) in [
            (properties, SecretEnv::default(), "from-properties"),
            (file.as_str(), SecretEnv::default(), "from-file"),
            (file.as_str(), env, "from-env"),
        ] {
            let settings = checked(toml, &[], &env).expect("allowed");
            assert_eq!(settings.secrets["sasl.password"].expose(), expected);
            assert!(!format!("{settings:?} {env:?}").contains("from-"), "{settings:?}");
        }
        let missing = "[kafka]\nsasl-password-file = '/nowhere/password'";
        let error = checked(missing, &[], &SecretEnv::default()).expect_err("no such file").to_string();
        assert_eq!(error, "sasl-password-file: read /nowhere/password");
    }

    #[test]
    fn properties_of_the_file_keep_to_the_same_rules() {
        for toml in ["[kafka.properties]\nacks = 1", "[kafka.properties]\n\"enable.auto.commit\" = true"] {
            let error = checked(toml, &[], &SecretEnv::default()).expect_err(toml).to_string();
            assert!(error.contains("cannot be set"), "{error}");
        }
    }
}
