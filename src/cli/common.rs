//! The flags that every role has.

use std::path::PathBuf;

use clap_complete::Shell;

use crate::config::{ConfigError, Files};

/// The flags that every role has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "General")]
pub struct Common {
    /// A file with settings (TOML); `pubsub-kafka config` prints all of them, commented
    #[arg(long, value_name = "FILE", env = "PUBSUB_KAFKA_CONFIG", hide_env_values = true, global = true)]
    pub config: Option<PathBuf>,
    /// Show only errors on the standard error; goes before RUST_LOG
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show more; twice: everything. Goes before RUST_LOG
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Print the completions for a shell and end
    #[arg(long, value_name = "SHELL")]
    pub completions: Option<Shell>,
    /// Write the manual pages into a folder and end
    #[arg(long, value_name = "DIR")]
    pub man: Option<PathBuf>,
}

impl Common {
    /// The layers of settings below flags and environment.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read or holds what no setting is.
    pub fn files(&self) -> Result<Files, ConfigError> {
        Files::load(self.config.as_deref())
    }
}
