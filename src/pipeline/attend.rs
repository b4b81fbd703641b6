//! Requests of the start, each of which may block for as long as Kafka is silent: they run on a thread of their own, while
//! the caller's shows that it lives and ends with a stop.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::PipelineError;
use super::probe::Pulse;
use crate::kafka::KafkaError;

/// How soon a stop is noticed.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs `work`, and waits for it or for the stop: `None`, and the thread is left behind, as the process is about to end.
/// Where Kafka has gone away meanwhile, the error says so.
pub(super) fn attend<T: Send + 'static>(
    bootstrap_servers: &str,
    stop: &CancellationToken,
    pulse: &Pulse,
    work: impl FnOnce() -> Result<T, PipelineError> + Send + 'static,
) -> Result<Option<T>, PipelineError> {
    let begun = Instant::now();
    let (done, waiting) = sync_channel(1);
    let thread = std::thread::Builder::new().name("start".to_owned()).spawn(move || drop(done.send(work())));
    thread.map_err(PipelineError::Thread)?;
    loop {
        pulse.beat();
        if stop.is_cancelled() {
            return Ok(None);
        }
        match waiting.recv_timeout(GLANCE) {
            Ok(ended) => return ended.map(Some).map_err(|error| named(error, bootstrap_servers, begun)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(PipelineError::StartPanicked),
        }
    }
}

/// A request that nobody answered says of itself only what it was about.
fn named(error: PipelineError, bootstrap_servers: &str, begun: Instant) -> PipelineError {
    match error {
        PipelineError::Kafka(KafkaError::Request { source, .. }) if KafkaError::is_silence(&source) => {
            KafkaError::Unreachable {
                bootstrap_servers: bootstrap_servers.to_owned(),
                waited_s: begun.elapsed().as_secs(),
                source,
            }
            .into()
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KafkaSettings;
    use crate::kafka::Admin;

    const NOBODY: &str = "127.0.0.1:1";

    fn attended(
        stop: &CancellationToken,
        work: impl FnOnce() -> Result<u32, PipelineError> + Send + 'static,
    ) -> Result<Option<u32>, PipelineError> {
        attend(NOBODY, stop, &Pulse::new(std::sync::Arc::default()), work)
    }

    #[test]
    fn a_stop_does_not_wait_for_a_request() {
        let stop = CancellationToken::new();
        assert_eq!(attended(&stop, || Ok(1)).expect("done"), Some(1));
        let (hold, held) = sync_channel::<()>(0);
        let token = stop.clone();
        let ended = attended(&stop, move || {
            token.cancel();
            held.recv().unwrap_or_default();
            Ok(1)
        });
        assert_eq!(ended.expect("stopped"), None);
        drop(hold);
    }

    #[test]
    fn a_request_that_nobody_answers_names_kafka_and_a_panic_is_an_error() {
        let stop = CancellationToken::new();
        let settings = KafkaSettings { bootstrap_servers: NOBODY.to_owned(), ..KafkaSettings::default() };
        let error = attended(&stop, move || {
            let admin = Admin::new(&settings)?.with_timeout(Duration::from_millis(300));
            admin.topic("orders")?;
            Ok(1)
        });
        let error = error.expect_err("nobody answers");
        assert!(matches!(error, PipelineError::Kafka(KafkaError::Unreachable { .. })), "{error:?}");
        let error = attended(&stop, || panic!("a defect")).expect_err("a panic");
        assert!(matches!(error, PipelineError::StartPanicked), "{error:?}");
    }
}
