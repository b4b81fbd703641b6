//! What is done with a record once it was read: the POST to the delivery target, or any code of a program that has this
//! crate as its library. Retries, time limits and everything around it are the tracker's.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::Service;

use crate::failure::Failure;
use crate::record::Record;

type Run = dyn Fn(Record) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// The work on one record; cheap to clone. The category of its failure decides whether it is tried again, and each try
/// has the time of `attempt-timeout`; a panic is an `UNKNOWN_ERROR`. A record can come twice (after a crash), so the work
/// should know what it has done, by topic, partition and offset.
#[derive(Clone)]
pub struct Work {
    run: Arc<Run>,
    takes_any: bool,
}

impl Work {
    /// Work on valid orders: what is no order, or breaks a rule, becomes a dead letter without it.
    pub fn on_orders<F, Fut>(run: F) -> Self
    where
        F: Fn(Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self { run: Arc::new(move |record| run(record).boxed()), takes_any: false }
    }

    /// Work on payloads of any kind: nothing is decoded and nothing validated before it.
    pub fn on_any<F, Fut>(run: F) -> Self
    where
        F: Fn(Record) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self { takes_any: true, ..Self::on_orders(run) }
    }

    /// Whether payloads need not be orders.
    pub(super) fn takes_any(&self) -> bool {
        self.takes_any
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("takes_any", &self.takes_any).finish_non_exhaustive()
    }
}

impl Service<Record> for Work {
    type Response = ();
    type Error = Failure;
    type Future = BoxFuture<'static, Result<(), Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Self::Future {
        (self.run)(record)
    }
}
