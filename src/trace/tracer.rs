//! Where spans begin.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::collector::Http;
use super::context::TraceContext;
use super::export::{Outbox, QUEUE, SpanCounts, work};
use super::otlp::{KeyValue, Kind, Link, SpanData};
use super::settings::{Sampler, Settings, TraceError};
use super::span::{Span, now_nanos};

/// A sampled span's flags on the wire, beside those of W3C: whether its parent is in another program is known, and so.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Makes spans and has them sent.
#[derive(Debug)]
pub struct Tracer {
    outbox: Arc<Outbox>,
    sampler: Sampler,
    stop: CancellationToken,
    sending: Mutex<Option<JoinHandle<()>>>,
}

/// What a span is below of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent<'p> {
    /// Nothing: it begins a trace.
    None,
    /// A span of this program.
    Ours(&'p TraceContext),
    /// A span of whoever sent the record; the span is linked to it too.
    Sender(&'p TraceContext),
}

impl Tracer {
    /// The tracer that the environment asks for; `None` where it asks for none. `service` is its name where the
    /// environment gives no other. The sending runs on `runtime`.
    ///
    /// # Errors
    /// [`TraceError`] for variables that cannot be followed.
    pub fn from_env(service: &'static str, runtime: &Handle) -> Result<Option<Arc<Self>>, TraceError> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(settings) = Settings::read(service, &variable)? else { return Ok(None) };
        let sampler = settings.sampler;
        let (queue, spans) = tokio::sync::mpsc::channel(QUEUE);
        let (counts, stop) = (Arc::<SpanCounts>::default(), CancellationToken::new());
        let sending = runtime.spawn(work(Http::new(settings), spans, Arc::clone(&counts), stop.clone()));
        tracing::info!("sending traces to the collector that the environment names");
        Ok(Some(Arc::new(Self {
            outbox: Arc::new(Outbox { queue, counts }),
            sampler,
            stop,
            sending: Mutex::new(Some(sending)),
        })))
    }

    /// What became of the spans so far.
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.outbox.counts
    }

    /// Begins a span.
    pub(super) fn begin(
        &self,
        kind: Kind,
        name: impl Into<String>,
        parent: Parent<'_>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Span {
        let (above, is_remote) = match parent {
            Parent::None => (None, false),
            Parent::Ours(above) => (Some(above), false),
            Parent::Sender(above) => (Some(above), true),
        };
        // Of a version 4 UUID, 122 bits are random: all of these but 6.
        let trace_id = above.map_or_else(|| Uuid::new_v4().into_bytes(), |above| above.trace_id);
        let is_sampled = self.sampler.takes(trace_id, above.map(TraceContext::is_sampled));
        let state = above.and_then(TraceContext::state).map(str::to_owned);
        let context = TraceContext::new(trace_id, span_id(), is_sampled, state.clone());
        let data = is_sampled.then(|| {
            let links = match parent {
                Parent::Sender(sender) => vec![Link {
                    trace_id: sender.trace_id.to_vec(),
                    span_id: sender.span_id.to_vec(),
                    trace_state: sender.state().unwrap_or_default().to_owned(),
                    flags: u32::from(sender.is_sampled()) | HAS_IS_REMOTE | IS_REMOTE,
                }],
                Parent::None | Parent::Ours(_) => Vec::new(),
            };
            let now = now_nanos();
            Box::new(SpanData {
                trace_id: trace_id.to_vec(),
                span_id: context.span_id.to_vec(),
                trace_state: state.unwrap_or_default(),
                parent_span_id: above.map_or_else(Vec::new, |above| above.span_id.to_vec()),
                name: name.into(),
                kind: kind.into(),
                start_nanos: now,
                end_nanos: now,
                attributes: attributes(),
                links,
                status: None,
                flags: 1 | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 },
            })
        });
        Span::new(context, data, &self.outbox)
    }

    /// Sends what is left, at most so long; to be called once, when no span will end any more.
    pub async fn close(&self, patience: Duration) {
        self.stop.cancel();
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let in_time = match sending {
            Some(sending) => tokio::time::timeout(patience, sending).await.is_ok(),
            None => true,
        };
        let [_, (_, dropped), (_, failed)] = self.counts().read();
        if !in_time || dropped + failed > 0 {
            tracing::warn!(dropped, failed, in_time, "not all spans have reached the collector");
        }
    }
}

/// Random and never zero: the half of a version 4 UUID that holds its variant.
fn span_id() -> [u8; 8] {
    let (_, half) = Uuid::new_v4().as_u64_pair();
    half.to_be_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::trace::otlp::{Code, Status, attribute};

    /// A tracer with this sampler, whose spans come out of the queue.
    pub(in crate::trace) fn tracer(sampler: &str) -> (Tracer, tokio::sync::mpsc::Receiver<SpanData>) {
        let settings = Settings::read("test", &|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://localhost:4318".to_owned()),
            "OTEL_TRACES_SAMPLER" => Some(sampler.to_owned()),
            _ => None,
        });
        let (queue, spans) = tokio::sync::mpsc::channel(100);
        let tracer = Tracer {
            outbox: Arc::new(Outbox { queue, counts: Arc::default() }),
            sampler: settings.expect("good").expect("asked for").sampler,
            stop: CancellationToken::new(),
            sending: Mutex::new(None),
        };
        (tracer, spans)
    }

    #[test]
    fn a_trace_that_is_not_sampled_is_passed_on_and_not_told() {
        let (tracer, mut spans) = tracer("always_off");
        let span = tracer.begin(Kind::Producer, "send orders", Parent::None, || panic!("nobody asks"));
        assert!(span.context().to_string().ends_with("-00"));
        span.end();
        assert!(spans.try_recv().is_err());
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_was_cancelled() {
        let (tracer, mut spans) = tracer("always_on");
        drop(tracer.begin(Kind::Client, "POST", Parent::None, Vec::new));
        let told = spans.try_recv().expect("a span");
        assert_eq!(told.status, Some(Status { message: "cancelled".to_owned(), code: Code::Error.into() }));
        assert!(told.attributes.contains(&attribute("error.type", "cancelled")));
    }

    #[test]
    fn ids_are_new_each_time_and_of_the_trace_above() {
        let (tracer, _spans) = tracer("always_on");
        let above = tracer.begin(Kind::Producer, "send", Parent::None, Vec::new);
        let (one, two) = (
            tracer.begin(Kind::Client, "POST", Parent::Ours(above.context()), Vec::new),
            tracer.begin(Kind::Client, "POST", Parent::Ours(above.context()), Vec::new),
        );
        assert_eq!(one.context().trace_id, above.context().trace_id);
        assert!(one.context().span_id != two.context().span_id && one.context().span_id != [0; 8]);
        let other = tracer.begin(Kind::Producer, "send", Parent::None, Vec::new);
        assert_ne!(other.context().trace_id, above.context().trace_id);
    }
}
