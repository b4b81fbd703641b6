//! A target by HTTP, the delivery target or a secondary one: one POST for each order, over connections that are kept. Says
//! of each answer which category of failure it is; retries and time limits are others'.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;

use super::{PipelineError, Work};
use crate::audit::{Judged, Verdict};
use crate::config::DeliverTarget;
use crate::failure::{Category, Failure};
use crate::models::{Outcome, safe_short};
use crate::record::Record;
use crate::trace::carried;

#[cfg(feature = "tls")]
type Connector = hyper_tls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How much of an answer is read; a longer one costs its connection.
const ANSWER_LIMIT: usize = 64 * 1024;
/// How long an answer's body is waited for, at most; a later one costs its connection.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How much of a refusing answer goes into the error message.
const QUOTE_CHARS: usize = 200;
/// How much of an answer is kept for that.
const QUOTE_BYTES: usize = 4096;

/// Posts orders to one URL.
#[derive(Debug)]
pub(super) struct Target {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    /// How long the caller waits for an attempt.
    attempt_timeout: Duration,
}

impl Target {
    /// The target of the settings.
    ///
    /// # Errors
    /// [`PipelineError::Target`] when the address is no URL.
    pub(super) fn from_settings(
        target: &DeliverTarget,
        attempt_timeout: Duration,
    ) -> Result<Self, PipelineError> {
        let uri = target
            .url
            .parse()
            .map_err(|source| PipelineError::Target { url: target.shown().to_owned(), source })?;
        let authorization = target.credentials.as_ref().and_then(|credentials| {
            let plain: Vec<u8> = percent_decode_str(credentials.expose()).collect();
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(plain))).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self::new(uri, authorization, attempt_timeout))
    }

    /// The POST as the work on each order.
    pub(super) fn into_work(self) -> Work {
        let target = Arc::new(self);
        Work::on_orders(move |record| {
            let target = Arc::clone(&target);
            async move { target.post(&record).await }
        })
    }

    fn new(uri: Uri, authorization: Option<HeaderValue>, attempt_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // What a target sends without being asked to is the kernel's to copy, up to this and no further.
        connector.set_recv_buffer_size(Some(ANSWER_LIMIT));
        connector.enforce_http(false);
        #[cfg(feature = "tls")]
        let connector = hyper_tls::HttpsConnector::new_with_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        Self { client, uri, authorization, attempt_timeout }
    }

    /// One attempt: the record's payload as the body of one POST, told to which trace it belongs as the record's headers
    /// say. The answer's status decides: a body that is late, long or broken changes nothing.
    ///
    /// # Errors
    /// The failure with its category: what the target's status says, or that it could not be reached.
    async fn post(&self, record: &Record) -> Result<(), Failure> {
        self.send(record, HeaderValue::from_static("application/json"), Vec::new()).await.map(drop)
    }

    /// The same with the record's outcome in the headers. Nobody needs this target: one that takes the outcome and floods
    /// us with its answer has failed too, for what it costs the others.
    ///
    /// # Errors
    /// The same, and an answer that is too long.
    pub(super) async fn post_outcome(&self, judged: &Judged) -> Result<(), Failure> {
        let kind = if judged.deserialized { "application/json" } else { "application/octet-stream" };
        match self
            .send(&judged.record, HeaderValue::from_static(kind), outcome_headers(&judged.verdict))
            .await?
        {
            Answer::Short => Ok(()),
            Answer::TooLong => Err(Failure::new(
                Category::Processing,
                format!("the target answered with more than {} KiB", ANSWER_LIMIT / 1024),
            )),
        }
    }

    async fn send(
        &self,
        record: &Record,
        content_type: HeaderValue,
        more: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let key = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, content_type)
            .header(IDEMPOTENCY_KEY, key);
        for (name, value) in more {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(trace) = carried(record) {
            request = request.header(TRACEPARENT, trace.to_string());
            if let Some(state) = trace.state() {
                request = request.header(TRACESTATE, state);
            }
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
        // Within the attempt's own time, or the caller would not learn the status.
        let left = self.attempt_timeout.saturating_sub(begun.elapsed());
        let patience = ANSWER_PATIENCE.min(self.attempt_timeout / 4).min(left / 2);
        let body = answer.into_body();
        match category_of(status) {
            // Nothing of it is wanted, and it is too long to be read for the sake of the connection.
            None if body.size_hint().lower() > ANSWER_LIMIT as u64 => Ok(Answer::TooLong),
            None => Ok(beginning_of(body, patience).await.1),
            Some(category) => {
                let (body, _) = beginning_of(body, patience).await;
                let quoted = String::from_utf8_lossy(&body);
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

/// How a record ended, for who is told of it.
fn outcome_headers(verdict: &Verdict) -> Vec<(HeaderName, HeaderValue)> {
    let (outcome, attempts) = match verdict {
        Verdict::Processed { attempts } => (Outcome::Processed, *attempts),
        Verdict::DeadLettered(buried) => (Outcome::DeadLettered, buried.attempts),
    };
    let mut headers = vec![
        (HeaderName::from_static("tracker-outcome"), HeaderValue::from_static(outcome.as_str())),
        (HeaderName::from_static("tracker-attempts"), HeaderValue::from(attempts)),
    ];
    if let Verdict::DeadLettered(buried) = verdict {
        let reason = HeaderValue::from_static(buried.category.as_str());
        headers.push((HeaderName::from_static("tracker-failure-reason"), reason));
        // A UUID is always a legal value.
        let id = HeaderValue::try_from(buried.id.to_string());
        headers.extend(id.map(|id| (HeaderName::from_static("tracker-dead-letter-id"), id)));
    }
    headers
}

/// How much a target that took what it got had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Short,
    /// More than [`ANSWER_LIMIT`]: its connection is closed.
    TooLong,
}

/// The first bytes of a body. The whole of it is read, so that the connection can be used again, unless it is too long or
/// takes longer than `patience`: dropped unread, it closes its connection.
async fn beginning_of(mut body: Incoming, patience: Duration) -> (Vec<u8>, Answer) {
    let mut beginning = Vec::new();
    let mut length = 0;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let room = QUOTE_BYTES.saturating_sub(beginning.len());
            beginning.extend_from_slice(&data[..data.len().min(room)]);
            length += data.len();
            if length > ANSWER_LIMIT {
                break;
            }
        }
    };
    // Late or not, what has come is what there is.
    drop(tokio::time::timeout(patience, read).await);
    (beginning, if length > ANSWER_LIMIT { Answer::TooLong } else { Answer::Short })
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
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

    /// A server that answers each connection with these bytes, then goes on with `drip` for ever.
    fn server(head: &'static str, drip: &'static str) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let uri = format!("http://{}/", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    drop(stream.read(&mut request));
                    let mut alive = stream.write_all(head.as_bytes()).is_ok();
                    while alive {
                        std::thread::sleep(Duration::from_millis(5));
                        alive = drip.is_empty() || stream.write_all(drip.as_bytes()).is_ok();
                    }
                });
            }
        });
        Target::new(uri.parse().expect("a URL"), None, ATTEMPT_TIMEOUT)
    }

    fn record() -> Record {
        Record {
            topic: Arc::from("orders"),
            partition: 0,
            offset: 1,
            timestamp: None,
            key: None,
            value: Some(Bytes::from_static(b"{}")),
            headers: Vec::new(),
        }
    }

    async fn post(target: &Target) -> Result<(), Failure> {
        let record = record();
        let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, target.post(&record));
        attempt.await.expect("an answer within the attempt's time")
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_changes_nothing() {
        for (head, drip) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", ""),
            ("HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            ("HTTP/1.1 201 Created\r\ncontent-length: 10000000\r\n\r\n", "x"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "no length\r\n"),
        ] {
            post(&server(head, drip)).await.expect(head);
        }
        let target = server("HTTP/1.1 422 No\r\ncontent-length: 100000\r\n\r\nno stock\n", " ");
        let failure = post(&target).await.expect_err("refused");
        assert_eq!(failure.category(), Category::Validation);
        assert!(failure.to_string().ends_with(": no stock"), "{failure}");
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_not_read_to_its_end() {
        let drip: &'static str = Box::leak("x".repeat(1 << 16).into_boxed_str());
        let target = server("HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n", drip);
        let begun = Instant::now();
        post(&target).await.expect("accepted");
        assert!(begun.elapsed() < ATTEMPT_TIMEOUT / 4, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_body_that_says_to_be_too_long_is_not_waited_for() {
        let target = server("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n", "");
        let begun = Instant::now();
        post(&target).await.expect("accepted");
        // As long as an answer is waited for otherwise.
        assert!(begun.elapsed() < ATTEMPT_TIMEOUT / 4, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_secondary_target_that_floods_has_failed() {
        let judged =
            Judged { record: record(), deserialized: true, verdict: Verdict::Processed { attempts: 1 } };
        let long: &'static str = Box::leak("x".repeat(1 << 16).into_boxed_str());
        for (head, drip, is_taken) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n", long, true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n", "", false),
            ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", long, false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n", true),
        ] {
            let posted = server(head, drip).post_outcome(&judged).await;
            match posted {
                Ok(()) => assert!(is_taken, "{head}"),
                Err(failure) => {
                    assert!(!is_taken, "{head} {failure}");
                    assert_eq!(failure.category(), Category::Processing);
                    assert!(failure.to_string().ends_with("more than 64 KiB"), "{failure}");
                }
            }
        }
    }

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
