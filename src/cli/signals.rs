//! The one place that installs signal handlers. The first SIGINT, SIGTERM or SIGHUP cancels a token, so that the work
//! drains; the second ends the program at once, even if nothing in it runs any more. A SIGHUP that the program was started
//! to ignore (nohup) stays ignored, where the system tells (Linux).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio_util::sync::CancellationToken;

/// Lets a write past the file size limit fail with EFBIG, which is handled: without a handler it kills.
///
/// # Errors
/// When the system refuses the handler.
pub fn survive_file_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Installs the handlers. Must be called within a tokio runtime, once.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> io::Result<CancellationToken> {
    // Whoever starts a program with nohup wants it to outlive the terminal.
    let ignored = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| is_ignored(&text, SIGHUP));
    let stopping: &[_] = if ignored { &[SIGINT, SIGTERM] } else { &[SIGINT, SIGTERM, SIGHUP] };

    let armed = Arc::new(AtomicBool::new(false));
    for signal in stopping.iter().copied() {
        let code = 128 + if signal == SIGHUP { SIGTERM } else { signal };
        // In this order: the first signal finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }

    let stop = CancellationToken::new();
    let mut signals = signal_hook_tokio::Signals::new(stopping)?;
    let token = stop.clone();
    tokio::spawn(async move {
        if let Some(signal) = signals.next().await {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
            // First of all: who reads our standard error may have stopped reading, and then saying so takes for ever.
            token.cancel();
            tracing::info!("stopping on {name}; a second one ends at once");
        }
        // The stream stays, so that its handler does.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

/// Whether a process's status, as `/proc` has it, says that a signal is ignored: a bit of a hexadecimal number.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_tells_what_it_ignores() {
        let status =
            |mask: &str| format!("SigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
        for (mask, hangup) in [
            ("0000000000000001", true),
            ("0000000000001001", true),
            ("0000000000001000", false),
            ("x", false),
        ] {
            assert_eq!(is_ignored(&status(mask), SIGHUP), hangup, "{mask}");
        }
        assert!(is_ignored(&status("0000000000004000"), SIGTERM));
        assert!(!is_ignored("", SIGHUP));
    }
}
