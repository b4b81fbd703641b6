//! The ways to run the monitor: on a terminal, once in print, as a plot. All of them gather the same state and make the
//! same figures of it.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hyper::Uri;
use jiff::Timestamp;

use super::figures::Figures;
use super::gather::{Feed, Look, Sources};
use super::past::Past;
use super::state::Endpoint;
use super::terminal::now_ms;
use super::{MonitorError, once, plot, scrape, terminal};

/// How often the metrics are read.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// The slots of a plot.
const PLOT_SLOTS: usize = 240;

/// What the monitor shows.
#[derive(Debug, Clone)]
pub struct Options {
    /// The files.
    pub sources: Sources,
    /// The tracker's metrics.
    pub metrics_url: Option<Uri>,
    /// How much time is counted.
    pub window: Duration,
    /// A moment of the past instead of now.
    pub at: Option<Timestamp>,
}

impl Options {
    pub(super) fn look(&self) -> Look {
        Look { at_ms: self.at.map(Timestamp::as_millisecond), ..Look::live(self.window) }
    }
}

/// Shows the figures on the terminal until the user ends it, or `stop` says so.
///
/// # Errors
/// [`MonitorError`] when there is no terminal, or a file that is there cannot be read.
pub fn watch(options: &Options, stop: &dyn Fn() -> bool) -> Result<(), MonitorError> {
    let mut feed = Feed::open(options.sources.clone(), options.look(), now_ms())?;
    // The past has no metrics.
    let metrics_url = options.metrics_url.clone().filter(|_| options.at.is_none());
    let endpoint = metrics_url.map(scrape_in_background);
    if endpoint.is_some() {
        feed.set_endpoint(Endpoint::Waiting);
    }
    terminal::watch(feed, options.look(), endpoint.as_ref(), stop)
}

/// Writes the figures once: as text, or as one JSON object.
///
/// # Errors
/// [`MonitorError`] when neither file is there, one cannot be read, or `out` cannot be written.
pub fn print_once(options: &Options, json: bool, out: &mut impl Write) -> Result<(), MonitorError> {
    let mut feed = Feed::open(options.sources.clone(), options.look(), now_ms())?;
    let Sources { log_file, events_file, .. } = options.sources.clone();
    if !feed.has_files() {
        return Err(MonitorError::Nothing { log_file, events_file });
    }
    if let Some(url) = options.metrics_url.as_ref().filter(|_| options.at.is_none()) {
        feed.set_endpoint(scrape_once(url));
    }
    let figures: Figures = feed.figures(now_ms());
    let write = if json { once::write_json(&figures, out) } else { once::write_text(&figures, out) };
    write.map_err(MonitorError::Output)
}

/// Draws the whole audit log over time into an SVG file; with [`Options::at`] the window that ends there.
///
/// # Errors
/// [`MonitorError`] when there is no outcome to draw, or a file cannot be read or written.
pub fn draw_plot(options: &Options, path: &Path) -> Result<(), MonitorError> {
    let events_file = &options.sources.events_file;
    let look = match options.at {
        Some(at) => Look { slots: PLOT_SLOTS, ..Look { at_ms: Some(at.as_millisecond()), ..options.look() } },
        None => {
            let whole = || {
                let journal = Past::of_journal(events_file)?;
                Ok(journal.first()?.zip(journal.last(journal.len())?))
            };
            let (first, last) = whole()
                .map_err(MonitorError::read(events_file))?
                .ok_or_else(|| MonitorError::NoOutcome(events_file.clone()))?;
            // One slot more, since slots begin at multiples of their width.
            let slot_ms = (last - first).max(1).unsigned_abs().div_ceil(PLOT_SLOTS as u64 - 1).max(1);
            Look {
                length: Duration::from_millis(slot_ms * PLOT_SLOTS as u64),
                slots: PLOT_SLOTS,
                at_ms: Some(last),
            }
        }
    };
    let figures = Feed::open(options.sources.clone(), look, now_ms())?.figures(now_ms());
    if figures.outcomes.total == 0 {
        return Err(MonitorError::NoOutcome(events_file.clone()));
    }
    plot::plot(&figures, path)
}

fn scrape_once(url: &Uri) -> Endpoint {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(scrape::fetch(url))) {
        Ok(Ok(scraped)) => Endpoint::Metrics(scraped),
        Ok(Err(why)) => Endpoint::Silent(why),
        Err(error) => Endpoint::Silent(error.to_string()),
    }
}

/// A thread of its own: an endpoint that hangs holds no key and no line up. It ends with the program.
pub(super) fn scrape_in_background(url: Uri) -> Receiver<Endpoint> {
    let (sender, receiver) = channel();
    let scrape = move || {
        while sender.send(scrape_once(&url)).is_ok() {
            std::thread::sleep(SCRAPE_EVERY);
        }
    };
    // Without the thread the screen says for ever that it waits, which is true.
    drop(std::thread::Builder::new().name("metrics".to_owned()).spawn(scrape));
    receiver
}
