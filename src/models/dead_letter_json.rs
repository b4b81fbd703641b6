//! A dead letter straight into its JSON: the same bytes as its `Serialize` through the safe formatter, in a fraction of the
//! time. A topic full of orders that all fail makes one of these for each, and most of it is a payload full of quotes.

use jiff::Timestamp;

use super::bytes_field::BytesField;
use super::json::{escape_into, put, write_number};
use super::{DeadLetter, OriginalPayload};

/// About how long the JSON of a letter is without its texts.
const FIXED_BYTES: usize = 1000;

impl DeadLetter {
    /// The letter as it is stored: JSON in which no control character stands as itself.
    pub fn to_json(&self) -> Vec<u8> {
        // Escaped it is longer, seldom by more than a quarter.
        let payload = self.original_payload.bytes().map_or(0, <[u8]>::len);
        let texts = self.error_message.len() + self.error_stack.as_ref().map_or(0, String::len);
        let mut out = Vec::with_capacity(FIXED_BYTES + payload + payload / 4 + texts);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let key = BytesField::encode(self.original_key.as_deref());
        let payload = BytesField::encode(self.original_payload.bytes());
        put(out, format_args!("{{\"id\":\"{}\"", self.id));
        time(out, "timestamp", Some(self.timestamp));
        text(out, "original_topic", Some(&self.original_topic));
        number(out, "original_partition", self.original_partition.into());
        number(out, "original_offset", self.original_offset);
        text(out, "original_key", key.text.as_deref());
        text(out, "original_payload", payload.text.as_deref());
        time(out, "original_timestamp", self.original_timestamp);
        text(out, "failure_reason", Some(self.failure_reason.as_str()));
        text(out, "error_message", Some(&self.error_message));
        text(out, "error_stack", self.error_stack.as_deref());
        text(out, "consumer_group", Some(&self.consumer_group));
        text(out, "processing_host", Some(&self.processing_host));
        number(out, "retry_count", self.retry_count.into());
        time(out, "first_failure", Some(self.first_failure));
        time(out, "last_failure", Some(self.last_failure));
        time(out, "next_retry_at", self.next_retry_at);
        put(out, format_args!(",\"is_reprocessed\":{}", self.is_reprocessed));
        list(out, "metadata", *b"{}", &self.metadata, |out, (name, value)| {
            escape_into(out, name);
            out.push(b':');
            escape_into(out, value);
        });
        for (name, base64) in
            [("original_key_base64", key.base64), ("original_payload_base64", payload.base64)]
        {
            if base64.is_some() {
                text(out, name, base64.as_deref());
            }
        }
        if let OriginalPayload::Omitted { hash, size } = &self.original_payload {
            text(out, "original_payload_hash", Some(hash));
            put(out, format_args!(",\"original_payload_size\":{size}"));
        }
        list(out, "original_headers", *b"[]", &self.original_headers, |out, header| {
            out.extend_from_slice(b"{\"name\":");
            escape_into(out, &header.name);
            let value = BytesField::encode(header.value.as_deref());
            match value.base64 {
                Some(_) => text(out, "value_base64", value.base64.as_deref()),
                None => text(out, "value", value.text.as_deref()),
            }
            out.push(b'}');
        });
        if let Some(root_id) = self.root_id {
            put(out, format_args!(",\"root_id\":\"{root_id}\""));
        }
        out.push(b'}');
    }
}

fn field(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    field(out, name);
    match value {
        Some(value) => escape_into(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: i64) {
    field(out, name);
    write_number(out, value);
}

fn time(out: &mut Vec<u8>, name: &str, value: Option<Timestamp>) {
    field(out, name);
    match value {
        Some(value) => put(out, format_args!("\"{value:.3}\"")),
        None => out.extend_from_slice(b"null"),
    }
}

fn list<T>(
    out: &mut Vec<u8>,
    name: &str,
    [open, close]: [u8; 2],
    values: impl IntoIterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    field(out, name);
    out.push(open);
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(close);
}
