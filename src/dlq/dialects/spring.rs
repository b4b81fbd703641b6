//! Spring Kafka: `DeadLetterPublishingRecoverer`. The record's own key, value and headers, and beside them where it came
//! from and the exception, numbers in binary. The set of names is `kafka_dlt-…`; for retry topics Spring writes the same
//! set as `kafka_original-…` and `kafka_exception-…`.

use super::exception::{causes_in, class_of, of_classes};
use super::fields::{Fields, origin};
use crate::dlq::headers::SPRING_PREFIX;
use crate::dlq::letter::{Dialect, Letter, Origin};
use crate::failure::Category;
use crate::record::{Record, RecordTimestamp, TimestampKind};

/// The second set of names.
const PREFIXES: [&str; 3] = ["kafka_original-", "kafka_exception-", "kafka_key-exception-"];
/// What Spring's retry topics note for themselves; a replay with it would go on counting where the dead letter ended.
const RETRY_PREFIX: &str = "retry_topic-";
/// How often a container had tried, where it was told to say so.
const DELIVERY_ATTEMPT: &str = "kafka_deliveryAttempt";
/// The exception of its deserializer, as a serialized Java object.
const DESERIALIZER_PREFIX: &str = "springDeserializerException";
/// The exception in which Spring wraps whatever a listener throws.
const WRAPPER: &str = "org.springframework.kafka.listener.ListenerExecutionFailedException";

/// Whether a header says that Spring made the dead letter.
pub(super) fn is_claim(name: &str) -> bool {
    name.starts_with(SPRING_PREFIX) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether Spring added the header.
pub(super) fn is_added(name: &str) -> bool {
    is_claim(name)
        || name.starts_with(RETRY_PREFIX)
        || name.starts_with(DESERIALIZER_PREFIX)
        || name == DELIVERY_ATTEMPT
}

pub(super) fn read(record: &Record) -> Letter {
    let fields = Spring(Fields::of(record));
    let mut letter = Letter::plain(record, Dialect::Spring);
    letter.origin = fields.origin();
    letter.group = fields.first("original-consumer-group").and_then(text).map(str::to_owned);
    letter.retry_count = fields.attempts().map_or(0, |attempts| attempts.saturating_sub(1));
    letter.error_stack =
        fields.last_lossy("exception-stacktrace").or_else(|| fields.last_lossy("key-exception-stacktrace"));
    let thrown = fields.last_lossy("exception-fqcn");
    let key_thrown = fields.last_lossy("key-exception-fqcn");
    let cause = fields.last_lossy("exception-cause-fqcn");
    let message =
        fields.last_lossy("exception-message").or_else(|| fields.last_lossy("key-exception-message"));
    let stack = letter.error_stack.as_deref().unwrap_or_default();

    letter.reason = match (&thrown, &key_thrown) {
        (None, Some(_)) => Category::Deserialization,
        _ => of_classes(
            [&thrown, &cause].into_iter().flatten().map(String::as_str).chain(causes_in(stack).map(class_of)),
        ),
    };
    // "Listener failed" helps nobody: what the listener threw is the error.
    let wrapped = causes_in(stack).next().filter(|_| thrown.as_deref() == Some(WRAPPER)).map(str::to_owned);
    letter.error = wrapped.or(message).or_else(|| thrown.clone()).unwrap_or_default();
    letter.exception = match thrown {
        Some(thrown) if thrown == WRAPPER => cause.or(Some(thrown)),
        thrown => thrown.or(key_thrown),
    };
    letter.identified(record)
}

/// The headers by their names without the prefix, which comes in two forms.
#[derive(Clone, Copy)]
struct Spring<'a>(Fields<'a>);

impl<'a> Spring<'a> {
    /// The first value is the true origin: each further failure, in a retry topic or in the dead letter topic itself,
    /// adds the place where it was.
    fn first(self, name: &str) -> Option<&'a [u8]> {
        let Self(fields) = self;
        fields.first(&format!("{SPRING_PREFIX}{name}")).or_else(|| fields.first(&format!("kafka_{name}")))
    }

    fn last_lossy(self, name: &str) -> Option<String> {
        let Self(fields) = self;
        fields
            .last_lossy(&format!("{SPRING_PREFIX}{name}"))
            .or_else(|| fields.last_lossy(&format!("kafka_{name}")))
    }

    fn origin(self) -> Option<Origin> {
        origin(
            text(self.first("original-topic")?)?,
            i32::from_be_bytes(self.first("original-partition")?.try_into().ok()?),
            i64::from_be_bytes(self.first("original-offset")?.try_into().ok()?),
            self.timestamp(),
        )
    }

    fn timestamp(self) -> Option<RecordTimestamp> {
        let millis = i64::from_be_bytes(self.first("original-timestamp")?.try_into().ok()?);
        let kind = match self.first("original-timestamp-type").and_then(text) {
            Some("LogAppendTime") => TimestampKind::LogAppendTime,
            _ => TimestampKind::CreateTime,
        };
        (millis >= 0).then_some(RecordTimestamp { millis, kind })
    }

    /// How many attempts there were. Older releases write the count of the retry topics in one byte.
    fn attempts(self) -> Option<u32> {
        let Self(fields) = self;
        let value = fields.last("retry_topic-attempts").or_else(|| fields.last(DELIVERY_ATTEMPT))?;
        match *value {
            [count] => Some(count.into()),
            [a, b, c, d] => u32::try_from(i32::from_be_bytes([a, b, c, d])).ok(),
            _ => None,
        }
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}
