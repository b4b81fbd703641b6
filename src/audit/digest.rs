//! BLAKE3 of many lines at once. A processor compresses up to 16 chunks side by side, but one line has only two or three,
//! so that most of it would stand idle: here the chunks that stand side by side are those of different lines. The result
//! is BLAKE3's own, line for line; the tests compare them.
//!
//! The compression of several inputs is public in `blake3` but not promised to stay as it is, which is why `Cargo.toml`
//! names its version exactly.

use blake3::IncrementCounter;
use blake3::platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32};

use super::chain::ChainHash;

const BLOCK: usize = 64;
const CHUNK: usize = 1024;
/// A longer line has chunks enough of its own.
const LONGEST: usize = 16 * CHUNK;
/// Fewer texts gain nothing.
const ENOUGH: usize = 4;

// What BLAKE3's paper calls flags, and its initial value.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hashes of these texts, in their order; with a key in BLAKE3's keyed mode.
pub(super) fn hash_all(key: Option<&[u8; 32]>, texts: &[&[u8]]) -> Vec<ChainHash> {
    let how = match key {
        Some(key) => How { start: words_from_le_bytes_32(key), flags: KEYED_HASH },
        None => How { start: IV, flags: 0 },
    };
    let mut hashes = vec![[0; 32]; texts.len()];
    let mut short = Vec::with_capacity(texts.len());
    for (text, hash) in texts.iter().zip(&mut hashes) {
        if texts.len() >= ENOUGH && (1..=LONGEST).contains(&text.len()) {
            short.push(Text::new(text, hash));
        } else {
            *hash = key.map_or_else(|| blake3::hash(text), |key| blake3::keyed_hash(key, text)).into();
        }
    }
    how.hash(&mut short);
    hashes
}

/// One text, and where its hash belongs.
struct Text<'t> {
    /// The chunks before the last one.
    chunks: &'t [u8],
    /// The last chunk: the whole blocks before its last one.
    blocks: &'t [u8],
    /// Its last block, as long as it is.
    rest: &'t [u8],
    hash: &'t mut ChainHash,
}

impl<'t> Text<'t> {
    /// Of at least one byte.
    fn new(bytes: &'t [u8], hash: &'t mut ChainHash) -> Self {
        let (chunks, last) = bytes.split_at((bytes.len() - 1) / CHUNK * CHUNK);
        let (blocks, rest) = last.split_at((last.len() - 1) / BLOCK * BLOCK);
        Self { chunks, blocks, rest, hash }
    }

    /// The number of its last chunk.
    fn last(&self) -> usize {
        self.chunks.len() / CHUNK
    }

    fn shape(&self) -> (usize, usize) {
        (self.chunks.len(), self.blocks.len())
    }
}

/// The mode of hashing, in every form that it is asked for.
struct How {
    start: [u32; 8],
    flags: u8,
}

impl How {
    fn hash(&self, texts: &mut [Text<'_>]) {
        // Those beside each other are to have as many chunks, and as many blocks in the last one.
        texts.sort_unstable_by_key(Text::shape);
        let platform = Platform::detect();
        let most = texts.last().map_or(0, Text::last);
        // What the chunks before the last one become, for each text in its turn.
        let mut values = vec![[0; 32]; texts.len() * most];
        for at in 0..most {
            let first = texts.partition_point(|text| text.last() <= at);
            let chunks = texts[first..].iter().map(|text| &text.chunks[at * CHUNK..]);
            let found = self.compress::<CHUNK>(&platform, chunks, at, CHUNK_END);
            for (number, value) in (first..).zip(found) {
                values[number * most + at] = value;
            }
        }
        let mut first = 0;
        for trees in texts.chunk_by_mut(|a, b| a.last() == b.last()) {
            let width = trees[0].last() + 1;
            let mut nodes = Vec::with_capacity(trees.len() * width);
            for alike in trees.chunk_by_mut(|a, b| a.shape() == b.shape()) {
                let found = self.compress_blocks(&platform, alike);
                for (text, value) in alike.iter().zip(found) {
                    nodes.extend_from_slice(&values[first * most..][..width - 1]);
                    nodes.push(self.last_block(&platform, text, &value));
                    first += 1;
                }
            }
            let roots = self.roots(&platform, nodes, width);
            for (text, root) in trees.iter_mut().zip(roots) {
                *text.hash = root;
            }
        }
    }

    /// The chaining values of the whole blocks of last chunks, of texts of one shape.
    fn compress_blocks(&self, platform: &Platform, alike: &[Text<'_>]) -> Vec<ChainHash> {
        let blocks = alike.iter().map(|text| text.blocks);
        macro_rules! by_blocks {
            ($($count:literal)+) => {
                match alike[0].blocks.len() / BLOCK {
                    $($count => self.compress::<{ $count * BLOCK }>(platform, blocks, alike[0].last(), 0),)+
                    _ => vec![le_bytes_from_words_32(&self.start); alike.len()],
                }
            };
        }
        by_blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    }

    /// The chaining values of the first `N` bytes of each text, which begin the chunk with the number `at`.
    fn compress<'t, const N: usize>(
        &self,
        platform: &Platform,
        texts: impl Iterator<Item = &'t [u8]>,
        at: usize,
        end: u8,
    ) -> Vec<ChainHash> {
        let inputs: Vec<&[u8; N]> = texts.filter_map(|text| text.first_chunk()).collect();
        let mut found = vec![[0; 32]; inputs.len()];
        let (counter, out) = (at as u64, found.as_flattened_mut());
        platform.hash_many(
            &inputs,
            &self.start,
            counter,
            IncrementCounter::No,
            self.flags,
            CHUNK_START,
            end,
            out,
        );
        found
    }

    /// The value of the last chunk: its last block on top of those before it.
    fn last_block(&self, platform: &Platform, text: &Text<'_>, before: &ChainHash) -> ChainHash {
        let mut block = [0; BLOCK];
        block[..text.rest.len()].copy_from_slice(text.rest);
        let start = if text.blocks.is_empty() { CHUNK_START } else { 0 };
        let root = if text.chunks.is_empty() { ROOT } else { 0 };
        let mut value = words_from_le_bytes_32(before);
        // At most a block.
        let len = u8::try_from(text.rest.len()).unwrap_or(0);
        let flags = self.flags | start | CHUNK_END | root;
        platform.compress_in_place(&mut value, &block, len, text.last() as u64, flags);
        le_bytes_from_words_32(&value)
    }

    /// The roots of trees of `width` leaves each, which stand one after the other: level by level, the parents of all
    /// trees side by side. One without a neighbour goes up as it is.
    fn roots(&self, platform: &Platform, mut nodes: Vec<ChainHash>, mut width: usize) -> Vec<ChainHash> {
        while width > 1 {
            let root = if width == 2 { ROOT } else { 0 };
            let pairs: Vec<[u8; BLOCK]> = nodes
                .chunks_exact(width)
                .flat_map(|tree| tree.as_chunks::<2>().0)
                .map(|[left, right]| {
                    std::array::from_fn(|at| if at < 32 { left[at] } else { right[at - 32] })
                })
                .collect();
            let inputs: Vec<&[u8; BLOCK]> = pairs.iter().collect();
            let mut parents = vec![[0; 32]; pairs.len()];
            let (flags, out) = (self.flags | PARENT | root, parents.as_flattened_mut());
            platform.hash_many(&inputs, &self.start, 0, IncrementCounter::No, flags, 0, 0, out);
            if width % 2 == 1 {
                let lone = nodes.chunks_exact(width).map(|tree| tree[width - 1]);
                parents = parents
                    .chunks_exact(width / 2)
                    .zip(lone)
                    .flat_map(|(all, one)| [all, &[one]].concat())
                    .collect();
            }
            nodes = parents;
            width = width.div_ceil(2);
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = *b"a key of thirty-two bytes, no le";

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251 + len) as u8).collect()
    }

    fn assert_is_blake3(texts: &[Vec<u8>]) {
        let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let plain: Vec<ChainHash> = texts.iter().map(|text| blake3::hash(text).into()).collect();
        assert!(hash_all(None, &slices) == plain, "{:?}", texts.iter().map(Vec::len).collect::<Vec<_>>());
        let keyed: Vec<ChainHash> = texts.iter().map(|text| blake3::keyed_hash(&KEY, text).into()).collect();
        assert!(hash_all(Some(&KEY), &slices) == keyed);
    }

    #[test]
    fn every_length_alone_and_among_others_has_the_hash_of_blake3() {
        assert_is_blake3(&[]);
        // Each length up to two chunks, then those around the borders of chunks and of what is done here.
        let borders = (2..18).flat_map(|chunks| [chunks * CHUNK - 1, chunks * CHUNK, chunks * CHUNK + 1]);
        let lengths: Vec<usize> = (0..=2 * CHUNK).chain(borders).collect();
        for len in &lengths {
            assert_is_blake3(&[text(*len)]);
            assert_is_blake3(&vec![text(*len); ENOUGH]);
        }
        assert_is_blake3(&lengths.into_iter().map(text).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn texts_of_any_lengths_side_by_side(lengths in proptest::collection::vec(0usize..6000, 0..60)) {
            assert_is_blake3(&lengths.into_iter().map(text).collect::<Vec<_>>());
        }
    }
}
