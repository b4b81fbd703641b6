//! How dead letters and records stand in JSON, wherever the tool writes them: bytes as text, or in Base64 beside it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::letter::{Dialect, Letter};
use super::status::State;
use crate::failure::Category;
use crate::models::{BytesField, BytesFieldError, format_timestamp};
use crate::record::Header;

/// A key; `key_base64` instead where it is not UTF-8.
#[derive(Serialize)]
pub(super) struct Key<'a> {
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
}

impl<'a> Key<'a> {
    pub(super) fn of(key: Option<&'a [u8]>) -> Self {
        let BytesField { text, base64 } = BytesField::encode(key);
        Self { key: text, key_base64: base64 }
    }
}

/// What is said of every dead letter, in a list as in full.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    id: Uuid,
    reason: Category,
    status: State,
    dialect: Dialect,
    timestamp: String,
    original_topic: Option<&'a str>,
    original_partition: Option<i32>,
    original_offset: Option<i64>,
    #[serde(flatten)]
    key: Key<'a>,
    error: &'a str,
    exception: Option<&'a str>,
    retry_count: u32,
    replay_count: u32,
    root_id: Uuid,
    consumer_group: Option<&'a str>,
    dlq_partition: i32,
    dlq_offset: i64,
}

impl<'a> Row<'a> {
    /// A dead letter that stands so.
    pub(super) fn of(letter: &'a Letter, status: State) -> Self {
        let origin = letter.origin.as_ref();
        Self {
            id: letter.id,
            reason: letter.reason,
            status,
            dialect: letter.dialect,
            timestamp: format_timestamp(letter.failed_at),
            original_topic: origin.map(|origin| &*origin.topic),
            original_partition: origin.map(|origin| origin.partition),
            original_offset: origin.map(|origin| origin.offset),
            key: Key::of(letter.key.as_deref()),
            error: &letter.error,
            exception: letter.exception.as_deref(),
            retry_count: letter.retry_count,
            replay_count: letter.replay_count,
            root_id: letter.root_id,
            consumer_group: letter.group.as_deref(),
            dlq_partition: letter.dlq_partition,
            dlq_offset: letter.dlq_offset,
        }
    }
}

/// A header: `{"name", "value"}`, the value null for Kafka's null, or `{"name", "value_base64"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum HeaderField<'a> {
    Base64 {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        value_base64: Cow<'a, str>,
    },
    Text {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        value: Option<Cow<'a, str>>,
    },
}

impl<'a> From<&'a Header> for HeaderField<'a> {
    fn from(header: &'a Header) -> Self {
        let name = Cow::Borrowed(&*header.name);
        match BytesField::encode(header.value.as_deref()) {
            BytesField { base64: Some(value_base64), .. } => Self::Base64 { name, value_base64 },
            BytesField { text, .. } => Self::Text { name, value: text },
        }
    }
}

impl TryFrom<HeaderField<'_>> for Header {
    type Error = BytesFieldError;

    fn try_from(field: HeaderField<'_>) -> Result<Self, BytesFieldError> {
        let (name, field) = match field {
            HeaderField::Base64 { name, value_base64 } => {
                (name, BytesField { text: None, base64: Some(value_base64) })
            }
            HeaderField::Text { name, value } => (name, BytesField { text: value, base64: None }),
        };
        Ok(Self { name: name.into_owned().into(), value: field.decode()?.map(Into::into) })
    }
}
