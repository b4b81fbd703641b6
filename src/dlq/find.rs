//! One dead letter, by its id, the beginning of its id, or its place in the dead letter topic.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use uuid::Uuid;

use super::letter::Letter;
use super::list::ReadError;
use super::scan::scan;
use crate::config::KafkaSettings;
use crate::kafka::{Admin, Reader};
use crate::record::Record;

/// The shortest beginning of an id that is taken for one, in characters.
const SHORTEST: usize = 4;
/// How many ids an error names.
const NAMED: usize = 5;

/// Which dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one with this id.
    Id(Uuid),
    /// The one whose id begins so: lower-case, with its hyphens.
    Prefix(String),
    /// The one at this place.
    Place {
        /// The partition of the dead letter topic.
        partition: i32,
        /// The offset there.
        offset: i64,
    },
}

impl Wanted {
    fn is(&self, letter: &Letter) -> bool {
        match self {
            Self::Id(id) => letter.id == *id,
            Self::Prefix(prefix) => {
                let mut text = Uuid::encode_buffer();
                letter.id.hyphenated().encode_lower(&mut text).starts_with(prefix.as_str())
            }
            Self::Place { partition, offset } => {
                (letter.dlq_partition, letter.dlq_offset) == (*partition, *offset)
            }
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = |(partition, offset): (&str, &str)| {
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some(Self::Place { partition, offset })
        };
        if let Some(place) = text.split_once(':').and_then(place) {
            return Ok(place);
        }
        let id = text.to_ascii_lowercase();
        match id.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if id.len() >= SHORTEST && is_beginning(&id) => Ok(Self::Prefix(id)),
            Err(_) => Err(format!(
                "an id is needed, or at least its first {SHORTEST} characters, or PARTITION:OFFSET of the dead letter topic"
            )),
        }
    }
}

/// Whether an id can begin so.
fn is_beginning(text: &str) -> bool {
    text.len() <= 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Prefix(prefix) => write!(f, "{prefix}…"),
            Self::Place { partition, offset } => write!(f, "{partition}:{offset}"),
        }
    }
}

/// Finds a dead letter and the record that it was read from; of repeats of one dead letter the first. `progress` learns
/// how many offsets there are and how many records were read.
///
/// # Errors
/// [`ReadError::NotFound`], [`ReadError::Ambiguous`], or what reading says.
pub fn find(
    settings: &KafkaSettings,
    topic: &str,
    wanted: &Wanted,
    mut progress: impl FnMut(u64, u64),
) -> Result<(Record, Letter), ReadError> {
    let reader = match wanted {
        Wanted::Place { partition, offset } => at(settings, topic, *partition, *offset)?,
        Wanted::Id(_) | Wanted::Prefix(_) => Some(Reader::open(settings, topic)?),
    };
    let mut found: Vec<(Record, Letter)> = Vec::new();
    if let Some(reader) = reader {
        let offsets = reader.offsets();
        let mut read = 0;
        let make = |record: Record| {
            let letter = Letter::read(&record);
            wanted.is(&letter).then_some((record, letter))
        };
        scan(reader, make, |one| {
            read += 1;
            progress(offsets, read);
            let Some(one) = one else { return ControlFlow::Continue(()) };
            if found.iter().all(|(_, known)| known.id != one.1.id) {
                found.push(one);
            }
            let enough = if matches!(wanted, Wanted::Prefix(_)) { NAMED } else { 1 };
            if found.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if found.len() > 1 {
        let ids = found.iter().map(|(_, letter)| letter.id.to_string()).collect::<Vec<_>>().join(", ");
        return Err(ReadError::Ambiguous { wanted: wanted.to_string(), ids });
    }
    found.pop().ok_or_else(|| ReadError::NotFound { wanted: wanted.to_string(), topic: topic.to_owned() })
}

/// A reader of one record; `None` where the topic does not have it.
fn at(
    settings: &KafkaSettings,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<Reader>, ReadError> {
    let admin = Admin::new(settings)?;
    let partitions = admin.topic(topic)?.map_or(0, |info| info.partitions);
    if partition >= partitions {
        return Ok(None);
    }
    let (log_start, end) = admin.watermarks(topic, partition)?;
    let exists = (log_start..end).contains(&offset);
    Ok(if exists { Some(Reader::over(settings, topic, &[(partition, offset, offset + 1)])?) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_a_beginning_or_a_place() {
        let id = "2d3e68ed-6f2c-5005-a1b5-9f37d8781ae8";
        let table = [
            (id, Some(Wanted::Id(id.parse().unwrap()))),
            ("2D3E68ED-6F2C-5005-A1B5-9F37D8781AE8", Some(Wanted::Id(id.parse().unwrap()))),
            ("2D3E", Some(Wanted::Prefix("2d3e".to_owned()))),
            ("2d3e68ed-6f", Some(Wanted::Prefix("2d3e68ed-6f".to_owned()))),
            ("2:1234", Some(Wanted::Place { partition: 2, offset: 1234 })),
            ("2d3", None),
            ("2d3e68ed6f", None),
            ("2d3e-", None),
            ("-1:5", None),
            ("1:", None),
            ("o-12345", None),
            ("", None),
            ("é\u{1b}[31m", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Wanted>().ok(), expected, "{text}");
        }
    }
}
