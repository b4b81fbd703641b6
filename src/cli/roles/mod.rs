//! One file for each role: its flags, and how they become the settings that the role is started with.

#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "embedded")]
pub mod broker;
#[cfg(feature = "dlq")]
pub mod dlq;
#[cfg(feature = "monitor")]
pub mod monitor;
#[cfg(feature = "producer")]
pub mod producer;
#[cfg(feature = "tracker")]
pub mod tracker;

use super::Role;

/// The roles that are compiled in.
pub const ALL: &[Role] = &[
    #[cfg(feature = "producer")]
    producer::ROLE,
    #[cfg(feature = "tracker")]
    tracker::ROLE,
    #[cfg(feature = "monitor")]
    monitor::ROLE,
    #[cfg(feature = "dlq")]
    dlq::ROLE,
    #[cfg(feature = "audit")]
    audit::ROLE,
    #[cfg(feature = "embedded")]
    broker::ROLE,
];

/// Reads a failure category as a flag names it.
#[cfg(any(feature = "audit", feature = "dlq"))]
fn category(text: &str) -> Result<crate::failure::Category, String> {
    use crate::failure::Category;
    Category::ALL
        .into_iter()
        .find(|c| c.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("one of {} is needed", Category::ALL.map(Category::as_str).join(", ")))
}

/// Reads a point in time as a flag names it.
#[cfg(any(feature = "audit", feature = "dlq", feature = "monitor"))]
fn point_in_time(text: &str) -> Result<jiff::Timestamp, String> {
    let ago = || {
        let ago = humantime::parse_duration(text).ok()?;
        jiff::Timestamp::now().checked_sub(ago).ok()
    };
    text.parse().ok().or_else(ago).ok_or_else(|| {
        "a time is needed, such as 2026-03-01T12:00:00Z, or how long ago, such as 2h or 3days".to_owned()
    })
}

/// Runs work that blocks its thread and asks now and then whether it is to stop.
#[cfg(any(feature = "producer", feature = "monitor", feature = "embedded", feature = "dlq"))]
fn until_stopped<T>(work: impl FnOnce(&dyn Fn() -> bool) -> T) -> Result<T, super::RunError> {
    use super::RunError;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(RunError::io("start the runtime"))?;
    let stop = runtime
        .block_on(async { super::signals::install() })
        .map_err(RunError::io("install the signal handlers"))?;
    // The work may put something on the runtime.
    let context = runtime.enter();
    let done = work(&|| stop.is_cancelled());
    drop(context);
    // The line that says why it stops is written before anything that comes after it.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(done)
}
