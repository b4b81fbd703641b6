//! Changing one value of a JSON text by its JSON Pointer (RFC 6901). What is not named by the pointer stays byte for byte:
//! order of fields, spaces, and how numbers are written.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::EditError;

/// A value for a place: `/customer_info/email=a@b.example`. A value that is JSON is taken as JSON, any other as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pointer: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pointer, value) = text.split_once('=').ok_or("POINTER=VALUE is needed, such as /total=12.50")?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err("a JSON Pointer begins with a slash, such as /customer_info/email".to_owned());
        }
        let value = match serde_json::from_str::<&RawValue>(value) {
            Ok(json) => json.get().to_owned(),
            Err(_) => serde_json::to_string(value).map_err(|e| e.to_string())?,
        };
        Ok(Self { pointer: pointer.to_owned(), value })
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pointer, self.value)
    }
}

impl Assignment {
    /// The text with the value in its place. The last part of the pointer may be new in an object, or `-` in an array.
    ///
    /// # Errors
    /// [`EditError`] when the text is no JSON, or has no such place.
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let whole: &RawValue = serde_json::from_str(text).map_err(EditError::NotJson)?;
        let none = || EditError::NoSuchPlace { pointer: self.pointer.clone() };
        let mut at = span(text, whole.get());
        let parts: Vec<Cow<'_, str>> = self.pointer.split('/').skip(1).map(unescape).collect();
        for (number, part) in parts.iter().enumerate() {
            let is_last = number + 1 == parts.len();
            match serde_json::from_str(&text[at.clone()]).map_err(EditError::NotJson)? {
                Node::Object(members) => {
                    // Of a key that stands twice the last one counts, as everywhere.
                    match members.iter().rev().find(|(key, _)| key == part) {
                        Some((_, value)) => at = span(text, value.get()),
                        None if is_last => {
                            let key = serde_json::to_string(part).map_err(EditError::NotJson)?;
                            let member = format!("{key}:{}", self.value);
                            return Ok(insert(text, at.end - 1, &member, members.is_empty()));
                        }
                        None => return Err(none()),
                    }
                }
                Node::Array(items) if is_last && part == "-" => {
                    return Ok(insert(text, at.end - 1, &self.value, items.is_empty()));
                }
                Node::Array(items) => {
                    let index = index(part).ok_or_else(none)?;
                    at = span(text, items.get(index).ok_or_else(none)?.get());
                }
                Node::Other => return Err(none()),
            }
        }
        Ok(format!("{}{}{}", &text[..at.start], self.value, &text[at.end..]))
    }
}

/// Puts text before the closing bracket at `at`.
fn insert(text: &str, at: usize, what: &str, is_first: bool) -> String {
    let comma = if is_first { "" } else { "," };
    format!("{}{comma}{what}{}", &text[..at], &text[at..])
}

/// Where a part of a text, borrowed from it, stands in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn unescape(part: &str) -> Cow<'_, str> {
    if part.contains('~') { Cow::Owned(part.replace("~1", "/").replace("~0", "~")) } else { part.into() }
}

/// An array's index as RFC 6901 writes it: no sign, no leading zero.
fn index(part: &str) -> Option<usize> {
    let is_canonical = part == "0" || !part.starts_with(['0', '+']);
    part.parse().ok().filter(|_| is_canonical)
}

/// One level of a JSON text.
enum Node<'a> {
    Object(Vec<(String, &'a RawValue)>),
    Array(Vec<&'a RawValue>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Level;
        impl<'de> Visitor<'de> for Level {
            type Value = Node<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Object(members))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Array(items))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
            fn visit_unit<E>(self) -> Result<Node<'de>, E> {
                Ok(Node::Other)
            }
        }
        deserializer.deserialize_any(Level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_named_place_changes() {
        let text = r#" { "b" : 1.50, "a": {"x":[ 1,2 ], "e":{}, "l":[]}, "a~/b": "é" } "#;
        for (assignment, from, to) in [
            ("/b=2.00", "1.50", "2.00"),
            ("/b=two words", "1.50", "\"two words\""),
            ("/b=\"2\"", "1.50", "\"2\""),
            ("/a/x/1={\"n\": null}", ",2 ", ",{\"n\": null} "),
            ("/a/x/-=3", "2 ]", "2 ,3]"),
            ("/a/l/-=3", "[]", "[3]"),
            ("/a/e/new=a=b", "{}", "{\"new\":\"a=b\"}"),
            ("/new=true", "é\" }", "é\" ,\"new\":true}"),
            ("/a~0~1b=1", "\"é\"", "1"),
        ] {
            let assignment: Assignment = assignment.parse().expect(assignment);
            assert_eq!(assignment.apply(text).expect("a place"), text.replace(from, to), "{assignment}");
        }
        let all: Assignment = "=[]".parse().expect("the whole");
        assert_eq!(all.apply("{}").expect("a place"), "[]");
    }

    #[test]
    fn places_that_are_not_there_are_refused() {
        let text = r#"{"a":[1],"s":"t"}"#;
        for wrong in ["/b/c=1", "/a/1=1", "/a/01=1", "/a/x=1", "/s/x=1", "/a/+0=1"] {
            let assignment: Assignment = wrong.parse().expect(wrong);
            assert!(matches!(assignment.apply(text), Err(EditError::NoSuchPlace { .. })), "{wrong}");
        }
        assert!("no equals sign".parse::<Assignment>().is_err() && "a=1".parse::<Assignment>().is_err());
        let fine: Assignment = "/a=1".parse().expect("fine");
        assert!(matches!(fine.apply("no JSON"), Err(EditError::NotJson(_))));
    }
}
