//! One piece of work with its beginning and its end. Whoever does the work holds it; dropped before its end it says that
//! the work was cancelled.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::context::TraceContext;
use super::export::Outbox;
use super::otlp::{Code, SpanData, Status, Value, attribute};

/// What work says that ended because nobody waited for it any more.
const CANCELLED: &str = "cancelled";

/// A span that has begun.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// What is told of it in the end; `None` where this trace is not sampled.
    data: Option<Box<SpanData>>,
    outbox: Arc<Outbox>,
}

impl Span {
    pub(super) fn new(context: TraceContext, data: Option<Box<SpanData>>, outbox: &Arc<Outbox>) -> Self {
        Self { context, data, outbox: Arc::clone(outbox) }
    }

    /// Where it is in its trace: the parent of what it causes.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Adds what became known since it began. `value` must be of bounded size, and nothing of a payload.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(data) = &mut self.data {
            data.attributes.push(attribute(name, value));
        }
    }

    /// Ends it well.
    pub fn end(mut self) {
        self.finish(None);
    }

    /// Ends it with one of few words that say how it failed.
    pub fn fail(mut self, error_type: &'static str) {
        self.finish_failed(error_type);
    }

    fn finish_failed(&mut self, error_type: &'static str) {
        self.set("error.type", error_type);
        self.finish(Some(Status { message: error_type.to_owned(), code: Code::Error.into() }));
    }

    fn finish(&mut self, status: Option<Status>) {
        if let Some(mut data) = self.data.take() {
            data.end_nanos = now_nanos().max(data.start_nanos);
            data.status = status;
            self.outbox.put(*data);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.data.is_some() {
            self.finish_failed(CANCELLED);
        }
    }
}

/// Nanoseconds since the epoch.
pub(super) fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
