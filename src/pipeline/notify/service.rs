//! All secondary targets of a tracker, on a thread of their own: however busy they keep it, the threads of the critical
//! path do nothing for them but put a notice into a queue.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc::{Sender, channel};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Dropped, Notice};
use crate::audit::Judged;
use crate::config::TrackerSettings;
use crate::pipeline::PipelineError;
use crate::pipeline::deliver::Target;

/// How long the end waits for what is queued, at most.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the thread may take to end once it was told to.
const ENDING: Duration = Duration::from_millis(200);
/// How much nicer the thread is than the others; to Linux that is a thread's own. It then gets a tenth of a processor that
/// they want as well: not less, or whatever else a machine is busy with would make a target that works miss its outcomes.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 10;

/// Where outcomes are handed in. When it is dropped, nothing more comes.
#[derive(Debug)]
pub(in crate::pipeline) struct Outlet(Vec<(Arc<Desk>, Sender<Notice>)>);

impl Outlet {
    /// Hands in outcomes whose lines are on disk. Never waits.
    pub(in crate::pipeline) fn offer(&self, outcomes: Vec<Judged>) {
        for judged in outcomes {
            let judged = Arc::new(judged);
            for (desk, queue) in &self.0 {
                desk.offer(queue, &judged);
            }
        }
    }
}

/// Puts this thread behind the others: what it does is done where they leave a processor to it. Where only a process has a
/// priority, nothing changes.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BEHIND) {
        tracing::debug!(error = %error, "secondary targets keep the usual priority");
    }
}

/// The secondary targets at work.
#[derive(Debug)]
pub(in crate::pipeline) struct Notify {
    desks: Vec<Arc<Desk>>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Notify {
    /// Starts them; `None` where there are none.
    ///
    /// # Errors
    /// [`PipelineError`] when an address is no URL, or the system gives no thread.
    pub(in crate::pipeline) fn start(
        settings: &TrackerSettings,
    ) -> Result<Option<(Self, Outlet)>, PipelineError> {
        let notify = &settings.notify;
        if notify.targets.is_empty() {
            return Ok(None);
        }
        let time_limit = settings.retry.attempt_timeout;
        let stop = CancellationToken::new();
        let (mut desks, mut queues, mut works) = (Vec::new(), Vec::new(), Vec::new());
        for address in &notify.targets {
            let target = Target::from_settings(address, time_limit)?;
            let desk = Arc::new(Desk::new(address.shown(), notify, settings.outage_guard.as_ref()));
            let (sender, queue) = channel(notify.queue);
            works.push(Arc::clone(&desk).work(target, time_limit, queue, stop.clone()));
            queues.push((Arc::clone(&desk), sender));
            desks.push(desk);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PipelineError::Thread)?;
        let work = move || {
            give_way();
            runtime.block_on(join_all(works));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("notify".to_owned()).spawn(work);
        let thread = thread.map_err(PipelineError::Thread)?;
        Ok(Some((Self { desks, stop, thread }, Outlet(queues))))
    }

    /// Each target's figures.
    pub(in crate::pipeline) fn desks(&self) -> &[Arc<Desk>] {
        &self.desks
    }

    /// Gives what is queued a moment, until `over_at` at the latest, and says what became of it all. The [`Outlet`] is to
    /// be dropped before.
    pub(in crate::pipeline) fn close(self, over_at: Instant) {
        let by = over_at.min(Instant::now() + LAST_WORDS);
        self.wait_until(by);
        self.stop.cancel();
        self.wait_until(Instant::now() + ENDING);
        for desk in &self.desks {
            let [full, out, ended] = Dropped::ALL.map(|why| desk.dropped(why));
            tracing::info!(
                target_url = desk.shown(),
                delivered = desk.delivered(),
                failed = desk.failed(),
                dropped_full = full,
                dropped_out = out,
                dropped_ended = ended,
                "posted outcomes to a secondary target",
            );
        }
    }

    fn wait_until(&self, by: Instant) {
        while !self.thread.is_finished() && Instant::now() < by {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn the_thread_gives_way_and_no_other_does() {
        let priority = || rustix::process::getpriority_process(None).expect("a priority");
        let before = priority();
        let inside = std::thread::spawn(move || {
            give_way();
            priority()
        });
        assert_eq!(inside.join().expect("no panic"), (before + BEHIND).min(19));
        assert_eq!(priority(), before);
    }
}
