//! What the files in deploy/ name is there: the metrics of alert rules and dashboard, the flags and variables of the
//! manifests. How those files hang together is scripts/deploy-check.py's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::{Answer, Target, World, http, program, wait_for};

/// Labels that Prometheus itself adds.
const ADDED: [&str; 2] = ["job", "instance"];
/// Series that Prometheus itself makes.
const MADE: [&str; 1] = ["up"];
/// Words of the query language that stand where a metric could.
const WORDS: [&str; 11] =
    ["and", "or", "unless", "bool", "offset", "sum", "max", "min", "avg", "count", "quantile"];
/// Words before a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics that a query asks for, each with the labels that it selects by.
fn asked(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').expect("the end of a text") + 2;
            rest = &rest[end..];
        } else if is_word(first) || first == '$' {
            let end = rest[1..].find(|c| !is_word(c)).map_or(rest.len(), |at| at + 1);
            let (word, behind) = rest.split_at(end);
            rest = behind.trim_start();
            if LISTS.contains(&word) && rest.starts_with('(') {
                rest = &rest[rest.find(')').expect("the end of a list")..];
            } else if first.is_ascii_digit() || first == '$' || rest.starts_with('(') || WORDS.contains(&word)
            {
                continue;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let (matchers, behind) = inner.split_once('}').expect("the end of a selector");
                let label =
                    |matcher: &str| matcher[..matcher.find(['=', '!']).expect("a matcher")].to_owned();
                found.push((word.to_owned(), matchers.split(',').map(label).collect()));
                rest = behind;
            } else {
                found.push((word.to_owned(), Vec::new()));
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// The queries of the alert rules: what stands behind `expr:`, or deeper below it.
fn rules() -> Vec<String> {
    let text = text("prometheus/alerts.yml");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut queries = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(query) = line.trim_start().strip_prefix("expr:") else { continue };
        let mut query = query.trim().trim_start_matches('|').to_owned();
        while let Some(more) = lines.next_if(|next| indent(next) > indent(line)) {
            query.push_str(more);
        }
        queries.push(query);
    }
    queries
}

fn panels() -> Vec<String> {
    let board: serde_json::Value = serde_json::from_str(&text("grafana/dashboard.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect()
}

/// The labels of each metric of these pages.
fn served(pages: &[BTreeMap<String, f64>]) -> BTreeMap<String, BTreeSet<String>> {
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in pages.iter().flat_map(BTreeMap::keys) {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        // A value may hold a comma, and then gives a name that no query asks for.
        let labels =
            labels.split(',').filter_map(|pair| pair.split_once("=\"")).map(|(label, _)| label.to_owned());
        served.entry(name.to_owned()).or_default().extend(labels);
    }
    served
}

#[test]
fn rules_and_dashboard_ask_for_what_the_programs_serve() {
    let Some(world) = World::any("deploy", 1) else { return };
    let target = Target::start(|_| Answer::Status(200));
    let (of_tracker, of_producer) = (http::free_addr(), http::free_addr());
    let mut tracker =
        world.tracker("tracker", &["--metrics-addr", &of_tracker.to_string(), "--deliver-to", &target.url()]);
    let mut producer =
        world.producer("producer", &["--metrics-addr", &of_producer.to_string(), "--interval", "100ms"]);
    let tracker_page = wait_for("the tracker knows its lag", 90, || {
        let page = http::metrics(of_tracker)?;
        page.keys().any(|series| series.starts_with("kafka_consumergroup_lag")).then_some(page)
    });
    let producer_page = wait_for("the producer serves", 60, || http::metrics(of_producer));
    producer.stop();
    tracker.stop();

    let served = served(&[tracker_page, producer_page]);
    let (rules, panels) = (rules(), panels());
    assert!(rules.len() >= 9 && panels.len() >= 20, "{} rules, {} queries", rules.len(), panels.len());
    let mut metrics = BTreeSet::new();
    for query in rules.iter().chain(&panels) {
        for (metric, labels) in asked(query) {
            if !MADE.contains(&&*metric) {
                let known = served.get(&metric).unwrap_or_else(|| panic!("nobody serves {metric}: {query}"));
                for label in labels.iter().filter(|label| !ADDED.contains(&label.as_str())) {
                    assert!(known.contains(label), "{metric} has no label {label}: {query}");
                }
            }
            metrics.insert(metric);
        }
    }
    // What is not shown at all has no use; each of the two documents would be found wrong by it.
    assert!(metrics.len() >= 18, "{metrics:?}");
}

#[test]
fn queries_are_read_as_prometheus_reads_them() {
    let query = "sum by (job, le) (rate(a_total{x=\"b{c}, d\",y!~\"z\"}[5m])) / max(b) > 1e9 and on (job) \
                 deriv(c_count[10m:1m]) unless histogram_quantile(0.95, d_bucket{e=\"f\"}[$__rate_interval])";
    let names: Vec<_> = asked(&query.replace("b{c}, d", "b")).into_iter().collect();
    let expected = [("a_total", &["x", "y"][..]), ("b", &[]), ("c_count", &[]), ("d_bucket", &["e"])].map(
        |(name, labels)| {
            (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
        },
    );
    assert_eq!(names, expected);
}

#[test]
fn the_manifests_use_flags_and_variables_that_the_tracker_has() {
    let help = program(env!("CARGO_BIN_EXE_tracker")).arg("--help").output().expect("it runs").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let known: BTreeSet<&str> =
        help.split(|c: char| !is_word(c) && c != '-').filter(|word| !word.is_empty()).collect();
    let mut named = BTreeSet::new();
    for file in std::fs::read_dir(deploy("kubernetes")).expect("manifests") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        // Comments may name the flags of other programs.
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for word in line.split(|c: char| !is_word(c) && c != '-') {
                let is_ours = ["--", "KAFKA_", "PUBSUB_KAFKA_"].iter().any(|begin| word.starts_with(begin));
                if is_ours && word.len() > 3 {
                    assert!(known.contains(word), "{word} of {} is not in --help", path.display());
                    named.insert(word.to_owned());
                }
            }
        }
    }
    assert!(named.len() >= 10, "{named:?}");
}
