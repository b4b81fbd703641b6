//! Guarantee B: at full load, large orders among the small ones, the tracker's memory stays within what the settings
//! say.

use crate::support::{World, bytes, order, orders, wait_until};

const SMALL: usize = 12_000;
const LARGE: usize = 120;
/// The bound of the README for default settings.
const PEAK_KIB: u64 = 128 << 10;

#[test]
fn at_full_load_with_large_orders_among_small_ones_memory_stays_bounded() {
    let Some(world) = World::real("memory", 6) else { return };
    // The envelope of a batch comes on top of 1 MiB.
    world.alter(&world.topic, "max.message.bytes", "2000000");
    let partition = |number: usize| i32::try_from(number).expect("a small number") % world.partitions;
    for part in 0..LARGE {
        let small = |number: usize| {
            let id = format!("small-{part}-{number}");
            world.record(partition(number), Some(id.as_bytes()), Some(&bytes(&order(&id))))
        };
        let id = format!("large-{part}");
        let large = orders::sized(&id, 1 << 20);
        let mut records: Vec<_> = (0..SMALL / LARGE).map(small).collect();
        records.push(world.record(partition(part), Some(id.as_bytes()), Some(&large)));
        world.send(records);
    }
    let mut tracker = world.tracker("tracker", &["--metrics-interval", "200ms"]);
    let count = |name: &str| {
        let log = tracker.log();
        let last = log.iter().rfind(|line| line.message == "metrics");
        last.and_then(|line| line.metadata.as_ref()?.get(name)?.as_u64()).unwrap_or(0)
    };
    let all = (SMALL + LARGE) as u64;
    wait_until("every order has its outcome", 300, || count("processed") == all);
    let peak = tracker.peak_kib();
    assert!(peak <= PEAK_KIB, "the tracker held {} MiB", peak >> 10);
    tracker.stop();
    assert_eq!(world.committed(), world.ends());
}
