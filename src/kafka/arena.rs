//! Memory for what is copied out of the client: the bytes of many records share one piece, so that a record costs no
//! allocation of its own, and no other thread has to give one back. A piece lives as long as the last of its records.

use bytes::{Bytes, BytesMut};

/// How much is allocated at once.
const PIECE_BYTES: usize = 64 << 10;
/// Longer than this is on its own: a piece would soon be full of it.
const LONGEST: usize = PIECE_BYTES / 8;

/// What is left of the current piece.
#[derive(Debug, Default)]
pub(super) struct Arena {
    piece: BytesMut,
}

impl Arena {
    /// A copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > LONGEST {
            return Bytes::copy_from_slice(bytes);
        }
        if self.piece.capacity() < bytes.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES);
        }
        self.piece.extend_from_slice(bytes);
        self.piece.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_what_they_were_and_share_a_piece() {
        let mut arena = Arena::default();
        let texts: Vec<Vec<u8>> = (0..1000_usize).map(|n| vec![n as u8; n * 31 % (LONGEST + 50)]).collect();
        let copies: Vec<Bytes> = texts.iter().map(|text| arena.copy(text)).collect();
        assert!(copies.iter().zip(&texts).all(|(copy, text)| copy == text));
        let (a, b) = (arena.copy(b"one"), arena.copy(b"two"));
        let distance = b.as_ptr() as usize - a.as_ptr() as usize;
        assert_eq!(distance, 3);
    }
}
