//! The role `tracker`.

fn main() -> std::process::ExitCode {
    pubsub_kafka::cli::run_role(&pubsub_kafka::cli::roles::tracker::ROLE)
}
