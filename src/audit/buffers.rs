//! The buffers that lines are written into, used again: a buffer of this size that is made and thrown away costs the
//! system's zeroed pages each time, and leaves the heap in pieces.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Hashing, Lines};
use crate::config::AuditPayload;

/// What a buffer holds before it goes to the writer, in bytes.
const BUFFER_BYTES: usize = 256 << 10;
/// How many emptied buffers are kept.
const SPARE: usize = 16;
/// Fewer bytes than this get a buffer of their own size: little is written, and many may wait for one sync.
const SMALL_BYTES: usize = 16 << 10;

/// Emptied buffers, shared by those who fill them and the writer, which gives them back.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    hashing: Hashing,
    payload: AuditPayload,
    spare: Arc<Mutex<Vec<Lines>>>,
}

impl Buffers {
    /// None yet, for lines of this form.
    pub(super) fn new(hashing: Hashing, payload: AuditPayload) -> Self {
        Self { hashing, payload, spare: Arc::default() }
    }

    /// An empty buffer for a line of about `first` bytes, and others after it, of about `all` bytes together.
    pub(super) fn take(&self, first: usize, all: usize) -> Lines {
        let sized = |bytes| {
            let mut lines = Lines::new(self.hashing).carrying(self.payload);
            lines.bytes = Vec::with_capacity(bytes);
            lines
        };
        if all < SMALL_BYTES {
            return sized(all);
        }
        if first > BUFFER_BYTES {
            return sized(first);
        }
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(|| sized(BUFFER_BYTES))
    }

    /// Takes a buffer back. One that grew for a long line, or that was small, is not worth its memory.
    pub(super) fn give_back(&self, mut lines: Lines) {
        if !(BUFFER_BYTES..=BUFFER_BYTES * 5 / 4).contains(&lines.bytes.capacity()) {
            return;
        }
        lines.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffer_comes_back_empty_and_others_do_not() {
        let buffers = Buffers::new(Hashing::default(), AuditPayload::Full);
        let mut lines = buffers.take(100, SMALL_BYTES);
        lines.push_with(|out| out.extend_from_slice(b"a line"));
        let at = lines.bytes.as_ptr();
        buffers.give_back(lines);
        let again = buffers.take(100, BUFFER_BYTES);
        assert!(again.is_empty() && again.size_bytes() == 0);
        assert_eq!(again.bytes.as_ptr(), at);

        let mut long = buffers.take(100, BUFFER_BYTES);
        long.push_with(|out| out.resize(4 * BUFFER_BYTES, b'x'));
        buffers.give_back(long);
        buffers.give_back(buffers.take(100, 200));
        buffers.give_back(buffers.take(2 * BUFFER_BYTES, 3 * BUFFER_BYTES));
        assert!(buffers.spare.lock().expect("no panic").is_empty());
    }
}
