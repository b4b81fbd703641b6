//! The page's address, its files, and its life: from the moment the address is had until the program is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde::Serialize;
use tokio::sync::watch;

use super::answer::{json, refused};
use super::guard::{Guard, check};
use super::live::{self, Newest};
use crate::config::WebSettings;
use crate::monitor::MonitorError;
use crate::monitor::gather::Feed;
use crate::monitor::run::{Options, scrape_in_background};
use crate::monitor::state::Endpoint;
use crate::monitor::terminal::now_ms;

/// The largest question.
const MAX_BODY: usize = 64 << 10;

/// What the page consists of: path, kind, content.
const ASSETS: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("assets/app.js")),
    ("/parts.js", "text/javascript; charset=utf-8", include_str!("assets/parts.js")),
    ("/letters.js", "text/javascript; charset=utf-8", include_str!("assets/letters.js")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// What the page has to know of its server.
#[derive(Debug, Clone, Serialize)]
struct About {
    version: &'static str,
    /// The dead letter topic; none where dead letters are not built in.
    dlq_topic: Option<String>,
    allow_replay: bool,
}

/// A web page with an address.
#[derive(Debug)]
pub struct WebPage {
    listener: TcpListener,
    addr: SocketAddr,
    guard: Guard,
    is_token_made: bool,
    about: About,
    #[cfg(feature = "dlq")]
    desk: Option<Arc<super::letters::Desk>>,
}

impl WebPage {
    /// Takes the address.
    ///
    /// # Errors
    /// [`MonitorError::Listen`].
    pub fn bind(settings: &WebSettings) -> Result<Self, MonitorError> {
        let failed = |source| MonitorError::Listen { addr: settings.addr, source };
        let listener = TcpListener::bind(settings.addr).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (guard, is_token_made) = Guard::new(addr, settings.token.clone());
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            dlq_topic: None,
            allow_replay: settings.allow_replay,
        };
        Ok(Self {
            listener,
            addr,
            guard,
            is_token_made,
            about,
            #[cfg(feature = "dlq")]
            desk: None,
        })
    }

    /// Lets it show dead letters.
    #[cfg(feature = "dlq")]
    #[must_use]
    pub fn with_letters(mut self, letters: super::letters::LetterSettings) -> Self {
        self.about.dlq_topic = Some(letters.topic.clone());
        self.desk = Some(Arc::new(super::letters::Desk::new(letters, self.about.allow_replay)));
        self
    }

    /// Where it is, for whoever started it: with the token that was made for it, which is told nowhere else.
    pub fn greeting(&self) -> String {
        let page = format!("the page is at http://{}/", self.addr);
        match self.guard.token() {
            Some(token) if self.is_token_made => format!("{page}?token={}", token.expose()),
            Some(_) => format!("{page}?token=… with the token of --web-token-file"),
            None => page,
        }
    }

    /// Serves until `stop` says so. Needs a runtime around it.
    ///
    /// # Errors
    /// [`MonitorError`] when a file that is there cannot be read, or the address is lost.
    pub fn serve(self, options: &Options, stop: &dyn Fn() -> bool) -> Result<(), MonitorError> {
        let mut feed = Feed::open(options.sources.clone(), options.look(), now_ms())?;
        // The past has no metrics.
        let endpoint = options.metrics_url.clone().filter(|_| options.at.is_none()).map(scrape_in_background);
        if endpoint.is_some() {
            feed.set_endpoint(Endpoint::Waiting);
        }
        let (newest, receiver) = watch::channel(live::shown(&feed));
        let addr = self.addr;
        let app = router(self.about, receiver);
        #[cfg(feature = "dlq")]
        let desk = self.desk;
        #[cfg(feature = "dlq")]
        let app = match &desk {
            Some(desk) => app.merge(super::letters::routes(desk)).merge(super::replay::routes(desk)),
            None => app,
        };
        let app = app.fallback(nothing).layer(DefaultBodyLimit::max(MAX_BODY));
        let app = app.layer(from_fn_with_state(Arc::new(self.guard), check));
        let listener = tokio::net::TcpListener::from_std(self.listener)
            .map_err(|source| MonitorError::Listen { addr, source })?;
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the web page is not served any more");
            }
        });
        live::gather(&mut feed, endpoint.as_ref(), &newest, stop);
        #[cfg(feature = "dlq")]
        if let Some(desk) = desk {
            super::apply::finish(&desk);
        }
        Ok(())
    }
}

/// What is there in any build.
fn router(about: About, newest: Newest) -> Router {
    let mut app = Router::new()
        .route("/api/figures", get(live::figures))
        .route("/api/live", get(live::events))
        .with_state(newest)
        .route("/api/about", get(move || std::future::ready(json(StatusCode::OK, &about))));
    for (path, kind, content) in ASSETS {
        let file = move || std::future::ready(([(CONTENT_TYPE, kind)], content).into_response());
        app = app.route(path, get(file));
    }
    app
}

async fn nothing() -> axum::response::Response {
    refused(StatusCode::NOT_FOUND, "there is nothing of this name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_files_alone() {
        for (path, _, content) in ASSETS {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                " style=",
                " onclick=",
            ] {
                assert!(!content.contains(forbidden), "{path}: {forbidden}");
            }
            assert!(!content.contains("//cdn") && !content.contains("https://"), "{path}");
        }
        let (_, _, page) = ASSETS[0];
        assert!(
            !page.contains("<style") && page.matches("<script").count() == 1,
            "scripts and styles are files"
        );
    }
}
