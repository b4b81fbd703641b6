//! What goes to the standard output and the standard error. Results are written as they are; messages are made safe for
//! a terminal. A closed pipe is no reason to panic.

use std::io::Write as _;

use crate::models::safe_text;

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
