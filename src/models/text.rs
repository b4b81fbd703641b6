//! Text from outside, made fit for a terminal or an error message: nothing in it moves a cursor, changes a colour or
//! turns the reading direction. For people, not for parsers: a backslash stays as it is, so the original cannot be
//! told from the result; JSON has its own way, in `json`.

use std::borrow::Cow;

/// The bytes as text: `std`'s answer, several times as fast where letters beyond ASCII are among them.
///
/// # Errors
/// As [`str::from_utf8`].
pub fn utf8(bytes: &[u8]) -> Result<&str, std::str::Utf8Error> {
    // Which byte is wrong is told by the slow way alone.
    simdutf8::basic::from_utf8(bytes).or_else(|_| std::str::from_utf8(bytes))
}

/// Whether a character must not reach a terminal or a log line as it is: the C0 and C1 controls, DEL, the bidi and
/// directional format characters, the line separators that JSON allows bare, and the byte order mark.
pub fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}')
}

/// The text with every unsafe character written out: a line break as `\n`, ESC as `\u{1b}`.
///
/// ```
/// use pubsub_kafka::models::safe_text;
///
/// assert_eq!(safe_text("red: \u{1b}[31m\n"), r"red: \u{1b}[31m\n");
/// ```
pub fn safe_text(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push_safe(&mut out, c);
    }
    Cow::Owned(out)
}

fn push_safe(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// The first `max_chars` characters, and `…` in place of the rest.
pub fn shorten(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// Shortened first, then made safe: `max_chars` counts characters of the original.
pub fn safe_short(text: &str, max_chars: usize) -> String {
    safe_text(&shorten(text, max_chars)).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_out_what_a_terminal_would_obey() {
        let table = [
            ("plain, café, 注文", "plain, café, 注文"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{7f}\u{9b}31m", r"\u{7f}\u{9b}31m"),
            ("\u{202e}gnp.exe\u{2069}", r"\u{202e}gnp.exe\u{2069}"),
            ("\u{feff}\u{2028}\u{61c}\u{200f}", r"\u{feff}\u{2028}\u{61c}\u{200f}"),
        ];
        for (text, expected) in table {
            assert_eq!(safe_text(text), expected);
        }
    }

    #[test]
    fn safe_text_is_borrowed() {
        assert!(matches!(safe_text("order-1 \\ \"é\""), Cow::Borrowed(_)));
    }

    #[test]
    fn shortens_by_characters_and_says_so() {
        assert_eq!(shorten("注文番号", 4), "注文番号");
        assert_eq!(shorten("注文番号", 2), "注文…");
        assert_eq!(shorten("", 0), "");
        assert_eq!(safe_short("\n\n\n", 2), r"\n\n…");
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_what_is_text(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in any::<String>()) {
            prop_assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes));
            prop_assert_eq!(utf8(text.as_bytes()), Ok(&*text));
            // Cut anywhere, within a character too.
            let cut = &text.as_bytes()[..text.len() * 2 / 3];
            prop_assert_eq!(utf8(cut), std::str::from_utf8(cut));
        }

        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            prop_assert!(!safe_text(&text).contains(is_unsafe));
        }
    }
}
