//! Traces: what the collector is told, what records, deliveries and dead letters carry, and that nothing is sent unasked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::otlp::{self, Told};
use crate::support::{Answer, Raw, Target, World, bytes, http, order, wait_for};

const TRACEPARENT: &str = "traceparent";
/// `Span.kind` on the wire.
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// What a collector has been told.
fn told(collector: &Target) -> Vec<Told> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        spans.extend(otlp::spans(&request.body));
    }
    spans
}

/// The values of a record's headers with this name.
fn values(record: &Raw, name: &str) -> Vec<String> {
    let found = record.headers.iter().filter(|(known, _)| known == name);
    found.map(|(_, value)| String::from_utf8(value.clone().expect("a value")).expect("UTF-8")).collect()
}

fn only_value(record: &Raw, name: &str) -> String {
    let values = values(record, name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values.into_iter().next().expect("one")
}

#[test]
fn one_trace_goes_from_the_producer_to_delivery_and_dead_letter() {
    const ORDERS: usize = 30;
    let Some(world) = World::any("traces", 1) else { return };
    let collector = Target::start(|_| Answer::Status(200));
    // Every third request is refused for good, the first one of the others is asked for again.
    let target = Target::start(|request| {
        let offset: u32 = request.key().rsplit('/').next().and_then(|n| n.parse().ok()).expect("an offset");
        Answer::Status(match (offset % 3, request.nth) {
            (0, _) => 422,
            (1, 1) => 503,
            _ => 200,
        })
    });
    let base = collector.base_url();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str())];
    let flags = ["--rate", "max", "--seed", "7", "--count", &ORDERS.to_string()];
    let mut producer = world.producer_in(&variables, "producer", &flags);
    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    let deliver = ["--deliver-to", &target.url(), "--outage-guard", "off", "--retry-initial", "10ms"];
    let mut tracker = world.tracker_in(&variables, "tracker", &[&["--exit-at-end"], &deliver[..]].concat());
    assert_eq!(tracker.ended_within(Duration::from_secs(90)), 0, "{}", tracker.stderr());

    let told = told(&collector);
    let of = |service: &str, kind: u64| -> Vec<&Told> {
        told.iter().filter(|told| told.service == service && told.kind == kind).collect()
    };
    let (sends, processes) = (of("order-producer", PRODUCER), of("order-tracker", CONSUMER));
    let (posts, letters) = (of("order-tracker", CLIENT), of("order-tracker", PRODUCER));
    assert_eq!((sends.len(), processes.len(), posts.len(), letters.len()), (ORDERS, ORDERS, ORDERS + 10, 10));
    assert_eq!(told.len(), sends.len() + processes.len() + posts.len() + letters.len());

    let records = world.read(&world.topic);
    let dead: BTreeMap<String, Raw> =
        world.read(&world.dlq).into_iter().map(|letter| (only_value(&letter, TRACEPARENT), letter)).collect();
    assert_eq!(dead.len(), 10);
    for record in &records {
        let carried = only_value(record, TRACEPARENT);
        let offset = record.offset.to_string();
        // The record names the span that sent it, a trace of its own.
        let send = sends.iter().find(|send| send.traceparent() == carried).expect("its sending");
        assert!(send.parent.is_empty() && send.name == format!("send {}", world.topic));
        assert!(send.is("messaging.kafka.offset", &offset) && send.is("messaging.system", "kafka"));
        // Its processing is below that span and linked to it.
        let process =
            processes.iter().find(|one| one.is("messaging.kafka.offset", &offset)).expect("processed");
        assert_eq!((&process.trace, &process.parent), (&send.trace, &send.span));
        assert_eq!(process.links, [(send.trace.clone(), send.span.clone())]);
        assert_eq!(process.name, format!("process {}", world.topic));
        assert!(process.is("messaging.operation.type", "process"));
        assert!(process.is("messaging.consumer.group.name", &world.group));
        assert!(process.is("messaging.destination.partition.id", "0"));
        assert!(process.ended >= process.begun && process.begun >= send.begun);
        // Each request is below the processing, and says itself which one it is.
        let key = format!("{}/0/{offset}", world.topic);
        let requests: Vec<_> = target.requests().into_iter().filter(|request| request.key() == key).collect();
        let mut attempts: Vec<_> = posts.iter().filter(|post| post.parent == process.span).collect();
        attempts.sort_by_key(|attempt| attempt.begun);
        let expected: &[&str] = match record.offset % 3 {
            0 => &["422"],
            1 => &["503", "200"],
            _ => &["200"],
        };
        assert_eq!((attempts.len(), requests.len()), (expected.len(), expected.len()));
        for ((attempt, request), status) in attempts.iter().zip(&requests).zip(expected) {
            assert_eq!(request.headers[TRACEPARENT], attempt.traceparent());
            assert_eq!(attempt.trace, send.trace);
            let refused = (*status != "200").then_some(*status);
            let told = attempt.attributes.get("http.response.status_code").map(String::as_str);
            assert_eq!((told, attempt.status == 2), (refused, refused.is_some()), "{attempt:?}");
        }
        // A dead letter carries what its record carried, byte for byte, and its sending is in the same trace.
        let is_dead = record.offset % 3 == 0;
        let letter = letters.iter().find(|letter| letter.parent == process.span);
        assert_eq!((dead.contains_key(&carried), letter.is_some()), (is_dead, is_dead));
        assert_eq!((process.is("error.type", "VALIDATION_ERROR"), process.status == 2), (is_dead, is_dead));
        if let Some(letter) = letter {
            assert_eq!(letter.trace, send.trace);
            assert!(letter.is("messaging.destination.name", &world.dlq));
            assert!(letter.is("messaging.kafka.offset", &dead[&carried].offset.to_string()));
        }
    }
    // Nothing of an order is told: not its id, which is its key.
    for record in &records {
        let key = record.key.clone().expect("a key");
        let is_told = collector
            .requests()
            .iter()
            .any(|request| request.body.windows(key.len()).any(|part| part == key));
        assert!(!is_told, "{}", String::from_utf8_lossy(&key));
    }
}

#[test]
fn without_an_endpoint_nothing_is_made_and_what_comes_is_passed_on() {
    const CARRIED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let Some(world) = World::any("untraced", 1) else { return };
    let collector = Target::start(|_| Answer::Status(200));
    let target =
        Target::start(|request| Answer::Status(if request.key().ends_with("/1") { 422 } else { 200 }));
    let base = collector.base_url();
    // What names the collector without asking for traces.
    let variables =
        [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", base.as_str()), ("OTEL_TRACES_SAMPLER", "always_on")];
    let mut producer = world.producer_in(&variables, "producer", &["--rate", "max", "--count", "1"]);
    assert_eq!(producer.ended_within(Duration::from_secs(60)), 0, "{}", producer.stderr());
    let record = |headers: &[(&str, Option<&[u8]>)]| {
        World::with_headers(world.record(0, Some(b"k"), Some(&bytes(&order("o")))), headers)
    };
    world.send(vec![
        record(&[("x", Some(b"1")), (TRACEPARENT, Some(CARRIED.as_bytes())), ("tracestate", Some(b"a=1"))]),
        record(&[(TRACEPARENT, Some(CARRIED.as_bytes())), ("tracestate", Some(b"a=1\r\nx-evil: 1"))]),
        record(&[(TRACEPARENT, Some(b"00-malformed\r\nx-evil: 1"))]),
        record(&[(TRACEPARENT, None)]),
    ]);
    let mut tracker = world.tracker_in(
        &variables,
        "tracker",
        &["--exit-at-end", "--deliver-to", &target.url(), "--outage-guard", "off"],
    );
    assert_eq!(tracker.ended_within(Duration::from_secs(90)), 0, "{}", tracker.stderr());

    assert!(values(&world.read(&world.topic)[0], TRACEPARENT).is_empty(), "the producer traced unasked");
    let carried = |name: &str| -> Vec<Option<String>> {
        target.requests().iter().map(|request| request.headers.get(name).cloned()).collect()
    };
    let same = || Some(CARRIED.to_owned());
    assert_eq!(carried(TRACEPARENT), [None, same(), same(), None, None]);
    assert_eq!(carried("tracestate")[1], Some("a=1".to_owned()));
    assert_eq!(carried("x-evil"), vec![None; 5]);
    let letters = world.read(&world.dlq);
    assert_eq!(letters.len(), 1);
    // Byte for byte and in its place.
    assert_eq!(letters[0].headers[..3], world.read(&world.topic)[1].headers[..]);
    assert!(collector.requests().is_empty(), "{:?}", collector.requests());
}

#[test]
fn a_collector_that_hangs_holds_nothing_back_and_losses_are_counted() {
    const ORDERS: usize = 6_000;
    let Some(world) = World::any("stuck-collector", 1) else { return };
    let collector = Target::start(|_| Answer::Hang);
    world.send_orders(ORDERS);
    let (addr, base) = (http::free_addr(), collector.base_url());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str())];
    let mut tracker = world.tracker_in(&variables, "tracker", &["--metrics-addr", &addr.to_string()]);
    tracker.wait_lines(ORDERS);
    let dropped = wait_for("what found no room is counted", 60, || {
        let metrics = http::metrics(addr)?;
        metrics.get("tracker_spans_total{result=\"dropped\"}").copied().filter(|dropped| *dropped > 0.0)
    });
    // The queue, and a batch under way.
    assert!(dropped >= (ORDERS - 4096 - 2 * 512) as f64, "{dropped}");
    tracker.stop();
    tracker.wait_said("not all spans have reached the collector", 1);
    assert_eq!(world.audit("tracker").by_offset().len(), ORDERS);
}

#[test]
fn an_endpoint_that_cannot_be_used_is_named_at_the_start_without_its_secret() {
    let world = World::unmade("127.0.0.1:1", "bad-endpoint", 1);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:hunter2@otel.example")];
    for mut program in
        [world.tracker_in(&variables, "tracker", &[]), world.producer_in(&variables, "producer", &[])]
    {
        assert_eq!(program.ended_within(Duration::from_secs(30)), 2, "{}", program.stderr());
        let said = program.stderr();
        assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !said.contains("hunter2"), "{said}");
    }
}
