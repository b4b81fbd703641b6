//! A place in a trace, as W3C Trace Context writes it into headers. What is malformed is no context: whoever writes to the
//! topic can write anything.

use std::fmt;

use crate::record::{Header, Record};

/// The header that names the trace and the span that sent the record.
const TRACEPARENT: &str = "traceparent";
/// The header with what vendors add to it.
const TRACESTATE: &str = "tracestate";
/// The longest `tracestate` that is passed on, in bytes: what the W3C asks everybody to keep.
const TRACESTATE_BYTES: usize = 512;
/// How long a `traceparent` of version 00 is.
const TRACEPARENT_BYTES: usize = 55;
/// The flag of a trace that is told to a collector.
const SAMPLED: u8 = 1;

/// A span's place in its trace. Shown, it is a `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    flags: u8,
    state: Option<String>,
}

impl TraceContext {
    /// A span of this trace; `state` is its parent's.
    pub(super) fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool, state: Option<String>) -> Self {
        Self { trace_id, span_id, flags: if sampled { SAMPLED } else { 0 }, state }
    }

    /// Reads a `traceparent`, and a `tracestate` if there is a usable one.
    fn parse(parent: &[u8], state: Option<&[u8]>) -> Option<Self> {
        let parent = std::str::from_utf8(parent).ok()?;
        let version = parent.get(..2)?;
        let fits = match version {
            "ff" => false,
            "00" => parent.len() == TRACEPARENT_BYTES,
            // A later version may say more behind what is known.
            _ => parent.len() == TRACEPARENT_BYTES || parent.as_bytes().get(TRACEPARENT_BYTES) == Some(&b'-'),
        };
        let mut parts = parent.get(..TRACEPARENT_BYTES).filter(|_| fits)?.split('-');
        let mut part = |into: &mut [u8]| {
            let text = parts.next().filter(|text| text.len() == into.len() * 2)?;
            let is_lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            text.bytes().all(is_lower_hex).then_some(())?;
            for (at, byte) in into.iter_mut().enumerate() {
                *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
            }
            Some(())
        };
        let (mut version, mut trace_id, mut span_id, mut flags) = ([0; 1], [0; 16], [0; 8], [0; 1]);
        part(&mut version)?;
        part(&mut trace_id)?;
        part(&mut span_id)?;
        part(&mut flags)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        // What is not plain could not stand in a header of HTTP, and the delivery would fail for it.
        let is_plain = |state: &&[u8]| {
            (1..=TRACESTATE_BYTES).contains(&state.len())
                && state.iter().all(|byte| (b' '..=b'~').contains(byte))
        };
        let state = state.filter(is_plain).and_then(|state| std::str::from_utf8(state).ok());
        Some(Self { trace_id, span_id, flags: flags[0], state: state.map(str::to_owned) })
    }

    /// Whether this trace is told to a collector.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What vendors have added: printable ASCII.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// As headers of a record.
    pub fn headers(&self) -> impl Iterator<Item = Header> {
        let parent = Header::new(TRACEPARENT, self.to_string());
        let state = self.state.iter().map(|state| Header::new(TRACESTATE, state.clone()));
        std::iter::once(parent).chain(state)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", self.flags)
    }
}

/// The span that sent a record, as the record's headers say.
pub fn carried(record: &Record) -> Option<TraceContext> {
    TraceContext::parse(record.last_header(TRACEPARENT)?, record.last_header(TRACESTATE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn record(headers: &[(&'static str, &[u8])]) -> Record {
        let mut record = Record::new("orders", 0, 1);
        record.headers = headers.iter().map(|(name, value)| Header::new(*name, value.to_vec())).collect();
        record
    }

    #[test]
    fn a_context_is_passed_on_as_it_came() {
        for parent in [PARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"] {
            let found = carried(&record(&[("traceparent", parent.as_bytes())])).expect("a context");
            assert_eq!((found.to_string().as_str(), found.state()), (parent, None));
            assert_eq!(found.is_sampled(), parent == PARENT);
        }
        let both = record(&[("tracestate", b"a=1,b=2"), ("x", b""), ("traceparent", PARENT.as_bytes())]);
        let found = carried(&both).expect("a context");
        let again: Vec<_> = found.headers().map(|header| (header.name, header.value)).collect();
        assert_eq!(again[0], ("traceparent".into(), Some(PARENT.into())));
        assert_eq!(again[1], ("tracestate".into(), Some("a=1,b=2".into())));
        // The last one counts, as everywhere; a later version is read as far as it is known.
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        let found = carried(&record(&[("traceparent", b"x"), ("traceparent", later.as_bytes())]));
        assert_eq!(found.expect("a context").to_string(), PARENT);
    }

    #[test]
    fn what_is_malformed_is_no_context() {
        assert_eq!(carried(&record(&[])), None);
        for value in [
            &b""[..],
            b"00",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            b"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx: y",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331--01",
            b"00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"\xff\xfe",
        ] {
            let found = carried(&record(&[("traceparent", value)]));
            assert_eq!(found, None, "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_state_that_could_end_a_header_line_goes_no_further() {
        for state in [&b"a=1\r\nset-cookie: x"[..], b"a=\x1b[2J", "a=é".as_bytes(), &[b'a'; 513], b""] {
            let both = record(&[("traceparent", PARENT.as_bytes()), ("tracestate", state)]);
            let found = carried(&both).expect("the parent is good all the same");
            assert_eq!(found.state(), None, "{:?}", String::from_utf8_lossy(state));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_headers_hold_is_read_or_refused(parent in any::<Vec<u8>>(), state in any::<Vec<u8>>()) {
            if let Some(found) = TraceContext::parse(&parent, Some(&state)) {
                prop_assert!(found.to_string().len() == TRACEPARENT_BYTES);
            }
        }

        #[test]
        fn a_context_survives_its_text(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = TraceContext::new(trace.to_be_bytes(), span.to_be_bytes(), sampled, None);
            let text = context.to_string();
            prop_assert_eq!(TraceContext::parse(text.as_bytes(), None), Some(context));
        }
    }
}
