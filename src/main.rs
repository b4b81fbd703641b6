//! The dispatcher: with one role compiled in it is that role, with several its first argument names the role.

use std::process::ExitCode;

/// As in the tracker's own program.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(any(
    feature = "producer",
    feature = "tracker",
    feature = "monitor",
    feature = "dlq",
    feature = "audit",
    feature = "embedded"
))]
fn main() -> ExitCode {
    pubsub_kafka::cli::dispatch()
}

#[cfg(not(any(
    feature = "producer",
    feature = "tracker",
    feature = "monitor",
    feature = "dlq",
    feature = "audit",
    feature = "embedded"
)))]
fn main() -> ExitCode {
    use std::io::Write as _;
    // Nothing else can be done where the standard error is closed.
    drop(writeln!(std::io::stderr(), "{NO_ROLE}"));
    ExitCode::from(2)
}

/// What a build without any role says.
#[cfg(not(any(
    feature = "producer",
    feature = "tracker",
    feature = "monitor",
    feature = "dlq",
    feature = "audit",
    feature = "embedded"
)))]
const NO_ROLE: &str = "error: no role is compiled in; name one or more as features, such as
  cargo run --features producer

features:
  producer  sends orders to Kafka
  tracker   validates each order, hands it on, and writes every outcome into the audit log
  monitor   shows what runs, and how well
  dlq       investigates and replays dead letters
  audit     proves that nothing was lost
  embedded  a demonstration broker (role `broker`); it keeps nothing
  tls       SSL and SASL for Kafka, https for the delivery target; builds OpenSSL, which takes minutes";
