//! The delivery target: one POST for each order, over connections that are kept. Says of each answer which category of
//! failure it is; retries and time limits are the handler's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;

use super::PipelineError;
use crate::config::DeliverTarget;
use crate::failure::{Category, Failure};
use crate::models::safe_short;
use crate::record::Record;

#[cfg(feature = "tls")]
type Connector = hyper_tls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How much of an answer is read; a longer one costs its connection.
const ANSWER_LIMIT: usize = 64 * 1024;
/// How much of a refusing answer goes into the error message.
const QUOTE_CHARS: usize = 200;

/// Posts orders to one URL.
#[derive(Debug)]
pub(super) struct Target {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// The target of the settings.
    ///
    /// # Errors
    /// [`PipelineError::Target`] when the address is no URL.
    pub(super) fn from_settings(target: &DeliverTarget) -> Result<Self, PipelineError> {
        let uri =
            target.url.parse().map_err(|source| PipelineError::Target { url: target.url.clone(), source })?;
        let authorization = target.credentials.as_ref().and_then(|credentials| {
            let plain: Vec<u8> = percent_decode_str(credentials.expose()).collect();
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(plain))).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self::new(uri, authorization))
    }

    fn new(uri: Uri, authorization: Option<HeaderValue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        #[cfg(feature = "tls")]
        let connector = hyper_tls::HttpsConnector::new_with_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(std::time::Duration::from_secs(60))
            .build(connector);
        Self { client, uri, authorization }
    }

    /// One attempt: the record's payload as the body of one POST.
    ///
    /// # Errors
    /// The failure with its category: what the target's status says, or that it could not be reached.
    pub(super) async fn post(&self, record: &Record) -> Result<(), Failure> {
        let key = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(IDEMPOTENCY_KEY, key);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(record.value.clone().unwrap_or_default()))
            .map_err(|e| Failure::caused_by(Category::Unknown, "build the request", e))?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|e| Failure::caused_by(Category::Processing, "reach the delivery target", e))?;
        let status = answer.status();
        // The whole answer is read so that the connection can be used again.
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map(Collected::to_bytes);
        match category_of(status) {
            None => Ok(()),
            Some(category) => {
                let quoted = body.unwrap_or_default();
                let quoted = String::from_utf8_lossy(&quoted);
                let quoted = safe_short(quoted.trim(), QUOTE_CHARS);
                let message = if quoted.is_empty() {
                    format!("the delivery target answered {status}")
                } else {
                    format!("the delivery target answered {status}: {quoted}")
                };
                Err(Failure::new(category, message).with_status(status.as_u16()))
            }
        }
    }
}

/// What a status means; `None` is success.
fn category_of(status: StatusCode) -> Option<Category> {
    match status.as_u16() {
        200..=299 => None,
        408 => Some(Category::Timeout),
        429 => Some(Category::Processing),
        400..=499 => Some(Category::Validation),
        // 5xx; and a redirect, which is not followed: the target did not take the order, and may after a repair.
        _ => Some(Category::Processing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_documented_categories() {
        let table = [
            (200, None),
            (204, None),
            (301, Some(Category::Processing)),
            (400, Some(Category::Validation)),
            (404, Some(Category::Validation)),
            (408, Some(Category::Timeout)),
            (409, Some(Category::Validation)),
            (422, Some(Category::Validation)),
            (429, Some(Category::Processing)),
            (500, Some(Category::Processing)),
            (503, Some(Category::Processing)),
        ];
        for (status, category) in table {
            assert_eq!(category_of(StatusCode::from_u16(status).expect("a status")), category, "{status}");
        }
    }
}
