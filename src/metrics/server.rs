//! The HTTP address: `/metrics` for Prometheus, `/healthz` for those who restart what is not alive, `/readyz` for those
//! who wait until it works.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::page::{Figures, render};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a role is. `Err` says what is wrong, `Ok` what is worth a word all the same.
pub trait Health: std::fmt::Debug + Send + Sync + 'static {
    /// Whether it is alive: `Err` asks for a restart.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn alive(&self) -> Result<&'static str, &'static str>;

    /// Whether it does its work.
    ///
    /// # Errors
    /// What it waits for, for people.
    fn ready(&self) -> Result<&'static str, &'static str>;
}

/// The address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listen on --metrics-addr {addr}")]
pub struct ListenError {
    addr: SocketAddr,
    #[source]
    source: io::Error,
}

/// Serves until the runtime ends.
///
/// # Errors
/// [`ListenError`] when the address cannot be had.
pub async fn serve(
    addr: SocketAddr,
    figures: Arc<dyn Figures>,
    health: Arc<dyn Health>,
) -> Result<(), ListenError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| ListenError { addr, source })?;
    tracing::info!(%addr, "serving /metrics, /healthz and /readyz");
    let (alive, ready) = (Arc::clone(&health), health);
    let app = Router::new()
        .route("/metrics", get(move || std::future::ready(metrics(&figures))))
        .route("/healthz", get(move || std::future::ready(said(alive.alive()))))
        .route("/readyz", get(move || std::future::ready(said(ready.ready()))));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the metrics address is not served any more");
        }
    });
    Ok(())
}

fn metrics(figures: &Arc<dyn Figures>) -> Response {
    match render(figures) {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn said(health: Result<&'static str, &'static str>) -> (StatusCode, String) {
    match health {
        Ok(text) => (StatusCode::OK, format!("{text}\n")),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")),
    }
}
