//! From the class of a Java exception to a failure category: by its name alone, never by its message. The table is in
//! `docs/dialects.md`.

use crate::failure::Category;

/// How much of a stack trace is looked at for causes, in bytes.
const TRACE_BYTES: usize = 64 << 10;

/// What its bytes say is not what it should be.
const DESERIALIZATION: [&str; 14] = [
    "DeserializationException",
    "SerializationException",
    "DataException",
    "SchemaException",
    "SchemaParseException",
    "AvroTypeException",
    "InvalidProtocolBufferException",
    "JsonParseException",
    "JsonProcessingException",
    "JsonMappingException",
    "MismatchedInputException",
    "MessageConversionException",
    "ConversionException",
    "CharacterCodingException",
];
/// A rule is broken.
const VALIDATION: [&str; 4] = [
    "ValidationException",
    "ConstraintViolationException",
    "IllegalArgumentException",
    "MethodArgumentNotValidException",
];
/// An attempt ran past its time.
const TIMEOUT: [&str; 2] = ["TimeoutException", "DeadlineExceededException"];
/// What was asked failed, refused or was not there.
const PROCESSING: [&str; 12] = [
    "IOException",
    "ConnectException",
    "SocketException",
    "UnknownHostException",
    "NoRouteToHostException",
    "RetriableException",
    "UnavailableException",
    "ResourceAccessException",
    "HttpServerErrorException",
    "SQLException",
    "DataAccessException",
    "DataAccessResourceFailureException",
];

/// The category of the first class that tells one, the outermost exception first.
pub(super) fn of_classes<'a>(classes: impl IntoIterator<Item = &'a str>) -> Category {
    of_classes_if_any(classes).unwrap_or(Category::Unknown)
}

/// The same; `None` where no class tells one.
pub(super) fn of_classes_if_any<'a>(classes: impl IntoIterator<Item = &'a str>) -> Option<Category> {
    classes.into_iter().find_map(of_class)
}

/// By the end of the simple name, as Java's own naming goes: `SocketTimeoutException` is a `TimeoutException`.
fn of_class(class: &str) -> Option<Category> {
    let simple = class.rsplit(['.', '$']).next().unwrap_or(class);
    let ends = |names: &[&str]| names.iter().any(|name| simple.ends_with(name));
    if ends(&TIMEOUT) {
        Some(Category::Timeout)
    } else if ends(&DESERIALIZATION) {
        Some(Category::Deserialization)
    } else if ends(&VALIDATION) {
        Some(Category::Validation)
    } else if ends(&PROCESSING) {
        Some(Category::Processing)
    } else {
        None
    }
}

/// What a Java stack trace names as causes, from the outermost to the root: class and message.
pub(super) fn causes_in(stack: &str) -> impl Iterator<Item = &str> {
    let end = stack.floor_char_boundary(TRACE_BYTES);
    stack.get(..end).unwrap_or_default().lines().filter_map(|line| line.strip_prefix("Caused by: "))
}

/// The class in Java's text of an exception: `class: message`, or the class alone.
pub(super) fn class_of(thrown: &str) -> &str {
    thrown.split([':', ' ', '\n']).next().unwrap_or(thrown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_tells_its_category_by_its_name() {
        let table = [
            (
                "org.springframework.kafka.support.serializer.DeserializationException",
                Category::Deserialization,
            ),
            ("org.apache.kafka.common.errors.SerializationException", Category::Deserialization),
            ("org.apache.kafka.connect.errors.DataException", Category::Deserialization),
            ("com.fasterxml.jackson.databind.JsonMappingException", Category::Deserialization),
            ("jakarta.validation.ConstraintViolationException", Category::Validation),
            ("jakarta.validation.ValidationException", Category::Validation),
            ("java.lang.IllegalArgumentException", Category::Validation),
            ("java.net.SocketTimeoutException", Category::Timeout),
            ("java.util.concurrent.TimeoutException", Category::Timeout),
            ("java.io.IOException", Category::Processing),
            ("java.net.ConnectException", Category::Processing),
            ("org.springframework.dao.DataAccessResourceFailureException", Category::Processing),
            ("org.springframework.web.client.HttpServerErrorException", Category::Processing),
            ("java.lang.NullPointerException", Category::Unknown),
            ("com.example.Outer$PaymentValidationException", Category::Validation),
            ("com.example.Outer$Refused", Category::Unknown),
            ("", Category::Unknown),
            ("....", Category::Unknown),
        ];
        for (class, category) in table {
            assert_eq!(of_classes([class]), category, "{class}");
        }
    }

    #[test]
    fn the_outermost_class_that_tells_counts() {
        let classes = ["java.lang.RuntimeException", "java.net.ConnectException", "a.TimeoutException"];
        assert_eq!(of_classes(classes), Category::Processing);
    }

    #[test]
    fn causes_come_from_the_trace_in_order() {
        let trace = "a.B: outer\n\tat x.Y.z(Y.java:1)\nCaused by: c.D: one: two\n\tat x\nCaused by: e.F\n\t... 3 more\n";
        assert_eq!(causes_in(trace).collect::<Vec<_>>(), ["c.D: one: two", "e.F"]);
        assert_eq!(causes_in(trace).map(class_of).collect::<Vec<_>>(), ["c.D", "e.F"]);
    }

    #[test]
    fn a_huge_trace_is_not_read_to_its_end() {
        let trace = format!("{}\nCaused by: a.B", "é".repeat(TRACE_BYTES));
        assert_eq!(causes_in(&trace).count(), 0);
    }
}
