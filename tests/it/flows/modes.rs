//! Whatever the umask, what the tracker makes is for its own user alone; and what was there keeps its mode.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::{Running, World, program};

/// Starts a tracker under a umask. A rotation comes soon.
fn tracker(world: &World, umask: &str) -> Running {
    let mut command = program("sh");
    command.args(["-c", "umask \"$0\"; exec \"$@\"", umask, env!("CARGO_BIN_EXE_tracker")]);
    command.args(world.tracker_flags("tracker")).args(["--exit-at-end", "--events-max-bytes", "64KiB"]);
    Running::spawn(command, &world.path(""), "tracker")
}

fn modes(world: &World) -> Vec<(String, u32)> {
    let entries = std::fs::read_dir(world.path("")).expect("a folder");
    let mode = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        (entry.file_name().to_string_lossy().into_owned(), mode)
    };
    // What it says on its standard output and error goes to files of the test's.
    let of_the_tracker = |(name, _): &(String, u32)| !name.ends_with(".stdout") && !name.ends_with(".stderr");
    entries.map(mode).filter(of_the_tracker).collect()
}

fn run_to_end(world: &World, umask: &str) {
    let mut tracker = tracker(world, umask);
    let code = tracker.ended_within(Duration::from_secs(90));
    assert_eq!(code, 0, "{}", tracker.stderr());
}

#[test]
fn what_the_tracker_makes_is_for_its_user_alone() {
    for umask in ["000", "077"] {
        let Some(world) = World::any("modes", 1) else { return };
        world.send_orders(100);
        run_to_end(&world, umask);
        // A crash tears the last line.
        let mut live =
            std::fs::File::options().append(true).open(world.path("tracker.events")).expect("open");
        live.write_all(b"{\"torn").expect("append");
        drop(live);
        world.send_orders(100);
        run_to_end(&world, umask);
        let modes = modes(&world);
        for part in ["tracker.log", "tracker.events", "tracker.events.000001", "tracker.events.torn-"] {
            assert!(modes.iter().any(|(name, _)| name.starts_with(part)), "{part} is missing: {modes:?}");
        }
        assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "umask {umask}: {modes:?}");
    }
}

#[test]
fn a_file_that_was_there_keeps_its_mode() {
    let Some(world) = World::any("modes-kept", 1) else { return };
    for name in ["tracker.log", "tracker.events"] {
        std::fs::write(world.path(name), "").expect("written");
        std::fs::set_permissions(world.path(name), Permissions::from_mode(0o640)).expect("set");
    }
    run_to_end(&world, "000");
    for (name, mode) in modes(&world) {
        let expected = if ["tracker.log", "tracker.events"].contains(&name.as_str()) { 0o640 } else { 0o600 };
        assert_eq!(mode, expected, "{name}");
    }
}
