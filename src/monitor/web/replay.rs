//! Plan, review and status on the page, by the code of the `dlq` tool, and so under its rules. A plan is a file in the
//! working directory with the name that the tool gives it, so that the tool can go on with it. Nothing is planned unless
//! the page was started with `--allow-replay`; what sends is in `apply`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::answer::{json, refused};
use super::apply;
use super::letters::{Choice, Desk, Trouble};
use crate::dlq::replay::{
    Choose, Edits, PlanEntry, PlanRequest, ReplayError, Watch, follow_up, make_plan, read_plan, write_plan,
};
use crate::dlq::who;
use crate::failure::chain_of;

/// How many entries of a plan, and how many plans, are shown.
const SHOWN: usize = 100;

impl From<ReplayError> for Trouble {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Kafka(error) => error.into(),
            ReplayError::NoSuchLetter { .. } => Self::new(StatusCode::NOT_FOUND, chain_of(&error)),
            ReplayError::File { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::new(StatusCode::NOT_FOUND, chain_of(&error))
            }
            ReplayError::Target(_) | ReplayError::NoPlan { .. } => {
                Self::new(StatusCode::CONFLICT, chain_of(&error))
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, chain_of(&error)),
        }
    }
}

/// Where the replays are.
pub(super) fn routes(desk: &Arc<Desk>) -> Router {
    Router::new()
        .route("/api/plans", get(plans).post(plan))
        .route("/api/plans/{id}", get(review))
        .route("/api/plans/{id}/apply", post(apply::start))
        .route("/api/plans/{id}/status", get(status))
        .route("/api/job", get(apply::job))
        .route("/api/job/stop", post(apply::stop))
        .with_state(Arc::clone(desk))
}

/// The plan's file: named as the tool names it.
pub(super) fn file_of(id: Uuid) -> PathBuf {
    format!("replay-{id}.plan.json").into()
}

/// What a page that is read-only answers to every command.
pub(super) fn read_only(desk: &Desk) -> Option<Response> {
    let why = "this page is read-only: the monitor needs --allow-replay";
    (!desk.allow_replay).then(|| refused(StatusCode::FORBIDDEN, why))
}

// Plan and review

async fn plan(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    if let Some(no) = read_only(&desk) {
        return no;
    }
    desk.ask(move |desk| {
        let choice = Choice::read(&body)?;
        let filter = choice.filter(None)?;
        if choice.id.is_none() && filter.is_empty() {
            return Err(Trouble::new(StatusCode::BAD_REQUEST, "choose some: by a cause, a reason, a status or a text"));
        }
        let request = PlanRequest {
            choose: Choose {
                kafka: &desk.settings.kafka,
                dlq_topic: &desk.settings.topic,
                id: choice.id,
                filter: &filter,
            },
            filters: choice.words(),
            to: None,
            edits: &Edits::default(),
            limits: desk.settings.limits,
            include_superseded: false,
            by: by(),
        };
        let planned = make_plan(&request, None)?;
        let file = file_of(planned.plan.plan_id);
        write_plan(&planned.plan, &file)?;
        tracing::info!(plan = %planned.plan.plan_id, entries = planned.plan.entries.len(), "planned on the web page");
        Ok(json(StatusCode::CREATED, &planned.to_json(&file)))
    })
    .await
}

/// Who does it: whoever runs the page, and that it was there.
pub(super) fn by() -> String {
    format!("{} (web page)", who())
}

/// A plan to be looked at.
#[derive(Serialize)]
struct Review<'a> {
    plan_id: Uuid,
    file: String,
    created: Timestamp,
    by: &'a str,
    dlq_topic: &'a str,
    filters: &'a [String],
    counts: std::collections::BTreeMap<&'static str, u64>,
    reasons: std::collections::BTreeMap<&'static str, u64>,
    targets: std::collections::BTreeMap<&'a str, u64>,
    entries: usize,
    /// What has to be answered before it is sent.
    question: String,
    first_entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: Uuid,
    target: Option<&'a str>,
    reason: crate::failure::Category,
    error: &'a str,
    prediction: &'static str,
    why: Option<&'a str>,
    order_id: Option<&'a str>,
    replay_count: u32,
}

impl<'a> Entry<'a> {
    fn of(entry: &'a PlanEntry) -> Self {
        Self {
            id: entry.id,
            target: entry.target.as_deref(),
            reason: entry.reason,
            error: &entry.error,
            prediction: entry.prediction.as_str(),
            why: entry.why.as_deref(),
            order_id: entry.order_id.as_deref(),
            replay_count: entry.replay_count,
        }
    }
}

async fn review(State(desk): State<Arc<Desk>>, Path(id): Path<Uuid>) -> Response {
    desk.look(move |_| {
        let file = file_of(id);
        let plan = read_plan(&file)?;
        Ok(json(
            StatusCode::OK,
            &Review {
                plan_id: plan.plan_id,
                file: file.display().to_string(),
                created: plan.created,
                by: &plan.by,
                dlq_topic: &plan.dlq_topic,
                filters: &plan.filters,
                counts: plan.counts(),
                reasons: plan.reasons(),
                targets: plan.targets(),
                entries: plan.entries.len(),
                question: plan.question(None),
                first_entries: plan.entries.iter().take(SHOWN).map(Entry::of).collect(),
            },
        ))
    })
    .await
}

/// A plan in the working directory.
#[derive(Serialize)]
struct Listed {
    plan_id: Uuid,
    written: Option<Timestamp>,
}

/// The newest plans that are here, from this page or from `dlq replay`.
async fn plans(State(desk): State<Arc<Desk>>) -> Response {
    desk.look(|_| {
        let failed = |error| Trouble::from(ReplayError::file("list the plans in", ".")(error));
        let mut found = Vec::new();
        for file in std::fs::read_dir(".").map_err(failed)? {
            let file = file.map_err(failed)?;
            let name = file.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix("replay-")?.strip_suffix(".plan.json")?.parse().ok());
            let written = file.metadata().and_then(|data| data.modified()).ok();
            if let Some(plan_id) = id {
                found.push(Listed { plan_id, written: written.and_then(|time| time.try_into().ok()) });
            }
        }
        found.sort_by_key(|plan| std::cmp::Reverse(plan.written));
        found.truncate(SHOWN);
        Ok(json(StatusCode::OK, &found))
    })
    .await
}

async fn status(State(desk): State<Arc<Desk>>, Path(id): Path<Uuid>) -> Response {
    desk.ask(move |desk| {
        let file = file_of(id);
        let plan = read_plan(&file)?;
        let watch = Watch {
            kafka: &desk.settings.kafka,
            dlq_topic: &plan.dlq_topic,
            dlq_from: plan.seen.get(&plan.dlq_topic).cloned().unwrap_or_default(),
            audit: None,
            group: None,
            fallback_group: &desk.settings.group,
        };
        let outcomes = follow_up(&watch, &plan, &file)?;
        Ok(json(StatusCode::OK, &outcomes.to_json(&plan, SHOWN)))
    })
    .await
}
