//! Why the monitor could not do what it was asked for.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the monitor.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// A file that is there cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is nothing to take figures from.
    #[error(
        "neither the health log {} nor the audit log {} is there; --log-file and --events-file name them",
        log_file.display(),
        events_file.display()
    )]
    Nothing {
        /// The health log.
        log_file: PathBuf,
        /// The audit log.
        events_file: PathBuf,
    },
    /// A plot needs outcomes.
    #[error("{} has no outcome to draw", .0.display())]
    NoOutcome(PathBuf),
    /// The standard output is no terminal.
    #[error("the standard output is no terminal; --once prints the figures, --once --json for programs")]
    NoTerminal,
    /// The terminal cannot be used.
    #[error("use the terminal")]
    Terminal(#[source] io::Error),
    /// The figures cannot be written to the standard output.
    #[error("write the figures")]
    Output(#[source] io::Error),
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The web page's address cannot be had.
    #[error("listen on --web {addr}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The library that draws plots failed.
    #[error("draw the plot: {0}")]
    Plot(String),
}

impl MonitorError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}
