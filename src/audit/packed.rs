//! A sealed segment as zstd: reading one, and packing one. A segment is gone only when what is packed is on disk under its
//! own name and was read back, byte for byte.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

use super::file::sync_folder;
use super::segments;

/// What a packed segment's name ends with.
pub(super) const ENDING: &str = ".zst";
/// How such a file begins.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How long the head of one is at most, in which its unpacked size stands.
const HEAD_BYTES: u64 = 18;
/// zstd's own default: a sixth of the size, at about the speed of a disk.
const LEVEL: i32 = 3;
/// How much is read and written at a time.
const STEP_BYTES: usize = 256 << 10;

/// The name of a packed segment.
pub(super) fn path_of(segment: &Path) -> PathBuf {
    let mut name = segment.to_owned().into_os_string();
    name.push(ENDING);
    PathBuf::from(name)
}

/// Whether a file begins as packed ones do.
pub(super) fn is_packed(file: &mut File) -> io::Result<bool> {
    Ok(head_of(file)?.starts_with(&MAGIC))
}

/// How long a packed file is when it is unpacked, as it says itself.
pub(super) fn unpacked_size(file: &mut File) -> io::Result<Option<u64>> {
    Ok(zstd_safe::get_frame_content_size(&head_of(file)?).ok().flatten())
}

fn head_of(file: &mut File) -> io::Result<Vec<u8>> {
    use std::io::{Seek as _, SeekFrom};
    let mut head = Vec::new();
    (&*file).take(HEAD_BYTES).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}

/// Whether an error says that what was read is no sound packed file.
pub(super) fn is_fault(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Reads what a packed file holds.
pub(super) struct Unpack<R> {
    input: R,
    context: DCtx<'static>,
    buffer: Vec<u8>,
    /// What of the buffer is to be unpacked.
    from: usize,
    to: usize,
    in_frame: bool,
}

impl<R: Read> Unpack<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        let context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { input, context, buffer: vec![0; STEP_BYTES], from: 0, to: 0, in_frame: false })
    }
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            let mut ended = false;
            if self.from == self.to {
                (self.from, self.to) = (0, self.input.read(&mut self.buffer)?);
                ended = self.to == 0;
            }
            if ended && !self.in_frame {
                return Ok(0);
            }
            let mut input = InBuffer::around(&self.buffer[self.from..self.to]);
            let mut output = OutBuffer::around(&mut *out);
            let left = self.context.decompress_stream(&mut output, &mut input).map_err(broken)?;
            let written = output.pos();
            self.from += input.pos();
            self.in_frame = left > 0;
            if written > 0 {
                return Ok(written);
            }
            if ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

fn broken(code: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
}

/// Packs a sealed segment; gives its size before and after. A crash at any point leaves the segment, or what it was packed
/// to, or both with the same lines; doing it again finishes it.
pub(super) fn pack(segment: &Path) -> io::Result<(u64, u64)> {
    let packed = path_of(segment);
    if !packed.try_exists()? {
        // Hidden, so that nobody takes it for a segment.
        let temporary = segments::hidden(segment, ".zst.tmp");
        let written = write(segment, &temporary).and_then(|()| compare(segment, &temporary));
        if let Err(error) = written.and_then(|()| std::fs::rename(&temporary, &packed)) {
            // What is left of it is written over by the next try.
            drop(std::fs::remove_file(&temporary));
            return Err(error);
        }
        sync_folder(&packed)?;
    } else {
        // A crash came before the removal.
        compare(segment, &packed)?;
    }
    let sizes = (std::fs::metadata(segment)?.len(), std::fs::metadata(&packed)?.len());
    std::fs::remove_file(segment)?;
    sync_folder(&packed)?;
    Ok(sizes)
}

fn write(segment: &Path, target: &Path) -> io::Result<()> {
    let mut input = File::open(segment)?;
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(target)?;
    let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
    context.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(broken)?;
    context.set_parameter(CParameter::ChecksumFlag(true)).map_err(broken)?;
    context.set_pledged_src_size(Some(input.metadata()?.len())).map_err(broken)?;
    let (mut read, mut packed) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    loop {
        let len = input.read(&mut read)?;
        let how = if len == 0 { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_continue };
        let mut from = InBuffer::around(&read[..len]);
        loop {
            let mut into = OutBuffer::around(&mut packed[..]);
            let left = context.compress_stream2(&mut into, &mut from, how).map_err(broken)?;
            let filled = into.pos();
            out.write_all(&packed[..filled])?;
            let done = if len == 0 { left == 0 } else { from.pos() == len };
            if done {
                break;
            }
        }
        if len == 0 {
            return out.sync_all();
        }
    }
}

/// Reads back what was packed.
fn compare(segment: &Path, packed: &Path) -> io::Result<()> {
    let mut one = BufReader::with_capacity(STEP_BYTES, File::open(segment)?);
    let mut other = BufReader::with_capacity(STEP_BYTES, Unpack::new(File::open(packed)?)?);
    loop {
        use std::io::BufRead as _;
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let len = left.len().min(right.len());
        if left[..len] != right[..len] || left.is_empty() != right.is_empty() {
            let why = format!("{} is not what {} holds", packed.display(), segment.display());
            return Err(io::Error::other(why));
        }
        if len == 0 {
            return Ok(());
        }
        one.consume(len);
        other.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Unpack::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn segment(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tracker.events.000001");
        std::fs::write(&path, bytes).expect("written");
        (folder, path)
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = std::fs::read_dir(folder).expect("the folder");
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_packed_segment_holds_the_same_bytes_and_replaces_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let line = b"{\"timestamp\":\"2026-03-01T12:00:00.000Z\"}\n".repeat(40_000);
        for bytes in [&line[..], b"", b"one"] {
            let (folder, path) = segment(bytes);
            let (before, after) = pack(&path).expect("packed");
            assert_eq!(before, bytes.len() as u64);
            assert_eq!(names(folder.path()), ["tracker.events.000001.zst"]);
            let packed = std::fs::read(path_of(&path)).expect("read");
            assert_eq!(after, packed.len() as u64);
            assert!(unpacked(&packed).expect("sound") == bytes);
            let mut file = File::open(path_of(&path)).expect("open");
            assert!(is_packed(&mut file).expect("read"));
            assert_eq!(unpacked_size(&mut file).expect("read"), Some(before));
            assert_eq!(file.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_crash_at_any_point_is_finished_by_the_next_try() {
        let (folder, path) = segment(b"lines\n");
        // Half written, under the name that nobody reads.
        std::fs::write(segments::hidden(&path, ".zst.tmp"), "half").expect("written");
        pack(&path).expect("packed");
        // Packed, and the segment not removed yet.
        std::fs::write(&path, "lines\n").expect("written");
        pack(&path).expect("finished");
        assert_eq!(names(folder.path()), ["tracker.events.000001.zst"]);
        // Something else of that name is left alone, and so is the segment.
        std::fs::write(&path, "other lines\n").expect("written");
        let error = pack(&path).expect_err("not the same").to_string();
        assert!(error.contains("is not what"), "{error}");
        assert_eq!(std::fs::read(&path).expect("there"), b"other lines\n");
        assert_eq!(unpacked(&std::fs::read(path_of(&path)).expect("there")).expect("sound"), b"lines\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_cut_or_changed_is_never_read_as_the_whole(cut in 0usize..10_000, flip in 0usize..10_000, bit in 0u32..8) {
            let text: Vec<u8> = (0..3000u32).flat_map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
            let (_folder, path) = segment(&text);
            pack(&path).expect("packed");
            let sound = std::fs::read(path_of(&path)).expect("read");
            let cut = unpacked(&sound[..1 + cut % (sound.len() - 1)]);
            prop_assert!(cut.is_err_and(|error| is_fault(&error)));
            let mut changed = sound.clone();
            changed[flip % sound.len()] ^= 1 << bit;
            match unpacked(&changed) {
                Err(error) => prop_assert!(is_fault(&error), "{}", error),
                // Some bits say nothing about the content.
                Ok(bytes) => prop_assert!(bytes == text),
            }
        }
    }
}
