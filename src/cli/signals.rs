//! The one place that installs signal handlers. The first SIGINT, SIGTERM or SIGHUP cancels a token, so that the work
//! drains; the second ends the program at once, even if nothing in it runs any more.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio_util::sync::CancellationToken;

/// Installs the handlers. Must be called within a tokio runtime, once.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> io::Result<CancellationToken> {
    // Without a handler a write past the file size limit kills; with one it fails with EFBIG, which is handled.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;

    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let code = 128 + if signal == SIGHUP { SIGTERM } else { signal };
        // In this order: the first signal finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }

    let stop = CancellationToken::new();
    let mut signals = signal_hook_tokio::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
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
