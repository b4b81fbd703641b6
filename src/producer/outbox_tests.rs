//! A scripted Kafka client: what it takes, what it answers, and when it ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};

use super::*;

type Fate = Result<Delivered, SendError>;

/// Where a record's fate is put, once it is known.
type Slot = Rc<RefCell<Option<Fate>>>;

/// What all the transports of one test share.
#[derive(Default)]
struct Broker {
    /// Every record that a transport took: which transport, and the record.
    taken: RefCell<Vec<(usize, u8)>>,
    /// Answers that were not given yet, in the order of sending.
    open: RefCell<Vec<(u8, Slot)>>,
    /// How many records a queue holds.
    capacity: Cell<usize>,
    built: Cell<usize>,
    /// The transport that has ended, and whether new ones end at once.
    ended: Cell<Option<usize>>,
    always_ends: Cell<bool>,
}

struct Scripted {
    id: usize,
    broker: Rc<Broker>,
}

struct Answer(Slot);

impl Future for Answer {
    type Output = Fate;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Fate> {
        self.0.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

fn client_error(code: RDKafkaErrorCode) -> ClientError {
    ClientError::MessageProduction(code)
}

fn acknowledged() -> Fate {
    Ok(Delivered { partition: 0, offset: 0 })
}

fn timed_out() -> Fate {
    Err(SendError::Failed(client_error(RDKafkaErrorCode::MessageTimedOut)))
}

fn purged() -> Fate {
    Err(SendError::Failed(client_error(RDKafkaErrorCode::PurgeQueue)))
}

impl Transport for Scripted {
    type Delivery = Answer;

    fn send(&self, record: &Outgoing) -> Result<Answer, SendError> {
        if self.fatal_error().is_some() {
            return Err(SendError::Fatal(client_error(RDKafkaErrorCode::Fatal)));
        }
        if self.broker.open.borrow().len() >= self.broker.capacity.get() {
            return Err(SendError::QueueFull);
        }
        let name = record.value.as_ref().expect("a value")[0];
        self.broker.taken.borrow_mut().push((self.id, name));
        let answer = Slot::default();
        self.broker.open.borrow_mut().push((name, Rc::clone(&answer)));
        Ok(Answer(answer))
    }

    fn fatal_error(&self) -> Option<String> {
        let ended = self.broker.always_ends.get() || self.broker.ended.get() == Some(self.id);
        ended.then(|| "scripted".to_owned())
    }

    fn settle(&self, _: Duration) {}
}

impl Broker {
    fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self { capacity: Cell::new(capacity), ..Self::default() })
    }

    fn answer(&self, name: u8, fate: Fate) {
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|(other, _)| *other == name).expect("a record on its way");
        let (_, answer) = open.remove(at);
        answer.replace(Some(fate));
    }

    fn taken_by(&self, transport: usize) -> Vec<u8> {
        self.taken.borrow().iter().filter(|(id, _)| *id == transport).map(|(_, name)| *name).collect()
    }
}

fn outbox(broker: &Rc<Broker>) -> Outbox<Scripted, impl FnMut() -> Result<Scripted, KafkaError>> {
    let broker = Rc::clone(broker);
    let build = move || {
        let id = broker.built.replace(broker.built.get() + 1);
        Ok(Scripted { id, broker: Rc::clone(&broker) })
    };
    Outbox::new(build, None).expect("built")
}

fn item(name: u8) -> Item {
    let record = Outgoing { value: Some(Bytes::from(vec![name])), ..Outgoing::default() };
    Item { record, line: Some(name.into()), span: None }
}

fn counts(sent: u64, acknowledged: u64, failed: u64) -> Counts {
    Counts { sent, acknowledged, failed, total: None }
}

#[test]
fn a_full_queue_delays_and_neither_drops_nor_reorders() {
    let broker = Broker::new(2);
    let mut outbox = outbox(&broker);
    for name in 0..4 {
        outbox.push(item(name));
    }
    assert!(!outbox.pump());
    assert_eq!(broker.taken_by(0), [0, 1]);
    broker.answer(0, acknowledged());
    assert!(!outbox.pump());
    assert_eq!(broker.taken_by(0), [0, 1, 2]);
    broker.answer(1, acknowledged());
    assert!(outbox.pump());
    assert_eq!(broker.taken_by(0), [0, 1, 2, 3]);
    assert_eq!(*outbox.counts(), counts(4, 2, 0));
}

#[test]
fn a_fatal_error_sends_again_what_is_not_acknowledged_in_order_before_what_waits() {
    let broker = Broker::new(5);
    let mut outbox = outbox(&broker);
    for name in 0..7 {
        outbox.push(item(name));
    }
    outbox.pump();
    broker.answer(0, acknowledged());
    broker.ended.set(Some(0));
    broker.answer(1, purged());
    broker.answer(3, acknowledged());
    broker.open.borrow_mut().clear();
    outbox.pump();
    assert_eq!(broker.taken_by(0), [0, 1, 2, 3, 4]);
    assert_eq!(broker.taken_by(1), [1, 2, 4, 5, 6]);
    for name in [1, 2, 4, 5, 6] {
        broker.answer(name, acknowledged());
    }
    outbox.finish(|| false, |_| {});
    assert_eq!(*outbox.counts(), counts(7, 7, 0));
    assert!(!outbox.given_up());
}

#[test]
fn a_fatal_error_at_sending_loses_nothing() {
    let broker = Broker::new(5);
    let mut outbox = outbox(&broker);
    outbox.push(item(0));
    outbox.pump();
    broker.ended.set(Some(0));
    broker.open.borrow_mut().clear();
    outbox.push(item(1));
    outbox.pump();
    assert_eq!(broker.taken_by(1), [0, 1]);
}

#[test]
fn a_record_that_is_too_large_is_not_sent_again() {
    let broker = Broker::new(5);
    let mut outbox = outbox(&broker);
    for name in 0..2 {
        outbox.push(item(name));
    }
    outbox.pump();
    broker.ended.set(Some(0));
    broker.answer(0, purged());
    broker.answer(1, Err(SendError::TooLarge));
    outbox.pump();
    assert_eq!(broker.taken_by(1), [0]);
    assert_eq!(*outbox.counts(), counts(2, 0, 1));
}

#[test]
fn producers_that_always_end_are_given_up_with_everything_accounted_for() {
    let broker = Broker::new(5);
    let mut outbox = outbox(&broker);
    for name in 0..3 {
        outbox.push(item(name));
    }
    broker.always_ends.set(true);
    assert!(outbox.pump());
    assert!(outbox.given_up());
    assert_eq!(*outbox.counts(), counts(3, 0, 3));
    assert_eq!(broker.built.get(), 2 + usize::try_from(MAX_REBUILDS).expect("small"));
}

#[test]
fn reasons_are_counted_and_failures_do_not_stop_the_rest() {
    let broker = Broker::new(9);
    let mut outbox = outbox(&broker);
    for name in 0..4 {
        outbox.push(item(name));
    }
    outbox.pump();
    broker.answer(0, timed_out());
    broker.answer(1, acknowledged());
    broker.answer(2, timed_out());
    broker.answer(3, Err(SendError::TooLarge));
    outbox.refuse(5, 1 << 40);
    outbox.finish(|| false, |_| {});
    assert_eq!(*outbox.counts(), counts(5, 1, 4));
    let by_reason: Vec<_> = outbox.failures.by_reason().values().copied().collect();
    assert_eq!(by_reason, [2, 2]);
}

#[test]
fn what_is_unknown_when_time_is_up_has_failed() {
    let broker = Broker::new(3);
    let mut outbox = outbox(&broker);
    for name in 0..5 {
        outbox.push(item(name));
    }
    outbox.pump();
    broker.answer(1, acknowledged());
    let mut told = None;
    outbox.finish(|| true, |counts| told = Some(*counts));
    assert_eq!(told, Some(counts(5, 1, 4)));
}

proptest! {
    /// Whatever the answers, their order and the fatal errors: each record is counted once, and each transport takes
    /// its records in order.
    #[test]
    fn every_record_is_counted_once(
        capacity in 1_usize..8,
        steps in proptest::collection::vec((0_usize..8, 0_u8..10), 1..200),
    ) {
        let broker = Broker::new(capacity);
        let mut outbox = outbox(&broker);
        let mut pushed = 0_u8;
        let mut answered = counts(0, 0, 0);
        for (pick, what) in steps {
            let open = broker.open.borrow().get(pick).map(|(name, _)| *name);
            match (what, open) {
                (0..=3, _) if pushed < 200 => {
                    outbox.push(item(pushed));
                    pushed += 1;
                }
                (4..=6, Some(name)) => {
                    broker.answer(name, acknowledged());
                    answered.acknowledged += 1;
                }
                (7, Some(name)) => {
                    broker.answer(name, timed_out());
                    answered.failed += 1;
                }
                (8, Some(name)) => {
                    // The client ends; what it had on its way is purged, and sent again.
                    broker.ended.set(Some(broker.built.get() - 1));
                    broker.answer(name, purged());
                    let others = std::mem::take(&mut *broker.open.borrow_mut());
                    for (_, answer) in others {
                        answer.replace(Some(purged()));
                    }
                }
                _ => {}
            }
            outbox.pump();
            let last = broker.built.get() - 1;
            prop_assert!(broker.taken_by(last).is_sorted());
        }
        prop_assume!(!outbox.given_up());
        outbox.finish(|| true, |_| {});
        let counts = *outbox.counts();
        prop_assert_eq!(counts.sent, u64::from(pushed));
        prop_assert_eq!(counts.acknowledged + counts.failed, counts.sent);
        prop_assert_eq!(counts.acknowledged, answered.acknowledged);
    }
}
