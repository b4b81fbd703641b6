//! The delivery target: counts what it has taken, and fails or hangs when it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Fails,
    Hangs,
}

/// How often each record was taken, by topic, partition and offset.
type Taken = BTreeMap<String, u32>;

#[derive(Default)]
struct Seen {
    taken: Mutex<Taken>,
    refused: AtomicU64,
}

/// A running target; it ends with the runtime.
pub struct Target {
    pub url: String,
    mood: watch::Sender<Mood>,
    seen: Arc<Seen>,
}

impl Target {
    pub fn start(runtime: &Handle) -> Self {
        let (mood, receiver) = watch::channel(Mood::Well);
        let seen = Arc::new(Seen::default());
        let routes = Router::new().route("/orders", post(take)).with_state((Arc::clone(&seen), receiver));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let url = format!("http://{}/orders", listener.local_addr().expect("an address"));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, mood, seen }
    }

    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How many requests it has refused.
    pub fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::Relaxed)
    }

    /// What it has taken since the last call.
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.seen.taken.lock().expect("no panic"))
    }
}

async fn take(
    State((seen, mut mood)): State<(Arc<Seen>, watch::Receiver<Mood>)>,
    headers: HeaderMap,
    _body: axum::body::Bytes,
) -> StatusCode {
    let now = *mood.borrow();
    if now != Mood::Well {
        seen.refused.fetch_add(1, Ordering::Relaxed);
    }
    if now == Mood::Hangs {
        // Whoever waits goes away first, or hears of a failure when it is over.
        drop(mood.wait_for(|mood| *mood != Mood::Hangs).await);
    }
    if now != Mood::Well {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    *seen.taken.lock().expect("no panic").entry(key.to_owned()).or_default() += 1;
    StatusCode::OK
}
