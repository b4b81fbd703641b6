use super::*;
use crate::monitor::samples::{self, NOW_MS};
use crate::monitor::score::Level;
use crate::monitor::scrape::Scraped;

#[test]
fn a_run_in_figures() {
    let figures = samples::figures();
    // 3000 moments, every second one of the first 1000 and the last 999 left out unless it failed.
    let (mut expected, mut latencies) = ((0, 0), Vec::new());
    for n in 0..3_000 {
        match n {
            n if n % 10 == 0 => expected.1 += 1,
            n if n % 2 == 0 && !(1_000..=2_000).contains(&n) => continue,
            _ => expected.0 += 1,
        }
        latencies.push(samples::latency_ms(n));
    }
    let outcomes = &figures.outcomes;
    assert_eq!((outcomes.processed, outcomes.dead_lettered), expected);
    assert_eq!((outcomes.total, outcomes.retried), (expected.0 + expected.1, 300));
    assert_eq!(figures.categories["VALIDATION_ERROR"], 300);
    assert_eq!(figures.categories.len(), 5);
    latencies.sort_unstable();
    let found = figures.latency_ms.expect("latencies");
    for (share, found) in [(0.5, found.p50), (0.95, found.p95), (0.99, found.p99), (1.0, found.max)] {
        let rank = (latencies.len() as f64 * share).ceil() as usize - 1;
        let expected = latencies[rank] as f64;
        assert!((found as f64 - expected).abs() <= expected * 0.01, "{share}: {found} for {expected}");
    }
    let counts: Vec<u64> = figures.causes.iter().map(|cause| cause.count).collect();
    assert_eq!(counts, [200, 100]);
    assert!(figures.causes[0].cause.contains("/items/#/quantity"), "{:?}", figures.causes);
    let success = expected.0 as f64 / (expected.0 + expected.1) as f64 * 100.0;
    assert!((outcomes.success_percent.expect("a share") - success).abs() < 0.001);
    assert_eq!((outcomes.success_level, outcomes.quality_level), (Some(Level::Warning), Some(Level::Good)));
    assert!((outcomes.per_second - outcomes.total as f64 / 300.0).abs() < 0.01);
    let series: u64 = figures.series.iter().map(|slot| slot.outcomes).sum();
    assert_eq!((series, figures.series.len()), (outcomes.total, 60));
    assert_eq!((figures.window.seconds, figures.window.to), (300.0, time(NOW_MS)));
    assert_eq!((figures.newest_outcomes.len(), figures.newest_outcomes[0].offset), (20, 2_999));
    assert_eq!(figures.newest_outcomes[0].key.as_deref(), Some("o-2999"));
    assert_eq!(figures.newest_health[0].message, "offsets not committed, trying again");
    let tracker = &figures.tracker;
    assert_eq!((tracker.state, tracker.age_ms, tracker.assigned), (Life::Up, Some(100), Some(3)));
    assert_eq!((tracker.in_flight, tracker.paused), (Some(4), Some(1)));
    assert_eq!(tracker.breaker, Some(Breaker::Closed));
    assert_eq!((tracker.lag, tracker.metrics.as_str()), (None, "none"));
    assert!(figures.exact && figures.notes.is_empty());
    assert_eq!(figures.partitions.len(), 3);
}

#[test]
fn the_metrics_add_what_the_files_do_not_say() {
    let mut state = samples::state();
    let lag = BTreeMap::from([(("orders".to_owned(), 1), 70), (("orders".to_owned(), 9), 5)]);
    state.endpoint = Endpoint::Metrics(Scraped {
        lag,
        breaker: Some(Breaker::Open),
        dlq_depth: Some(300.0),
        dlq_oldest_s: Some(1_795_262_000.5),
        in_flight: Some(99),
        processing: vec![(0.01, 99.0), (f64::INFINITY, 100.0)],
        ..Scraped::default()
    });
    let figures = Figures::of(&state, NOW_MS + 3_600_000, true);
    let tracker = &figures.tracker;
    assert_eq!((tracker.state, tracker.lag, tracker.breaker), (Life::Up, Some(75), Some(Breaker::Open)));
    assert_eq!((tracker.dlq_depth, tracker.dlq_oldest), (Some(300.0), Some(time(1_795_262_000_500))));
    assert_eq!((tracker.in_flight, tracker.paused), (Some(99), Some(1)), "the newer of both");
    assert_eq!(tracker.processing_ms.map(|ms| ms.p99), Some(10.0));
    let order: Vec<_> =
        figures.partitions.iter().map(|p| (p.partition, p.lag, p.last_offset.is_some())).collect();
    assert_eq!(order[..2], [(1, Some(70), true), (9, Some(5), false)]);
    assert_eq!(order.len(), 4);

    state.endpoint = Endpoint::Silent("refused".to_owned());
    let figures = Figures::of(&state, NOW_MS + 3_600_000, true);
    assert_eq!((figures.tracker.state, figures.tracker.metrics.as_str()), (Life::Silent, "refused"));
    assert_eq!(figures.notes, ["the metrics cannot be read: refused"]);
}

#[test]
fn nothing_has_no_figures_and_breaks_nothing() {
    let state =
        State::new(crate::monitor::window::Span::ending_at(0, std::time::Duration::from_secs(60), 60));
    let figures = Figures::of(&state, 0, true);
    assert_eq!((figures.outcomes.success_percent, figures.outcomes.quality), (None, None));
    assert_eq!((figures.tracker.state, figures.tracker.breaker), (Life::Unknown, None));
    assert!(figures.latency_ms.is_none() && figures.causes.is_empty());
    let json = serde_json::to_value(&figures).expect("JSON");
    assert_eq!(json["tracker"]["state"], "unknown");
}
