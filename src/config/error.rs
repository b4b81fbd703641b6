//! What is wrong with the settings. Every message names the setting and what is allowed; none shows a secret.

use std::path::PathBuf;

/// An error of the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that the settings name cannot be read.
    #[error("{setting}: read {}", path.display())]
    ReadFile {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file that is to be written cannot be opened.
    #[error("{setting}: open {} for writing", path.display())]
    OpenFile {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file of settings is not what it should be.
    #[error("{file}:{line}: {message}")]
    File {
        /// The file's name.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A setting's value cannot be used.
    #[error("{setting}: {message}")]
    Value {
        /// The setting, by its flag's name.
        setting: String,
        /// What was found, and what is allowed.
        message: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// A Kafka property that must not be set.
    #[error("the Kafka property {key} cannot be set: {why}")]
    Property {
        /// The property.
        key: String,
        /// Why not, and what to do instead.
        why: String,
    },
    /// Something that this program was built without.
    #[error("{what} needs a build with the feature `{feature}` (cargo build --features {feature},…)")]
    NotCompiled {
        /// The setting and its value.
        what: String,
        /// The feature.
        feature: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn value(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Value { setting: setting.into(), message: message.into() }
    }
}
