//! A disk without room for the audit log: the tracker waits, alive, and commits nothing past what is on disk.

use std::process::Command;
use std::time::Duration;

use crate::support::{Running, World, http, program, wait_until};

const ORDERS: usize = 900;

#[test]
fn a_full_disk_pauses_the_tracker_and_nothing_is_committed_past_the_audit_log() {
    let Some(world) = World::any("full-disk", 2) else { return };
    world.send_orders(ORDERS);
    let addr = http::free_addr();
    // A file size limit of 256 KiB in place of a small disk.
    let mut command: Command = program("bash");
    command.args(["-c", "ulimit -f 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tracker")]);
    command.args(world.tracker_flags("tracker")).args(["--metrics-addr", &addr.to_string()]);
    command.args(["--commit-interval", "50ms", "--shutdown-timeout", "1s", "--max-in-flight-bytes", "1MiB"]);
    let mut tracker = Running::spawn(command, &world.path(""), "tracker");
    tracker.wait_said("the audit log cannot grow", 1);
    wait_until("/healthz names the reason", 20, || {
        http::get(addr, "/healthz")
            .is_some_and(|(status, answer)| status == 200 && answer.contains("waiting for room"))
    });
    let (status, answer) = http::get(addr, "/readyz").expect("an answer");
    assert!(status == 503 && answer.contains("waiting for room"), "{answer}");
    let metrics = http::metrics(addr).expect("metrics");
    assert_eq!((metrics["tracker_audit_stalled"], metrics["tracker_audit_stalls_total"]), (1.0, 1.0));
    assert!(tracker.is_running());

    tracker.signal("TERM");
    let code = tracker.ended_within(Duration::from_secs(20));
    let said = tracker.stderr();
    // What is on disk is whole, and what is committed is on disk.
    let audit = world.audit("tracker");
    let committed: i64 = world.committed().iter().sum();
    let on_disk = audit.by_offset().len();
    assert!(on_disk < ORDERS, "the disk was not full");
    assert_eq!(i64::try_from(on_disk).expect("a small number"), committed);
    assert_eq!(code, 1, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("audit log") && last.contains("tracker.events"), "{said}");

    // With room again everything gets its outcome, once.
    let audit = world.track_to_end("tracker", &[]);
    assert_eq!(audit.by_offset().len(), ORDERS);
    assert_eq!(world.committed(), world.ends());
}
