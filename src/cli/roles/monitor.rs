//! `monitor`: shows what runs, and how well.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use jiff::Timestamp;

use super::{point_in_time, until_stopped};
use crate::cli::{Common, Exit, Role, RunError};
use crate::config::{ConfigError, Layer as _, MonitorRaw, MonitorSettings};
use crate::monitor::{Options, Sources, draw_plot, print_once, watch};

/// The role.
pub const ROLE: Role = Role { name: "monitor", command: Flags::command, sections: &["monitor"], run };

/// Shows live what the tracker does, from its health log, its audit log and its metrics.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    monitor: MonitorRaw,
    /// Show a moment of the past instead of now: RFC 3339 such as 2026-03-01T12:00:00Z, or how long ago, such as "2h"
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    at: Option<Timestamp>,
    /// Draw throughput, errors and latency of the whole audit log over time into an SVG file, and end; with --at, of the
    /// window that ends there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "json", "web"])]
    plot: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn run(matches: &ArgMatches) -> Result<Exit, RunError> {
    let flags = Flags::from_arg_matches(matches)?;
    let files = flags.common.files()?;
    let settings = flags.monitor.over(files.given.monitor).over(files.defaults.monitor).check()?;
    let options = options(&settings, flags.at)?;
    if let Some(path) = flags.plot {
        draw_plot(&options, &path)?;
    } else if settings.once {
        print_once(&options, settings.json, &mut BufWriter::new(std::io::stdout().lock()))?;
    } else {
        until_stopped(|stop| watch(&options, stop))??;
    }
    Ok(Exit::Done)
}

fn options(settings: &MonitorSettings, at: Option<Timestamp>) -> Result<Options, ConfigError> {
    let parse = |url: &String| {
        url.parse().map_err(|error| ConfigError::value("--metrics-url", format!("no address: {error}")))
    };
    Ok(Options {
        sources: Sources {
            log_file: settings.log_file.clone(),
            events_file: settings.events_file.clone(),
            read_bytes: settings.read_bytes,
        },
        metrics_url: settings.metrics_url.as_ref().map(parse).transpose()?,
        window: settings.window,
        at,
    })
}
