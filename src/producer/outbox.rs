//! Records on their way: sent in order, kept until acknowledged, counted once. When the client's producer ends with a
//! fatal error a new one is built, and what it had not acknowledged is sent again, in order. Knows nothing of orders.
//!
//! A record that was on the wire when the fatal error came may then be in the topic twice: at least once is what
//! survives such an error.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::failures::Failures;
use super::summary::Counts;
use crate::kafka::{Delivered, Delivery, KafkaError, Outgoing, Producer, SendError};
use crate::trace::Span;

/// How many records may be unacknowledged; the client's own queue holds as many.
const MAX_PENDING: usize = 100_000;

/// How many bytes of records may be unacknowledged.
const MAX_PENDING_BYTES: usize = 96 << 20;

/// How long to wait before asking again whether there is room. The queue does not run empty in that time.
pub(crate) const ROOM_CHECK: Duration = Duration::from_millis(5);

/// How long the broker's answers are waited for after a fatal error, before what is unanswered is sent again.
const SETTLE: Duration = Duration::from_secs(5);

/// So many new producers in a row that get nothing acknowledged are enough.
const MAX_REBUILDS: u32 = 5;

/// What a record is sent with: the client's producer, or a stand-in in tests.
pub(crate) trait Transport {
    /// Resolves when the record's fate is known.
    type Delivery: Future<Output = Result<Delivered, SendError>> + Unpin;

    /// Queues a record, in the order of the calls.
    fn send(&self, record: &Outgoing) -> Result<Self::Delivery, SendError>;

    /// Whether it has ended for good.
    fn fatal_error(&self) -> Option<String>;

    /// Waits until every fate is known, at most so long.
    fn settle(&self, patience: Duration);
}

impl Transport for Producer {
    type Delivery = Delivery;

    fn send(&self, record: &Outgoing) -> Result<Delivery, SendError> {
        Self::send(self, record)
    }

    fn fatal_error(&self) -> Option<String> {
        Self::fatal_error(self)
    }

    fn settle(&self, patience: Duration) {
        // What is still unknown then is sent again: that is what this wait makes rare.
        drop(self.flush(patience));
    }
}

/// One record and where it came from.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) record: Outgoing,
    /// The line of the input, from 1.
    pub(crate) line: Option<u64>,
    /// Its sending, where that is traced.
    pub(crate) span: Option<Span>,
}

impl Item {
    fn bytes(&self) -> usize {
        let len = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        len(&self.record.key) + len(&self.record.value)
    }
}

/// Sends records and counts what becomes of them.
pub(crate) struct Outbox<T: Transport, F> {
    transport: T,
    build: F,
    /// Sent and not yet known, in the order of sending.
    pending: VecDeque<(Item, T::Delivery)>,
    pending_bytes: usize,
    /// Not yet in the client's queue, in order; before anything new.
    waiting: VecDeque<Item>,
    rebuilds_in_vain: u32,
    given_up: bool,
    counts: Counts,
    failures: Failures,
}

impl<T: Transport, F: FnMut() -> Result<T, KafkaError>> Outbox<T, F> {
    /// Builds the first transport.
    ///
    /// # Errors
    /// Those of `build`.
    pub(crate) fn new(mut build: F, total: Option<u64>) -> Result<Self, KafkaError> {
        Ok(Self {
            transport: build()?,
            build,
            pending: VecDeque::new(),
            pending_bytes: 0,
            waiting: VecDeque::new(),
            rebuilds_in_vain: 0,
            given_up: false,
            counts: Counts { total, ..Counts::default() },
            failures: Failures::default(),
        })
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether no new producer got anything acknowledged, so that going on makes no sense.
    pub(crate) fn given_up(&self) -> bool {
        self.given_up
    }

    /// Takes a record to send; [`Outbox::pump`] sends it.
    pub(crate) fn push(&mut self, item: Item) {
        self.counts.sent += 1;
        self.waiting.push_back(item);
    }

    /// Counts a record that is too large to be tried.
    pub(crate) fn refuse(&mut self, line: u64, bytes: u64) {
        self.counts.sent += 1;
        self.counts.failed += 1;
        self.failures.note(Some(line), bytes, &SendError::TooLarge);
    }

    /// Sends what waits, as far as there is room, and notes what has become known. True when nothing waits any more;
    /// false asks for another call, after [`ROOM_CHECK`].
    pub(crate) fn pump(&mut self) -> bool {
        self.collect();
        while self.pending.len() < MAX_PENDING && self.pending_bytes < MAX_PENDING_BYTES {
            let Some(item) = self.waiting.pop_front() else { return true };
            match self.transport.send(&item.record) {
                Ok(delivery) => {
                    self.pending_bytes += item.bytes();
                    self.pending.push_back((item, delivery));
                }
                Err(SendError::QueueFull) => {
                    self.waiting.push_front(item);
                    return false;
                }
                Err(SendError::Fatal(_)) => {
                    self.waiting.push_front(item);
                    self.rebuild();
                }
                Err(error) => self.fail(item, &error),
            }
        }
        self.waiting.is_empty()
    }

    /// Waits until everything is acknowledged or failed; what is neither when `out_of_time` says true has failed.
    pub(crate) fn finish(
        &mut self,
        mut out_of_time: impl FnMut() -> bool,
        mut progress: impl FnMut(&Counts),
    ) {
        loop {
            let all_sent = self.pump();
            if (all_sent && self.pending.is_empty()) || out_of_time() {
                break;
            }
            progress(&self.counts);
            std::thread::sleep(ROOM_CHECK);
        }
        self.give_up();
        self.failures.log_totals();
        progress(&self.counts);
    }

    /// Notes every fate that is known, from the oldest record on.
    fn collect(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some((_, delivery)) = self.pending.front_mut() {
            let Poll::Ready(fate) = Pin::new(delivery).poll(&mut context) else { return };
            if let Err(error) = &fate
                && !matches!(error, SendError::TooLarge)
                && self.transport.fatal_error().is_some()
            {
                // The client also fails what it had not sent; the record is among those to send again.
                self.rebuild_with_front();
                return;
            }
            let Some((item, _)) = self.pending.pop_front() else { return };
            self.settle_one(item, fate);
        }
    }

    fn settle_one(&mut self, item: Item, fate: Result<Delivered, SendError>) {
        self.pending_bytes = self.pending_bytes.saturating_sub(item.bytes());
        match fate {
            Ok(delivered) => {
                self.counts.acknowledged += 1;
                self.rebuilds_in_vain = 0;
                if let Some(mut span) = item.span {
                    span.stored(delivered.partition, delivered.offset);
                    span.end();
                }
            }
            Err(error) => self.fail(item, &error),
        }
    }

    /// As [`Outbox::rebuild`], where the oldest record's fate has been taken already.
    fn rebuild_with_front(&mut self) {
        let front = self.pending.pop_front().map(|(item, _)| item);
        if let Some(item) = &front {
            self.pending_bytes = self.pending_bytes.saturating_sub(item.bytes());
        }
        self.rebuild_after(front);
    }

    fn rebuild(&mut self) {
        self.rebuild_after(None);
    }

    /// Replaces a transport that has ended, and puts what it did not acknowledge before what waits, in order, after
    /// `front`, which is the oldest.
    fn rebuild_after(&mut self, front: Option<Item>) {
        let reason = self.transport.fatal_error().unwrap_or_default();
        self.transport.settle(SETTLE);
        let mut context = Context::from_waker(Waker::noop());
        let mut again: VecDeque<_> = front.into_iter().collect();
        for (item, mut delivery) in std::mem::take(&mut self.pending) {
            match Pin::new(&mut delivery).poll(&mut context) {
                Poll::Ready(fate @ (Ok(_) | Err(SendError::TooLarge))) => self.settle_one(item, fate),
                Poll::Ready(Err(_)) | Poll::Pending => again.push_back(item),
            }
        }
        self.pending_bytes = 0;
        tracing::warn!(
            reason,
            again = again.len(),
            "the Kafka producer stopped with a fatal error: building a new one"
        );
        again.append(&mut self.waiting);
        self.waiting = again;
        self.rebuilds_in_vain += 1;
        match (self.build)() {
            Ok(transport) if self.rebuilds_in_vain <= MAX_REBUILDS => self.transport = transport,
            Ok(_) => {
                tracing::error!(
                    reason,
                    "{MAX_REBUILDS} new Kafka producers got nothing acknowledged: giving up"
                );
                self.give_up();
            }
            Err(error) => {
                let error = crate::failure::chain_of(&error);
                tracing::error!(error, "a new Kafka producer cannot be built: giving up");
                self.give_up();
            }
        }
    }

    /// Whatever is not acknowledged by now has failed.
    fn give_up(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let waiting = std::mem::take(&mut self.waiting);
        self.pending_bytes = 0;
        self.given_up |= !(pending.is_empty() && waiting.is_empty());
        let mut context = Context::from_waker(Waker::noop());
        for (item, mut delivery) in pending {
            match Pin::new(&mut delivery).poll(&mut context) {
                Poll::Ready(fate) => self.settle_one(item, fate),
                Poll::Pending => self.fail(item, &SendError::Closed),
            }
        }
        for item in waiting {
            self.fail(item, &SendError::Closed);
        }
    }

    fn fail(&mut self, item: Item, error: &SendError) {
        self.counts.failed += 1;
        self.failures.note(item.line, item.bytes() as u64, error);
        if let Some(span) = item.span {
            span.fail("_OTHER");
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
