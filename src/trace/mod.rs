//! Traces: which trace a record belongs to (W3C `traceparent` in its headers), spans under OpenTelemetry's messaging
//! convention, and their export by OTLP. Without `OTEL_EXPORTER_OTLP_ENDPOINT` there is no tracer, and no span is made;
//! what a record carries is passed on all the same. Knows no role.

mod collector;
mod context;
mod export;
mod messaging;
mod otlp;
mod settings;
mod span;
mod tracer;

pub use context::{TraceContext, carried};
pub use export::SpanCounts;
pub use settings::TraceError;
pub use span::Span;
pub use tracer::Tracer;
