//! The dead letters of a topic, one after the other, narrowed by a filter: what the `dlq` tool lists.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use uuid::Uuid;

use super::filter::Filter;
use super::json::Row;
use super::letter::Letter;
use super::scan::scan;
use super::states::States;
use super::status::State;
use crate::config::KafkaSettings;
use crate::kafka::{Follower, KafkaError, Reader};
use crate::models::{format_timestamp, safe_short, to_safe_vec};

/// How much of an error or a key stands in a table row, in characters.
const CELL_CHARS: usize = 60;
/// How long following waits before it asks whether to stop.
const TURN: Duration = Duration::from_millis(100);

/// Why dead letters could not be read or shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The results could not be written.
    #[error("write the result")]
    Output(#[from] io::Error),
    /// There is no such dead letter.
    #[error("no dead letter {wanted} in the topic {topic}")]
    NotFound {
        /// What was looked for.
        wanted: String,
        /// Where.
        topic: String,
    },
    /// There is more than one.
    #[error("more than one dead letter is {wanted}: {ids}; give more of the id")]
    Ambiguous {
        /// What was looked for.
        wanted: String,
        /// Some of those that it could be.
        ids: String,
    },
}

/// What was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listed {
    /// Dead letters that were written.
    pub listed: u64,
    /// Records that repeat a dead letter: their writer crashed in between. They are not listed again.
    pub repeats: u64,
}

/// How far a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// How many offsets there were at the start; 0 where there is no end.
    pub offsets: u64,
    /// How many records were read.
    pub read: u64,
    /// How many dead letters were written.
    pub written: u64,
}

/// Writes the dead letters of the topic that pass the filter, oldest first in each partition. `progress` learns how far it
/// is.
///
/// # Errors
/// [`ReadError`] when the topic cannot be read, or the results not be written.
pub fn list(
    settings: &KafkaSettings,
    topic: &str,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
    mut progress: impl FnMut(Reading),
) -> Result<Listed, ReadError> {
    let reader = Reader::open(settings, topic)?;
    let offsets = reader.offsets();
    let mut rows = Rows::begin(settings, topic, filter, json, out)?;
    let mut failed = Ok(());
    let mut read = 0;
    if filter.limit != Some(0) {
        scan(
            reader,
            |record| Letter::read(&record),
            |letter| {
                read += 1;
                let flow = rows.take(&letter);
                progress(Reading { offsets, read, written: rows.listed.listed });
                match flow {
                    Ok(flow) => flow,
                    Err(error) => {
                        failed = Err(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
    }
    failed?;
    rows.out.flush()?;
    Ok(rows.listed)
}

/// The same, and then those that come, until `stop` says true or the limit is reached; those of partitions that are added
/// meanwhile, too.
///
/// # Errors
/// As [`list`].
pub fn follow(
    settings: &KafkaSettings,
    topic: &str,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
    mut progress: impl FnMut(Reading),
) -> Result<Listed, ReadError> {
    let mut reader = Follower::open(settings, topic)?;
    let mut rows = Rows::begin(settings, topic, filter, json, out)?;
    let mut read = 0;
    while !stop() && filter.limit.is_none_or(|limit| rows.listed.listed < limit) {
        match reader.next(TURN)? {
            Some(record) => {
                read += 1;
                let flow = rows.take(&Letter::read(&record))?;
                progress(Reading { offsets: 0, read, written: rows.listed.listed });
                if flow.is_break() {
                    break;
                }
            }
            // Whoever watches sees a row as soon as there is nothing to be read behind it.
            None => rows.out.flush()?,
        }
    }
    rows.out.flush()?;
    Ok(rows.listed)
}

/// Rows on their way out.
struct Rows<'a> {
    filter: &'a Filter,
    json: bool,
    out: &'a mut dyn Write,
    statuses: States,
    seen: HashSet<Uuid>,
    listed: Listed,
}

impl<'a> Rows<'a> {
    fn begin(
        settings: &KafkaSettings,
        topic: &str,
        filter: &'a Filter,
        json: bool,
        out: &'a mut dyn Write,
    ) -> Result<Self, ReadError> {
        let statuses = States::read(settings, topic)?;
        if !json {
            writeln!(
                out,
                "{:36}  {:9}  {:21}  {:24}  {:30}  {:20}  ERROR",
                "ID", "STATUS", "REASON", "FAILED AT", "ORIGIN", "KEY"
            )?;
        }
        Ok(Self { filter, json, out, statuses, seen: HashSet::new(), listed: Listed::default() })
    }

    fn take(&mut self, letter: &Letter) -> io::Result<ControlFlow<()>> {
        if !self.seen.insert(letter.id) {
            self.listed.repeats += 1;
            return Ok(ControlFlow::Continue(()));
        }
        let state = self.statuses.state(letter.id);
        if self.filter.matches(letter, state) {
            write_row(self.json, letter, state, self.out)?;
            self.listed.listed += 1;
        }
        let enough = self.filter.limit.is_some_and(|limit| self.listed.listed >= limit);
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

fn write_row(json: bool, letter: &Letter, status: State, out: &mut dyn Write) -> io::Result<()> {
    if json {
        let row = Row::of(letter, status);
        let mut line = to_safe_vec(&row).map_err(io::Error::other)?;
        line.push(b'\n');
        return out.write_all(&line);
    }
    let key = letter.key.as_deref().map(String::from_utf8_lossy);
    let origin = letter.origin.as_ref().map_or_else(
        || "-".to_owned(),
        |origin| format!("{}/{}@{}", origin.topic, origin.partition, origin.offset),
    );
    writeln!(
        out,
        "{}  {:9}  {:21}  {:24}  {:30}  {:20}  {}",
        letter.id,
        status.as_str(),
        letter.reason.as_str(),
        format_timestamp(letter.failed_at),
        safe_short(&origin, CELL_CHARS),
        key.map_or_else(|| "-".to_owned(), |key| safe_short(&key, CELL_CHARS)),
        safe_short(&letter.error, CELL_CHARS),
    )
}
