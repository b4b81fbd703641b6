//! Reads a journal line by line, fast: one thread reads blocks, workers split them, digest each line and take from it
//! what the caller wants, and the caller's fold sees the lines in order with their place in the hash chain. Judges
//! nothing: what a broken chain means is the caller's. Memory is bounded: there are so many blocks, and each is filled
//! again when its lines have been folded.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::chain::{ChainHash, Hashing, split_line};

/// How much is read at a time; a longer line makes its block longer. Small enough to stay in the processor's caches on
/// its way from the reader to a worker.
const BLOCK_BYTES: usize = 1 << 20;
/// How many blocks there are for each worker.
const BLOCKS_EACH: usize = 3;

/// One line of a journal.
#[derive(Debug)]
pub struct Line<T> {
    /// Its number, from 1.
    pub number: u64,
    /// Where it begins, in bytes.
    pub start: u64,
    /// How long it is with its line break, in bytes.
    pub len: u64,
    /// Its own digest and the hash that it claims; `None` when it does not end in a hash, or nobody asked.
    pub link: Option<Link>,
    /// What the caller took from it.
    pub value: T,
}

/// What a line contributes to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The digest of its own bytes.
    pub digest: ChainHash,
    /// The hash that it ends with.
    pub claimed: ChainHash,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scanned {
    /// Complete lines.
    pub lines: u64,
    /// The bytes of complete lines.
    pub bytes: u64,
    /// The bytes after the last line break: a line that was torn, if there are any.
    pub torn: u64,
}

/// Scans `input` from where it stands. `extract` runs on several threads and sees each line without its line break;
/// `fold` sees the lines in order, and may end the scan early. Without `hashing` no line is digested, and none has a link.
///
/// # Errors
/// What reading says.
pub fn scan<T: Send, B>(
    input: impl Read + Send,
    hashing: Option<Hashing>,
    extract: impl Fn(&[u8]) -> T + Sync,
    mut fold: impl FnMut(Line<T>) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B, Scanned>> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let blocks = workers * BLOCKS_EACH;
    let (to_workers, waiting) = sync_channel::<Block>(blocks);
    let (give_back, empty) = sync_channel::<Vec<u8>>(blocks);
    for _ in 0..blocks {
        // There is room for all of them.
        drop(give_back.send(Vec::new()));
    }
    let waiting = Mutex::new(waiting);
    std::thread::scope(|scope| {
        let (results, done) = sync_channel(blocks);
        let (waiting, extract) = (&waiting, &extract);
        for _ in 0..workers {
            let results: SyncSender<Digested<T>> = results.clone();
            scope.spawn(move || {
                while let Some(block) = next(waiting) {
                    if results.send(block.digest(hashing, extract)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let reader = scope.spawn(move || read_blocks(input, &empty, &to_workers));
        let folded = fold_in_order(&done, &give_back, &mut fold);
        // The reader ends without an empty block, and the workers without the reader.
        drop((done, give_back));
        let torn = reader.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")))?;
        Ok(match folded {
            ControlFlow::Break(value) => ControlFlow::Break(value),
            ControlFlow::Continue(scanned) => ControlFlow::Continue(Scanned { torn, ..scanned }),
        })
    })
}

/// The first line of an input, without its line break; empty when it has no complete one.
pub(super) fn first_line(input: impl Read) -> io::Result<Vec<u8>> {
    use std::io::BufRead as _;
    let mut line = Vec::new();
    io::BufReader::new(input).read_until(b'\n', &mut line)?;
    Ok(if line.pop() == Some(b'\n') { line } else { Vec::new() })
}

/// Whole lines of the input: the first `len` bytes.
struct Block {
    number: u64,
    start: u64,
    bytes: Vec<u8>,
    len: usize,
}

struct Digested<T> {
    number: u64,
    lines: Vec<Line<T>>,
    /// The block's memory, to be filled again.
    bytes: Vec<u8>,
}

impl Block {
    fn digest<T>(self, hashing: Option<Hashing>, extract: impl Fn(&[u8]) -> T) -> Digested<T> {
        let mut lines = Vec::new();
        let mut links = hashing.map(|hashing| self.links(hashing)).unwrap_or_default().into_iter();
        let mut from = 0;
        for end in self.line_breaks() {
            let line = &self.bytes[from..end];
            lines.push(Line {
                // The number within the file is known only to the fold.
                number: 0,
                start: self.start + from as u64,
                len: (end + 1 - from) as u64,
                link: links.next().flatten(),
                value: extract(line),
            });
            from = end + 1;
        }
        Digested { number: self.number, lines, bytes: self.bytes }
    }

    fn line_breaks(&self) -> impl Iterator<Item = usize> {
        memchr::memchr_iter(b'\n', &self.bytes[..self.len])
    }

    /// The links of its lines, in their order: digested together, which is several times as fast as one by one.
    fn links(&self, hashing: Hashing) -> Vec<Option<Link>> {
        let mut from = 0;
        let split: Vec<Option<(&[u8], ChainHash)>> = self
            .line_breaks()
            .map(|end| split_line(&self.bytes[std::mem::replace(&mut from, end + 1)..end]))
            .collect();
        let own: Vec<&[u8]> = split.iter().flatten().map(|(own, _)| *own).collect();
        let mut digests = hashing.hash_all(&own).into_iter();
        split
            .into_iter()
            .map(|split| split.and_then(|(_, claimed)| Some(Link { digest: digests.next()?, claimed })))
            .collect()
    }
}

fn next(blocks: &Mutex<Receiver<Block>>) -> Option<Block> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Fills blocks that end with a line break; gives how many bytes followed the last one.
fn read_blocks(
    mut input: impl Read,
    empty: &Receiver<Vec<u8>>,
    blocks: &SyncSender<Block>,
) -> io::Result<u64> {
    let (mut number, mut start) = (0, 0);
    // What followed the last line break.
    let mut rest: Vec<u8> = Vec::new();
    while let Ok(mut bytes) = empty.recv() {
        let mut filled = rest.len();
        if bytes.len() < filled + BLOCK_BYTES {
            bytes.resize(filled + BLOCK_BYTES, 0);
        }
        bytes[..filled].copy_from_slice(&rest);
        let (len, ended) = loop {
            let before = filled;
            let ended = fill(&mut input, &mut bytes, &mut filled);
            match memchr::memrchr(b'\n', &bytes[before..filled]) {
                Some(at) => break (before + at + 1, ended),
                None if matches!(ended, Ok(false)) => bytes.resize(filled + BLOCK_BYTES, 0),
                None => return ended.map(|_| filled as u64),
            }
        };
        rest.clear();
        rest.extend_from_slice(&bytes[len..filled]);
        // The lines before an error count.
        if blocks.send(Block { number, start, bytes, len }).is_err() {
            return Ok(0);
        }
        if ended? {
            return Ok(rest.len() as u64);
        }
        number += 1;
        start += len as u64;
    }
    Ok(0)
}

/// Reads until the memory is full, or says that the input has ended.
fn fill(input: &mut impl Read, bytes: &mut [u8], filled: &mut usize) -> io::Result<bool> {
    while *filled < bytes.len() {
        match input.read(&mut bytes[*filled..]) {
            Ok(0) => return Ok(true),
            Ok(read) => *filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Gives the fold each line in the order of the input.
fn fold_in_order<T, B>(
    done: &Receiver<Digested<T>>,
    give_back: &SyncSender<Vec<u8>>,
    fold: &mut impl FnMut(Line<T>) -> ControlFlow<B>,
) -> ControlFlow<B, Scanned> {
    // No more than there are blocks.
    let mut early = BTreeMap::new();
    let mut expected = 0;
    let mut scanned = Scanned::default();
    while let Ok(block) = done.recv() {
        early.insert(block.number, block);
        while let Some(Digested { lines, bytes, .. }) = early.remove(&expected) {
            expected += 1;
            for line in lines {
                scanned.lines += 1;
                scanned.bytes += line.len;
                fold(Line { number: scanned.lines, ..line })?;
            }
            // A reader that is done needs none.
            drop(give_back.send(bytes));
        }
    }
    ControlFlow::Continue(scanned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(input: &[u8]) -> (Vec<(u64, u64, Vec<u8>)>, Scanned) {
        let mut lines = Vec::new();
        let ended = scan(input, None, <[u8]>::to_vec, |line| {
            lines.push((line.number, line.start, line.value));
            ControlFlow::<()>::Continue(())
        })
        .expect("memory can be read");
        let ControlFlow::Continue(scanned) = ended else { panic!("nothing broke it off") };
        (lines, scanned)
    }

    #[test]
    fn lines_come_in_order_with_their_places() {
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for n in 0..60_000u64 {
            let line = format!("{n}:{}", "x".repeat(usize::try_from(n % 400).expect("small")));
            expected.push((n + 1, input.len() as u64, line.clone().into_bytes()));
            input.extend_from_slice(line.as_bytes());
            input.push(b'\n');
        }
        let (lines, scanned) = collect(&input);
        assert!(lines == expected);
        assert_eq!(scanned, Scanned { lines: 60_000, bytes: input.len() as u64, torn: 0 });
    }

    #[test]
    fn a_line_longer_than_a_block_is_one_line() {
        let long = "y".repeat(BLOCK_BYTES * 2 + 7);
        let input = format!("a\n{long}\nb\ntorn");
        let (lines, scanned) = collect(input.as_bytes());
        let texts: Vec<usize> = lines.iter().map(|(_, _, text)| text.len()).collect();
        assert_eq!(texts, [1, long.len(), 1]);
        assert_eq!((scanned.lines, scanned.torn), (3, 4));
    }

    #[test]
    fn nothing_at_all_is_fine() {
        assert_eq!(collect(b"").1, Scanned::default());
        assert_eq!(collect(b"torn").1, Scanned { torn: 4, ..Scanned::default() });
    }

    /// Gives its bytes in small pieces, notes how many were taken, and ends with an error.
    struct Failing<'a> {
        bytes: &'a [u8],
        taken: &'a std::sync::atomic::AtomicUsize,
    }

    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = out.len().min(self.bytes.len()).min(70_001);
            if len == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            out[..len].copy_from_slice(&self.bytes[..len]);
            self.bytes = &self.bytes[len..];
            self.taken.fetch_add(len, std::sync::atomic::Ordering::AcqRel);
            Ok(len)
        }
    }

    #[test]
    fn every_whole_line_before_an_error_is_seen_and_little_is_read_ahead_of_the_fold() {
        let input = "a line of some length\n".repeat(1_000_000);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let (mut seen, mut folded, mut most) = (0, 0, 0);
        let ended = scan(
            Failing { bytes: input.as_bytes(), taken: &taken },
            None,
            |_| (),
            |line| {
                seen += 1;
                folded += usize::try_from(line.len).expect("small");
                most = most.max(taken.load(std::sync::atomic::Ordering::Acquire) - folded);
                ControlFlow::<()>::Continue(())
            },
        );
        assert_eq!(ended.expect_err("an error").kind(), io::ErrorKind::InvalidData);
        assert_eq!(seen, 1_000_000);
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        assert!(most <= (workers * BLOCKS_EACH + 1) * BLOCK_BYTES, "{most} bytes ahead");
    }

    #[test]
    fn the_fold_may_end_it_early() {
        let input = "line\n".repeat(BLOCK_BYTES);
        let ended = scan(
            input.as_bytes(),
            None,
            |_| (),
            |line| {
                if line.number == 3 { ControlFlow::Break(line.number) } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(ended.expect("memory can be read"), ControlFlow::Break(3));
    }
}
