//! The hash chain over the journal's lines: `hash = BLAKE3(previous hash ‖ BLAKE3(line up to ",\"hash\""))`. The inner
//! digests are independent of each other, so workers compute them; only the outer ones are chained, by the writer. With a
//! key both are BLAKE3's keyed mode, so that only who has the key can make a chain.

use std::path::{Path, PathBuf};

use super::digest;
use crate::config::AuditKey;
use crate::models::safe_short;

/// A hash of the chain, or a line's own digest.
pub type ChainHash = [u8; 32];

/// What stands between a line's own bytes and its hash.
pub(super) const HASH_FIELD: &[u8] = b",\"hash\":\"";
/// How long the hash is in hexadecimal digits.
pub(super) const HASH_HEX: usize = 64;
/// What closes a line.
pub(super) const LINE_END: &[u8] = b"\"}\n";

/// The head before the first line.
pub(super) const START: ChainHash = [0; 32];

/// What the id of a key is derived under; another use of the key gives other bytes.
const KEY_ID_CONTEXT: &str = "pubsub-kafka 2026-11-21 id of an audit key";
/// How much of it is the id, in hexadecimal digits.
const KEY_ID_DIGITS: usize = 16;
/// How much of an id that a file names is shown.
const SHOWN_CHARS: usize = 32;

/// How lines are hashed: with a key, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hashing {
    key: Option<AuditKey>,
}

impl Hashing {
    /// Without a key.
    pub const PLAIN: Self = Self { key: None };

    /// With a key, if there is one.
    pub fn new(key: Option<AuditKey>) -> Self {
        Self { key }
    }

    pub(super) fn hash(&self, bytes: &[u8]) -> ChainHash {
        match &self.key {
            Some(key) => *blake3::keyed_hash(key.expose(), bytes).as_bytes(),
            None => *blake3::hash(bytes).as_bytes(),
        }
    }

    /// The hashes of many texts, in their order: several times as fast as one by one.
    pub(super) fn hash_all(&self, texts: &[&[u8]]) -> Vec<ChainHash> {
        digest::hash_all(self.key.as_ref().map(AuditKey::expose), texts)
    }

    /// What a file says of the key that it is written with: enough to tell keys apart, nothing to hash with.
    pub fn key_id(&self) -> Option<String> {
        let id = blake3::derive_key(KEY_ID_CONTEXT, self.key.as_ref()?.expose());
        let mut id = hex(&id);
        id.truncate(KEY_ID_DIGITS);
        Some(id)
    }

    /// Whether this is how a file was hashed that names this key.
    ///
    /// # Errors
    /// [`KeyError`] when it is not; then nothing can be said of the file's lines.
    pub(super) fn check(&self, path: &Path, found: Option<&str>) -> Result<(), KeyError> {
        let path = path.to_owned();
        match (found, self.key_id()) {
            (None, None) => Ok(()),
            (Some(found), Some(given)) if found == given => Ok(()),
            (Some(found), None) => Err(KeyError::Missing { path, id: safe_short(found, SHOWN_CHARS) }),
            (Some(found), Some(given)) => {
                Err(KeyError::Wrong { path, id: safe_short(found, SHOWN_CHARS), given })
            }
            (None, Some(given)) => Err(KeyError::NotKeyed { path, given }),
        }
    }
}

/// The key that was given is not that of the file. This is told before any line is judged: it is no damage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// None was given.
    #[error("{path} was written with a key (id {id}): name the file that holds it with --audit-key-file", path = path.display())]
    Missing {
        /// The audit log's file.
        path: PathBuf,
        /// The id of its key.
        id: String,
    },
    /// Another one was given.
    #[error(
        "{path} was written with another key: its key has the id {id}, the one in --audit-key-file has {given}",
        path = path.display()
    )]
    Wrong {
        /// The audit log's file.
        path: PathBuf,
        /// The id of its key.
        id: String,
        /// The id of the key that was given.
        given: String,
    },
    /// One was given, and the file has none.
    #[error(
        "{path} was written without a key, but --audit-key-file gives one (id {given}): this is not the log that was \
         written with it; to use it as it is leave the key out, to begin one with the key name a new --events-file",
        path = path.display()
    )]
    NotKeyed {
        /// The audit log's file.
        path: PathBuf,
        /// The id of the key that was given.
        given: String,
    },
}

/// The head of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    head: ChainHash,
    hashing: Hashing,
}

impl Chain {
    /// The chain before its first line.
    pub fn new(hashing: Hashing) -> Self {
        Self::at(START, hashing)
    }

    /// The chain as it stands after a line with this hash.
    pub fn at(head: ChainHash, hashing: Hashing) -> Self {
        Self { head, hashing }
    }

    /// Adds a line by its digest and gives the line's hash.
    pub fn push(&mut self, digest: &ChainHash) -> ChainHash {
        let mut link = [0; 64];
        link[..32].copy_from_slice(&self.head);
        link[32..].copy_from_slice(digest);
        self.head = self.hashing.hash(&link);
        self.head
    }

    /// The hash of the last line.
    pub fn head(&self) -> ChainHash {
        self.head
    }
}

/// Writes a hash as lower-case hexadecimal digits.
pub(super) fn write_hex(hash: &ChainHash, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in hash.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// A hash as lower-case hexadecimal digits.
pub fn hex(hash: &ChainHash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Splits a complete line (without its line break) into its own bytes and its hash; `None` when it does not end in one.
pub(super) fn split_line(line: &[u8]) -> Option<(&[u8], ChainHash)> {
    let body_len = line.len().checked_sub(HASH_FIELD.len() + HASH_HEX + 2)?;
    let (body, tail) = line.split_at(body_len);
    let hex = tail.strip_prefix(HASH_FIELD)?.strip_suffix(b"\"}")?;
    Some((body, read_hex(hex)?))
}

pub(super) fn read_hex(hex: &[u8]) -> Option<ChainHash> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    if hex.len() != HASH_HEX {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(line: &[u8]) -> ChainHash {
        Hashing::PLAIN.hash(line)
    }

    #[test]
    fn each_line_depends_on_every_line_before_it() {
        let (mut one, mut two) = (Chain::new(Hashing::PLAIN), Chain::new(Hashing::PLAIN));
        assert_eq!(one.push(&digest(b"a")), two.push(&digest(b"a")));
        assert_ne!(one.push(&digest(b"b")), two.push(&digest(b"c")));
        assert_ne!(one.push(&digest(b"d")), two.push(&digest(b"d")));
    }

    #[test]
    fn the_chain_is_the_documented_formula() {
        let mut chain = Chain::new(Hashing::PLAIN);
        let mut link = [0u8; 32].to_vec();
        link.extend_from_slice(blake3::hash(b"{\"a\":1").as_bytes());
        assert_eq!(chain.push(&digest(b"{\"a\":1")), *blake3::hash(&link).as_bytes());
    }

    #[test]
    fn with_a_key_both_hashes_are_keyed() {
        let key = [7; 32];
        let hashing = Hashing::new(Some(AuditKey::new(key)));
        let digest = *blake3::keyed_hash(&key, b"{\"a\":1").as_bytes();
        assert_eq!(hashing.hash(b"{\"a\":1"), digest);
        let link = [[0; 32], digest].concat();
        assert_eq!(Chain::new(hashing).push(&digest), *blake3::keyed_hash(&key, &link).as_bytes());
    }

    #[test]
    fn keys_are_told_apart_by_ids_that_are_not_the_key() {
        let hashing = |byte| Hashing::new(Some(AuditKey::new([byte; 32])));
        let path = Path::new("f");
        let (one, two) = (hashing(1).key_id().expect("an id"), hashing(2).key_id().expect("an id"));
        assert!(one != two && one.len() == 16 && !"01".repeat(32).contains(&one), "{one} {two}");
        assert_eq!(hashing(1).check(path, Some(&one)), Ok(()));
        assert_eq!(Hashing::PLAIN.check(path, None), Ok(()));
        assert!(matches!(hashing(2).check(path, Some(&one)), Err(KeyError::Wrong { .. })));
        assert!(matches!(Hashing::PLAIN.check(path, Some(&one)), Err(KeyError::Missing { .. })));
        assert!(matches!(hashing(2).check(path, None), Err(KeyError::NotKeyed { .. })));
        let hostile = Hashing::PLAIN.check(path, Some("\u{1b}[31m")).expect_err("it is keyed").to_string();
        assert!(!hostile.contains('\u{1b}'), "{hostile}");
    }

    #[test]
    fn a_line_splits_at_its_last_hash_only() {
        let mut line = br#"{"raw_message":"x,\"hash\":\"0\"}","a":1"#.to_vec();
        let body = line.clone();
        let hash = digest(&body);
        line.extend_from_slice(HASH_FIELD);
        let at = line.len();
        line.extend_from_slice(&[0; HASH_HEX]);
        write_hex(&hash, &mut line[at..]);
        line.extend_from_slice(b"\"}");
        assert_eq!(split_line(&line), Some((&body[..], hash)));
        assert_eq!(split_line(b"{}"), None);
        assert_eq!(split_line(&line[..line.len() - 1]), None);
    }
}
