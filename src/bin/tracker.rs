//! The role `tracker`.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    pubsub_kafka::cli::run_role(&pubsub_kafka::cli::roles::tracker::ROLE)
}
