//! The key of the audit log's hash chain, read from a file that only few may read.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::ConfigError;

/// The setting that names the file.
const SETTING: &str = "--audit-key-file";
/// How long a key is.
const KEY_BYTES: usize = 32;
/// More than a file with a key holds.
const FILE_BYTES: u64 = 256;
/// What the group may not do to the file, and what others may not: they may do nothing.
const FORBIDDEN_MODE: u32 = 0o027;

/// A key of 32 bytes. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditKey([u8; KEY_BYTES]);

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl AuditKey {
    /// A key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that hashes with them.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Reads a key: 32 bytes as they are, or as 64 hexadecimal digits, with a line break behind them or without.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, others may read or change it, or it holds something else; the
    /// message shows nothing of its text.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |source| ConfigError::ReadFile { setting: SETTING, path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode();
        if mode & FORBIDDEN_MODE != 0 {
            let (path, mode) = (path.display(), mode & 0o777);
            return Err(ConfigError::value(
                SETTING,
                format!(
                    "{path} is open to others (mode {mode:03o}), who could forge the audit log: chmod 600 {path}"
                ),
            ));
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut text).map_err(io)?;
        Self::parse(&text).ok_or_else(|| {
            ConfigError::value(
                SETTING,
                format!(
                    "{} holds no key: 32 bytes are needed, as they are or as 64 hexadecimal digits; make one with \
                     `openssl rand -hex 32`",
                    path.display()
                ),
            )
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if let Ok(bytes) = text.try_into() {
            return Some(Self(bytes));
        }
        let digits = text.strip_suffix(b"\n").unwrap_or(text);
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read(text: &[u8], mode: u32) -> Result<AuditKey, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        AuditKey::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_32_bytes_or_their_digits() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8).expect("small"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let upper = hex.to_uppercase();
        let windows = format!("{hex}\r\n");
        for text in
            [&bytes[..], hex.as_bytes(), upper.as_bytes(), format!("{hex}\n").as_bytes(), windows.as_bytes()]
        {
            assert_eq!(read(text, 0o600), Ok(AuditKey::new(bytes)));
        }
        for text in [
            "",
            "short",
            &hex[1..],
            &format!("{hex}0"),
            &format!("{hex}\n\n"),
            &"g".repeat(64),
            &"0".repeat(300),
        ] {
            let error = read(text.as_bytes(), 0o600).expect_err(text);
            assert!(
                error.contains("32 bytes are needed") && (text.is_empty() || !error.contains(text)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_that_others_may_read_or_change_is_refused_with_the_remedy() {
        let key = "ab".repeat(32);
        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert!(read(key.as_bytes(), mode).is_ok(), "{mode:o}");
        }
        for mode in [0o604, 0o644, 0o660, 0o602, 0o666] {
            let error = read(key.as_bytes(), mode).expect_err("refused");
            assert!(error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600 /"), "{error}");
        }
    }

    #[test]
    fn a_key_is_never_shown_and_a_missing_file_is_named() {
        assert_eq!(format!("{:?}", AuditKey::new([7; 32])), "[redacted]");
        let error = AuditKey::read(Path::new("/nowhere/key")).expect_err("nothing there").to_string();
        assert_eq!(error, "--audit-key-file: read /nowhere/key");
    }
}
