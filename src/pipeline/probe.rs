//! `/healthz`: whether the tracker is alive, for those who restart what is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::PipelineError;

/// A poll thread that was silent for this long is not alive.
const SILENCE: Duration = Duration::from_secs(30);

/// What the poll thread says of itself.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    last_poll_ms: AtomicU64,
    disk_full: AtomicBool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), last_poll_ms: AtomicU64::new(0), disk_full: AtomicBool::new(false) }
    }

    /// Notes that the poll thread is at work.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_poll_ms.store(now, Ordering::Relaxed);
    }

    /// Notes whether the audit log waits for room.
    pub(super) fn disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Relaxed);
    }

    fn state(&self) -> (StatusCode, &'static str) {
        let silent = self
            .started
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_poll_ms.load(Ordering::Relaxed)));
        if silent > SILENCE {
            (StatusCode::SERVICE_UNAVAILABLE, "the poll thread is silent\n")
        } else if self.disk_full.load(Ordering::Relaxed) {
            // Alive all the same: a restart would not make room.
            (StatusCode::OK, "waiting for room for the audit log\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    }
}

/// Serves `/healthz` until the runtime ends.
pub(super) async fn serve(addr: SocketAddr, pulse: Arc<Pulse>) -> Result<(), PipelineError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| PipelineError::Listen { addr, source })?;
    tracing::info!(%addr, "serving /healthz");
    let app = Router::new().route(
        "/healthz",
        get(move || {
            let pulse = Arc::clone(&pulse);
            async move { pulse.state() }
        }),
    );
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the health endpoint ended");
        }
    });
    Ok(())
}
