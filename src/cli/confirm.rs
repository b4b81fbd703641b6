//! The question before a change. Without a terminal nobody can answer it, so nothing is changed.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::{RunError, output};

/// Asks whether to go on; `yes` answers it beforehand.
///
/// # Errors
/// [`RunError::Unconfirmed`] when the answer is no, or there is nobody to answer.
pub fn confirm(question: &str, yes: bool) -> Result<(), RunError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(RunError::Unconfirmed {
            what: format!("{question} There is no terminal to answer on: --yes says yes"),
        });
    }
    output::complain(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(RunError::io("read the answer"))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(RunError::Unconfirmed { what: "nothing was changed".to_owned() })
    }
}
