//! Changing a payload: by assignments, or by a jq program (the crate jaq). The result is checked by nobody here.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read};

use crate::models::shorten;

/// How much of what jq says is told, in characters.
const TOLD_CHARS: usize = 200;

/// Why a payload was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is not JSON.
    #[error("the payload is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is not there, or is no text.
    #[error("the payload is {0}")]
    NoText(&'static str),
    /// It cannot be had.
    #[error("{0}")]
    NotHere(String),
    /// There is nothing at a pointer.
    #[error("the payload has no place {pointer}")]
    NoSuchPlace {
        /// The pointer.
        pointer: String,
    },
    /// The jq program is none.
    #[error("the jq program cannot be read: {0}")]
    Program(String),
    /// The jq program failed on this payload.
    #[error("the jq program failed: {0}")]
    Run(String),
    /// The jq program gave no result, or several.
    #[error("the jq program gave {0} results where one is needed")]
    Results(usize),
}

/// A jq program that turns one payload into another.
pub struct Patch {
    text: String,
    filter: jaq_core::compile::Filter<jaq_core::Native<data::JustLut<Val>>>,
}

impl std::fmt::Debug for Patch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Patch").field(&self.text).finish()
    }
}

impl Patch {
    /// Reads a program, such as `.total = 12.5 | del(.note)`.
    ///
    /// # Errors
    /// [`EditError::Program`].
    pub fn new(text: &str) -> Result<Self, EditError> {
        let told = |what: String| EditError::Program(shorten(&what, TOLD_CHARS).into_owned());
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(defs).load(&arena, File { code: text, path: () }).map_err(|errors| {
            told(format!("{:?}", errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>()))
        })?;
        let filter = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            told(format!("{:?}", errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>()))
        })?;
        Ok(Self { text: text.to_owned(), filter })
    }

    /// The program.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The result for a payload, as JSON on one line.
    ///
    /// # Errors
    /// [`EditError`] when the payload is no JSON, or the program does not give exactly one result.
    pub fn apply(&self, payload: &str) -> Result<String, EditError> {
        // What jaq takes is more than JSON.
        serde_json::from_str::<serde::de::IgnoredAny>(payload).map_err(EditError::NotJson)?;
        let told = |what: &dyn std::fmt::Display| {
            EditError::Run(shorten(&what.to_string(), TOLD_CHARS).into_owned())
        };
        let input = read::parse_single(payload.as_bytes()).map_err(|e| told(&e))?;
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut results = Vec::new();
        for result in self.filter.id.run((context, input)).map(unwrap_valr).take(2) {
            results.push(result.map_err(|e| told(&e))?.to_string());
        }
        match <[String; 1]>::try_from(results) {
            Ok([one]) => {
                serde_json::from_str::<serde::de::IgnoredAny>(&one).map_err(EditError::NotJson)?;
                Ok(one)
            }
            Err(results) => Err(EditError::Results(results.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_changes_a_payload() {
        let patch = Patch::new(".total = 12.5 | del(.note) | .items |= map(.quantity += 1)").expect("jq");
        let changed = patch.apply(r#"{"total": 1, "b": 1.10, "note": "x", "items": [{"quantity": 1}]}"#);
        assert_eq!(changed.expect("one"), r#"{"total":12.5,"b":1.10,"items":[{"quantity":2}]}"#);
    }

    #[test]
    fn what_gives_no_single_result_is_refused() {
        assert!(matches!(Patch::new(".total ="), Err(EditError::Program(_))));
        assert!(matches!(Patch::new("nonsense(1)"), Err(EditError::Program(_))));
        let result = |program: &str, payload: &str| Patch::new(program).expect("jq").apply(payload);
        assert!(matches!(result("empty", "{}"), Err(EditError::Results(0))));
        assert!(matches!(result(".[]", "[1,2,3]"), Err(EditError::Results(2))));
        assert!(matches!(result(".a + 1", r#"{"a":"x"}"#), Err(EditError::Run(_))));
        assert!(matches!(result(".", "not JSON"), Err(EditError::NotJson(_))));
        assert!(matches!(result("nan", "{}"), Err(EditError::NotJson(_)) | Ok(_)));
    }
}
