//! Spans as OpenTelemetry's messaging convention names them, for Kafka. Nothing of a payload or a key is in them.

use super::context::{TraceContext, carried};
use super::otlp::{KeyValue, Kind, attribute};
use super::tracer::Parent;
use super::{Span, Tracer};
use crate::record::Record;

impl Tracer {
    /// A record is about to be sent to this topic, below a span of ours if there is one.
    pub fn send(&self, topic: &str, above: Option<&TraceContext>) -> Span {
        let above = above.map_or(Parent::None, Parent::Ours);
        self.begin(Kind::Producer, format!("send {topic}"), above, || of(topic, "send"))
    }

    /// A record's processing begins, for this group. It belongs to the trace of the span that sent it, and is linked to
    /// it, as the convention wants for records that come one by one; without one it begins a trace.
    pub fn process(&self, record: &Record, group: &str) -> Span {
        let sent = carried(record);
        let sender = sent.as_ref().map_or(Parent::None, Parent::Sender);
        self.begin(Kind::Consumer, format!("process {}", record.topic), sender, || {
            let size = i64::try_from(record.payload().len()).unwrap_or(i64::MAX);
            let mut attributes = of(&record.topic, "process");
            attributes.extend([
                attribute("messaging.destination.partition.id", record.partition.to_string()),
                attribute("messaging.kafka.offset", record.offset),
                attribute("messaging.consumer.group.name", group),
                attribute("messaging.message.body.size", size),
            ]);
            attributes
        })
    }

    /// A request to the delivery target begins: the `nth` attempt of a record, from 1.
    pub fn post(&self, host: &str, port: Option<u16>, nth: u32, processing: &Span) -> Span {
        self.begin(Kind::Client, "POST", Parent::Ours(processing.context()), || {
            let mut attributes =
                vec![attribute("http.request.method", "POST"), attribute("server.address", host)];
            attributes.extend(port.map(|port| attribute("server.port", i64::from(port))));
            if nth > 1 {
                attributes.push(attribute("http.request.resend_count", i64::from(nth - 1)));
            }
            attributes
        })
    }
}

impl Span {
    /// Notes where Kafka has put the record that was sent.
    pub fn stored(&mut self, partition: i32, offset: i64) {
        self.set("messaging.destination.partition.id", partition.to_string());
        self.set("messaging.kafka.offset", offset);
    }

    /// Notes what the delivery target has answered.
    pub fn answered(&mut self, status: u16) {
        self.set("http.response.status_code", i64::from(status));
    }
}

fn of(topic: &str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        attribute("messaging.system", "kafka"),
        attribute("messaging.operation.name", operation),
        attribute("messaging.operation.type", operation),
        attribute("messaging.destination.name", topic),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tracer::tests::tracer;

    #[test]
    fn processing_is_in_the_trace_of_the_sending_and_linked_to_it() {
        let (tracer, mut spans) = tracer("parentbased_always_on");
        let sending = tracer.send("orders", None);
        let mut record = Record::new("orders", 2, 7).with_value("{}");
        record.headers.extend(sending.context().headers());
        tracer.process(&record, "group").end();
        let told = spans.try_recv().expect("a span");
        let sent = sending.context();
        assert_eq!((&told.trace_id[..], &told.parent_span_id[..]), (&sent.trace_id[..], &sent.span_id[..]));
        assert_eq!(told.links.len(), 1);
        assert_eq!(told.links[0].span_id, sent.span_id);
        assert_eq!((told.name.as_str(), told.kind), ("process orders", Kind::Consumer.into()));
        // Without a sender that traces it is a trace of its own, without a link.
        tracer.process(&Record::new("orders", 2, 8), "group").end();
        let told = spans.try_recv().expect("a span");
        assert!(told.links.is_empty() && told.parent_span_id.is_empty());
    }

    #[test]
    fn what_the_sender_does_not_sample_is_not_told() {
        let (tracer, mut spans) = tracer("parentbased_always_on");
        let mut record = Record::new("orders", 0, 0);
        let unsampled = &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"[..];
        record.headers.push(crate::record::Header::new("traceparent", unsampled));
        let span = tracer.process(&record, "group");
        assert_eq!(&span.context().to_string()[..35], "00-0af7651916cd43dd8448eb211c80319c");
        span.end();
        assert!(spans.try_recv().is_err());
    }
}
