//! Reads a journal line by line, fast: one thread reads blocks, workers split them, digest each line and take from it
//! what the caller wants, and the caller's fold sees the lines in order with their place in the hash chain. Judges
//! nothing: what a broken chain means is the caller's.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::chain::{ChainHash, Hashing, split_line};

/// How much is read at a time; a longer line makes its block longer.
const BLOCK_BYTES: usize = 4 << 20;
/// How many blocks may be under way.
const BLOCKS_AHEAD: usize = 4;

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
    let (to_workers, blocks) = sync_channel::<Block>(BLOCKS_AHEAD);
    let blocks = Mutex::new(blocks);
    std::thread::scope(|scope| {
        // Bounded by the blocks that are ahead: each block gives one result.
        let (results, done) = channel();
        let (blocks, extract) = (&blocks, &extract);
        for _ in 0..workers {
            let results: Sender<Digested<T>> = results.clone();
            scope.spawn(move || {
                while let Some(block) = next(blocks) {
                    if results.send(block.digest(hashing, extract)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let reader = scope.spawn(move || read_blocks(input, &to_workers));
        let folded = fold_in_order(&done, &mut fold);
        // The workers and the reader end when their channels are closed.
        drop(done);
        drain(blocks);
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

/// Whole lines of the input.
struct Block {
    number: u64,
    start: u64,
    bytes: Vec<u8>,
}

struct Digested<T> {
    number: u64,
    lines: Vec<Line<T>>,
}

impl Block {
    fn digest<T>(self, hashing: Option<Hashing>, extract: impl Fn(&[u8]) -> T) -> Digested<T> {
        let mut lines = Vec::new();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &self.bytes) {
            let line = &self.bytes[from..end];
            let link = hashing.and_then(|hashing| {
                split_line(line).map(|(own, claimed)| Link { digest: hashing.hash(own), claimed })
            });
            lines.push(Line {
                // The number within the file is known only to the fold.
                number: 0,
                start: self.start + from as u64,
                len: (end + 1 - from) as u64,
                link,
                value: extract(line),
            });
            from = end + 1;
        }
        Digested { number: self.number, lines }
    }
}

fn next(blocks: &Mutex<Receiver<Block>>) -> Option<Block> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Lets a reader that waits for room go on to its end.
fn drain(blocks: &Mutex<Receiver<Block>>) {
    while next(blocks).is_some() {}
}

/// Reads blocks that end with a line break; gives how many bytes followed the last one.
fn read_blocks(mut input: impl Read, blocks: &std::sync::mpsc::SyncSender<Block>) -> io::Result<u64> {
    let (mut number, mut start) = (0, 0);
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let mut bytes = std::mem::take(&mut rest);
        let kept = bytes.len();
        let read = (&mut input).take(BLOCK_BYTES as u64).read_to_end(&mut bytes);
        let Some(end) = memchr::memrchr(b'\n', &bytes[kept..]).map(|at| kept + at + 1) else {
            if read? == 0 {
                return Ok(bytes.len() as u64);
            }
            rest = bytes;
            continue;
        };
        rest = bytes.split_off(end);
        let len = bytes.len() as u64;
        if blocks.send(Block { number, start, bytes }).is_err() {
            return Ok(0);
        }
        // The lines before an error count.
        read?;
        number += 1;
        start += len;
    }
}

/// Gives the fold each line in the order of the input.
fn fold_in_order<T, B>(
    done: &Receiver<Digested<T>>,
    fold: &mut impl FnMut(Line<T>) -> ControlFlow<B>,
) -> ControlFlow<B, Scanned> {
    let mut early = BTreeMap::new();
    let mut expected = 0;
    let mut scanned = Scanned::default();
    while let Ok(block) = done.recv() {
        early.insert(block.number, block.lines);
        while let Some(lines) = early.remove(&expected) {
            expected += 1;
            for line in lines {
                scanned.lines += 1;
                scanned.bytes += line.len;
                fold(Line { number: scanned.lines, ..line })?;
            }
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
