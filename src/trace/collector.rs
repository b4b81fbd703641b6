//! Where spans are sent: one POST for each batch, tried again where the collector is busy or away, as OTLP asks for.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;

use super::otlp::{Export, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, SpanData};
use super::settings::Settings;

/// The waits before a batch is tried again.
const AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// The most that is read of an answer, so that its connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;

/// Takes batches of ended spans.
pub(super) trait Collector: Send {
    /// Sends a batch; `Err` says why it is lost.
    fn take(&mut self, batch: Vec<SpanData>) -> impl Future<Output = Result<(), String>> + Send;
}

/// The collector that the environment names.
pub(super) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    settings: Settings,
}

/// Why an attempt failed, and whether another may not.
struct Refused {
    why: String,
    is_for_now: bool,
}

impl Http {
    pub(super) fn new(settings: Settings) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()), settings }
    }

    async fn attempt(&self, body: Bytes) -> Result<(), Refused> {
        let lost = |why: String| Refused { why, is_for_now: false };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.settings.endpoint.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .body(Full::new(body))
            .map_err(|error| lost(error.to_string()))?;
        request.headers_mut().extend(self.settings.headers.iter().cloned());
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| Refused { why: crate::failure::chain_of(&error), is_for_now: true })?;
        let status = answer.status();
        // Of no interest, but read, or its connection would be lost.
        drop(Limited::new(answer.into_body(), ANSWER_BYTES).collect().await);
        if status.is_success() {
            return Ok(());
        }
        let is_for_now = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]
        .contains(&status);
        Err(Refused { why: format!("it answered {status}"), is_for_now })
    }
}

impl Collector for Http {
    async fn take(&mut self, batch: Vec<SpanData>) -> Result<(), String> {
        let body = Bytes::from(encode(&self.settings.resource, batch));
        let timeout = self.settings.timeout;
        let attempts = async {
            let mut waits = AGAIN.into_iter();
            loop {
                let Refused { why, is_for_now } = match self.attempt(body.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                };
                let Some(wait) = waits.next().filter(|_| is_for_now) else { return Err(why) };
                tokio::time::sleep(wait).await;
            }
        };
        tokio::time::timeout(timeout, attempts)
            .await
            .unwrap_or_else(|_| Err(format!("it did not answer within {} ms", timeout.as_millis())))
    }
}

fn encode(resource: &[KeyValue], spans: Vec<SpanData>) -> Vec<u8> {
    let scope =
        Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = ResourceSpans {
        resource: Some(Resource { attributes: resource.to_vec() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
    };
    Export { resource_spans: vec![spans] }.encode_to_vec()
}
