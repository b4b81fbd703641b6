//! A disk without room for the audit log: the tracker waits, alive, and commits nothing past what is on disk.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::support::{Running, World, program, wait_until};

const ORDERS: usize = 900;

fn health(addr: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_full_disk_pauses_the_tracker_and_nothing_is_committed_past_the_audit_log() {
    let Some(world) = World::any("full-disk", 2) else { return };
    world.send_orders(ORDERS);
    let addr = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address");
    // A file size limit of 256 KiB in place of a small disk.
    let mut command: Command = program("bash");
    command.args(["-c", "ulimit -f 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tracker")]);
    command.args(world.tracker_flags("tracker")).args(["--metrics-addr", &addr.to_string()]);
    command.args(["--commit-interval", "50ms", "--shutdown-timeout", "1s", "--max-in-flight-bytes", "1MiB"]);
    let mut tracker = Running::spawn(command, &world.path(""), "tracker");
    tracker.wait_said("the audit log cannot grow", 1);
    wait_until("/healthz names the reason", 20, || {
        health(addr)
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("waiting for room"))
    });
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
