//! What the producer shows to Prometheus: its counts, as they are told while it works.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Counts;
use crate::metrics::{Figures, Health, Page};
use crate::trace::SpanCounts;

/// The producer's counts, shared with those who serve them.
#[derive(Debug)]
pub struct ProducerFigures {
    topic: String,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    is_sending: AtomicBool,
    spans: Option<Arc<SpanCounts>>,
}

impl ProducerFigures {
    /// Nothing was sent to this topic yet.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            is_sending: AtomicBool::new(false),
            spans: None,
        }
    }

    /// Shows what became of spans, too.
    #[must_use]
    pub fn with_spans(mut self, spans: Option<&Arc<SpanCounts>>) -> Self {
        self.spans = spans.cloned();
        self
    }

    /// Takes over the counts; to be called whenever they are told.
    pub fn note(&self, counts: &Counts) {
        self.sent.store(counts.sent, Ordering::Relaxed);
        self.acknowledged.store(counts.acknowledged, Ordering::Relaxed);
        self.failed.store(counts.failed, Ordering::Relaxed);
        self.is_sending.store(true, Ordering::Relaxed);
    }
}

impl Figures for ProducerFigures {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (acknowledged, failed) = (read(&self.acknowledged), read(&self.failed));
        let labels = || vec![("messaging_system", "kafka"), ("messaging_destination_name", &*self.topic)];
        let mut of_failed = labels();
        of_failed.push(("error_type", "_OTHER"));
        page.counter(
            "messaging_client_sent_messages",
            "Records that Kafka has acknowledged, and, with an error_type, those that failed for good",
            [(labels(), acknowledged), (of_failed, failed)],
        )?;
        page.gauge(
            "producer_in_flight_records",
            "Records that are neither acknowledged nor failed",
            [(vec![], read(&self.sent).saturating_sub(acknowledged + failed) as f64)],
        )?;
        if let Some(spans) = &self.spans {
            page.counter(
                "producer_spans",
                "Spans by what became of them",
                spans.read().map(|(result, count)| (vec![("result", result)], count)),
            )?;
        }
        page.gauge(
            "producer_build_info",
            "The version that runs",
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )
    }
}

impl Health for ProducerFigures {
    fn alive(&self) -> Result<&'static str, &'static str> {
        Ok("ok")
    }

    fn ready(&self) -> Result<&'static str, &'static str> {
        if self.is_sending.load(Ordering::Relaxed) { Ok("ok") } else { Err("waiting for Kafka") }
    }
}
