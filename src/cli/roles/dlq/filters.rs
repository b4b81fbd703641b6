//! The flags that choose dead letters, the same in every command that takes more than one.

use clap::Args;
use jiff::Timestamp;
use regex::Regex;

use crate::cli::roles::{category, point_in_time};
use crate::dlq::{Filter, State};
use crate::failure::Category;

/// Which dead letters.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct Filters {
    /// Only of this category, such as VALIDATION_ERROR
    #[arg(long, value_name = "REASON", value_parser = category)]
    reason: Option<Category>,
    /// Only those given up from this time on: RFC 3339 such as 2026-03-01T12:00:00Z, or how long ago, such as "2h"
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<Timestamp>,
    /// Only those given up before this time
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<Timestamp>,
    /// Only with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only of this order: by key, or by order_id in the payload
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// Only with an error or an exception in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    error: Option<Regex>,
    /// Only with this error as `dlq stats --json` folds it, such as "total is #, not #"
    #[arg(long, value_name = "ERROR")]
    cause: Option<String>,
    /// Only with this text in id, key, error, exception or payload, whatever its case
    #[arg(long, value_name = "TEXT", value_parser = Filter::text_of)]
    text: Option<regex::bytes::Regex>,
    /// Only of records of this topic
    #[arg(long, value_name = "TOPIC")]
    topic_origin: Option<String>,
    /// Only of records that died again after a replay; with =false only of those never replayed before
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    replayed: Option<bool>,
    /// Only those that stand so: open, replayed or discarded
    #[arg(long, value_name = "STATUS", value_parser = state)]
    status: Option<State>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Filters {
    /// The choice that the flags make.
    pub fn check(self) -> Filter {
        let Self {
            reason,
            since,
            until,
            key,
            order_id,
            error,
            cause,
            text,
            topic_origin,
            replayed,
            status,
            limit,
        } = self;
        Filter {
            reason,
            since,
            until,
            key,
            order_id,
            error,
            cause,
            text,
            topic_origin,
            replayed,
            status,
            limit,
        }
    }
}

fn state(text: &str) -> Result<State, String> {
    [State::Open, State::Replayed, State::Discarded]
        .into_iter()
        .find(|state| state.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| "open, replayed or discarded is needed".to_owned())
}
