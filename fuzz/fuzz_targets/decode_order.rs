//! Any bytes: decoding and validating never panics, whatever decodes is JSON to other readers too, and an order that
//! was decoded survives being written and decoded again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pubsub_kafka::models::{DecodeLimits, decode, is_unsafe, validate};

fuzz_target!(|payload: &[u8]| {
    let limits = DecodeLimits::default();
    // A line break in front is nothing to the strict reader, and too much for the quick one.
    let broken = [b"\n", payload].concat();
    let strict = decode(Some(&broken), &DecodeLimits { max_message_bytes: usize::MAX });
    let order = match decode(Some(payload), &limits) {
        Ok(order) => order,
        Err(error) => {
            assert!(!error.to_string().contains(is_unsafe), "{error}");
            return;
        }
    };
    assert_eq!(strict.as_ref(), Ok(&order));
    assert!(serde_json::from_slice::<serde_json::Value>(payload).is_ok());
    if let Err(error) = validate(&order) {
        assert!(!error.to_string().contains(is_unsafe), "{error}");
    }
    // Written out in full it can be larger than it was.
    let written = serde_json::to_vec(&order).expect("an order has a form in JSON");
    let limits = DecodeLimits { max_message_bytes: usize::MAX };
    assert_eq!(decode(Some(&written), &limits).as_ref(), Ok(&order));
});
