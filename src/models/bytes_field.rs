//! Bytes as JSON: text where they are UTF-8, Base64 in a second field where they are not, null where Kafka has null.
//! The three are kept apart both ways, empty text included.

use std::borrow::Cow;
use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;

/// Text of JSON that stays where it is as long as nothing in it is escaped: within an `Option`, serde copies a bare `Cow`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct BorrowedText<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The two JSON fields of one value: `x` and `x_base64`. At most one of them is filled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BytesField<'a> {
    /// The value as text.
    pub text: Option<Cow<'a, str>>,
    /// The value in Base64 (RFC 4648, standard alphabet, padded).
    pub base64: Option<Cow<'a, str>>,
}

impl<'a> BytesField<'a> {
    /// The fields for a value; `None` is Kafka's null.
    pub fn encode(bytes: Option<&'a [u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::default() };
        match str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(Cow::Borrowed(text)), base64: None },
            Err(_) => Self { text: None, base64: Some(Cow::Owned(STANDARD.encode(bytes))) },
        }
    }

    /// The value that the fields hold.
    ///
    /// # Errors
    /// Both fields are filled, or the second is not Base64.
    pub fn decode(self) -> Result<Option<Vec<u8>>, BytesFieldError> {
        match (self.text, self.base64) {
            (Some(_), Some(_)) => Err(BytesFieldError::Both),
            (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
            (None, Some(base64)) => Ok(Some(STANDARD.decode(base64.as_bytes())?)),
            (None, None) => Ok(None),
        }
    }
}

/// Why two fields hold no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BytesFieldError {
    /// Text and Base64 at once.
    #[error("both the text and its Base64 form are given")]
    Both,
    /// Not Base64.
    #[error("invalid Base64")]
    Base64(#[from] base64::DecodeError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn null_empty_text_and_bytes_are_kept_apart() {
        let table = [
            (None, None, None),
            (Some(&b""[..]), Some(""), None),
            (Some(b"null"), Some("null"), None),
            (Some("é".as_bytes()), Some("é"), None),
            (Some(b"\xff\x00"), None, Some("/wA=")),
        ];
        for (bytes, text, base64) in table {
            let field = BytesField::encode(bytes);
            assert_eq!((field.text.as_deref(), field.base64.as_deref()), (text, base64));
            assert_eq!(field.decode().unwrap().as_deref(), bytes);
        }
    }

    #[test]
    fn contradictions_and_bad_base64_are_refused() {
        let field = |text: Option<&'static str>, base64: &'static str| BytesField {
            text: text.map(Cow::Borrowed),
            base64: Some(Cow::Borrowed(base64)),
        };
        assert_eq!(field(Some(""), "").decode(), Err(BytesFieldError::Both));
        for base64 in ["/wA", "/w A=", "!", "_wA="] {
            assert!(matches!(field(None, base64).decode(), Err(BytesFieldError::Base64(_))), "{base64}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::option::of(prop::collection::vec(any::<u8>(), 0..64))) {
            prop_assert_eq!(BytesField::encode(bytes.as_deref()).decode().unwrap(), bytes);
        }
    }
}
