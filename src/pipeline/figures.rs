//! What the tracker shows to Prometheus. The names are part of the contract: alert rules and dashboards use them.

use std::fmt;
use std::sync::Arc;

use super::gate::Gate;
use super::guard::{Guard, Phase};
use super::notify::{Desk, Dropped, Notify};
use super::standing::Standing;
use super::stats::Stats;
use crate::config::{DeliverTarget, TrackerSettings};
use crate::failure::Category;
use crate::metrics::{Figures, Labels, Page};
use crate::trace::SpanCounts;

/// The tracker's figures, read when they are asked for.
#[derive(Debug)]
pub(super) struct TrackerFigures {
    topic: String,
    group: String,
    dlq_topic: String,
    target: Option<String>,
    stats: Arc<Stats>,
    standing: Arc<Standing>,
    guard: Option<Arc<Guard>>,
    gate: Option<Arc<Gate>>,
    desks: Vec<Arc<Desk>>,
    spans: Option<Arc<SpanCounts>>,
}

/// What the label `target` says where there is work of a library's caller instead of a delivery target.
const OWN_WORK: &str = "own";

impl TrackerFigures {
    pub(super) fn new(
        settings: &TrackerSettings,
        stats: &Arc<Stats>,
        standing: &Arc<Standing>,
        guard: Option<&Arc<Guard>>,
        gate: Option<&Arc<Gate>>,
        notify: Option<&Notify>,
    ) -> Self {
        let shown = || settings.deliver_to.as_ref().map_or(OWN_WORK, DeliverTarget::shown).to_owned();
        Self {
            topic: settings.topic.clone(),
            group: settings.group.clone(),
            dlq_topic: settings.dlq_topic.clone(),
            target: gate.map(|_| shown()),
            stats: Arc::clone(stats),
            standing: Arc::clone(standing),
            guard: guard.cloned(),
            gate: gate.cloned(),
            desks: notify.map_or_else(Vec::new, |notify| notify.desks().to_vec()),
            spans: None,
        }
    }

    /// Shows what became of spans, too.
    pub(super) fn with_spans(mut self, spans: Option<&Arc<SpanCounts>>) -> Self {
        self.spans = spans.cloned();
        self
    }

    fn messaging(&self) -> Labels<'_> {
        vec![
            ("messaging_system", "kafka"),
            ("messaging_destination_name", &self.topic),
            ("messaging_consumer_group_name", &self.group),
        ]
    }

    fn write_messaging(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = self.stats.snapshot();
        page.counter(
            "messaging_client_consumed_messages",
            "Records taken from Kafka",
            [(self.messaging(), now.received)],
        )?;
        page.counter(
            "messaging_client_sent_messages",
            "Dead letters that Kafka has acknowledged",
            [(
                vec![("messaging_system", "kafka"), ("messaging_destination_name", &self.dlq_topic)],
                now.dead_lettered_total(),
            )],
        )?;
        page.durations(
            "messaging_process_duration",
            "Time from the beginning of a record's processing to its result, attempts and waits included",
            &self.messaging(),
            &self.stats.process,
        )?;
        let lag = self.standing.lag();
        let lag: Vec<_> = lag.into_iter().map(|(number, lag)| (number.to_string(), lag as f64)).collect();
        page.gauge(
            "kafka_consumergroup_lag",
            "Records behind the group's committed offset, for the partitions of this tracker",
            lag.iter().map(|(number, lag)| {
                let labels =
                    vec![("consumergroup", &*self.group), ("topic", &*self.topic), ("partition", &**number)];
                (labels, *lag)
            }),
        )
    }

    fn write_outcomes(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = self.stats.snapshot();
        page.counter(
            "tracker_records",
            "Records by their outcome",
            [
                (vec![("outcome", "processed")], now.processed),
                (vec![("outcome", "dead_lettered")], now.dead_lettered_total()),
            ],
        )?;
        page.counter(
            "tracker_dlq_records",
            "Dead letters by the reason of their failure",
            Category::ALL
                .map(|reason| (vec![("reason", reason.as_str())], now.dead_lettered[reason as usize])),
        )?;
        page.counter("tracker_retries", "Attempts after a record's first one", [(vec![], now.retries)])?;
        page.gauge(
            "tracker_last_record_processed_timestamp_seconds",
            "When the last outcome was decided, since the epoch; 0 before the first",
            [(vec![], self.stats.last_outcome().as_secs_f64())],
        )
    }

    fn write_dead_letters(&self, page: &mut Page<'_>) -> fmt::Result {
        let seen = self.standing.seen();
        page.gauge(
            "tracker_dlq_depth",
            "Records in the dead letter topic, settled ones included",
            [(vec![], seen.dlq_depth.unwrap_or(0) as f64)],
        )?;
        page.gauge(
            "tracker_dlq_oldest_record_timestamp_seconds",
            "The timestamp of the oldest record in the dead letter topic, since the epoch; 0 where it is empty",
            [(vec![], seen.dlq_oldest_ms.map_or(0.0, |millis| millis as f64 / 1e3))],
        )
    }

    fn write_attempts(&self, page: &mut Page<'_>) -> fmt::Result {
        let (Some(target), Some(gate)) = (&self.target, &self.gate) else { return Ok(()) };
        let result = |result| vec![("target", &**target), ("result", result)];
        let failed = Category::ALL.into_iter().zip(gate.failed());
        page.counter(
            "tracker_delivery_attempts",
            "Attempts to deliver by their result, retries and probes included",
            std::iter::once((result("done"), gate.done()))
                .chain(failed.map(|(category, count)| (result(category.as_str()), count))),
        )?;
        for (name, help, value) in [
            ("tracker_delivery_running", "Attempts that run now", gate.running() as u64),
            ("tracker_delivery_waiting", "Attempts that wait for the rate or for a place", gate.waiting()),
        ] {
            page.gauge(name, help, [(vec![("target", &**target)], value as f64)])?;
        }
        page.counter(
            "tracker_delivery_rate_limited",
            "Attempts that had to wait for the rate",
            [(vec![("target", &**target)], gate.held_by_rate())],
        )
    }

    fn write_notices(&self, page: &mut Page<'_>) -> fmt::Result {
        if self.desks.is_empty() {
            return Ok(());
        }
        page.counter(
            "tracker_notify_posts",
            "Outcomes posted to a secondary target, by their result",
            self.desks.iter().flat_map(|desk| {
                [("done", desk.delivered()), ("failed", desk.failed())]
                    .map(|(result, count)| (vec![("target", desk.shown()), ("result", result)], count))
            }),
        )?;
        page.counter(
            "tracker_notify_dropped",
            "Outcomes that were not posted to a secondary target: its queue was full, it was out, or the tracker ended",
            self.desks.iter().flat_map(|desk| {
                Dropped::ALL.map(|why| (vec![("target", desk.shown()), ("reason", why.as_str())], desk.dropped(why)))
            }),
        )?;
        page.gauge(
            "tracker_notify_held",
            "Outcomes that wait for a secondary target, or are being posted",
            self.desks.iter().map(|desk| (vec![("target", desk.shown())], desk.held() as f64)),
        )?;
        page.gauge(
            "tracker_notify_circuit_breaker_state",
            "The outage guard of a secondary target: 0 closed, 1 half-open, 2 open",
            self.desks.iter().map(|desk| (vec![("target", desk.shown())], f64::from(desk.phase() as u8))),
        )
    }

    fn write_state(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(target) = &self.target {
            let phase = self.guard.as_ref().map_or(Phase::Closed, |guard| guard.phase());
            page.gauge(
                "tracker_circuit_breaker_state",
                "The outage guard of the delivery target: 0 closed, 1 half-open, 2 open",
                [(vec![("target", &**target)], f64::from(phase as u8))],
            )?;
            page.counter(
                "tracker_circuit_breaker_opened",
                "How often the outage guard opened",
                [(vec![("target", &**target)], self.guard.as_ref().map_or(0, |guard| guard.opened()))],
            )?;
        }
        page.durations(
            "tracker_audit_durable",
            "Time from the hand-over of audit lines to their being on disk",
            &vec![],
            &self.stats.durable,
        )?;
        page.gauge(
            "tracker_audit_stalled",
            "Whether the audit log waits for room on its disk",
            [(vec![], f64::from(u8::from(self.standing.is_stalled())))],
        )?;
        page.counter(
            "tracker_audit_stalls",
            "How often the audit log had to wait for room",
            [(vec![], self.standing.stalls())],
        )?;
        let held = self.standing.held();
        for (name, help, value) in [
            ("tracker_partitions", "Partitions of this tracker", held.committed.len() as u64),
            (
                "tracker_partitions_paused",
                "Partitions that are held back because too much waits",
                held.paused,
            ),
            ("tracker_in_flight_records", "Records between Kafka and the audit log", held.records),
            ("tracker_in_flight_bytes", "What they count against max-in-flight-bytes", held.bytes),
        ] {
            page.gauge(name, help, [(vec![], value as f64)])?;
        }
        if let Some(spans) = &self.spans {
            page.counter(
                "tracker_spans",
                "Spans by what became of them",
                spans.read().map(|(result, count)| (vec![("result", result)], count)),
            )?;
        }
        page.gauge(
            "tracker_build_info",
            "The version that runs",
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )
    }
}

impl Figures for TrackerFigures {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_messaging(page)?;
        self.write_outcomes(page)?;
        self.write_dead_letters(page)?;
        self.write_attempts(page)?;
        self.write_notices(page)?;
        self.write_state(page)
    }
}
