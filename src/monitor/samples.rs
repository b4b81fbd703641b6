//! Lines and figures that several tests of this room use.

use std::time::Duration;

use super::figures::Figures;
use super::state::State;
use super::window::Span;
use crate::models::format_timestamp;

fn time(time_ms: i64) -> String {
    format_timestamp(jiff::Timestamp::from_millisecond(time_ms).expect("a time"))
}

/// Most records are quick, some are not.
pub(super) fn latency_ms(offset: i64) -> i64 {
    match offset % 100 {
        ..90 => 40 + offset % 20,
        90..98 => 400,
        _ => 4_000,
    }
}

fn event(time_ms: i64, offset: i64, rest: &str) -> String {
    let made = time_ms - latency_ms(offset);
    format!(
        "{{\"timestamp\":\"{}\",\"event_type\":\"message.received\",\"kafka_topic\":\"orders\",\
         \"kafka_partition\":{},\"kafka_offset\":{offset},\"kafka_timestamp\":{made},\"consumer_group\":\"g\",\
         \"kafka_key\":\"o-{offset}\",\"raw_message\":\"{{\\\"order_id\\\":\\\"o-{offset}\\\",\\\"total\\\":7.7}}\",\
         \"message_size\":32,\"deserialized\":true,{rest},\"hash\":\"{offset:064x}\"}}",
        time(time_ms),
        offset % 3,
    )
}

/// The line of an order that was processed, in the partition of its offset modulo 3.
pub(super) fn processed(time_ms: i64, offset: i64) -> String {
    let order = format!("{{\"order_id\":\"o-{offset}\",\"items\":[{{\"item_id\":\"i-1\"}}],\"total\":7.7}}");
    event(time_ms, offset, &format!("\"order_full\":{order},\"outcome\":\"processed\",\"attempts\":1"))
}

/// The line of a dead letter.
pub(super) fn dead(time_ms: i64, offset: i64, error: &str) -> String {
    let error = serde_json::to_string(error).expect("text");
    let rest = format!(
        "\"error\":{error},\"outcome\":\"dead_lettered\",\"failure_reason\":\"VALIDATION_ERROR\",\"attempts\":2,\
         \"dlq_id\":\"2d3e68ed-6f2c-5005-a1b5-9f37d8781ae8\",\"dlq_partition\":0,\"dlq_offset\":{offset}"
    );
    event(time_ms, offset, &rest)
}

/// A line of the health log.
pub(super) fn health(time_ms: i64, level: &str, message: &str, metadata: &str) -> String {
    let message = serde_json::to_string(message).expect("text");
    format!(
        "{{\"timestamp\":\"{}\",\"level\":\"{level}\",\"message\":{message},\"service\":\"order-tracker\",\
         \"metadata\":{metadata}}}",
        time(time_ms)
    )
}

/// When the sample ends.
pub(super) const NOW_MS: i64 = 1_795_262_400_000;

/// A tracker in mid-run: five minutes of outcomes, every tenth a dead letter.
pub(super) fn state() -> State {
    let mut state = State::new(Span::ending_at(NOW_MS - 1, Duration::from_secs(300), 60));
    let start = NOW_MS - 300_000;
    state.take_health(
        health(start, "INFO", "started", r#"{"group":"order-tracker-group","deliver_to":"http://target/"}"#)
            .as_bytes(),
        NOW_MS,
    );
    for partition in 0..3 {
        let said = format!("took over orders/{partition}");
        state.take_health(
            health(start, "INFO", &said, &format!("{{\"partition\":{partition}}}")).as_bytes(),
            NOW_MS,
        );
    }
    for n in 0..3_000 {
        let at = start + n * 100;
        let line = match n {
            n if n % 30 == 0 => dead(at, n, "the payload is not an order: expected value at line 1 column 1"),
            n if n % 10 == 0 => {
                dead(at, n, "the order is not valid: /items/0/quantity must be greater than 0, found 0")
            }
            // Busier in the middle.
            n if n % 2 == 0 && !(1_000..=2_000).contains(&n) => continue,
            n => processed(at, n),
        };
        state.count(line.as_bytes(), 1.0, NOW_MS);
        state.keep(line.as_bytes(), NOW_MS);
    }
    let metrics = r#"{"in_flight":4,"partitions":3,"paused":1,"outcomes_per_s":9.5}"#;
    state.take_health(health(NOW_MS - 2_000, "INFO", "metrics", metrics).as_bytes(), NOW_MS);
    state.take_health(
        health(NOW_MS - 1_000, "WARN", "offsets not committed, trying again", r#"{"error":"no broker"}"#)
            .as_bytes(),
        NOW_MS,
    );
    state
}

/// Its figures.
pub(super) fn figures() -> Figures {
    Figures::of(&state(), NOW_MS, true)
}

/// Figures in which everything that can be text tries to take the terminal over.
pub(super) fn hostile() -> Figures {
    let evil = "evil\u{1b}]52;c;AAAA\u{7}\u{1b}[2J\r\n\u{9b}31m\u{202e}gnp\u{2066}\u{7f}\u{8}\u{0}";
    let quoted = serde_json::to_string(evil).expect("text");
    let quoted = quoted.get(1..quoted.len() - 1).expect("its quotes");
    let mut state = State::new(Span::ending_at(NOW_MS - 1, Duration::from_secs(60), 60));
    for n in 0..30 {
        let line =
            dead(NOW_MS - 1_000, n, &format!("{evil}{}", "x".repeat(usize::try_from(n).expect("small"))))
                .replace("\"orders\"", &format!("\"{quoted}\""))
                .replace("o-", quoted);
        state.count(line.as_bytes(), 1.0, NOW_MS);
        state.keep(line.as_bytes(), NOW_MS);
    }
    let facts = format!("{{\"{quoted}\":\"{quoted}\",\"group\":\"{quoted}\",\"deliver_to\":\"{quoted}\"}}");
    for message in ["started", evil] {
        let line = health(NOW_MS - 500, "ERROR", message, &facts);
        let line = line.replace("\"service\"", &format!("\"error\":\"{quoted}\",\"service\""));
        state.take_health(line.as_bytes(), NOW_MS);
    }
    let ended = health(NOW_MS - 400, "ERROR", "stopped by an error", "{}");
    let ended = ended.replace("\"service\"", &format!("\"error\":\"{quoted}\",\"service\""));
    state.take_health(ended.as_bytes(), NOW_MS);
    state.endpoint = super::state::Endpoint::Silent(evil.to_owned());
    Figures::of(&state, NOW_MS, true)
}
