//! Errors folded into causes: what differs from record to record (numbers, ids, quoted values) is left out, so that
//! equal troubles count together. How many causes there are is bounded; the rest counts as others.

use std::collections::HashMap;

/// The most causes that are told apart.
const MAX_CAUSES: u16 = 200;

/// The longest cause, in characters.
const MAX_CHARS: usize = 160;

/// The cause of what has no cause of its own any more.
const OTHERS: &str = "other causes";

/// The causes seen, by number.
#[derive(Default)]
pub(super) struct Causes {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Causes {
    /// The number of an error's cause.
    pub(super) fn number(&mut self, error: &str) -> u16 {
        let cause = fold(error);
        if let Some(number) = self.numbers.get(&cause) {
            return *number;
        }
        let Some(next) = u16::try_from(self.names.len()).ok().filter(|next| *next < MAX_CAUSES) else {
            return MAX_CAUSES;
        };
        self.names.push(cause.clone());
        self.numbers.insert(cause, next);
        next
    }

    /// A cause by its number.
    pub(super) fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or(OTHERS, String::as_str)
    }
}

/// The error with `#` for every word that has a digit in it and `"…"` for every quoted text.
pub(super) fn fold(error: &str) -> String {
    let mut folded = String::new();
    let mut kept = 0;
    let mut rest = error;
    while let Some(c) = rest.chars().next() {
        if kept >= MAX_CHARS {
            folded.push('…');
            break;
        }
        kept += 1;
        let taken = match c {
            '"' => match quoted(rest) {
                Some(len) => {
                    folded.push_str("\"…\"");
                    len
                }
                None => push(&mut folded, c),
            },
            _ if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, _) = rest.split_at(end);
                if word.contains(|c: char| c.is_ascii_digit()) {
                    folded.push('#');
                } else {
                    folded.push_str(word);
                    kept += word.chars().count() - 1;
                }
                end
            }
            _ => push(&mut folded, c),
        };
        rest = rest.split_at(taken).1;
    }
    folded
}

fn push(folded: &mut String, c: char) -> usize {
    folded.push(c);
    c.len_utf8()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-' || c == '.'
}

/// The length of the quoted text at the beginning, its quotes included.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_record_to_record_is_left_out() {
        for (error, cause) in [
            (
                "/items/2/item_id must not be blank, found \" \"",
                "/items/#/item_id must not be blank, found \"…\"",
            ),
            ("total must be 7.70, found -12.5e3", "total must be #, found #"),
            ("order 67e55044-10b1-426f-9247-bb680e5fe0c8 is late", "order # is late"),
            ("found \"a\\\"b\" and \"open", "found \"…\" and \"open"),
            ("the target answered 503 Service Unavailable", "the target answered # Service Unavailable"),
            ("naïve café, 注文", "naïve café, 注文"),
            ("", ""),
        ] {
            assert_eq!(fold(error), cause);
        }
        assert!(fold(&"x ".repeat(1_000)).chars().count() <= MAX_CHARS + 1);
    }

    #[test]
    fn causes_are_bounded() {
        let mut causes = Causes::default();
        let letters = |n: u32| format!("e{}", "x".repeat(n as usize));
        let first = causes.number(&letters(0));
        for n in 0..1_000 {
            causes.number(&letters(n));
        }
        assert_eq!(causes.number(&letters(0)), first);
        let last = causes.number("something new");
        assert_eq!(causes.name(last), OTHERS);
        assert_eq!(causes.names.len(), usize::from(MAX_CAUSES));
    }
}
