//! A journal's head as it stands in Kafka: the hash of a checkpoint under the key `group/file_id`, in a compacted topic, so
//! that a journal that was cut or rolled back is noticed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Place, hex};

/// The compacted topic that holds the heads of checkpoints.
pub const HEADS_TOPIC: &str = "orders-audit-heads";

/// The head of one journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The journal's id.
    pub file_id: Uuid,
    /// Whose journal it is.
    pub consumer_group: String,
    /// The number of the segment that the line is in.
    pub segment: u64,
    /// The line's number, from 1, over all segments.
    pub lines: u64,
    /// Its hash, in hexadecimal digits.
    pub head: String,
}

impl Head {
    /// Where a group's journal stands.
    pub fn new(group: &str, file_id: Uuid, place: Place) -> Self {
        Self {
            file_id,
            consumer_group: group.to_owned(),
            segment: place.segment,
            lines: place.lines,
            head: hex(&place.head),
        }
    }

    /// The key of a journal's head.
    pub fn key(group: &str, file_id: Uuid) -> String {
        format!("{group}/{file_id}")
    }

    /// Whose head a key is of; `None` for another group's, and for what is none.
    pub fn file_of_key(group: &str, key: &[u8]) -> Option<Uuid> {
        std::str::from_utf8(key).ok()?.strip_prefix(group)?.strip_prefix('/')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_for_its_group_alone() {
        let id = Uuid::from_u128(7);
        assert_eq!(Head::file_of_key("a/b", Head::key("a/b", id).as_bytes()), Some(id));
        for (group, key) in [("a", Head::key("a/b", id)), ("b", Head::key("a", id)), ("a", "a/7".to_owned())]
        {
            assert_eq!(Head::file_of_key(group, key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn a_head_is_written_as_documented() {
        let place = Place { segment: 2, lines: 9, head: [0xab; 32] };
        let head = Head::new("g", Uuid::from_u128(7), place);
        let text = serde_json::to_string(&head).expect("JSON");
        let expected = format!(
            "{{\"file_id\":\"00000000-0000-0000-0000-000000000007\",\"consumer_group\":\"g\",\"segment\":2,\"lines\":9,\"head\":\"{}\"}}",
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Head>(&text).expect("read"), head);
    }
}
