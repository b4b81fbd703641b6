//! The hash chain over the journal's lines: `hash = BLAKE3(previous hash ‖ BLAKE3(line up to ",\"hash\""))`. The inner
//! digests are independent of each other, so workers compute them; only the outer ones are chained, by the writer.

/// A hash of the chain, or a line's own digest.
pub type ChainHash = [u8; 32];

/// What stands between a line's own bytes and its hash.
pub(super) const HASH_FIELD: &[u8] = b",\"hash\":\"";
/// How long the hash is in hexadecimal digits.
pub(super) const HASH_HEX: usize = 64;
/// What closes a line.
pub(super) const LINE_END: &[u8] = b"\"}\n";

/// The head of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    head: ChainHash,
}

impl Chain {
    /// The chain before its first line.
    pub const START: Self = Self { head: [0; 32] };

    /// The chain as it stands after a line with this hash.
    pub fn at(head: ChainHash) -> Self {
        Self { head }
    }

    /// Adds a line by its digest and gives the line's hash.
    pub fn push(&mut self, digest: &ChainHash) -> ChainHash {
        let mut link = [0; 64];
        link[..32].copy_from_slice(&self.head);
        link[32..].copy_from_slice(digest);
        self.head = *blake3::hash(&link).as_bytes();
        self.head
    }

    /// The hash of the last line.
    pub fn head(&self) -> ChainHash {
        self.head
    }
}

/// The digest of a line's own bytes (everything up to `,"hash"`).
pub(super) fn digest(line: &[u8]) -> ChainHash {
    *blake3::hash(line).as_bytes()
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

    #[test]
    fn each_line_depends_on_every_line_before_it() {
        let (mut one, mut two) = (Chain::START, Chain::START);
        assert_eq!(one.push(&digest(b"a")), two.push(&digest(b"a")));
        assert_ne!(one.push(&digest(b"b")), two.push(&digest(b"c")));
        assert_ne!(one.push(&digest(b"d")), two.push(&digest(b"d")));
    }

    #[test]
    fn the_chain_is_the_documented_formula() {
        let mut chain = Chain::START;
        let mut link = [0u8; 32].to_vec();
        link.extend_from_slice(blake3::hash(b"{\"a\":1").as_bytes());
        assert_eq!(chain.push(&digest(b"{\"a\":1")), *blake3::hash(&link).as_bytes());
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
