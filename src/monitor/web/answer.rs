//! What is answered: JSON that is safe wherever it ends up, and refusals with their reason.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::models::to_safe_string;

/// JSON in one line, without a character that a terminal or a page could obey: `<`, `>` and `&` are written as escapes,
/// which mean the same, and can stand in a JSON text nowhere but within strings.
pub(super) fn escaped(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = to_safe_string(value)?;
    if !json.contains(['<', '>', '&']) {
        return Ok(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match escaped(value) {
        Ok(text) => raw_json(status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The same for what is escaped already.
pub(super) fn raw_json(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

/// Why not, as `{"error": …}`.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    json(status, &serde_json::json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::is_unsafe;

    #[test]
    fn nothing_of_a_text_can_be_taken_for_markup_and_its_meaning_stays() {
        let text = "</script><img src=x onerror='a&b'>\u{1b}[2J\u{202e}\u{9b}\u{2028}é";
        let json = escaped(&serde_json::json!({ "a<": text })).expect("JSON");
        assert!(!json.contains(['<', '>', '&']) && !json.contains(is_unsafe), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(back["a<"], text);
    }
}
