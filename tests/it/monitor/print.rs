//! `--once`, `--plot`, and what is refused.

use std::io::{Read as _, Write as _};

use super::{Files, event, figures, health, monitor, now_ms, said};

#[test]
fn figures_are_printed_for_programs_and_for_people() {
    let it = Files::new();
    let now = now_ms();
    it.log([health(now - 5_000, "started")]);
    it.events((0..93).map(|n| event(now - 2_000, &format!("o-{n}"), None)));
    it.events((0..7).map(|_| event(now - 1_000, "bad", Some("total must be 7.70, found 9"))));
    let json = figures(it.folder.path(), &[]);
    assert_eq!((json["tracker"]["state"].as_str(), json["exact"].as_bool()), (Some("up"), Some(true)));
    assert_eq!(json["outcomes"]["total"], 100);
    assert_eq!(json["outcomes"]["success_percent"], 93.0);
    assert_eq!(json["outcomes"]["success_level"], "warning");
    assert_eq!(
        (&json["outcomes"]["quality"], &json["outcomes"]["quality_level"]),
        (&93.0.into(), &"excellent".into())
    );
    assert_eq!(json["latency_ms"]["p50"], 25);
    assert_eq!(json["categories"]["VALIDATION_ERROR"], 7);
    assert_eq!(json["causes"][0], serde_json::json!({"cause": "total must be #, found #", "count": 7}));

    let (code, text, stderr) = said(&monitor(it.folder.path()).arg("--once").output().expect("it runs"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for part in
        ["success    93.00 %  warning", "quality    93.0 of 100  excellent", "7 total must be #, found #"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_age_of_old_data_is_told_and_a_moment_of_the_past_can_be_asked_for() {
    let it = Files::new();
    let start = now_ms() - 7_200_000;
    it.log([health(start, "started"), health(start + 600_000, "stopped")]);
    it.events((0..600).map(|n| event(start + n * 1_000, &format!("o-{n}"), None)));
    let json = figures(it.folder.path(), &["--window", "1m"]);
    assert_eq!(json["tracker"]["state"], "stopped");
    assert!(json["tracker"]["age_ms"].as_i64().expect("an age") >= 6_600_000);
    assert_eq!(json["outcomes"]["total"], 60, "the window ends with the data");

    let at = jiff::Timestamp::from_millisecond(start + 300_500).expect("a time").to_string();
    let json = figures(it.folder.path(), &["--window", "1m", "--at", &at]);
    assert_eq!((json["tracker"]["state"].as_str(), json["live"].as_bool()), (Some("up"), Some(false)));
    assert_eq!(json["newest_outcomes"][0]["key"], "o-300");
    let text = String::from_utf8(monitor(it.folder.path()).arg("--once").output().expect("it runs").stdout);
    assert!(text.expect("UTF-8").contains("stopped, the data is 110 min old"));
}

#[test]
fn metrics_are_read_where_they_are_named() {
    let it = Files::new();
    it.log([health(now_ms(), "started")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/metrics", listener.local_addr().expect("an address"));
    let serve = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = [0; 4096];
        assert!(stream.read(&mut asked).expect("a request") > 0);
        let body = "kafka_consumergroup_lag{consumergroup=\"g\",topic=\"orders\",partition=\"3\"} 42\n\
                    tracker_circuit_breaker_state{target=\"http://t\"} 2\n";
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).expect("answered");
    });
    let json = figures(it.folder.path(), &["--metrics-url", &url]);
    serve.join().expect("served");
    assert_eq!((&json["tracker"]["lag"], &json["tracker"]["breaker"]), (&42.into(), &"open".into()));
    assert_eq!(json["partitions"][0]["partition"], 3);

    let json = figures(it.folder.path(), &["--metrics-url", &url]);
    assert!(json["notes"][0].as_str().expect("a note").starts_with("the metrics cannot be read: "), "{json}");
}

#[test]
fn hostile_files_are_printed_without_what_a_terminal_obeys() {
    let it = Files::new();
    let evil = "evil\u{1b}]52;c;AAAA\u{7}\u{9b}31m\u{202e}\u{7f}";
    it.log([health(now_ms(), evil), "\u{1b}[2J{".to_owned()]);
    it.events([event(now_ms(), evil, Some(evil)), evil.to_owned()]);
    for flags in [&["--once"][..], &["--once", "--json"]] {
        let (code, text, _) = said(&monitor(it.folder.path()).args(flags).output().expect("it runs"));
        assert_eq!(code, Some(0));
        assert!(text.contains("evil"), "{text}");
        let obeyed = |c: char| pubsub_kafka::models::is_unsafe(c) && c != '\n';
        assert!(!text.contains(obeyed), "{text:?}");
    }
}

#[test]
fn a_plot_is_drawn() {
    let it = Files::new();
    let start = now_ms() - 7_200_000;
    let bad = |n: i64| (n % 14 == 0).then_some("bad");
    it.events((0..1_000).map(|n| event(start + n * 1_000, &format!("o-{n}"), bad(n))));
    std::fs::rename(it.path("tracker.events"), it.path("tracker.events.000001")).expect("renamed");
    it.events((1_000..2_000).map(|n| event(start + n * 1_000, &format!("o-{n}"), bad(n))));
    let run = |flags: &[&str]| said(&monitor(it.folder.path()).args(flags).output().expect("it runs"));
    assert_eq!(run(&["--plot", "out.svg"]), (Some(0), String::new(), String::new()));
    let svg = std::fs::read_to_string(it.path("out.svg")).expect("a file");
    assert!(svg.starts_with("<svg") && svg.contains("2,000 outcomes, 143 dead-lettered"), "{svg}");
    assert!(svg.matches("<polyline").count() >= 3);

    let (code, _, stderr) = run(&["--plot", "no/such/folder.svg"]);
    assert!(code == Some(1) && stderr.contains("write no/such/folder.svg"), "{stderr}");
    let (code, _, stderr) = run(&["--plot", "out.svg", "--events-file", "none"]);
    assert!(code == Some(1) && stderr.contains("none has no outcome to draw"), "{stderr}");
}

#[test]
fn what_cannot_be_shown_is_refused_with_its_reason() {
    let it = Files::new();
    for (flags, code, expected) in [
        (&["--once"][..], 1, "neither the health log tracker.log nor the audit log tracker.events is there"),
        (&[], 2, "no terminal; --once prints the figures"),
        (&["--json"], 2, "--json is for --once"),
        (&["--once", "--window", "2h"], 2, "allowed is 1m to 1h"),
        (&["--once", "--at", "yesterday"], 2, "a time is needed"),
        (&["--once", "--metrics-url", "https://x/"], 2, "--metrics-url: an address such as"),
        (&["--once", "--metrics-url", "http://a b/"], 2, "--metrics-url: "),
        (&["--once", "--log-file", "."], 1, "error: read ."),
    ] {
        let (found, stdout, stderr) = said(&monitor(it.folder.path()).args(flags).output().expect("it runs"));
        assert_eq!((found, stdout.as_str()), (Some(code), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
    }
}
