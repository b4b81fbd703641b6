//! The tracker's own metrics, read over HTTP in the text form of Prometheus. Only a few are needed; the rest is passed
//! over. Whatever is wrong there is told, never a reason to end.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::told::Breaker;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of an answer.
const MAX_BYTES: usize = 4 << 20;

/// The most buckets of a histogram that are kept.
const MAX_BUCKETS: usize = 100;

/// The most partitions that are kept.
const MAX_PARTITIONS: usize = 10_000;

/// What the metrics say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scraped {
    /// Records that are not done, by topic and partition.
    pub lag: BTreeMap<(String, i32), i64>,
    /// Whether deliveries are held back: the worst of all targets.
    pub breaker: Option<Breaker>,
    /// Partitions assigned, and those of them that are paused.
    pub assigned: Option<u64>,
    pub paused: Option<u64>,
    /// Records between Kafka and the audit log.
    pub in_flight: Option<u64>,
    /// Whether the audit log waits for room.
    pub is_stalled: Option<bool>,
    /// How many results took no longer than so many seconds, since the tracker's start.
    pub processing: Vec<(f64, f64)>,
    /// Records in the dead letter topic.
    pub dlq_depth: Option<f64>,
    /// The timestamp of the oldest of them, seconds since the epoch.
    pub dlq_oldest_s: Option<f64>,
}

/// Reads metrics once.
pub(super) async fn fetch(url: &Uri) -> Result<Scraped, String> {
    let answer = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = client.get(url.clone()).await.map_err(|error| root_of(&error))?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES);
        let body = body.collect().await.map_err(|error| root_of(&*error))?;
        Ok(parse(&String::from_utf8_lossy(&body.to_bytes())))
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn root_of(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// Takes what is needed; a line that is no sample is passed over.
pub(super) fn parse(text: &str) -> Scraped {
    let mut scraped = Scraped::default();
    for sample in text.lines().filter_map(Sample::parse) {
        match sample.name {
            "kafka_consumergroup_lag" => {
                let partition = sample.label("partition").and_then(|text| text.parse().ok());
                if let (Some(topic), Some(partition)) = (sample.label("topic"), partition)
                    && scraped.lag.len() < MAX_PARTITIONS
                {
                    scraped.lag.insert((topic, partition), sample.value.round() as i64);
                }
            }
            "tracker_circuit_breaker_state" => {
                let breaker = breaker(sample.value);
                if scraped.breaker.is_none_or(|known| rank(known) < rank(breaker)) {
                    scraped.breaker = Some(breaker);
                }
            }
            "tracker_partitions" => scraped.assigned = Some(sample.value as u64),
            "tracker_partitions_paused" => scraped.paused = Some(sample.value as u64),
            "tracker_in_flight_records" => scraped.in_flight = Some(sample.value as u64),
            "tracker_audit_stalled" => scraped.is_stalled = Some(sample.value > 0.0),
            "messaging_process_duration_seconds_bucket" => {
                let bound = sample.label("le").and_then(|text| text.parse().ok());
                if let Some(bound) = bound.filter(|_| scraped.processing.len() < MAX_BUCKETS) {
                    scraped.processing.push((bound, sample.value));
                }
            }
            "tracker_dlq_depth" => {
                scraped.dlq_depth = Some(scraped.dlq_depth.unwrap_or(0.0) + sample.value);
            }
            "tracker_dlq_oldest_record_timestamp_seconds" if sample.value > 0.0 => {
                scraped.dlq_oldest_s = Some(scraped.dlq_oldest_s.unwrap_or(f64::MAX).min(sample.value));
            }
            _ => {}
        }
    }
    scraped
}

impl Scraped {
    /// How many milliseconds this share of the results took at most, between the bounds of its bucket.
    pub(super) fn processing_ms(&self, share: f64) -> Option<f64> {
        let (_, all) = self.processing.last().filter(|(_, all)| *all > 0.0)?;
        let rank = all * share;
        let at = self.processing.iter().position(|(_, below)| *below >= rank)?;
        let (bound, below) = self.processing[at];
        let (from, before) = at.checked_sub(1).map_or((0.0, 0.0), |before| self.processing[before]);
        // Past the last bound nothing more is known.
        let within = if below > before { (rank - before) / (below - before) } else { 1.0 };
        let seconds = if bound.is_finite() { from + (bound - from) * within } else { from };
        Some((seconds * 1e4).round() / 10.0)
    }
}

fn breaker(value: f64) -> Breaker {
    match value {
        0.0 => Breaker::Closed,
        1.0 => Breaker::HalfOpen,
        2.0 => Breaker::Open,
        _ => Breaker::Unknown,
    }
}

fn rank(breaker: Breaker) -> u8 {
    match breaker {
        Breaker::Unknown => 0,
        Breaker::Closed => 1,
        Breaker::HalfOpen => 2,
        Breaker::Open => 3,
    }
}

/// One line: a name, labels, a value.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' ', '\t'])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                rest = rest.trim_start_matches([',', ' ']);
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                let (label, after) = rest.split_once("=\"")?;
                let (value, after) = label_value(after)?;
                labels.push((label.trim(), value));
                rest = after;
            }
        }
        // A timestamp may follow.
        let value = rest.split_whitespace().next()?.parse().ok().filter(|value: &f64| value.is_finite())?;
        Some(Self { name, labels, value })
    }

    fn label(&self, name: &str) -> Option<String> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.clone())
    }
}

/// The text up to its closing quote, and what follows it.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_found_among_the_rest() {
        let scraped = parse(concat!(
            "# HELP kafka_consumergroup_lag records\n",
            "# TYPE kafka_consumergroup_lag gauge\n",
            "kafka_consumergroup_lag{consumergroup=\"g\",topic=\"orders\",partition=\"0\"} 12\n",
            "kafka_consumergroup_lag{partition=\"1\", topic=\"a\\\"b\\\\c\\n\", consumergroup=\"g\",} 3e0 1795262400000\n",
            "kafka_consumergroup_lag{topic=\"orders\",partition=\"x\"} 1\n",
            "kafka_consumergroup_lag{topic=\"orders\",partition=\"2\"} NaN\n",
            "tracker_circuit_breaker_state{target=\"http://a\"} 0\n",
            "tracker_circuit_breaker_state{target=\"http://b\"} 2\n",
            "tracker_circuit_breaker_state{target=\"http://c\"} 1\n",
            "tracker_dlq_depth{partition=\"0\"} 4\n",
            "tracker_dlq_depth{partition=\"1\"} 5\n",
            "tracker_dlq_oldest_record_timestamp_seconds 1795262400.5\n",
            "process_cpu_seconds_total 1.5\n",
            "tracker_partitions 3\ntracker_partitions_paused 1\ntracker_in_flight_records 17\ntracker_audit_stalled 1\n",
            "messaging_process_duration_seconds_bucket{le=\"0.005\",messaging_system=\"kafka\"} 50\n",
            "messaging_process_duration_seconds_bucket{le=\"0.01\"} 90\n",
            "messaging_process_duration_seconds_bucket{le=\"+Inf\"} 100\n",
            "broken{a=\"b\n",
            "\u{1b}[2J\n",
        ));
        let lag = [(("a\"b\\c\n".to_owned(), 1), 3), (("orders".to_owned(), 0), 12)];
        assert_eq!(scraped.lag, BTreeMap::from(lag));
        assert_eq!(scraped.breaker, Some(Breaker::Open));
        assert_eq!((scraped.dlq_depth, scraped.dlq_oldest_s), (Some(9.0), Some(1_795_262_400.5)));
        assert_eq!((scraped.assigned, scraped.paused, scraped.in_flight), (Some(3), Some(1), Some(17)));
        assert_eq!(scraped.is_stalled, Some(true));
        for (share, ms) in [(0.25, 2.5), (0.5, 5.0), (0.7, 7.5), (0.9, 10.0), (0.99, 10.0)] {
            assert_eq!(scraped.processing_ms(share), Some(ms), "{share}");
        }
        assert_eq!(Scraped::default().processing_ms(0.5), None);
        assert_eq!(parse(""), Scraped::default());
    }

    #[test]
    fn these_are_the_trackers_own_names() {
        let page = concat!(include_str!("../pipeline/figures.rs"), include_str!("../../docs/metrics.md"));
        for name in [
            "kafka_consumergroup_lag",
            "tracker_circuit_breaker_state",
            "tracker_dlq_depth",
            "tracker_dlq_oldest_record_timestamp_seconds",
            "tracker_partitions",
            "tracker_partitions_paused",
            "tracker_in_flight_records",
            "tracker_audit_stalled",
        ] {
            assert!(page.contains(&format!("\"{name}\"")), "{name}");
        }
        assert!(page.contains("`messaging_process_duration_seconds`"));
        assert!(page.contains("0 closed, 1 half-open, 2 open"));
    }

    #[tokio::test]
    async fn an_endpoint_is_read_or_its_trouble_told() {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("an address"));
        let url: Uri = url.parse().expect("a URL");
        let serve = std::thread::spawn(move || {
            for (status, body) in [("200 OK", "tracker_dlq_depth 3\n"), ("404 Not Found", "")] {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut asked = vec![0; 4096];
                let read = stream.read(&mut asked).expect("a request");
                assert!(asked[..read].starts_with(b"GET /metrics HTTP/1.1\r\n"));
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close", body.len());
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).expect("answered");
            }
        });
        assert_eq!(fetch(&url).await.expect("metrics").dlq_depth, Some(3.0));
        assert_eq!(fetch(&url).await, Err("it answers 404 Not Found".to_owned()));
        serve.join().expect("served");
        let error = fetch(&url).await.expect_err("nobody listens any more");
        assert!(error.contains("refused"), "{error}");
    }
}
