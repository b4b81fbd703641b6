//! Memory for what is copied out of the client: at a high rate, the bytes of many records share one piece, so that a record
//! costs no allocation of its own, and no other thread has to give one back. A piece lives as long as the last of its
//! records, so only records that follow each other in one partition share one: where they have to wait, they wait
//! together, and hold no more than they count for, but for one piece.

use bytes::{Bytes, BytesMut};

/// How much is allocated at once.
const PIECE_BYTES: usize = 64 << 10;
/// Longer than this is on its own: a piece would soon be full of it.
const LONGEST: usize = PIECE_BYTES / 8;
/// So many records of one partition in a row are each on their own: perhaps there are no more.
const ALONE: usize = 8;

/// What is left of the current piece.
#[derive(Debug, Default)]
pub(super) struct Arena {
    piece: BytesMut,
    partition: i32,
    /// How many records of the partition there were in a row.
    row: usize,
}

impl Arena {
    /// The next copies are of a record of this partition.
    pub(super) fn begin(&mut self, partition: i32) {
        if self.partition == partition {
            self.row += 1;
        } else {
            *self = Self { partition, ..Self::default() };
        }
    }

    /// A copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.row < ALONE || bytes.len() > LONGEST {
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

    /// Whether two copies that follow each other lie side by side.
    fn shares(arena: &mut Arena) -> bool {
        let (a, b) = (arena.copy(b"one"), arena.copy(b"two"));
        b.as_ptr() as usize == a.as_ptr() as usize + 3
    }

    #[test]
    fn copies_stay_what_they_were_and_share_a_piece_where_many_follow_each_other() {
        let mut arena = Arena::default();
        let texts: Vec<Vec<u8>> = (0..1000_usize).map(|n| vec![n as u8; n * 31 % (LONGEST + 50)]).collect();
        let mut copy = |text: &Vec<u8>| {
            arena.begin(0);
            arena.copy(text)
        };
        let copies: Vec<Bytes> = texts.iter().map(&mut copy).collect();
        assert!(copies.iter().zip(&texts).all(|(copy, text)| copy == text));
        assert!(shares(&mut arena));
    }

    #[test]
    fn a_piece_has_records_of_one_partition_alone() {
        let mut arena = Arena::default();
        for _ in 0..1000 {
            for partition in [1, 2] {
                arena.begin(partition);
                assert!(arena.piece.is_empty() && arena.piece.capacity() == 0);
                arena.copy(b"order");
            }
        }
        for _ in 0..ALONE {
            arena.begin(2);
        }
        assert!(shares(&mut arena));
        arena.begin(3);
        assert_eq!(arena.piece.capacity(), 0);
    }
}
