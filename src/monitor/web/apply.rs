//! Applying a plan from the page, by the code of the `dlq` tool, and so under its rules: what may be a target, what is left
//! out, how often a record may be replayed, one apply at a time. Nothing is sent unless the page was started with
//! `--allow-replay`, and nothing before somebody has typed the answer to the tool's question.

use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::answer::json;
use super::letters::{Desk, Trouble};
use super::replay::{by, file_of, read_only};
use crate::dlq::replay::{ApplySettings, Canary, Limits, Plan, Progress, apply, read_plan};
use crate::failure::chain_of;

/// The steps of a canary.
const STEPS: [u64; 3] = [1, 10, 100];
/// How long the end of the page waits for an apply to come to a transaction's end.
const DRAIN: Duration = Duration::from_secs(15);

/// The apply that runs, or the last one.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: Mutex<Option<Job>>,
    stop: AtomicBool,
}

/// One apply.
#[derive(Debug, Clone, Serialize)]
struct Job {
    plan_id: Uuid,
    dry_run: bool,
    started: Timestamp,
    running: bool,
    done: u64,
    total: u64,
    /// What came of it, as `dlq apply --json` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Jobs {
    fn last(&self) -> MutexGuard<'_, Option<Job>> {
        // A job is plain data: whatever panicked left it whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        self.last().as_ref().is_some_and(|job| job.running)
    }

    /// Notes the beginning, if nothing else runs.
    fn begin(&self, plan_id: Uuid, dry_run: bool, total: u64) -> Option<Job> {
        let mut last = self.last();
        if last.as_ref().is_some_and(|job| job.running) {
            return None;
        }
        self.stop.store(false, Ordering::Relaxed);
        let started = Timestamp::now();
        let job =
            Job { plan_id, dry_run, started, running: true, done: 0, total, applied: None, error: None };
        *last = Some(job.clone());
        Some(job)
    }

    fn note(&self, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.last().as_mut() {
            change(job);
        }
    }
}

/// Ends the apply at a transaction's end, so that it can be gone on with.
pub(super) fn finish(desk: &Desk) {
    let begun = Instant::now();
    desk.jobs.stop.store(true, Ordering::Relaxed);
    while desk.jobs.is_running() && begun.elapsed() < DRAIN {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a plan is to be applied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The question that was asked, so that nobody answers another one than the plan's file asks now.
    #[serde(default)]
    question: String,
    /// The answer, typed.
    #[serde(default)]
    answer: String,
    #[serde(default)]
    dry_run: bool,
    /// Begin with a few, and look what becomes of them.
    #[serde(default)]
    canary: bool,
    /// Records per second.
    #[serde(default)]
    rate: Option<f64>,
}

impl Order {
    fn read(body: &[u8]) -> Result<Self, Trouble> {
        let wrong = |why: String| Trouble::new(StatusCode::BAD_REQUEST, why);
        let order: Self = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        if order.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000_000.0)) {
            return Err(wrong("the rate is above 0, up to 10000000".to_owned()));
        }
        Ok(order)
    }

    /// As the tool asks: only a yes is one.
    fn confirm(&self, plan: &Plan) -> Result<(), Trouble> {
        let question = plan.question(None);
        let is_yes = matches!(self.answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if self.dry_run || is_yes && self.question == question {
            return Ok(());
        }
        Err(Trouble::new(StatusCode::CONFLICT, format!("not confirmed: {question}")))
    }
}

/// `POST /api/plans/ID/apply`.
pub(super) async fn start(State(desk): State<Arc<Desk>>, Path(id): Path<Uuid>, body: Bytes) -> Response {
    if let Some(no) = read_only(&desk) {
        return no;
    }
    let own = Arc::clone(&desk);
    desk.ask(move |desk| {
        let order = Order::read(&body)?;
        let file = file_of(id);
        let plan = read_plan(&file)?;
        if plan.dlq_topic != desk.settings.topic {
            return Err(Trouble::new(StatusCode::CONFLICT, format!("the plan is of {}", plan.dlq_topic)));
        }
        order.confirm(&plan)?;
        let Some(job) = desk.jobs.begin(plan.plan_id, order.dry_run, plan.entries.len() as u64) else {
            return Err(Trouble::new(StatusCode::CONFLICT, "an apply is running: wait for it, or stop it"));
        };
        tracing::info!(plan = %plan.plan_id, dry_run = order.dry_run, "applied on the web page");
        let work = move || run(&own, &plan, &file, &order);
        if let Err(error) = std::thread::Builder::new().name("apply".to_owned()).spawn(work) {
            desk.jobs.note(|job| (job.running, job.error) = (false, Some(error.to_string())));
        }
        Ok(json(StatusCode::ACCEPTED, &job))
    })
    .await
}

/// Applies a plan, and says what came of it, a panic too.
fn run(desk: &Desk, plan: &Plan, file: &FilePath, order: &Order) {
    let work = std::panic::AssertUnwindSafe(|| applied(desk, plan, file, order));
    let result =
        std::panic::catch_unwind(work).unwrap_or_else(|_| Err("a defect of this program".to_owned()));
    desk.jobs.note(|job| {
        job.running = false;
        match result {
            Ok(applied) => job.applied = Some(applied),
            Err(why) => job.error = Some(why),
        }
    });
}

fn applied(desk: &Desk, plan: &Plan, file: &FilePath, order: &Order) -> Result<Value, String> {
    let settings = ApplySettings {
        kafka: &desk.settings.kafka,
        creation: desk.settings.creation,
        plan_file: file,
        by: by(),
        to: None,
        replay_targets: &desk.settings.replay_targets,
        rate: order.rate,
        limits: Limits::default(),
        keep_timestamp: false,
        dry_run: order.dry_run,
        canary: order.canary.then(|| Canary::of(STEPS.to_vec())),
        group: None,
        fallback_group: &desk.settings.group,
    };
    let stop = || desk.jobs.stop.load(Ordering::Relaxed);
    let mut show =
        |so_far: &Progress| desk.jobs.note(|job| (job.done, job.total) = (so_far.done, so_far.total));
    let applied = apply(&settings, plan, None, &stop, &mut show);
    let applied = applied.map_err(|error| {
        let why = chain_of(&error);
        tracing::warn!(plan = %plan.plan_id, error = %why, "the apply ended");
        format!("{why}; what was committed stays, and another apply goes on")
    })?;
    serde_json::to_value(applied.to_json(plan.plan_id, order.dry_run)).map_err(|error| error.to_string())
}

/// `GET /api/job`.
pub(super) async fn job(State(desk): State<Arc<Desk>>) -> Response {
    json(StatusCode::OK, &*desk.jobs.last())
}

/// `POST /api/job/stop`.
pub(super) async fn stop(State(desk): State<Arc<Desk>>) -> Response {
    if let Some(no) = read_only(&desk) {
        return no;
    }
    desk.jobs.stop.store(true, Ordering::Relaxed);
    json(StatusCode::ACCEPTED, &*desk.jobs.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_to_the_plans_own_question_is_one() {
        let plan = Plan::of(Vec::new());
        let question = plan.question(None);
        for (body, is_confirmed) in [
            (serde_json::json!({ "question": question, "answer": "yes" }), true),
            (serde_json::json!({ "question": question, "answer": " Y " }), true),
            (serde_json::json!({ "question": question, "answer": "no" }), false),
            (serde_json::json!({ "question": question }), false),
            (serde_json::json!({ "question": "Replay 1 dead letters?", "answer": "yes" }), false),
            (serde_json::json!({ "answer": "yes" }), false),
            (serde_json::json!({ "dry_run": true }), true),
        ] {
            let order = Order::read(body.to_string().as_bytes()).expect("an order");
            assert_eq!(order.confirm(&plan).is_ok(), is_confirmed, "{body}");
        }
        for wrong in ["", "7", r#"{"rate":0}"#, r#"{"rate":-1}"#, r#"{"rate":1e9}"#, r#"{"max_replays":9}"#] {
            assert!(Order::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_apply_runs_at_a_time() {
        let jobs = Jobs::default();
        assert!(jobs.begin(Uuid::nil(), false, 3).is_some() && jobs.is_running());
        assert!(jobs.begin(Uuid::nil(), true, 3).is_none());
        jobs.note(|job| job.running = false);
        jobs.stop.store(true, Ordering::Relaxed);
        assert!(jobs.begin(Uuid::nil(), true, 3).is_some());
        assert!(!jobs.stop.load(Ordering::Relaxed), "a stop is for the one that ran");
    }
}
