//! An audit log that is much larger than what may be read: the start stays quick and the memory small.

use std::io::Write as _;
use std::time::Instant;

use super::screen::Screen;
use super::{Files, event, figures, health, now_ms};

/// Writes an audit log of about this size, its lines spread evenly over the last hour. Returns their number.
fn write_log(it: &Files, bytes: u64) -> u64 {
    let len = event(now_ms(), "key-0000000", None).len() as u64 + 1;
    let lines = bytes / len;
    let start = now_ms() - 3_540_000;
    let file = std::fs::File::create(it.path("tracker.events")).expect("created");
    let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
    // Only the time and the key differ; making each line anew takes minutes.
    let mut line = event(start, "key-0000000", None).into_bytes();
    line.push(b'\n');
    for n in 0..lines {
        if n % 100 == 0 {
            let at = start + i64::try_from(n * 3_540_000 / lines).expect("small");
            line = event(at, &format!("key-{n:07}"), (n % 1_000 == 0).then_some("bad")).into_bytes();
            line.push(b'\n');
        }
        out.write_all(&line).expect("written");
    }
    out.flush().expect("written");
    it.log([health(now_ms(), "metrics")]);
    lines
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Says what it took.
fn starts_small(it: &Files, lines: u64) -> String {
    let begun = Instant::now();
    let mut screen = Screen::start(it.folder.path(), (120, 40), "--window 1h");
    screen.wait_shown("estimated from a sample");
    let started = begun.elapsed();
    it.events([event(now_ms(), "brand-new", None)]);
    let drawn = screen.wait_shown("brand-new");
    let memory = peak_memory(&screen.pid());
    assert!(memory < 64 << 20, "{} MiB", memory >> 20);
    screen.press("q");
    assert_eq!(screen.ended(), Some(0));

    let json = figures(it.folder.path(), &["--window", "1h", "--read-bytes", "16MiB"]);
    let total = json["outcomes"]["total"].as_u64().expect("a count");
    assert_eq!(json["exact"], false);
    assert!(total.abs_diff(lines) <= lines / 50, "{total} for {lines}");
    format!("drawn after {started:?}, a new line after {drawn:?}, {} MiB of memory", memory >> 20)
}

#[test]
#[cfg(target_os = "linux")]
fn two_hundred_mebibytes_are_sampled() {
    let it = Files::new();
    let lines = write_log(&it, 200 << 20);
    println!("{}", starts_small(&it, lines));
}

/// Takes 10 GiB of disk. `TMPDIR` says where; with `--release` it gives the figures of the README.
#[test]
#[ignore = "takes 10 GiB of disk and a minute"]
#[cfg(target_os = "linux")]
fn ten_gibibytes_are_sampled() {
    let it = Files::new();
    let lines = write_log(&it, 10 << 30);
    println!("{}", starts_small(&it, lines));
}
