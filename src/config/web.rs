//! The web page's settings: where it is served, who may see it, and whether it may replay.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{ConfigError, Secret};

/// The setting that names the token's file.
const SETTING: &str = "--web-token-file";
/// The shortest token: it is all that stands before the page.
const SHORTEST: usize = 16;
/// The longest; a cookie has to hold it.
const LONGEST: usize = 256;

/// How the web page is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Where.
    pub addr: SocketAddr,
    /// What a browser has to show before it sees anything; without one the page makes its own, but on loopback.
    pub token: Option<Secret>,
    /// Whether dead letters can be replayed from it.
    pub allow_replay: bool,
}

impl WebSettings {
    /// Reads a token: one line.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or holds no token; the message shows nothing of its text.
    pub fn read_token(path: &Path) -> Result<Secret, ConfigError> {
        let io = |source| ConfigError::ReadFile { setting: SETTING, path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(2 * LONGEST as u64).read_to_string(&mut text).map_err(io)?;
        parse(&text).ok_or_else(|| {
            let message = format!(
                "{} holds no token: {SHORTEST} to {LONGEST} letters, digits, '-', '.', '_' or '~' are needed; make one \
                 with `openssl rand -hex 32`",
                path.display()
            );
            ConfigError::value(SETTING, message)
        })
    }
}

/// Only what stands in an address as it is.
fn parse(text: &str) -> Option<Secret> {
    let token = text.strip_suffix('\n').unwrap_or(text);
    let token = token.strip_suffix('\r').unwrap_or(token);
    let is_plain = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    (is_plain && (SHORTEST..=LONGEST).contains(&token.len())).then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_plain_line_of_some_length() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        for (text, token) in [
            ("0123456789abcdef\n", Some("0123456789abcdef")),
            ("0123456789abcdef\r\n", Some("0123456789abcdef")),
            ("A-._~56789abcdef", Some("A-._~56789abcdef")),
            ("0123456789abcde", None),
            ("", None),
            ("0123456789abcdef\n\n", None),
            ("0123456789 abcdef", None),
            ("0123456789abcdef;", None),
            ("0123456789abcdef\u{e9}", None),
        ] {
            std::fs::write(&path, text).expect("written");
            match (WebSettings::read_token(&path), token) {
                (Ok(found), Some(token)) => assert_eq!(found.expose(), token),
                (Err(error), None) => {
                    let error = error.to_string();
                    assert!(error.starts_with("--web-token-file: ") && !error.contains("0123"), "{error}");
                }
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
        std::fs::write(&path, "a".repeat(LONGEST + 1)).expect("written");
        assert!(WebSettings::read_token(&path).is_err());
        assert!(WebSettings::read_token(&dir.path().join("none")).is_err());
    }
}
