//! What a panic says: one line in the logs. Rust's own report goes to the standard error as it is, past the health log,
//! and a panic's message may hold text of a payload.

use std::panic::{self, PanicHookInfo};

use crate::models::safe_short;

/// How much of a panic's message is shown.
const MESSAGE_CHARS: usize = 200;

/// Makes the logs the place where panics are reported. To be called once they are there.
pub(super) fn install() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        error = safe_short(info.payload_as_str().unwrap_or("a panic without a message"), MESSAGE_CHARS),
        place = info.location().map(ToString::to_string),
        thread = thread.name().unwrap_or("unnamed"),
        "a panic, which is a defect of this program",
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_safe_line_of_the_logs() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let before = panic::take_hook();
        install();
        // The hook runs on the thread that panics.
        let ended = std::thread::Builder::new().name("a-worker".to_owned()).spawn(|| {
            tracing::subscriber::with_default(subscriber, || panic!("of\u{1b}[2J\n{}", "x".repeat(1000)));
        });
        let ended = ended.expect("a thread").join();
        panic::set_hook(before);
        assert!(ended.is_err());
        let said = String::from_utf8(kept.0.lock().expect("whole").clone()).expect("UTF-8");
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in ["ERROR", "panics.rs:", "a-worker", "of\\u{1b}[2J\\nxxx"] {
            assert!(said.contains(&part.replace('\\', "\\\\")) || said.contains(part), "{part}: {said}");
        }
        assert!(said.len() < 600, "{said}");
    }
}
