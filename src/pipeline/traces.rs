//! The tracker's spans: one for each record's processing, below it one for each attempt at the delivery target, and one
//! for the dead letter. They are made only where traces are exported; what a record carries goes to the target anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hyper::Uri;

use crate::config::TrackerSettings;
use crate::dlq::{Buried, Exhausted};
use crate::failure::Failure;
use crate::record::Record;
use crate::trace::{Span, Tracer};

/// What spans of the tracker have in common.
#[derive(Debug)]
pub(super) struct Traces {
    tracer: Arc<Tracer>,
    group: Arc<str>,
    dlq_topic: Arc<str>,
    /// Where deliveries go.
    target: Option<Uri>,
}

impl Traces {
    pub(super) fn new(tracer: &Arc<Tracer>, settings: &TrackerSettings) -> Self {
        Self {
            tracer: Arc::clone(tracer),
            group: Arc::from(settings.group.as_str()),
            dlq_topic: Arc::from(settings.dlq_topic.as_str()),
            target: settings.deliver_to.as_ref().and_then(|target| target.url.parse().ok()),
        }
    }
}

/// A record's processing as it is traced, if it is.
#[derive(Debug)]
pub(super) struct Traced {
    span: Option<Span>,
    /// Attempts so far.
    attempts: AtomicU32,
}

impl Traced {
    pub(super) fn begin(traces: Option<&Traces>, record: &Record) -> Self {
        let span = traces.map(|traces| traces.tracer.process(record, &traces.group));
        Self { span, attempts: AtomicU32::new(0) }
    }

    /// What one attempt works on: the record, which says as itself where in its trace it is. Where a target is asked, that
    /// is the request's own span; dropped at the attempt's time limit, it says that it was cancelled.
    pub(super) fn attempt(&self, traces: Option<&Traces>, record: &Record) -> (Option<Span>, Record) {
        let mut record = record.clone();
        let (Some(traces), Some(processing)) = (traces, &self.span) else { return (None, record) };
        let nth = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let request = traces.target.as_ref().map(|target| {
            let host = target.host().unwrap_or_default();
            traces.tracer.post(host, target.port_u16(), nth, processing)
        });
        let context = request.as_ref().unwrap_or(processing).context();
        // The last header of a name counts.
        record.headers.extend(context.headers());
        (request, record)
    }

    /// The processing has come to its result. The span is kept for the dead letter, where there will be one.
    pub(super) fn end(self, result: &Result<u32, Exhausted>, traces: Option<&Traces>) -> Option<Box<Span>> {
        let span = self.span?;
        let Err(exhausted) = result else {
            span.end();
            return None;
        };
        let letter =
            traces.map(|traces| Box::new(traces.tracer.send(&traces.dlq_topic, Some(span.context()))));
        span.fail(exhausted.failure.category().as_str());
        letter
    }
}

/// An attempt has come to its result.
pub(super) fn attempted(span: Option<Span>, result: &Result<(), Failure>) {
    let Some(mut span) = span else { return };
    match result {
        Ok(()) => span.end(),
        Err(failure) => {
            if let Some(status) = failure.status() {
                span.answered(status);
            }
            span.fail(failure.category().as_str());
        }
    }
}

/// The dead letter is safe.
pub(super) fn buried(span: Option<Box<Span>>, buried: &Buried) {
    if let Some(mut span) = span {
        span.stored(buried.receipt.partition(), buried.receipt.offset());
        span.end();
    }
}
