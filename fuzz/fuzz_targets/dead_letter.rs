//! Any bytes: reading a dead letter never panics, and what was read is written safely and read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pubsub_kafka::models::{DeadLetter, escape_into, is_unsafe, to_safe_string};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut escaped = Vec::new();
        escape_into(&mut escaped, text);
        assert_eq!(escaped, to_safe_string(text).expect("a string has a form in JSON").as_bytes());
        assert_eq!(serde_json::from_slice::<String>(&escaped).ok().as_deref(), Some(text));
    }
    let Ok(letter) = serde_json::from_slice::<DeadLetter>(bytes) else { return };
    let written = to_safe_string(&letter).expect("a dead letter has a form in JSON");
    assert!(!written.contains(is_unsafe));
    assert_eq!(letter.to_json(), written.as_bytes());
    // The wire holds milliseconds, so only what was written once comes back unchanged.
    let again: DeadLetter = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(to_safe_string(&again).ok(), Some(written));
});
