//! The figures on their way to browsers: gathered as the terminal's are, from files and metrics, and sent as they change.
//! However many browsers look, they are made once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::answer::{escaped, raw_json};
use crate::monitor::gather::Feed;
use crate::monitor::state::Endpoint;
use crate::monitor::terminal::now_ms;

/// How often the files are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How soon after the last ones new figures are sent at the earliest.
const SOONEST: Duration = Duration::from_millis(250);
/// How late at the latest, when nothing happens: ages grow.
const LATEST: Duration = Duration::from_secs(1);

/// The newest figures, as `--once --json` prints them.
pub(super) type Newest = watch::Receiver<Arc<str>>;

/// The figures of now.
pub(super) fn shown(feed: &Feed) -> Arc<str> {
    // Numbers and text alone: there is no way to fail.
    escaped(&feed.figures(now_ms())).unwrap_or_default().into()
}

/// Keeps the figures up to date until `stop` says so.
pub(super) fn gather(
    feed: &mut Feed,
    endpoint: Option<&Receiver<Endpoint>>,
    newest: &watch::Sender<Arc<str>>,
    stop: &dyn Fn() -> bool,
) {
    let (mut sent, mut has_changed) = (Instant::now(), false);
    while !stop() {
        std::thread::sleep(TICK);
        if let Some(read) = endpoint.and_then(|endpoint| endpoint.try_iter().last()) {
            feed.set_endpoint(read);
            has_changed = true;
        }
        has_changed |= feed.follow(now_ms());
        if sent.elapsed() >= LATEST || has_changed && sent.elapsed() >= SOONEST {
            newest.send_replace(shown(feed));
            (sent, has_changed) = (Instant::now(), false);
        }
    }
}

/// `GET /api/figures`.
pub(super) async fn figures(State(newest): State<Newest>) -> Response {
    let text = newest.borrow().to_string();
    raw_json(StatusCode::OK, text)
}

/// `GET /api/live`: the figures, and again whenever they change.
pub(super) async fn events(State(newest): State<Newest>) -> impl IntoResponse {
    let next = async |(mut newest, is_first): (Newest, bool)| {
        if !is_first {
            newest.changed().await.ok()?;
        }
        let event = Event::default().event("figures").data(&*newest.borrow_and_update());
        Some((Ok::<_, Infallible>(event), (newest, false)))
    };
    Sse::new(stream::unfold((newest, true), next)).keep_alive(KeepAlive::default())
}
