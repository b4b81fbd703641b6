//! Given lines: read on a thread of their own, so that a silent pipe never keeps the producer from stopping, and handed
//! on byte for byte. Nothing here judges what a line holds; only its `order_id` is looked for, as the record's key.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::settings::Input;

/// How much the reader asks the system for at once.
const READ_BYTES: usize = 256 << 10;

/// Lines that are there already travel together, up to about this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// How many batches may wait.
const BATCHES: usize = 4;

/// One line of the input, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1, empty lines counted.
    pub(crate) number: u64,
    /// What it holds.
    pub(crate) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The bytes as they are.
    Bytes(Bytes),
    /// More bytes than any record may have (this many); they are not kept.
    TooLong(u64),
}

/// What asking for a line gives.
#[derive(Debug)]
pub(crate) enum Next {
    Line(Line),
    /// None yet.
    Waiting,
    /// There will be none.
    End,
    /// The input cannot be read on.
    Failed(io::Error),
}

type Batch = io::Result<Vec<Line>>;

/// Lines from a file or the standard input.
#[derive(Debug)]
pub(crate) struct LineSource {
    batches: Receiver<Batch>,
    current: std::vec::IntoIter<Line>,
}

impl LineSource {
    /// Starts reading; lines longer than `max_bytes` are counted but not kept. What opening says comes with the first
    /// [`LineSource::next`], because opening a named pipe can wait for its writer.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn start(input: &Input, max_bytes: usize) -> io::Result<Self> {
        let (sender, batches) = mpsc::sync_channel(BATCHES);
        let input = input.clone();
        // Never joined: blocked in a read it would hold up the end, and it owns nothing but the input.
        std::thread::Builder::new().name("input".to_owned()).spawn(move || {
            let done = match input {
                Input::Stdin => read_lines(io::stdin().lock(), max_bytes, &sender),
                Input::File(path) => File::open(&path).and_then(|file| read_lines(file, max_bytes, &sender)),
            };
            if let Err(error) = done {
                // Nobody listens any more when the producer has stopped.
                drop(sender.send(Err(error)));
            }
        })?;
        Ok(Self { batches, current: Vec::new().into_iter() })
    }

    /// The next line, waited for at most `patience`.
    pub(crate) fn next(&mut self, patience: Duration) -> Next {
        loop {
            if let Some(line) = self.current.next() {
                return Next::Line(line);
            }
            match self.batches.recv_timeout(patience) {
                Ok(Ok(batch)) => self.current = batch.into_iter(),
                Ok(Err(error)) => return Next::Failed(error),
                Err(RecvTimeoutError::Timeout) => return Next::Waiting,
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        }
    }
}

/// Reads all lines, empty ones left out, and hands them on in batches; ends early when nobody listens.
fn read_lines(input: impl Read, max_bytes: usize, sender: &SyncSender<Batch>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BYTES, input);
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    let mut number = 0;
    loop {
        let line = read_line(&mut reader, max_bytes);
        number += 1;
        let ended = match line {
            Ok(Some(content)) => {
                if let Content::Bytes(bytes) = &content {
                    batch_bytes += bytes.len();
                }
                if content != Content::Bytes(Bytes::new()) {
                    batch.push(Line { number, content });
                }
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        // A line that is here is handed on before a read that may wait.
        let due = ended.is_some() || batch_bytes >= BATCH_BYTES || !reader.buffer().contains(&b'\n');
        if due && !batch.is_empty() {
            batch_bytes = 0;
            if sender.send(Ok(std::mem::take(&mut batch))).is_err() {
                return Ok(());
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// One line without its `\n` or `\r\n`; `None` at the end. A last line without a line break counts.
fn read_line(reader: &mut impl BufRead, max_bytes: usize) -> io::Result<Option<Content>> {
    // Room for the longest line, a line break, and one byte more that tells "too long".
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(3);
    let mut line = Vec::new();
    if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let mut length = line.len() as u64;
    let mut last = [0, 0];
    let mut keep_last = |bytes: &[u8]| {
        for byte in &bytes[bytes.len().saturating_sub(2)..] {
            last = [last[1], *byte];
        }
    };
    keep_last(&line);
    if length == limit && !line.ends_with(b"\n") {
        line.clear();
        // The rest is only counted, in pieces, whatever its length.
        loop {
            let mut rest = Vec::new();
            let read = reader.by_ref().take(READ_BYTES as u64).read_until(b'\n', &mut rest)?;
            length += read as u64;
            keep_last(&rest);
            if read == 0 || rest.ends_with(b"\n") {
                break;
            }
        }
    }
    let line_break = match last {
        [b'\r', b'\n'] => 2,
        [_, b'\n'] => 1,
        _ => 0,
    };
    let length = length - line_break;
    if length > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Ok(Some(Content::TooLong(length)));
    }
    line.truncate(line.len() - usize::try_from(line_break).unwrap_or(0));
    Ok(Some(Content::Bytes(line.into())))
}

/// The key of a given line: its top-level `order_id`, where that is a string that is not empty.
pub(crate) fn key_of(line: &[u8]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct OnlyId {
        order_id: Option<String>,
    }
    // An array would pass for the struct's fields in order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let id = serde_json::from_slice::<OnlyId>(line).ok()?.order_id?;
    (!id.is_empty()).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn lines_of(bytes: &[u8], max_bytes: usize) -> Vec<Line> {
        let (sender, receiver) = mpsc::sync_channel(1024);
        read_lines(bytes, max_bytes, &sender).expect("memory can be read");
        drop(sender);
        receiver.into_iter().flat_map(|batch| batch.expect("lines")).collect()
    }

    fn line(number: u64, bytes: &'static [u8]) -> Line {
        Line { number, content: Content::Bytes(Bytes::from_static(bytes)) }
    }

    #[test]
    fn line_breaks_are_removed_and_nothing_else() {
        let read = lines_of(b"{\"a\":1}\n\r\n  \r\n\xff\xfe\r\n\n\ra\rb\nlast", 100);
        let wanted = [
            line(1, b"{\"a\":1}"),
            line(3, b"  "),
            line(4, b"\xff\xfe"),
            line(6, b"\ra\rb"),
            line(7, b"last"),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_line_that_is_too_long_is_measured_and_the_next_one_is_read() {
        let long = vec![b'x'; 3 * READ_BYTES];
        for end in ["\n", "\r\n"] {
            let text =
                [b"12345", end.as_bytes(), b"123456", end.as_bytes(), &long, end.as_bytes(), b"ok"].concat();
            let wanted = [
                line(1, b"12345"),
                Line { number: 2, content: Content::TooLong(6) },
                Line { number: 3, content: Content::TooLong(long.len() as u64) },
                line(4, b"ok"),
            ];
            assert_eq!(lines_of(&text, 5), wanted);
        }
    }

    proptest! {
        #[test]
        fn lines_are_what_splitting_the_text_gives(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x'), any::<u8>()], 0..200),
            max_bytes in 0_usize..12,
        ) {
            let wanted: Vec<_> = text
                .split(|byte| *byte == b'\n')
                .enumerate()
                .map(|(n, part)| {
                    let broken = (n as u64) < text.iter().filter(|byte| **byte == b'\n').count() as u64;
                    let part = if broken { part.strip_suffix(b"\r").unwrap_or(part) } else { part };
                    (n as u64 + 1, part)
                })
                .filter(|(_, part)| !part.is_empty())
                .map(|(number, part)| Line {
                    number,
                    content: if part.len() > max_bytes {
                        Content::TooLong(part.len() as u64)
                    } else {
                        Content::Bytes(Bytes::copy_from_slice(part))
                    },
                })
                .collect();
            prop_assert_eq!(lines_of(&text, max_bytes), wanted);
        }
    }

    #[test]
    fn the_key_is_the_top_level_order_id_where_it_is_a_string() {
        let keyed: [(&[u8], &str); 4] = [
            (br#"{"order_id":"A-1","items":[{"order_id":"no"}]}"#, "A-1"),
            (b" {\"total\":1e3,\"order_id\":\"\\u00e9\"}", "é"),
            (b"{\"note\":\"\xff\",\"order_id\":\"A-2\"}", "A-2"),
            (br#"{"order_id":"not an order","x":[[[[]]]]}"#, "not an order"),
        ];
        for (text, key) in keyed {
            assert_eq!(key_of(text).as_deref(), Some(key.as_bytes()), "{}", String::from_utf8_lossy(text));
        }
        let keyless: [&[u8]; 10] = [
            br#"{"order":{"order_id":"A"}}"#,
            br#"{"order_id":7}"#,
            br#"{"order_id":null}"#,
            br#"{"order_id":""}"#,
            br#"{"order_id":"A","order_id":"B"}"#,
            br#"{"order_id":"A""#,
            br#"["A"]"#,
            b"\"A\"",
            b"\xff",
            b"",
        ];
        for text in keyless {
            assert_eq!(key_of(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_key_is_found_in_a_very_deep_line() {
        let deep = format!("{{\"x\":{}{},\"order_id\":\"A\"}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(key_of(deep.as_bytes()).as_deref(), Some(b"A".as_slice()));
    }

    #[test]
    fn a_file_is_read_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"one\ntwo").expect("written");
        let mut source = LineSource::start(&Input::File(file.path().to_owned()), 100).expect("started");
        let mut seen = Vec::new();
        let end = loop {
            match source.next(Duration::from_secs(10)) {
                Next::Line(line) => seen.push(line),
                other => break other,
            }
        };
        assert_eq!(seen, [line(1, b"one"), line(2, b"two")]);
        assert!(matches!(end, Next::End), "{end:?}");
    }

    #[test]
    fn a_file_that_is_not_there_and_a_folder_fail() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().join("none.jsonl"), folder.path().to_owned()] {
            let mut source = LineSource::start(&Input::File(path), 100).expect("started");
            let next = source.next(Duration::from_secs(10));
            assert!(matches!(next, Next::Failed(_)), "{next:?}");
        }
    }

    #[test]
    fn a_pipe_hands_on_each_line_while_it_stays_open() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let (sender, receiver) = mpsc::sync_channel(4);
        let thread = std::thread::spawn(move || read_lines(reader, 100, &sender));
        writer.write_all(b"one\ntw").expect("written");
        let batch = receiver.recv_timeout(Duration::from_secs(10)).expect("before the end").expect("a batch");
        assert_eq!(batch, [line(1, b"one")]);
        drop(writer);
        thread.join().expect("no panic").expect("read to the end");
    }
}
