//! What goes to the standard output and the standard error. Results are written as they are; messages are made safe for
//! a terminal. A closed pipe is no reason to panic.

use std::io::Write as _;

/// Makes text safe for a terminal, in one line: control characters and what reorders text come out escaped.
pub fn safe_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// C0, DEL, C1, line and paragraph separators, and what changes the direction of text.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Says something on the standard error, in one line.
pub fn complain(message: &str) {
    complain_raw(&safe_text(message));
}

/// Writes a line that is safe already.
pub(crate) fn complain_raw(line: &str) {
    // There is nowhere left to say that the standard error is gone.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Says something on the standard error that has several lines of its own.
pub fn complain_lines(message: &str) {
    let mut stderr = std::io::stderr().lock();
    for line in message.trim_end().lines() {
        drop(writeln!(stderr, "{}", safe_text(line)));
    }
}

/// Prints a text of ours; a reader that has gone away has enough of it.
pub fn print_text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        for (text, expected) in [
            ("grün", "grün"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("a\r\nb\t", "a\\r\\nb\\t"),
            ("\u{9b}\u{7f}", "\\u{9b}\\u{7f}"),
            ("\u{202e}\u{2066}", "\\u{202e}\\u{2066}"),
        ] {
            assert_eq!(safe_text(text), expected);
        }
    }
}
