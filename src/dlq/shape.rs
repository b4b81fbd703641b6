//! The shape of an error: its text without what differs from record to record (numbers, ids, quoted values), so that the
//! same cause counts as one. For people: two causes may fold into one, and nothing is decided by it.

/// How much of an error is looked at, in bytes.
const SHAPED_BYTES: usize = 400;

/// Folds an error.
pub(super) fn shape(error: &str) -> String {
    let text = &error[..error.floor_char_boundary(SHAPED_BYTES)];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let taken = if matches!(c, '"' | '\'' | '`') && !before.is_alphanumeric() {
            quoted(rest, c, &mut out)
        } else if is_sign(rest, before) || c.is_ascii_digit() && !before.is_alphanumeric() {
            number(rest, &mut out)
        } else if is_word(c) {
            word(rest, &mut out)
        } else {
            out.push(c);
            c.len_utf8()
        };
        let (done, left) = rest.split_at(taken);
        before = done.chars().next_back().unwrap_or(' ');
        rest = left;
    }
    if text.len() < error.len() {
        out.push('…');
    }
    out
}

/// A quoted value becomes `'…'`; a quote without its end stands for itself.
fn quoted(rest: &str, quote: char, out: &mut String) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            out.extend([quote, '…', quote]);
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    out.push(quote);
    quote.len_utf8()
}

fn is_sign(rest: &str, before: char) -> bool {
    let mut chars = rest.chars();
    matches!(chars.next(), Some('-' | '+'))
        && chars.next().is_some_and(|c| c.is_ascii_digit())
        && !is_word(before)
}

/// A number, with its sign, its fraction, and whatever joins several of them (an address, a time); a word that only
/// begins with digits is a word.
fn number(rest: &str, out: &mut String) -> usize {
    if let Some(end) = time(rest) {
        out.push_str("<time>");
        return end;
    }
    let bytes = rest.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = usize::from(!digit(0));
    let start = end;
    while digit(end) || matches!(bytes.get(end), Some(b'.' | b',' | b':')) && digit(end + 1) {
        end += 1;
    }
    match rest[end..].chars().next() {
        Some(c) if is_word(c) => start + word(&rest[start..], out),
        _ => {
            out.push('#');
            end
        }
    }
}

/// Where a date, or a point in time after RFC 3339, ends.
fn time(rest: &str) -> Option<usize> {
    let date = rest.as_bytes().get(..10)?;
    let is_date = date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let part = |c: char| c.is_ascii_digit() || matches!(c, 'T' | 'Z' | ':' | '.' | '+' | '-');
    let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
    is_date.then(|| rest[..end].trim_end_matches(['T', ':', '.', '+', '-']).len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// A word keeps its letters; one that is an id is replaced as a whole.
fn word(rest: &str, out: &mut String) -> usize {
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    if !word.bytes().any(|b| b.is_ascii_digit()) {
        out.push_str(word);
    } else if word.len() == 36 && uuid::Uuid::try_parse(word).is_ok() {
        out.push_str("<uuid>");
    } else if is_id(word) {
        out.push_str("<id>");
    } else {
        let mut in_number = false;
        for c in word.chars() {
            let digit = c.is_ascii_digit();
            if !digit {
                out.push(c);
            } else if !in_number {
                out.push('#');
            }
            in_number = digit;
        }
    }
    end
}

/// Digits in more than one place between letters, or long hexadecimal: no word of a language.
fn is_id(word: &str) -> bool {
    let long_hex = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut numbers = 0;
    let mut last = '-';
    let mut letters_since = true;
    for c in word.chars() {
        if c.is_ascii_digit() && !last.is_ascii_digit() && letters_since {
            numbers += 1;
            letters_since = false;
        }
        letters_since |= c.is_alphabetic();
        last = c;
    }
    long_hex && word.bytes().any(|b| !b.is_ascii_digit()) || numbers > 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_record_to_record_is_folded() {
        let table = [
            (
                "/items/0/quantity must be greater than 0, found -3",
                "/items/#/quantity must be greater than #, found #",
            ),
            ("total is 12.50, not 1,299.99", "total is #, not #"),
            ("connect to 10.0.0.12:8080 refused", "connect to # refused"),
            ("order o-1234 of customer c_77", "order o-# of customer c_#"),
            ("no order 2d3e68ed-6f2c-5005-a1b5-9f37d8781ae8", "no order <uuid>"),
            ("object at 7f3a9c0012ab", "object at <id>"),
            ("sha deadbeef1", "sha <id>"),
            ("key a1b2c3", "key <id>"),
            ("found \"a \\\" b\", not 'c'", "found \"…\", not '…'"),
            ("can't read `x`", "can't read `…`"),
            ("a quote ' without its end", "a quote ' without its end"),
            ("timed out after 5000ms", "timed out after #ms"),
            (
                "status 503 from https://shop.example/v2/orders",
                "status # from https://shop.example/v#/orders",
            ),
            ("not JSON: expected value at line 1 column 17", "not JSON: expected value at line # column #"),
            ("2026-03-01T12:34:56.789+01:00: late since 2026-03-01.", "<time>: late since <time>."),
            ("größe 3 é", "größe # é"),
            ("", ""),
            ("-", "-"),
            ("x-1", "x-#"),
            ("a - 1", "a - #"),
        ];
        for (error, expected) in table {
            assert_eq!(shape(error), expected, "{error}");
        }
    }

    #[test]
    fn a_long_error_is_cut() {
        let long = "é".repeat(1000);
        assert_eq!(shape(&long).chars().count(), SHAPED_BYTES / 2 + 1);
    }

    proptest! {
        #[test]
        fn it_takes_any_text_and_leaves_no_digits_alone(text in any::<String>()) {
            shape(&text);
        }

        #[test]
        fn the_number_does_not_matter(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(shape(&format!("found {a}")), shape(&format!("found {b}")));
        }
    }
}
