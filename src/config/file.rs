//! The file of settings, and the one with the defaults. Errors name the line.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{AuditRaw, BrokerRaw, ConfigError, DlqRaw, KafkaRaw, MonitorRaw, ProducerRaw, TrackerRaw};

/// Every setting with its default, commented: the single source of the defaults.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What a file of settings holds: all sections, whichever roles are compiled in.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sections {
    /// `[kafka]`
    pub kafka: KafkaRaw,
    /// `[producer]`
    pub producer: ProducerRaw,
    /// `[tracker]`
    pub tracker: TrackerRaw,
    /// `[monitor]`
    pub monitor: MonitorRaw,
    /// `[dlq]`
    pub dlq: DlqRaw,
    /// `[audit]`
    pub audit: AuditRaw,
    /// `[broker]`
    pub broker: BrokerRaw,
}

/// The two layers below flags and environment.
#[derive(Clone)]
pub struct Files {
    /// The file that the user gave; empty without one.
    pub given: Sections,
    /// `config/default.toml`.
    pub defaults: Sections,
}

impl Files {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, or holds what no setting is.
    pub fn load(config: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = config else { return Self::parse("", "") };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::ReadFile {
            setting: "--config",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses the text of the file called `name`.
    ///
    /// # Errors
    /// As [`Files::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        Ok(Self { given: parse(name, text)?, defaults: parse("config/default.toml", DEFAULTS)? })
    }
}

fn parse(name: &str, text: &str) -> Result<Sections, ConfigError> {
    let error = |at: Option<usize>, message: String| ConfigError::File {
        file: name.to_owned(),
        line: at.map_or(1, |at| text[..at.min(text.len())].matches('\n').count() + 1),
        message,
    };
    let start = |e: &toml::de::Error| e.span().map(|span| span.start);
    let table = DeTable::parse(text).map_err(|e| error(start(&e), e.message().to_owned()))?;
    if let Some((at, message)) = unknown_key(table.get_ref()) {
        return Err(error(Some(at), message));
    }
    toml::from_str(text).map_err(|e| {
        let setting = start(&e).and_then(|at| setting_at(table.get_ref(), at));
        let prefix = setting.map(|setting| format!("{setting}: ")).unwrap_or_default();
        error(start(&e), format!("{prefix}{}", e.message()))
    })
}

/// The keys of each section. They are those of the flags, and a few that are no flags.
fn known_keys(section: &str) -> Option<Vec<String>> {
    use clap::Args as _;
    let command = clap::Command::new("");
    let (command, more): (_, &[&str]) = match section {
        "kafka" => {
            (KafkaRaw::augment_args(command), &["properties", "sasl-password-file", "ssl-key-password-file"])
        }
        "producer" => (ProducerRaw::augment_args(command), &[]),
        "tracker" => (TrackerRaw::augment_args(command), &[]),
        "monitor" => (MonitorRaw::augment_args(command), &[]),
        "dlq" => (DlqRaw::augment_args(command), &[]),
        "audit" => (AuditRaw::augment_args(command), &[]),
        "broker" => (BrokerRaw::augment_args(command), &[]),
        _ => return None,
    };
    let flags = command
        .get_arguments()
        .filter(|a| a.get_id() != "flag_properties")
        .map(|a| key_of(a.get_id().as_str()));
    Some(flags.chain(more.iter().map(ToString::to_string)).collect())
}

const SECTIONS: [&str; 7] = ["kafka", "producer", "tracker", "monitor", "dlq", "audit", "broker"];

fn key_of(id: &str) -> String {
    id.replace('_', "-")
}

fn unknown_key(table: &DeTable<'_>) -> Option<(usize, String)> {
    for (section, inner) in table {
        let (at, section) = (section.span().start, section.get_ref().as_ref());
        let Some(known) = known_keys(section) else {
            let near = nearest(section, &SECTIONS.map(str::to_owned));
            return Some((
                at,
                format!("unknown section [{section}]{near}; there are {}", SECTIONS.join(", ")),
            ));
        };
        let DeValue::Table(inner) = inner.get_ref() else {
            return Some((at, format!("{section} is a section, to be written as [{section}]")));
        };
        for key in inner.keys() {
            if !known.iter().any(|k| k == key.get_ref()) {
                let message = format!(
                    "unknown setting {} in [{section}]{}",
                    key.get_ref(),
                    nearest(key.get_ref(), &known)
                );
                return Some((key.span().start, message));
            }
        }
    }
    None
}

/// The setting whose value begins at this position.
fn setting_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(section, inner)| {
        let DeValue::Table(inner) = inner.get_ref() else { return None };
        let (key, _) = inner.iter().find(|(key, value)| key.span().start <= at && at < value.span().end)?;
        Some(format!("{} in [{}]", key.get_ref(), section.get_ref()))
    })
}

fn nearest(found: &str, known: &[String]) -> String {
    let close = known.iter().map(|k| (distance(found, k), k)).min().filter(|(distance, _)| *distance <= 3);
    close.map(|(_, k)| format!(" (is {k} meant?)")).unwrap_or_default()
}

/// How many letters must be changed, added or removed to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

/// The default of the flag with this id, as `config/default.toml` writes it, for the help.
pub fn default_of(section: &str, id: &str) -> Option<String> {
    let table: toml::Table = DEFAULTS.parse().ok()?;
    Some(match table.get(section)?.get(key_of(id))? {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => {
            items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_list_every_setting() {
        for section in SECTIONS {
            let body = DEFAULTS.split(&format!("[{section}]\n")).nth(1).expect(section);
            let body = body.split("\n[").next().expect("the section's text");
            for key in known_keys(section).expect(section) {
                let listed =
                    body.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} =")));
                assert!(listed || key == "properties", "{key} is missing in [{section}]");
            }
        }
    }

    #[test]
    fn what_is_commented_out_would_be_accepted() {
        let all: String = DEFAULTS
            .lines()
            .map(|line| {
                let setting = line
                    .strip_prefix("# ")
                    .filter(|rest| rest.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')));
                setting.unwrap_or(line).to_owned() + "\n"
            })
            .collect();
        let files =
            Files::parse("all.toml", &all).map_err(|e| e.to_string()).expect("all settings are known");
        assert!(files.given.tracker.deliver_rate.is_some() && files.given.kafka.sasl_password_file.is_some());
    }

    #[test]
    fn mistakes_are_named_with_line_setting_and_what_is_allowed() {
        for (text, expected) in [
            ("[tracker]\n\ntopik = 'a'", "x.toml:3: unknown setting topik in [tracker] (is topic meant?)"),
            (
                "[traker]",
                "x.toml:1: unknown section [traker] (is tracker meant?); there are kafka, producer,",
            ),
            ("topic = 'a'", "x.toml:1: unknown section [topic]"),
            ("tracker = 1", "x.toml:1: tracker is a section, to be written as [tracker]"),
            (
                "[tracker]\nmax-retries = 1001",
                "x.toml:2: max-retries in [tracker]: invalid value '1001': a whole number is needed, from 0 to 1000",
            ),
            (
                "[tracker]\nmax-retries = 'many'",
                "x.toml:2: max-retries in [tracker]: invalid value 'many': a whole",
            ),
            (
                "[tracker]\nmax-retries = 1.5",
                "x.toml:2: max-retries in [tracker]: invalid value '1.5': a whole",
            ),
            ("[tracker]\nmax-retries = [1]", "x.toml:2: max-retries in [tracker]: invalid type: sequence"),
            (
                "[tracker]\nretry-max = 30",
                "x.toml:2: retry-max in [tracker]: invalid value '30': the unit is missing",
            ),
            ("[producer]\ninvalid-ratio = 2", "from 0 to 1"),
            (
                "[kafka]\nbootstrap-servers = 1",
                "x.toml:2: bootstrap-servers in [kafka]: invalid type: integer",
            ),
            ("[monitor]\nonce = 'maybe'", "\"on\" or \"off\""),
            ("[kafka]\nflag-properties = ['a=b']", "unknown setting flag-properties in [kafka]"),
            ("[kafka]\nclient-id = 'a'\nclient-id = 'b'", "x.toml:3: duplicate key"),
            ("[kafka", "x.toml:1: "),
        ] {
            let error = Files::parse("x.toml", text).err().map(|e| e.to_string()).expect(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
