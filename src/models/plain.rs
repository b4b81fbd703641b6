//! The quick reader: JSON as programs write it, without escapes, line breaks, unusual numbers and unknown fields. At
//! anything else it gives up without a word, and the strict reader of `wire` begins anew; only that one knows errors. So
//! whatever is read here must be what the strict reader reads: tests and the fuzzer hold one against the other.

/// JSON text that is read from the beginning to the end.
#[derive(Debug)]
pub(super) struct Plain<'de> {
    text: &'de str,
    at: usize,
}

/// A value that can be read in a hurry; `None` where the text is not plain, or not such a value.
pub(super) trait ReadPlain<'de>: Sized {
    fn read_plain(json: &mut Plain<'de>) -> Option<Self>;
}

/// Reads all of the text as one value.
pub(super) fn read_plain<'de, T: ReadPlain<'de>>(text: &'de str) -> Option<T> {
    // Looked for here, all at once: a string ends at its next quote.
    let odd = |byte: &u8| *byte < b' ' || *byte == b'\\';
    if text.as_bytes().iter().fold(false, |found, byte| found | odd(byte)) {
        return None;
    }
    let mut json = Plain { text, at: 0 };
    let value = T::read_plain(&mut json)?;
    json.peek().is_none().then_some(value)
}

impl<'de> Plain<'de> {
    /// The next byte that is no space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte != b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    #[inline]
    fn string(&mut self) -> Option<&'de str> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let end = find_quote(rest.as_bytes())?;
        self.at += end + 1;
        rest.get(..end)
    }

    /// The beginning of an object: whether it has fields.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<bool> {
        self.expect(b'{')?;
        let empty = self.peek()? == b'}';
        self.at += usize::from(empty);
        Some(!empty)
    }

    /// Behind a field: whether there is another one.
    #[inline]
    pub(super) fn more(&mut self) -> Option<bool> {
        match self.next()? {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// Whether the next field is this one, which is given in its quotes; it is passed then, colon and all.
    #[inline]
    pub(super) fn is_next(&mut self, name: &str) -> bool {
        let found = self.peek().is_some()
            && self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(name.as_bytes()));
        self.at += if found { name.len() } else { 0 };
        found
    }

    /// The name of the next field.
    #[inline]
    pub(super) fn name(&mut self) -> Option<&'de str> {
        let name = self.string()?;
        self.expect(b':')?;
        Some(name)
    }

    /// A sign, digits, and perhaps digits behind a point: the text, all digits as one number, how many they are, and how
    /// many of them are behind the point.
    #[inline]
    fn number(&mut self) -> Option<Number<'de>> {
        let negative = self.peek()? == b'-';
        let bytes = self.text.as_bytes().get(self.at + usize::from(negative)..)?;
        let (mut value, mut read) = (0_u64, 0);
        let mut run = |read: &mut usize| {
            let begun = *read;
            while let Some(digit) = bytes.get(*read).map(|byte| byte.wrapping_sub(b'0'))
                && digit < 10
            {
                value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
                *read += 1;
            }
            *read - begun
        };
        let before = run(&mut read);
        let behind = if bytes.get(read) == Some(&b'.') {
            read += 1;
            Some(run(&mut read))
        } else {
            None
        };
        let leading_zero = before > 1 && bytes.first() == Some(&b'0');
        let digits = before + behind.unwrap_or(0);
        if before == 0
            || behind == Some(0)
            || leading_zero
            || digits > MOST_DIGITS
            || (negative && value == 0)
        {
            return None;
        }
        let start = self.at;
        self.at += usize::from(negative) + read;
        let text = self.text.get(start..self.at)?;
        Some(Number { text, negative, value, digits, behind })
    }
}

/// A number as it stands in the text.
struct Number<'de> {
    text: &'de str,
    negative: bool,
    value: u64,
    digits: usize,
    behind: Option<usize>,
}

/// So many digits fit an `i64`.
const MOST_DIGITS: usize = 18;
/// So many are a float without rounding.
const EXACT_DIGITS: usize = 15;
/// The powers of ten that so many digits can have behind their point: all are exact.
const POWERS: [f64; EXACT_DIGITS] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];

/// Where the first quote is.
#[inline]
fn find_quote(bytes: &[u8]) -> Option<usize> {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let mut at = 0;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*block) ^ all(b'"');
        let found = word.wrapping_sub(all(1)) & !word & all(0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes.get(at..)?.iter().position(|byte| *byte == b'"').map(|more| at + more)
}

impl<'de> ReadPlain<'de> for std::borrow::Cow<'de, str> {
    #[inline]
    fn read_plain(json: &mut Plain<'de>) -> Option<Self> {
        json.string().map(Self::Borrowed)
    }
}

impl ReadPlain<'_> for bool {
    fn read_plain(json: &mut Plain<'_>) -> Option<Self> {
        json.peek()?;
        let rest = json.text.get(json.at..)?;
        let value = rest.starts_with("true");
        if !value && !rest.starts_with("false") {
            return None;
        }
        json.at += if value { 4 } else { 5 };
        Some(value)
    }
}

impl ReadPlain<'_> for i64 {
    #[inline]
    fn read_plain(json: &mut Plain<'_>) -> Option<Self> {
        let Number { negative, value, behind, .. } = json.number()?;
        let value = Self::try_from(value).ok()?;
        behind.is_none().then_some(if negative { -value } else { value })
    }
}

impl ReadPlain<'_> for f64 {
    #[inline]
    fn read_plain(json: &mut Plain<'_>) -> Option<Self> {
        let Number { text, negative, value, digits, behind } = json.number()?;
        if digits > EXACT_DIGITS {
            // A sum of binary floats, perhaps. This reads to the nearest float, as the strict reader does.
            return text.parse().ok();
        }
        // Both are exact, so that the one division rounds as it has to.
        let value = value as Self / POWERS.get(behind.unwrap_or(0))?;
        Some(if negative { -value } else { value })
    }
}

impl<'de, T: ReadPlain<'de>> ReadPlain<'de> for Vec<T> {
    fn read_plain(json: &mut Plain<'de>) -> Option<Self> {
        json.expect(b'[')?;
        let mut list = Self::new();
        if json.peek()? == b']' {
            json.expect(b']')?;
            return Some(list);
        }
        loop {
            list.push(T::read_plain(json)?);
            match json.next()? {
                b',' => {}
                b']' => return Some(list),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::samples::{any_order, valid_order};
    use crate::models::{DecodeLimits, Order, decode};

    /// What the strict reader says: a line break in front is nothing to it, and the end of the quick one.
    fn strictly(text: &str) -> Option<Order<'static>> {
        let text = format!("\n{text}");
        assert!(read_plain::<Order<'_>>(&text).is_none());
        decode(Some(text.as_bytes()), &DecodeLimits { max_message_bytes: usize::MAX })
            .ok()
            .map(Order::into_owned)
    }

    #[test]
    fn an_order_as_programs_write_it_is_read_in_a_hurry() {
        let order = valid_order();
        let compact = serde_json::to_string(&order).expect("JSON");
        let spaced = compact.replace(':', ": ").replace(',', ", ").replace('{', "{ ").replace("]", " ]");
        for text in
            [&compact, &format!(" {compact} "), r#"{"total":-12.50,"items":[],"order_id":""}"#, "{}", "{ }"]
        {
            assert_eq!(read_plain::<Order<'_>>(text), strictly(text), "{text}");
            assert!(read_plain::<Order<'_>>(text).is_some(), "{text}");
        }
        // Its texts hold colons and commas, too: other texts, but an order.
        assert_eq!(read_plain::<Order<'_>>(&spaced), strictly(&spaced));
        assert!(strictly(&spaced).is_some());
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_strict_reader() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[]",
            "null",
            "{\"order_id\":\"a\"",
            "{\"order_id\":\"a\"}x",
            "{\"order_id\":\"a\",}",
            "{\"order_id\" \"a\"}",
            "{\"order_id\":\"\\u0041\"}",
            "{\"order_id\":\"a\",\"order_id\":\"a\"}",
            "{\"tax\":1,\"order_id\":\"a\",\"tax\":1}",
            "{\"note\":1}",
            "{\"tax\":null}",
            "{\"tax\":\"1\"}",
            "{\"tax\":1e2}",
            "{\"tax\":01}",
            "{\"tax\":-0}",
            "{\"tax\":1.}",
            "{\"tax\":.5}",
            "{\"tax\":-}",
            "{\"tax\":1.2.3}",
            "{\"tax\":1234567890.123456789}",
            "{\"tax\":+1}",
            "{\"sequence\":1.0}",
            "{\"sequence\":9223372036854775807}",
            "{\"items\":{}}",
            "{\"items\":[{}",
            "{\"items\":[{},]}",
            "{\"inventory_status\":[{\"in_stock\":truth}]}",
            "{\"inventory_status\":[{\"in_stock\":truee}]}",
        ] {
            assert_eq!(read_plain::<Order<'_>>(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_of_few_digits_are_what_the_strict_reader_reads() {
        for number in [
            "0",
            "7",
            "-7",
            "0.1",
            "0.30000000000000004",
            "-1234567890.12345678",
            "123456789012345678",
            "999999999999999",
            "-9.99999999999999",
            "123456.789",
        ] {
            let text = format!("{{\"tax\":{number}}}");
            assert_eq!(read_plain::<Order<'_>>(&text), strictly(&text), "{number}");
            assert!(read_plain::<Order<'_>>(&text).is_some(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_order_is_read_as_the_strict_reader_reads_it(order in any_order(), cents in -99_999_999_999_999_i64..=99_999_999_999_999) {
            let order = Order { tax: cents as f64 / 100.0, ..order };
            let text = serde_json::to_string(&order).expect("JSON");
            if let Some(read) = read_plain::<Order<'_>>(&text) {
                prop_assert_eq!(&read, &order);
                prop_assert_eq!(Some(read), strictly(&text));
            }
        }

        #[test]
        fn a_spoiled_order_is_not_read_otherwise(
            spoils in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,2}", 0..3_usize), 1..4),
        ) {
            let mut text = r#"{"order_id":"a","sequence":12,"items":[{"quantity":1,"unit_price":2.5},{}],"tax":0.25,"inventory_status":[{"in_stock":true,"reserved_qty":-3}]}"#.to_owned();
            for (at, with, len) in spoils {
                let at = at.index(text.len());
                text.replace_range(at..(at + len).min(text.len()), &with);
            }
            if let Some(read) = read_plain::<Order<'_>>(&text) {
                prop_assert_eq!(Some(read), strictly(&text), "{}", text);
            }
        }
    }
}
