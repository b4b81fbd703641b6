use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::monitor::samples::{NOW_MS, dead, health, processed};

fn sources(folder: &Path) -> Sources {
    Sources {
        log_file: folder.join("tracker.log"),
        events_file: folder.join("tracker.events"),
        read_bytes: 64 << 20,
    }
}

fn append(path: &Path, lines: impl IntoIterator<Item = String>) {
    let file = std::fs::File::options().create(true).append(true).open(path).expect("opened");
    let mut out = std::io::BufWriter::new(file);
    for line in lines {
        writeln!(out, "{line}").expect("written");
    }
    out.flush().expect("written");
}

fn minutes(count: u64) -> Look {
    Look::live(Duration::from_secs(60 * count))
}

#[test]
fn a_running_tracker_is_followed_through_rotation_and_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let it = sources(folder.path());
    let start = NOW_MS - 30_000;
    append(&it.log_file, [health(start, "INFO", "started", "{}")]);
    append(&it.events_file, (0..10).map(|n| processed(start + n, n)));
    let mut feed = Feed::open(it.clone(), minutes(1), NOW_MS).expect("read");
    assert_eq!(feed.figures(NOW_MS).outcomes.total, 10);
    assert!(!feed.follow(NOW_MS));

    append(&it.events_file, [dead(NOW_MS, 10, "no")]);
    assert!(feed.follow(NOW_MS));
    std::fs::rename(&it.events_file, folder.path().join("tracker.events.000001")).expect("renamed");
    append(&it.events_file, [processed(NOW_MS + 1, 11)]);
    assert!(feed.follow(NOW_MS + 2));
    let figures = feed.figures(NOW_MS + 2);
    assert_eq!((figures.outcomes.processed, figures.outcomes.dead_lettered), (11, 1));
    assert_eq!(figures.newest_outcomes[0].offset, 11);

    std::fs::File::create(&it.events_file).expect("cut");
    append(&it.events_file, [processed(NOW_MS + 3, 12)]);
    append(&it.log_file, [health(NOW_MS + 3, "INFO", "stopped", "{}")]);
    assert!(feed.follow(NOW_MS + 4));
    let figures = feed.figures(NOW_MS + 4);
    assert_eq!((figures.outcomes.total, figures.tracker.state), (13, Life::Stopped));

    // A new look at the same files, both segments among them.
    feed.look(minutes(1), NOW_MS + 4).expect("read");
    assert_eq!(feed.figures(NOW_MS + 4).outcomes.total, 12, "the cut one is gone");
}

#[test]
fn a_stopped_trackers_window_ends_with_its_last_line_and_its_age_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let it = sources(folder.path());
    append(&it.events_file, (0..100).map(|n| processed(NOW_MS + n * 1_000, n)));
    let later = NOW_MS + 99_000 + 3_600_000;
    let figures = Feed::open(it, minutes(1), later).expect("read").figures(later);
    assert_eq!(figures.outcomes.total, 60);
    assert_eq!((figures.tracker.state, figures.tracker.age_ms), (Life::Silent, Some(3_600_000)));
}

#[test]
fn nothing_there_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let it = sources(&folder.path().join("later"));
    let mut feed = Feed::open(it.clone(), minutes(1), NOW_MS).expect("nothing");
    assert!(!feed.has_files() && !feed.follow(NOW_MS));
    assert_eq!(feed.figures(NOW_MS).tracker.state, Life::Unknown);
    std::fs::create_dir(folder.path().join("later")).expect("made");
    append(&it.events_file, [processed(NOW_MS, 1)]);
    assert!(feed.follow(NOW_MS));
    assert_eq!((feed.figures(NOW_MS).outcomes.total, feed.has_files()), (1, true));
}

#[test]
fn a_moment_of_the_past_shows_what_was_known_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let it = sources(folder.path());
    append(
        &it.log_file,
        [health(NOW_MS, "INFO", "started", "{}"), health(NOW_MS + 500_000, "INFO", "stopped", "{}")],
    );
    append(
        &it.events_file.with_extension("events.000001"),
        (0..5_000).map(|n| processed(NOW_MS + n * 100, n)),
    );
    append(&it.events_file, (5_000..10_000).map(|n| processed(NOW_MS + n * 100, n)));
    let at = NOW_MS + 400_050;
    let look = Look { at_ms: Some(at), ..minutes(1) };
    let mut feed = Feed::open(it.clone(), look, at + 9_000_000).expect("read");
    let figures = feed.figures(at + 9_000_000);
    assert_eq!(figures.at.as_millisecond(), at);
    assert!(!figures.live);
    assert_eq!((figures.tracker.state, figures.tracker.age_ms), (Life::Up, Some(50)));
    assert_eq!(figures.newest_outcomes[0].offset, 4_000);
    let from = figures.window.from.as_millisecond();
    let expected = (0..10_000).filter(|n| (from..=at).contains(&(NOW_MS + n * 100))).count();
    assert_eq!(figures.outcomes.total, expected as u64);
    append(&it.events_file, [processed(at, 1)]);
    assert!(!feed.follow(at), "the past does not change");
}

#[test]
fn a_sample_stands_for_what_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut it = sources(folder.path());
    // 60,000 lines, 30 MB, in 300 s; thrice as many of them in the last minute as in the others.
    let lines = (0..60_000_i64).map(|n| {
        let at = if n < 34_286 { n * 240_000 / 34_286 } else { 240_000 + (n - 34_286) * 60_000 / 25_714 };
        if n % 14 == 0 { dead(NOW_MS - 300_000 + at, n, "bad") } else { processed(NOW_MS - 300_000 + at, n) }
    });
    append(&it.events_file, lines);
    let exact = Feed::open(it.clone(), minutes(10), NOW_MS).expect("read").figures(NOW_MS);
    assert_eq!((exact.outcomes.total, exact.exact), (60_000, true));
    it.read_bytes = 6 << 20;
    let sampled = Feed::open(it, minutes(10), NOW_MS).expect("read").figures(NOW_MS);
    assert!(!sampled.exact && sampled.notes[0].contains("sample"));
    let near = |a: u64, b: u64, share: f64| (a as f64 - b as f64).abs() <= b as f64 * share;
    assert!(near(sampled.outcomes.total, 60_000, 0.02), "{:?}", sampled.outcomes);
    assert!(
        near(sampled.outcomes.dead_lettered, exact.outcomes.dead_lettered, 0.05),
        "{:?}",
        sampled.outcomes
    );
    for (estimated, counted) in sampled.series.iter().zip(&exact.series) {
        assert!(near(estimated.outcomes, counted.outcomes, 0.1), "{estimated:?} for {counted:?}");
    }
    assert_eq!(sampled.newest_outcomes[0].offset, 59_999);
    assert_eq!(sampled.newest_outcomes.len(), exact.newest_outcomes.len());
}
