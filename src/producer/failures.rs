//! Failed records in the log: the first ones each with its reason, then a line now and then, and the counts per reason
//! at the end. Never what a record holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::failure::chain_of;
use crate::kafka::SendError;

/// So many failures are logged one by one.
const ONE_BY_ONE: u64 = 5;

/// How often the others are summed up.
const SUM_UP: Duration = Duration::from_secs(10);

/// Counts failures per reason and logs them sparingly.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    // Reasons are the client's error codes: there are few.
    by_reason: BTreeMap<String, u64>,
    total: u64,
    summed_up: Option<Instant>,
}

impl Failures {
    /// Counts one; `line` is where the record stood in the input, `bytes` its size.
    pub(crate) fn note(&mut self, line: Option<u64>, bytes: u64, error: &SendError) {
        let reason = chain_of(error);
        self.total += 1;
        if self.total <= ONE_BY_ONE {
            match line {
                Some(line) => {
                    tracing::warn!(line, bytes, "line {line} of the input ({bytes} bytes) failed: {reason}");
                }
                None => tracing::warn!(bytes, "a record of {bytes} bytes failed: {reason}"),
            }
        } else if self.summed_up.is_none_or(|last| last.elapsed() >= SUM_UP) {
            self.summed_up = Some(Instant::now());
            let latest = line.map_or_else(String::new, |line| format!(" (line {line} of the input)"));
            tracing::warn!(
                failed = self.total,
                "{} records have failed; the latest{latest}: {reason}",
                self.total
            );
        }
        *self.by_reason.entry(reason).or_default() += 1;
    }

    /// Says how many failed, per reason.
    pub(crate) fn log_totals(&self) {
        for (reason, count) in &self.by_reason {
            tracing::error!(failed = count, "failed: {count} × {reason}");
        }
    }

    #[cfg(test)]
    pub(crate) fn by_reason(&self) -> &BTreeMap<String, u64> {
        &self.by_reason
    }
}
