//! The sealed segments of a journal: `tracker.events.000001` and so on, or `….zst` when they are packed, beside the live
//! file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use super::packed::{self, Unpack};

/// How much is read at a time while looking for the last line.
const READ_BYTES: usize = 256 << 10;

/// A file of a journal, packed or not.
pub(super) enum Input {
    Plain(File),
    Packed(Box<Unpack<File>>),
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(out),
            Self::Packed(unpack) => unpack.read(out),
        }
    }
}

/// Opens a file of a journal. One that was packed since its name was learned is found all the same.
pub(super) fn open(path: &Path) -> io::Result<Input> {
    let mut file = open_file(path)?;
    Ok(match packed::is_packed(&mut file)? {
        true => Input::Packed(Box::new(Unpack::new(file)?)),
        false => Input::Plain(file),
    })
}

fn open_file(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            File::open(packed::path_of(path)).map_err(|_| error)
        }
        opened => opened,
    }
}

/// How many bytes there are to be read of files, as far as that is known.
pub fn size_of(files: &[PathBuf]) -> u64 {
    let size = |path: &PathBuf| {
        let mut file = open_file(path).ok()?;
        let len = file.metadata().ok()?.len();
        Some(packed::unpacked_size(&mut file).ok().flatten().unwrap_or(len))
    };
    files.iter().filter_map(size).sum()
}

/// The name of a journal's segment.
pub(super) fn path_of(live: &Path, number: u64) -> PathBuf {
    let mut name = live.to_owned().into_os_string();
    name.push(format!(".{number:06}"));
    PathBuf::from(name)
}

/// The file that a segment is in, if it is sealed.
pub(super) fn sealed(live: &Path, number: u64) -> io::Result<Option<PathBuf>> {
    let plain = path_of(live, number);
    if plain.try_exists()? {
        return Ok(Some(plain));
    }
    let packed = packed::path_of(&plain);
    Ok(packed.try_exists()?.then_some(packed))
}

/// Whether this is what a start has moved aside, by its name: it is no part of the journal any more.
pub fn is_set_aside(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once(".torn-"));
    let numbers = name.and_then(|(_, numbers)| numbers.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(offset, millis)| is_number(offset) && is_number(millis))
}

/// A hidden file beside a journal, for what is not part of it: `.tracker.events.lock`.
pub(super) fn hidden(live: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(live.file_name().unwrap_or_default());
    name.push(ending);
    live.with_file_name(name)
}

/// The sealed segments of a journal by their numbers. One that is there in both forms is named once.
pub(super) fn all(live: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let folder = live.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = BTreeMap::new();
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Ok(found) };
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.file_name();
        let number = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
        let Some(number) = number else { continue };
        let (digits, is_packed) = match number.strip_suffix(packed::ENDING) {
            Some(digits) => (digits, true),
            None => (number, false),
        };
        let Some(number) =
            Some(digits).filter(|digits| digits.len() >= 6).and_then(|digits| digits.parse().ok())
        else {
            continue;
        };
        let path = live.with_file_name(&file);
        if is_packed {
            found.entry(number).or_insert(path);
        } else {
            found.insert(number, path);
        }
    }
    Ok(found)
}

/// Those of them that are not packed.
pub(super) fn plain(live: &Path) -> io::Result<Vec<PathBuf>> {
    let is_plain = |path: &PathBuf| path.extension().is_none_or(|ending| ending != "zst");
    Ok(all(live)?.into_values().filter(is_plain).collect())
}

/// The last complete line of a file of a journal, without its line break; empty when there is none.
pub(super) fn last_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut input = BufReader::with_capacity(READ_BYTES, open(path)?);
    let (mut last, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        input.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(last);
        }
        std::mem::swap(&mut last, &mut line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_aside_is_known_by_its_name() {
        for name in ["tracker.events.torn-0-1700000000000", "a/b.torn-12-3"] {
            assert!(is_set_aside(Path::new(name)), "{name}");
        }
        for name in
            ["tracker.events", "tracker.events.000001", "x.torn-", "x.torn-1", "x.torn-1-", "x.torn-a-1"]
        {
            assert!(!is_set_aside(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn segments_are_known_by_their_numbers_packed_or_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let live = folder.path().join("tracker.events");
        assert!(all(&live).expect("list").is_empty());
        for name in
            ["000002", "000010", "000009.zst", "000002.zst", "torn-1-2", "1", "999999.gz", "000011.zst.tmp"]
        {
            std::fs::write(folder.path().join(format!("tracker.events.{name}")), "").expect("write");
        }
        let packed = packed::path_of(&path_of(&live, 9));
        let expected = [(2, path_of(&live, 2)), (9, packed.clone()), (10, path_of(&live, 10))];
        assert_eq!(all(&live).expect("list"), BTreeMap::from(expected));
        assert_eq!(plain(&live).expect("list"), [path_of(&live, 2), path_of(&live, 10)]);
        let file = |number| sealed(&live, number).expect("looked");
        assert_eq!((file(2), file(9), file(3)), (Some(path_of(&live, 2)), Some(packed), None));
    }

    #[test]
    fn the_last_line_is_found_however_long_it_is_packed_or_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("segment");
        for long in [0, 1, 70_000, 300_000] {
            let line = "x".repeat(long);
            for (text, expected) in [
                (format!("{line}\n"), line.as_str()),
                (format!("first\n{line}\n"), line.as_str()),
                (format!("first\n{line}\ntorn"), line.as_str()),
                ("torn".to_owned(), ""),
            ] {
                std::fs::write(&path, &text).expect("write");
                assert_eq!(size_of(std::slice::from_ref(&path)), text.len() as u64);
                assert!(last_line(&path).expect("read") == expected.as_bytes());
                packed::pack(&path).expect("packed");
                // By the name that it had, too.
                assert!(last_line(&path).expect("read") == expected.as_bytes());
                assert_eq!(size_of(std::slice::from_ref(&path)), text.len() as u64);
                std::fs::remove_file(packed::path_of(&path)).expect("removed");
            }
        }
        assert!(last_line(&path).is_err());
    }
}
