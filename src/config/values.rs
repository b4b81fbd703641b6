//! The values that a setting can take, with their bounds in the type: a flag, an environment variable and a key of the
//! file are read by the same code and refused with the same words.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error as _, Visitor};

/// Why a value is refused: what was expected, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub String);

/// Reads a value of the file from its text; numbers and booleans count by how they are written.
fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = BadValue>>(deserializer: D) -> Result<T, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one value, not a list or a table")
        }
        fn visit_str<E>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
        fn visit_bool<E>(self, v: bool) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_i64<E>(self, v: i64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_u64<E>(self, v: u64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_f64<E>(self, v: f64) -> Result<String, E> {
            Ok(v.to_string())
        }
    }
    let text = deserializer.deserialize_any(Text)?;
    text.parse().map_err(|bad| D::Error::custom(format_args!("invalid value '{text}': {bad}")))
}

macro_rules! read_from_text {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {$(
        impl<'de, $($generics)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

read_from_text!(
    [const MIN: i64, const MAX: i64] Int<MIN, MAX>,
    [const MIN: i64, const MAX: i64] Decimal<MIN, MAX>,
    [const MIN_MS: u64, const MAX_MS: u64] Span<MIN_MS, MAX_MS>,
    [const MIN: u64, const MAX: u64] Size<MIN, MAX>,
    [] Rate,
    [] Jitter,
    [] Switch,
    [] Listen,
    [] TopicName,
    [] Name,
);

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> FromStr for Int<MIN, MAX> {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ if MAX == i64::MAX => Err(BadValue(format!("a whole number is needed, at least {MIN}"))),
            _ => Err(BadValue(format!("a whole number is needed, from {MIN} to {MAX}"))),
        }
    }
}

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    /// The number in the type that the room works with. The bounds are chosen to fit it.
    pub fn to<T: TryFrom<i64> + Default>(self) -> T {
        T::try_from(self.0).unwrap_or_default()
    }
}

/// A number within bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal<const MIN: i64, const MAX: i64>(pub f64);

impl<const MIN: i64, const MAX: i64> FromStr for Decimal<MIN, MAX> {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.parse::<f64>() {
            Ok(number) if (MIN as f64..=MAX as f64).contains(&number) => Ok(Self(number)),
            _ => Err(BadValue(format!("a number is needed, from {MIN} to {MAX}"))),
        }
    }
}

/// A duration within bounds, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const MIN_MS: u64, const MAX_MS: u64>(pub Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> FromStr for Span<MIN_MS, MAX_MS> {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
        let allowed = format!("allowed is {} to {}", shown(min), shown(max));
        if text.parse::<f64>().is_ok() {
            return Err(BadValue(format!(
                "the unit is missing, write \"{text}s\" or \"{text}ms\"; {allowed}"
            )));
        }
        match humantime::parse_duration(text) {
            Ok(span) if (min..=max).contains(&span) => Ok(Self(span)),
            Ok(_) => Err(BadValue(allowed)),
            Err(_) => Err(BadValue(format!("a duration such as \"500ms\" or \"30s\" is needed; {allowed}"))),
        }
    }
}

/// A duration as settings write it.
pub fn shown(span: Duration) -> impl fmt::Display {
    humantime::format_duration(span)
}

/// A size in bytes within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> FromStr for Size<MIN, MAX> {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match parse_size(text) {
            Some(bytes) if (MIN..=MAX).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(BadValue(format!(
                "a size such as 65536, \"128KiB\" or \"1MB\" is needed, from {} to {}",
                shown_size(MIN),
                shown_size(MAX),
            ))),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// The size as a count of bytes in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size as settings write it: in the largest binary unit that divides it.
pub fn shown_size(bytes: u64) -> String {
    match UNITS[..4].iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// So many per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As fast as it goes.
    Max,
    /// This many per second; above 0.
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number <= 10_000_000.0 => Ok(Self::PerSecond(number)),
            _ => Err(BadValue(
                "a number per second is needed, above 0 and up to 10000000, or \"max\"".to_owned(),
            )),
        }
    }
}

/// The share of a wait that may vary at random: 0 is no jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(pub f64);

impl FromStr for Jitter {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "off" | "false" => Ok(Self(0.0)),
            "on" | "true" => Ok(Self(0.5)),
            _ => match text.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
                _ => Err(BadValue("\"off\", \"on\" or a number from 0 to 1 is needed".to_owned())),
            },
        }
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "on" | "true" => Ok(Self(true)),
            "off" | "false" => Ok(Self(false)),
            _ => Err(BadValue("\"on\" or \"off\" (also true or false) is needed".to_owned())),
        }
    }
}

/// An address to listen on, or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Ok(Self(None));
        }
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        match local.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Some(address) => Ok(Self(Some(address))),
            None => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                BadValue(
                    "an address with its port is needed, such as \"127.0.0.1:9464\", or \"off\"".to_owned(),
                )
            }),
        }
    }
}

/// A topic's name, as Kafka allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicName(pub String);

impl FromStr for TopicName {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=249).contains(&text.len()) && text.chars().all(legal) && text != "." && text != ".." {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadValue("a topic's name is 1 to 249 letters, digits, '.', '_' or '-'".to_owned()))
        }
    }
}

/// A name that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

impl FromStr for Name {
    type Err = BadValue;
    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 1024 {
            Err(BadValue("1 to 1024 bytes are needed, not blank and without control characters".to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Second = Span<100, 3_600_000>;

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in [("100ms", 100), ("30s", 30_000), ("1m 30s", 90_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Span::<100, 3_600_000>(Duration::from_millis(millis))), "{text}");
        }
        for (text, told) in [
            ("30", "the unit is missing, write \"30s\""),
            ("99ms", "allowed is 100ms to 1h"),
            ("61m", "allowed is 100ms to 1h"),
            ("soon", "a duration such as"),
            ("-1s", "a duration such as"),
            ("", "a duration such as"),
        ] {
            let error = text.parse::<Second>().expect_err(text).to_string();
            assert!(error.contains(told) && error.contains("100ms to 1h"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_take_plain_bytes_and_units() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("128KiB", 131_072),
            ("1MB", 1_000_000),
            ("1 mib", 1 << 20),
            ("64MiB", 64 << 20),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size::<1, { 1 << 40 }>(bytes)), "{text}");
        }
        for text in
            ["", "MiB", "-1", "1.5MiB", "0", "2TiB", "9XB", "99999999999999999999", "18446744073709551615TiB"]
        {
            let error = text.parse::<Size<1, { 1 << 40 }>>().expect_err(text).to_string();
            assert!(error.ends_with("from 1B to 1TiB"), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        assert_eq!("1000".parse(), Ok(Int::<0, 1000>(1000)));
        for text in ["-1", "1001", "", "1.5", "many", "99999999999999999999"] {
            let error = text.parse::<Int<0, 1000>>().expect_err(text).to_string();
            assert_eq!(error, "a whole number is needed, from 0 to 1000", "{text}");
        }
        assert_eq!("0.25".parse(), Ok(Decimal::<0, 1>(0.25)));
        for text in ["-0.1", "1.01", "NaN", "inf", ""] {
            let error = text.parse::<Decimal<0, 1>>().expect_err(text).to_string();
            assert_eq!(error, "a number is needed, from 0 to 1", "{text}");
        }
    }

    #[test]
    fn the_other_values() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("0.5".parse(), Ok(Rate::PerSecond(0.5)));
        for text in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!(("off".parse(), "on".parse()), (Ok(Jitter(0.0)), Ok(Jitter(0.5))));
        assert_eq!("0.3".parse(), Ok(Jitter(0.3)));
        assert!("1.1".parse::<Jitter>().is_err());
        assert_eq!(("off".parse(), "true".parse()), (Ok(Switch(false)), Ok(Switch(true))));
        assert!("yes".parse::<Switch>().is_err());
        assert_eq!("off".parse(), Ok(Listen(None)));
        for text in ["localhost:9464", "127.0.0.1:9464"] {
            assert_eq!(text.parse(), Ok(Listen(Some(SocketAddr::from(([127, 0, 0, 1], 9464))))), "{text}");
        }
        assert!("9464".parse::<Listen>().is_err());
        assert_eq!("a.b_c-1".parse(), Ok(TopicName("a.b_c-1".to_owned())));
        for text in ["", ".", "..", "a b", "orders\u{1b}", &"x".repeat(250)] {
            assert!(text.parse::<TopicName>().is_err(), "{text:?}");
        }
        assert!(" ".parse::<Name>().is_err());
    }
}
