//! Which dead letters: the same choice for every command that takes more than one.

use std::borrow::Cow;

use jiff::Timestamp;
use regex::Regex;
use serde::Deserialize;

use super::letter::Letter;
use super::shape::shape;
use super::status::State;
use crate::failure::Category;

/// What a dead letter has to be; every part that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this category.
    pub reason: Option<Category>,
    /// Given up at this time or later.
    pub since: Option<Timestamp>,
    /// Given up before this time.
    pub until: Option<Timestamp>,
    /// With this key.
    pub key: Option<String>,
    /// Of this order: its key, or `order_id` in its payload.
    pub order_id: Option<String>,
    /// With an error, or an exception's class, in which this is found.
    pub error: Option<Regex>,
    /// With this error, folded as statistics fold it.
    pub cause: Option<String>,
    /// In whose id, key, error, exception's class or payload this is found.
    pub text: Option<regex::bytes::Regex>,
    /// Of a record of this topic.
    pub topic_origin: Option<String>,
    /// Of a record that had been replayed before it died this time, or had not.
    pub replayed: Option<bool>,
    /// That stands so.
    pub status: Option<State>,
    /// At most so many; whoever goes through the dead letters counts.
    pub limit: Option<u64>,
}

impl Filter {
    /// Whether a dead letter that stands so is one of those.
    pub fn matches(&self, letter: &Letter, state: State) -> bool {
        self.status.is_none_or(|status| status == state)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.since.is_none_or(|since| letter.failed_at >= since)
            && self.until.is_none_or(|until| letter.failed_at < until)
            && self.replayed.is_none_or(|replayed| replayed == (letter.replay_count > 0))
            && self.key.as_deref().is_none_or(|key| has_key(letter, key))
            && self.topic_origin.as_deref().is_none_or(|topic| is_from(letter, topic))
            && self
                .order_id
                .as_deref()
                .is_none_or(|id| has_key(letter, id) || order_id(letter).as_deref() == Some(id))
            && self.error.as_ref().is_none_or(|error| says(letter, error))
            && self.cause.as_ref().is_none_or(|cause| shape(&letter.error) == *cause)
            && self.text.as_ref().is_none_or(|text| has_text(letter, text))
    }

    /// What [`text`](Self::text) has to be to find these words, whatever their case.
    ///
    /// # Errors
    /// When they are too long for a pattern.
    pub fn text_of(words: &str) -> Result<regex::bytes::Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(&regex::escape(words)).case_insensitive(true).build()
    }

    /// Whether it chooses at all, but for the number of dead letters.
    pub fn is_empty(&self) -> bool {
        let Self {
            reason,
            since,
            until,
            key,
            order_id,
            error,
            cause,
            text,
            topic_origin,
            replayed,
            status,
            limit: _,
        } = self;
        reason.is_none()
            && since.is_none()
            && until.is_none()
            && key.is_none()
            && order_id.is_none()
            && error.is_none()
            && cause.is_none()
            && text.is_none()
            && topic_origin.is_none()
            && replayed.is_none()
            && status.is_none()
    }
}

fn has_key(letter: &Letter, key: &str) -> bool {
    letter.key.as_deref() == Some(key.as_bytes())
}

fn is_from(letter: &Letter, topic: &str) -> bool {
    letter.origin.as_ref().is_some_and(|origin| *origin.topic == *topic)
}

fn says(letter: &Letter, error: &Regex) -> bool {
    error.is_match(&letter.error) || letter.exception.as_deref().is_some_and(|class| error.is_match(class))
}

fn has_text(letter: &Letter, text: &regex::bytes::Regex) -> bool {
    let parts = [letter.key.as_deref(), letter.payload.bytes().map(|bytes| &**bytes)];
    let words = [Some(letter.error.as_str()), letter.exception.as_deref()];
    let mut id = uuid::Uuid::encode_buffer();
    text.is_match(letter.id.hyphenated().encode_lower(&mut id).as_bytes())
        || words.into_iter().flatten().any(|words| text.is_match(words.as_bytes()))
        || parts.into_iter().flatten().any(|part| text.is_match(part))
}

/// The order's id, where the payload is JSON that has one.
pub(super) fn order_id(letter: &Letter) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        order_id: Cow<'a, str>,
    }
    serde_json::from_slice::<Named<'_>>(letter.payload.bytes()?).ok().map(|named| named.order_id)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dlq::Payload;
    use crate::record::{Header, Record, RecordTimestamp, TimestampKind};

    fn letter() -> Letter {
        let mut record =
            Record::new("orders-dlq", 1, 7).with_key("k-1").with_value(r#"{"order_id":"o-1","total":1}"#);
        record.timestamp = Some(RecordTimestamp { millis: 1_000_000, kind: TimestampKind::CreateTime });
        record.headers = vec![
            Header::new("__connect.errors.topic", "orders"),
            Header::new("__connect.errors.partition", "0"),
            Header::new("__connect.errors.offset", "5"),
            Header::new("__connect.errors.exception.class.name", "java.net.SocketTimeoutException"),
            Header::new("__connect.errors.exception.message", "read of 10.0.0.1 timed out"),
        ];
        Letter::read(&record)
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(seconds).expect("a time"))
    }

    #[test]
    fn every_part_must_hold() {
        let letter = letter();
        let any = Filter::default();
        let text = |text: &str| Some(text.to_owned());
        let regex = |text: &str| Some(Regex::new(text).expect("a pattern"));
        for (holds, filter) in [
            (true, any.clone()),
            (true, Filter { reason: Some(Category::Timeout), ..any.clone() }),
            (false, Filter { reason: Some(Category::Unknown), ..any.clone() }),
            (true, Filter { since: at(1000), until: at(1001), ..any.clone() }),
            (false, Filter { since: at(1001), ..any.clone() }),
            (false, Filter { until: at(1000), ..any.clone() }),
            (true, Filter { key: text("k-1"), ..any.clone() }),
            (false, Filter { key: text("o-1"), ..any.clone() }),
            (true, Filter { order_id: text("o-1"), ..any.clone() }),
            (true, Filter { order_id: text("k-1"), ..any.clone() }),
            (false, Filter { order_id: text("o-2"), ..any.clone() }),
            (true, Filter { error: regex(r"10\.0\.0\.\d+ timed"), ..any.clone() }),
            (true, Filter { error: regex("SocketTimeout"), ..any.clone() }),
            (false, Filter { error: regex("refused"), ..any.clone() }),
            (true, Filter { cause: text("read of # timed out"), ..any.clone() }),
            (false, Filter { cause: text("read of 10.0.0.1 timed out"), ..any.clone() }),
            (true, Filter { text: Filter::text_of("K-1").ok(), ..any.clone() }),
            (true, Filter { text: Filter::text_of("TIMED out").ok(), ..any.clone() }),
            (true, Filter { text: Filter::text_of("sockettimeout").ok(), ..any.clone() }),
            (true, Filter { text: Filter::text_of("\"total\":1}").ok(), ..any.clone() }),
            (true, Filter { text: Filter::text_of(&letter.id.to_string()[..8]).ok(), ..any.clone() }),
            (false, Filter { text: Filter::text_of("o.1").ok(), ..any.clone() }),
            (true, Filter { topic_origin: text("orders"), ..any.clone() }),
            (false, Filter { topic_origin: text("order"), ..any.clone() }),
            (true, Filter { replayed: Some(false), ..any.clone() }),
            (false, Filter { replayed: Some(true), ..any.clone() }),
            (true, Filter { status: Some(State::Open), ..any.clone() }),
            (false, Filter { status: Some(State::Replayed), ..any.clone() }),
            (false, Filter { key: text("k-1"), reason: Some(Category::Unknown), ..any.clone() }),
        ] {
            assert_eq!(filter.matches(&letter, State::Open), holds, "{filter:?}");
        }
    }

    #[test]
    fn a_payload_that_is_no_order_has_no_order_id() {
        let mut letter = letter();
        for payload in
            [&b""[..], b"[]", b"{\"order_id\":1}", b"\xff", b"{\"order_id\":\"a\",\"order_id\":\"b\"}"]
        {
            letter.payload = Payload::Inline(Bytes::copy_from_slice(payload));
            assert_eq!(order_id(&letter), None, "{payload:?}");
        }
        letter.payload = Payload::Inline(Bytes::from_static(br#"{"order_id":"\u006f-1"}"#));
        assert_eq!(order_id(&letter).as_deref(), Some("o-1"));
    }
}
