//! One secondary target: its queue's bounds, its own outage guard, and what became of each notice. Every notice that was
//! offered ends in exactly one of the counters, whatever happens to the task that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::audit::Judged;
use crate::config::{GuardSettings, NotifySettings};
use crate::failure::{Category, Failure};
use crate::pipeline::deliver::Target;
use crate::pipeline::guard::{Guard, Phase, Words};

/// What its outage guard says.
const WORDS: Words = Words {
    out: "a secondary target is out: what is for it is dropped",
    still_out: "a secondary target still fails: dropping on",
    back: "a secondary target works again: posting",
};

/// Why a notice was not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Dropped {
    /// The queue has no room for it.
    Full = 0,
    /// The target is held to be out.
    Out = 1,
    /// The tracker has ended.
    Ended = 2,
}

impl Dropped {
    /// All of them.
    pub(in crate::pipeline) const ALL: [Self; 3] = [Self::Full, Self::Out, Self::Ended];

    /// As the metrics name it.
    pub(in crate::pipeline) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Out => "out",
            Self::Ended => "ended",
        }
    }
}

/// The figures and bounds of one secondary target.
#[derive(Debug)]
pub(in crate::pipeline) struct Desk {
    shown: String,
    guard: Option<Guard>,
    bytes_limit: usize,
    concurrency: usize,
    held: AtomicUsize,
    held_bytes: AtomicUsize,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

/// An outcome on its way to one target. Dropped without another word, it was not posted.
#[derive(Debug)]
pub(super) struct Notice {
    desk: Arc<Desk>,
    judged: Arc<Judged>,
    is_counted: bool,
}

impl Notice {
    fn end_in(mut self, counter: impl FnOnce(&Desk) -> &AtomicU64) {
        counter(&self.desk).fetch_add(1, Ordering::Relaxed);
        self.is_counted = true;
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if !self.is_counted {
            self.desk.dropped[Dropped::Ended as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.desk.held.fetch_sub(1, Ordering::Relaxed);
        self.desk.held_bytes.fetch_sub(self.judged.record.size_bytes(), Ordering::Relaxed);
    }
}

impl Desk {
    pub(super) fn new(shown: &str, settings: &NotifySettings, guard: Option<&GuardSettings>) -> Self {
        Self {
            shown: shown.to_owned(),
            guard: guard.map(|guard| Guard::new(guard.clone(), &WORDS)),
            bytes_limit: settings.queue_bytes,
            concurrency: settings.concurrency,
            held: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: [const { AtomicU64::new(0) }; Dropped::ALL.len()],
        }
    }

    /// The address as it may be shown.
    pub(in crate::pipeline) fn shown(&self) -> &str {
        &self.shown
    }

    /// Notices that the target has taken.
    pub(in crate::pipeline) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Notices that it has not, in their one attempt, or to which it answered at too great a length.
    pub(in crate::pipeline) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Notices that were not posted.
    pub(in crate::pipeline) fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    /// Notices that wait or are being posted.
    pub(in crate::pipeline) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Where its outage guard stands.
    pub(in crate::pipeline) fn phase(&self) -> Phase {
        self.guard.as_ref().map_or(Phase::Closed, Guard::phase)
    }

    /// Queues an outcome, if there is room and the target is not held to be out: for what would be dropped anyway nobody is
    /// woken. Never waits. Only one thread offers, so the bound holds.
    pub(super) fn offer(self: &Arc<Self>, queue: &Sender<Notice>, judged: &Arc<Judged>) {
        if self.guard.as_ref().is_some_and(Guard::refuses) {
            self.dropped[Dropped::Out as usize].fetch_add(1, Ordering::Relaxed);
            return;
        }
        let bytes = judged.record.size_bytes();
        self.held.fetch_add(1, Ordering::Relaxed);
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let notice = Notice { desk: Arc::clone(self), judged: Arc::clone(judged), is_counted: false };
        if before + bytes > self.bytes_limit {
            return notice.end_in(|desk| &desk.dropped[Dropped::Full as usize]);
        }
        match queue.try_send(notice) {
            Ok(()) => {}
            Err(TrySendError::Full(notice)) => {
                notice.end_in(|desk| &desk.dropped[Dropped::Full as usize]);
            }
            Err(TrySendError::Closed(notice)) => drop(notice),
        }
    }

    /// Posts what is queued until the queue is closed and empty, or `stop`.
    pub(super) async fn work(
        self: Arc<Self>,
        target: Target,
        time_limit: Duration,
        mut queue: Receiver<Notice>,
        stop: CancellationToken,
    ) {
        let target = Arc::new(target);
        let post = service_fn(move |judged: Arc<Judged>| {
            let target = Arc::clone(&target);
            async move { target.post_outcome(&judged).await }
        });
        let mut stack =
            ServiceBuilder::new().concurrency_limit(self.concurrency).timeout(time_limit).service(post);
        let mut posts = JoinSet::new();
        loop {
            // A place first: what waits, waits in the queue, where it is bounded.
            let next = async {
                match stack.ready().await {
                    Ok(_) => queue.recv().await,
                    Err(_) => None,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                notice = next => {
                    let Some(notice) = notice else { break };
                    let next = stack.clone();
                    let ready = std::mem::replace(&mut stack, next);
                    posts.spawn(post_one(ready, notice));
                }
            }
            while posts.try_join_next().is_some() {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = async { while posts.join_next().await.is_some() {} } => {}
        }
    }
}

/// One attempt, if the target is not held to be out.
async fn post_one(mut stack: impl Service<Arc<Judged>, Response = (), Error = BoxError>, notice: Notice) {
    let desk = Arc::clone(&notice.desk);
    let pass = match desk.guard.as_ref().map(Guard::try_admit) {
        Some(None) => return notice.end_in(|desk| &desk.dropped[Dropped::Out as usize]),
        Some(pass) => pass,
        None => None,
    };
    match stack.call(Arc::clone(&notice.judged)).await {
        Ok(()) => {
            if let Some(pass) = pass {
                pass.answered();
            }
            notice.end_in(|desk| &desk.delivered);
        }
        Err(error) => {
            let failure = failure_of(error);
            tracing::debug!(
                target_url = desk.shown,
                category = failure.category().as_str(),
                "a notice was not taken"
            );
            if let Some(pass) = pass {
                pass.failed(notice.judged.record.key.as_ref(), &failure);
            }
            notice.end_in(|desk| &desk.failed);
        }
    }
}

fn failure_of(error: BoxError) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(error) if error.is::<Elapsed>() => {
            Failure::caused_by(Category::Timeout, "post an outcome", error)
        }
        Err(error) => Failure::caused_by(Category::Unknown, "post an outcome", error),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::audit::Verdict;
    use crate::record::Record;

    const WAIT: Duration = Duration::from_secs(60);

    fn judged(number: i64) -> Arc<Judged> {
        let record = Record {
            topic: Arc::from("orders"),
            partition: 0,
            offset: number,
            timestamp: None,
            key: Some(Bytes::from(number.to_string())),
            value: Some(Bytes::from_static(b"{}")),
            headers: Vec::new(),
        };
        Arc::new(Judged { record, deserialized: true, verdict: Verdict::Processed { attempts: 1 } })
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_the_target_is_out_is_not_even_queued() {
        let settings =
            NotifySettings { targets: Vec::new(), queue: 100, queue_bytes: 1 << 20, concurrency: 1 };
        let guard = GuardSettings { failures: 2, wait: WAIT, probes: 1 };
        let desk = Arc::new(Desk::new("http://gone/", &settings, Some(&guard)));
        let (sender, mut queue) = channel(settings.queue);
        let refused = service_fn(|_: Arc<Judged>| async {
            Err::<(), BoxError>(Box::new(Failure::new(Category::Processing, "refused")))
        });
        for number in 0..2 {
            desk.offer(&sender, &judged(number));
            post_one(refused, queue.try_recv().expect("queued")).await;
        }
        desk.offer(&sender, &judged(2));
        assert!(queue.try_recv().is_err());
        assert_eq!((desk.failed(), desk.dropped(Dropped::Out), desk.held()), (2, 1, 0));

        // The first one after the wait is a probe; while it is under way, the others are as before.
        tokio::time::advance(WAIT).await;
        desk.offer(&sender, &judged(3));
        let took = service_fn(|_: Arc<Judged>| {
            desk.offer(&sender, &judged(4));
            std::future::ready(Ok::<(), BoxError>(()))
        });
        post_one(took, queue.try_recv().expect("queued")).await;
        assert!(queue.try_recv().is_err());
        assert_eq!((desk.delivered(), desk.dropped(Dropped::Out)), (1, 2));
        desk.offer(&sender, &judged(5));
        assert_eq!((desk.held(), desk.phase()), (1, Phase::Closed));
    }
}
