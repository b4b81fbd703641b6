//! JSON text that is safe to print: strings escape, besides what JSON asks for, every character that a terminal would
//! obey or that turns the reading direction (see [`is_unsafe`](super::is_unsafe)). To a parser it is the same string.
//!
//! Two ways in, one set of rules: [`SafeFormatter`] for whatever serializes, [`escape_into`] for one long string in a
//! hurry.

use std::{fmt, io};

use serde::Serialize;
use serde_json::ser::Formatter;

use super::wide;

/// What a byte of UTF-8 text means to an escaping writer.
mod class {
    /// Written as it is.
    pub const PLAIN: u8 = 0;
    /// Written behind a backslash. The value is the number of bytes that it adds.
    pub const QUOTED: u8 = 1;
    /// A control character of ASCII.
    pub const CONTROL: u8 = 2;
    /// The first byte of a longer character that may have to be escaped.
    pub const LEAD: u8 = 3;
}

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [class::PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = class::CONTROL;
        byte += 1;
    }
    table[0x7f] = class::CONTROL;
    table[b'"' as usize] = class::QUOTED;
    table[b'\\' as usize] = class::QUOTED;
    table[0xc2] = class::LEAD; // U+0080–U+00BF
    table[0xd8] = class::LEAD; // U+0600–U+063F
    table[0xe2] = class::LEAD; // U+2000–U+2FFF
    table[0xef] = class::LEAD; // U+F000–U+FFFF
    table
}

fn class_of(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// The character at the beginning of `bytes` and its length, if it is unsafe and longer than a byte.
fn unsafe_char(bytes: &[u8]) -> Option<(u16, usize)> {
    let code = |lead: u8, rest: &[u8]| {
        rest.iter().fold(u16::from(lead), |code, byte| (code << 6) | u16::from(byte & 0x3f))
    };
    match *bytes {
        [0xc2, b @ 0x80..=0x9f, ..] => Some((code(0x02, &[b]), 2)),
        [0xd8, b @ 0x9c, ..] => Some((code(0x18, &[b]), 2)),
        [0xe2, b @ 0x80, c @ (0x8e | 0x8f | 0xa8..=0xae), ..] => Some((code(0x02, &[b, c]), 3)),
        [0xe2, b @ 0x81, c @ 0xa6..=0xa9, ..] => Some((code(0x02, &[b, c]), 3)),
        [0xef, b @ 0xbb, c @ 0xbf, ..] => Some((code(0x0f, &[b, c]), 3)),
        _ => None,
    }
}

/// The longest that one character becomes: `\u001b`.
const LONGEST: usize = 6;

fn hex_escape(code: u16) -> [u8; LONGEST] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| DIGITS[usize::from(code >> shift & 0xf)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// The escape of an ASCII control character and its length, the short form where JSON has one.
fn control_escape(byte: u8) -> ([u8; LONGEST], usize) {
    let short = |letter: u8| ([b'\\', letter, 0, 0, 0, 0], 2);
    match byte {
        0x08 => short(b'b'),
        b'\t' => short(b't'),
        b'\n' => short(b'n'),
        0x0c => short(b'f'),
        b'\r' => short(b'r'),
        _ => (hex_escape(u16::from(byte)), LONGEST),
    }
}

/// Writes compact JSON with safe strings. Raw values are written as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct SafeFormatter;

impl Formatter for SafeFormatter {
    /// Called with what JSON itself leaves as it is, so quotes and C0 controls have been dealt with.
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment.as_bytes();
        let mut at = 0;
        while let Some(&byte) = rest.get(at) {
            let found = match class_of(byte) {
                class::CONTROL => Some((u16::from(byte), 1)),
                class::LEAD => unsafe_char(&rest[at..]),
                _ => None,
            };
            let Some((code, len)) = found else {
                at += 1;
                continue;
            };
            writer.write_all(&rest[..at])?;
            writer.write_all(&hex_escape(code))?;
            rest = &rest[at + len..];
            at = 0;
        }
        writer.write_all(rest)
    }
}

/// Appends `value` to `out` as compact JSON with safe strings.
///
/// # Errors
/// Whatever the value's `Serialize` refuses, such as a map whose keys are no strings. `out` is left as it was.
pub fn write_safe<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, SafeFormatter);
    let result = value.serialize(&mut serializer);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// `value` as compact JSON with safe strings.
///
/// # Errors
/// As [`write_safe`].
pub fn to_safe_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(256);
    write_safe(&mut out, value)?;
    Ok(out)
}

/// `value` as compact JSON with safe strings.
///
/// # Errors
/// As [`write_safe`].
///
/// ```
/// use pubsub_kafka::models::to_safe_string;
///
/// assert_eq!(to_safe_string("\u{1b}[31m\u{202e}")?, r#""\u001b[31m\u202e""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_safe_string<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    String::from_utf8(to_safe_vec(value)?).map_err(serde::ser::Error::custom)
}

/// Appends formatted text.
pub(crate) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    drop(io::Write::write_fmt(out, text));
}

/// Appends a number; the formatting machinery costs several times as much.
pub(crate) fn write_number(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    // The digits, from the last one on; an i64 has 19 at most.
    let (mut digits, mut at, mut rest) = ([0; 20], 20, value.unsigned_abs());
    loop {
        at -= 1;
        // One digit.
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The bytes that are looked at in one step.
const BLOCK: usize = 8;

/// What one step can write at most: a block of control characters, or a character that ends behind its block.
const BLOCK_ROOM: usize = BLOCK * LONGEST;

/// Appends `text` as one quoted, safely escaped JSON string; the same bytes as [`write_safe`] would write.
///
/// The audit log escapes every payload, and a payload of JSON is full of quotes. So the output is written by index
/// into room that was made before (a `push` for each piece costs more than the piece), eight bytes at a time.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    escape_utf8_into(out, text.as_bytes());
}

/// [`escape_into`] for bytes that are known to be UTF-8, so that nobody has to look at them once more. What becomes of
/// others is no text either.
pub(crate) fn escape_utf8_into(out: &mut Vec<u8>, bytes: &[u8]) {
    escape_with(wide::escape, out, bytes);
}

/// `wide` may take the beginning of what is left: how much it has read and written, which may be nothing.
#[inline]
fn escape_with(wide: impl Fn(&mut [u8], &[u8]) -> (usize, usize), out: &mut Vec<u8>, bytes: &[u8]) {
    let mut pos = out.len() + 1;
    // A payload grows by about a fifth; more room is made when it is needed.
    out.resize(pos + bytes.len() + bytes.len() / 4 + BLOCK_ROOM, b'"');

    let mut at = 0;
    while let Some(rest) = bytes.get(at..)
        && !rest.is_empty()
    {
        if out.len() < pos + BLOCK_ROOM {
            out.resize(pos + rest.len() + rest.len() / 2 + 2 * BLOCK_ROOM, b'"');
        }
        let Some(room) = out.get_mut(pos..) else { break };
        let (read, written) = wide(room, rest);
        if read > 0 {
            at += read;
            pos += written;
            continue;
        }
        let Some(room) = room.first_chunk_mut() else { break };
        let (read, written) = match rest.first_chunk() {
            Some(block) => escape_block(room, block, rest),
            None => escape_bytes(room, rest, rest),
        };
        at += read;
        pos += written;
    }
    out.truncate(pos);
    out.push(b'"');
}

/// Escapes one block; says how many bytes were read and written.
///
/// The eight bytes are looked at side by side, in one word: with the top bits free, adding to each byte what lifts
/// the wanted ones to 0x80 marks them. Behind each quote the rest of the word is written again, one byte further on.
#[inline]
fn escape_block(room: &mut [u8; BLOCK_ROOM], block: &[u8; BLOCK], rest: &[u8]) -> (usize, usize) {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; BLOCK])
    }
    const TOP: u64 = all(0x80);
    let word = u64::from_le_bytes(*block);
    let not_printable = word | word.wrapping_add(all(0x01)) | !word.wrapping_add(all(0x60));
    if not_printable & TOP != 0 {
        return escape_bytes(room, block, rest);
    }
    let other_than = |byte: u8| (word ^ all(byte)).wrapping_add(all(0x7f));
    let mut quotes = !(other_than(b'"') & other_than(b'\\')) & TOP;

    room[..BLOCK].copy_from_slice(&word.to_le_bytes());
    let mut added = 0;
    while quotes != 0 {
        let at = quotes.trailing_zeros() as usize / 8;
        // At most 7 + 7; the mask tells the compiler so.
        let to = (at + added) & 15;
        room[to] = b'\\';
        room[to + 1..to + 1 + BLOCK].copy_from_slice(&(word >> (at * 8)).to_le_bytes());
        added += 1;
        quotes &= quotes - 1;
    }
    (BLOCK, BLOCK + added)
}

/// Escapes `piece`, the beginning of `rest`, byte by byte; stops behind the first character that is neither plain nor
/// a quote.
#[inline]
fn escape_bytes(room: &mut [u8; BLOCK_ROOM], piece: &[u8], rest: &[u8]) -> (usize, usize) {
    let mut written = 0;
    for (read, &byte) in piece.iter().enumerate() {
        let class = class_of(byte);
        if class <= class::QUOTED {
            room[written] = b'\\';
            written += usize::from(class);
            room[written] = byte;
            written += 1;
            continue;
        }
        let (escape, taken, len) = if class == class::CONTROL {
            let (escape, len) = control_escape(byte);
            (escape, 1, len)
        } else if let Some((code, taken)) = unsafe_char(&rest[read..]) {
            (hex_escape(code), taken, LONGEST)
        } else {
            room[written] = byte;
            written += 1;
            continue;
        };
        room[written..written + len].copy_from_slice(&escape[..len]);
        return (read + taken, written + len);
    }
    (piece.len(), written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::is_unsafe;

    fn escaped(text: &str) -> String {
        let mut out = b"before ".to_vec();
        escape_into(&mut out, text);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        let table = [
            ("", r#""""#),
            ("plain / café 注文 😀", r#""plain / café 注文 😀""#),
            ("\"\\", r#""\"\\""#),
            ("\u{8}\t\n\u{c}\r", r#""\b\t\n\f\r""#),
            ("\0\u{1b}\u{1f}\u{7f}", r#""\u0000\u001b\u001f\u007f""#),
            ("\u{80}\u{9b}\u{9f}\u{a0}", "\"\\u0080\\u009b\\u009f\u{a0}\""),
            ("\u{61c}\u{61d}", "\"\\u061c\u{61d}\""),
            ("\u{200d}\u{200e}\u{200f}\u{2010}", "\"\u{200d}\\u200e\\u200f\u{2010}\""),
            (
                "\u{2027}\u{2028}\u{2029}\u{202a}\u{202e}\u{202f}",
                "\"\u{2027}\\u2028\\u2029\\u202a\\u202e\u{202f}\"",
            ),
            ("\u{2065}\u{2066}\u{2069}\u{206a}", "\"\u{2065}\\u2066\\u2069\u{206a}\""),
            ("\u{fefe}\u{feff}\u{ff00}", "\"\u{fefe}\\ufeff\u{ff00}\""),
        ];
        for (text, expected) in table {
            assert_eq!(escaped(text), expected);
            assert_eq!(to_safe_string(text).unwrap(), expected);
        }
    }

    #[test]
    fn every_character_comes_back_and_the_unsafe_ones_are_escaped() {
        for c in ('\0'..=char::MAX).filter(|c| *c < '\u{20000}' || *c > '\u{10fff0}') {
            let text = c.to_string();
            let json = escaped(&text);
            assert_eq!(json.contains(r"\u") || json.len() == 4 && c.is_control(), is_unsafe(c), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for value in [0, 7, -1, 10, 1_234_567_890, i64::MAX, i64::MIN] {
            let mut out = b":".to_vec();
            write_number(&mut out, value);
            assert_eq!(out, format!(":{value}").into_bytes());
        }
    }

    #[test]
    fn grows_where_everything_is_escaped() {
        for text in ["\u{1b}".repeat(10_000), "\u{202e}".repeat(10_000), "\"".repeat(10_000)] {
            assert_eq!(serde_json::from_str::<String>(&escaped(&text)).unwrap(), text);
        }
    }

    #[test]
    fn keys_and_nested_strings_are_safe_and_raw_values_untouched() {
        let raw = serde_json::value::RawValue::from_string("[ 1.50,\"\u{7f}\"]".to_owned()).unwrap();
        let value = [std::collections::BTreeMap::from([("k\u{9b}", raw)])];
        assert_eq!(to_safe_string(&value).unwrap(), "[{\"k\\u009b\":[ 1.50,\"\u{7f}\"]}]");
    }

    #[test]
    fn a_value_that_cannot_be_written_leaves_nothing_behind() {
        let mut out = b"line".to_vec();
        let bad = (1, std::collections::BTreeMap::from([((), 1)]));
        assert!(write_safe(&mut out, &bad).is_err());
        assert_eq!(out, b"line");
    }

    /// Text with many characters that matter.
    fn dense() -> impl Strategy<Value = String> {
        let c = prop_oneof![
            4 => prop::char::range(' ', '~'),
            2 => prop::sample::select(vec!['"', '\\', '\n', '\u{7f}', '\u{1b}', '\0']),
            2 => prop::sample::select(vec!['\u{9b}', '\u{a0}', '\u{61c}', '\u{202e}', '\u{2028}', '\u{feff}', '\u{ffff}']),
            1 => any::<char>(),
        ];
        prop_oneof![
            prop::collection::vec(c, 0..80).prop_map(String::from_iter),
            // Whole blocks of what is plain or quoted.
            ("[a-z\"\\\\é]{0,300}", any::<char>(), "[ -~]{0,200}").prop_map(|(a, c, b)| format!("{a}{c}{b}")),
        ]
    }

    proptest! {
        #[test]
        fn all_ways_write_the_same_and_any_parser_reads_the_text_back(text in dense()) {
            let json = escaped(&text);
            prop_assert_eq!(&json, &to_safe_string(&text).unwrap());
            let mut narrow = Vec::new();
            escape_with(|_, _| (0, 0), &mut narrow, text.as_bytes());
            prop_assert_eq!(json.as_bytes(), &narrow);
            prop_assert!(!json.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
