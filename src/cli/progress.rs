//! Progress bars: on the standard error, on a terminal only, and only for what takes longer than a blink.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// For what comes from a disk, in bytes.
pub fn byte_bar(total: u64) -> ProgressBar {
    bar(total, 64 << 20, "{msg:12} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// For what comes out of Kafka, in records.
pub fn count_bar(total: u64) -> ProgressBar {
    bar(total, 100_000, "{msg:12} {bar:40} {pos}/{len} {per_sec} {eta}")
}

fn bar(total: u64, worth_it: u64, template: &str) -> ProgressBar {
    if total < worth_it || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A count whose total is told with the first step.
#[cfg(feature = "dlq")]
#[derive(Debug)]
pub struct Counting {
    what: &'static str,
    bar: Option<ProgressBar>,
}

#[cfg(feature = "dlq")]
impl Counting {
    /// Names what is counted.
    pub fn new(what: &'static str) -> Self {
        Self { what, bar: None }
    }

    /// `done` of `total`.
    pub fn at(&mut self, total: u64, done: u64) {
        self.bar.get_or_insert_with(|| count_bar(total).with_message(self.what)).set_position(done);
    }
}

#[cfg(feature = "dlq")]
impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
