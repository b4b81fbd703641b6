//! The dead letters on the page: counted by cause, listed, and one in full, all by the code of the `dlq` tool. Every answer
//! reads the topic itself, a few at a time; nothing here changes anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::answer::{json, refused};
use super::apply::Jobs;
use crate::config::{KafkaSettings, TopicCreation};
use crate::dlq::{self, Filter, ReadError, State as Standing, Wanted};
use crate::failure::{Category, chain_of};
use crate::kafka::{KafkaError, wait_until_reachable};
use crate::models::DecodeLimits;

/// How many answers read Kafka at once; the others wait.
const AT_ONCE: usize = 2;
/// How long a reader of the page waits for Kafka.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many dead letters are listed.
const ROWS: usize = 200;
/// How many causes.
const CAUSES: usize = 100;

/// Which dead letters, and what replaying them takes; the settings of the `dlq` tool.
#[derive(Debug)]
pub struct LetterSettings {
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// The dead letter topic.
    pub topic: String,
    /// How the topic of the statuses is created where it is missing.
    pub creation: TopicCreation,
    /// The only topics that may be replayed to; empty for any.
    pub replay_targets: Vec<String>,
    /// What the tracker takes as an order.
    pub limits: DecodeLimits,
    /// The group of dead letters that do not tell theirs.
    pub group: String,
}

/// Where the dead letters are worked on.
#[derive(Debug)]
pub(super) struct Desk {
    pub settings: LetterSettings,
    pub allow_replay: bool,
    pub jobs: Jobs,
    turns: Semaphore,
}

impl Desk {
    pub(super) fn new(mut settings: LetterSettings, allow_replay: bool) -> Self {
        settings.kafka.connect_timeout = settings.kafka.connect_timeout.min(PATIENCE);
        Self { settings, allow_replay, jobs: Jobs::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// Does what blocks, in its turn, on a thread of its own.
    pub(super) async fn look(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<Response, Trouble> + Send + 'static,
    ) -> Response {
        let Ok(_turn) = self.turns.acquire().await else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "the page ends");
        };
        let desk = Arc::clone(&self);
        match tokio::task::spawn_blocking(move || work(&desk)).await {
            Ok(Ok(response)) => response,
            Ok(Err(Trouble { status, why })) => refused(status, &why),
            Err(_) => {
                refused(StatusCode::INTERNAL_SERVER_ERROR, "a defect of this program: see its standard error")
            }
        }
    }

    /// The same with Kafka, which has to be there.
    pub(super) async fn ask(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<Response, Trouble> + Send + 'static,
    ) -> Response {
        let work = move |desk: &Self| {
            wait_until_reachable(&desk.settings.kafka, &|| false)?;
            work(desk)
        };
        self.look(work).await
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Trouble {
    pub status: StatusCode,
    pub why: String,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        let status = match error {
            KafkaError::UnknownTopic { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, chain_of(&error))
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Kafka(error) => error.into(),
            ReadError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, chain_of(&error)),
            ReadError::Ambiguous { .. } => Self::new(StatusCode::CONFLICT, chain_of(&error)),
            ReadError::Output(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, chain_of(&error)),
        }
    }
}

/// Which dead letters a reader of the page wants to see, or to replay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Choice {
    /// One of them.
    pub id: Option<Uuid>,
    reason: Option<Category>,
    status: Option<Standing>,
    cause: Option<String>,
    text: Option<String>,
}

impl Choice {
    pub(super) fn read(body: &[u8]) -> Result<Self, Trouble> {
        let choice: Self =
            serde_json::from_slice(body).map_err(|e| Trouble::new(StatusCode::BAD_REQUEST, e.to_string()))?;
        let text = choice.text.filter(|text| !text.trim().is_empty());
        Ok(Self { text, ..choice })
    }

    pub(super) fn filter(&self, limit: Option<u64>) -> Result<Filter, Trouble> {
        let text = self.text.as_deref().map(Filter::text_of).transpose();
        let text = text.map_err(|e| Trouble::new(StatusCode::BAD_REQUEST, e.to_string()))?;
        Ok(Filter {
            reason: self.reason,
            status: self.status,
            cause: self.cause.clone(),
            text,
            limit,
            ..Filter::default()
        })
    }

    /// The same in the words of the command line.
    pub(super) fn words(&self) -> Vec<String> {
        let flags = [
            ("--reason", self.reason.map(|reason| reason.to_string())),
            ("--status", self.status.map(|status| status.as_str().to_owned())),
            ("--cause", self.cause.clone()),
            ("--text", self.text.clone()),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
        self.id.map(|id| id.to_string()).into_iter().chain(given.flatten()).collect()
    }
}

/// Where the dead letters are.
pub(super) fn routes(desk: &Arc<Desk>) -> Router {
    Router::new()
        .route("/api/letters/causes", post(causes))
        .route("/api/letters/list", post(list))
        .route("/api/letters/{id}", get(letter))
        .with_state(Arc::clone(desk))
}

async fn causes(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    desk.ask(move |desk| {
        let filter = Choice::read(&body)?.filter(None)?;
        let mut stats = dlq::stats(&desk.settings.kafka, &desk.settings.topic, &filter, |_, _| {})?;
        stats.by_error.truncate(CAUSES);
        Ok(json(StatusCode::OK, &stats))
    })
    .await
}

/// The first dead letters that were chosen, each as `dlq list --json` shows it.
#[derive(Serialize)]
struct Rows<'a> {
    rows: Vec<&'a serde_json::value::RawValue>,
    /// Whether there are more of them.
    more: bool,
}

async fn list(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    desk.ask(move |desk| {
        let filter = Choice::read(&body)?.filter(Some(ROWS as u64 + 1))?;
        let mut lines = Vec::new();
        dlq::list(&desk.settings.kafka, &desk.settings.topic, &filter, true, &mut lines, |_| {})?;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut rows: Vec<_> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        Ok(json(StatusCode::OK, &Rows { rows, more }))
    })
    .await
}

/// A dead letter as `dlq show --json` shows it, and its payload for people.
#[derive(Serialize)]
struct Whole<T> {
    #[serde(flatten)]
    letter: T,
    payload_shown: Option<String>,
    /// Bytes that are not shown.
    payload_left_out: usize,
}

async fn letter(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.ask(move |desk| {
        let wanted: Wanted = id.parse().map_err(|why: String| Trouble::new(StatusCode::BAD_REQUEST, why))?;
        let LetterSettings { kafka, topic, limits, .. } = &desk.settings;
        let shown = dlq::show(kafka, topic, &wanted, limits, |_, _| {})?;
        let payload = shown.letter.payload.bytes().map(|bytes| dlq::pretty(bytes));
        let (payload_shown, payload_left_out) = payload.map_or((None, 0), |(text, left)| (Some(text), left));
        Ok(json(StatusCode::OK, &Whole { letter: shown.to_json(), payload_shown, payload_left_out }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_filter_and_its_words() {
        let read = |text: &str| Choice::read(text.as_bytes());
        let choice =
            read(r#"{"reason":"TIMEOUT_ERROR","cause":"a #","text":"x","status":"open"}"#).expect("a choice");
        let filter = choice.filter(Some(3)).expect("a filter");
        assert_eq!((filter.reason, filter.limit), (Some(Category::Timeout), Some(3)));
        assert_eq!((filter.status, filter.cause.as_deref()), (Some(Standing::Open), Some("a #")));
        let words = ["--reason", "TIMEOUT_ERROR", "--status", "open", "--cause", "a #", "--text", "x"];
        assert_eq!(choice.words(), words);
        assert!(read(r#"{"text":" "}"#).expect("a choice").filter(None).expect("a filter").is_empty());
        for wrong in ["", "{", "7", r#"{"reason":"x"}"#, r#"{"rate":1}"#, r#"{"id":"1"}"#] {
            assert_eq!(read(wrong).expect_err(wrong).status, StatusCode::BAD_REQUEST);
        }
    }
}
