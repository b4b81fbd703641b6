//! A payload for people: JSON indented, as its writer wrote it (order of the fields, duplicates, digits); other text by
//! lines; bytes as a hex dump. Nothing in it can do anything to a terminal.

use serde_json::value::RawValue;

use crate::models::safe_text;

/// How much of a payload is shown, in bytes.
const SHOWN_BYTES: usize = 64 << 10;
/// How much of one that is not text.
const DUMPED_BYTES: usize = 1 << 10;
/// Deeper levels are not indented any further: depth costs the writer a byte, and must not cost the reader a line.
const INDENTED_LEVELS: usize = 32;

/// The payload in lines, and how many of its bytes were left out.
pub fn pretty(payload: &[u8]) -> (String, usize) {
    let Ok(text) = std::str::from_utf8(payload) else {
        let shown = payload.len().min(DUMPED_BYTES);
        return (hex_dump(&payload[..shown]), payload.len() - shown);
    };
    let shown = text.floor_char_boundary(SHOWN_BYTES);
    let out = match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => indent(&text[..shown]),
        Err(_) => text[..shown].lines().map(safe_text).collect::<Vec<_>>().join("\n"),
    };
    (out, text.len() - shown)
}

/// Indents JSON, or the beginning of one.
fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.chars().peekable();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                text.push('"');
                while let Some(c) = rest.next() {
                    text.push(c);
                    match c {
                        '\\' => text.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                out.push_str(&safe_text(&text));
                text.clear();
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(INDENTED_LEVELS)));
}

fn hex_dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (row, chunk) in bytes.chunks(16).enumerate() {
        if row > 0 {
            out.push('\n');
        }
        out.push_str(&format!("{:08x} ", row * 16));
        for at in 0..16 {
            match chunk.get(at) {
                Some(byte) => out.push_str(&format!(" {byte:02x}")),
                None => out.push_str("   "),
            }
        }
        out.push_str("  ");
        out.extend(chunk.iter().map(|&b| if (0x20..0x7f).contains(&b) { char::from(b) } else { '.' }));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::is_unsafe;

    #[test]
    fn json_is_indented_as_it_was_written() {
        let (out, left) = pretty(br#"{"b":1.50,"a":[],"b":{"c":[1,"x,{\"y"],"d":{ }}}"#);
        let expected = "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      1,\n      \"x,{\\\"y\"\n    ],\n    \"d\": {}\n  }\n}";
        assert_eq!((out.as_str(), left), (expected, 0));
    }

    #[test]
    fn other_text_keeps_its_lines_and_loses_its_escapes() {
        assert_eq!(pretty(b"one\ntwo \x1b[31m red").0, "one\ntwo \\u{1b}[31m red");
    }

    #[test]
    fn bytes_are_dumped() {
        let (out, left) = pretty(&[0xff; 2000]);
        assert!(out.starts_with("00000000  ff ff"), "{out}");
        assert_eq!((out.lines().count(), left), (64, 2000 - DUMPED_BYTES));
        assert_eq!(pretty(b"\xffA\x1b").0, format!("00000000  ff 41 1b{}  .A.", "   ".repeat(13)));
    }

    #[test]
    fn depth_is_not_paid_for_twice() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(pretty(deep.as_bytes()).0.len() < 60_000 * (2 * INDENTED_LEVELS + 2));
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(bytes in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            for payload in [&bytes[..], text.as_bytes(), json.as_bytes()] {
                let (out, _) = pretty(payload);
                prop_assert!(!out.contains(|c| c != '\n' && is_unsafe(c)));
            }
        }
    }
}
