//! When each record was acknowledged, noted on the client's own thread: nothing else has to be woken for it.

use std::sync::Mutex;
use std::time::Instant;

use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Message as _};

/// Partition and offset.
pub type At = (i32, i64);

/// Acknowledgements in the order in which they came.
#[derive(Default)]
pub struct Acknowledged(Mutex<Vec<(At, Instant)>>);

impl Acknowledged {
    /// Those so far; they are not given again.
    pub fn take(&self) -> Vec<(At, Instant)> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let now = Instant::now();
        let message = result.as_ref().unwrap_or_else(|(error, _)| panic!("a record was not stored: {error}"));
        self.0.lock().expect("no panic").push(((message.partition(), message.offset()), now));
    }
}
