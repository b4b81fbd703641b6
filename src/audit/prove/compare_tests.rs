use super::*;

const TOPIC: &str = "orders";

/// What a world without any fault looks like, to be spoilt: partition 0 holds records 2, 3, 5, 6 and 7 (4 is a marker),
/// committed up to 7; record 5 is dead-lettered, at 0@9.
struct World {
    is_compacted: bool,
    range: Range,
    log_start_after: i64,
    records: Vec<(i64, &'static str)>,
    lines: Vec<(i64, &'static str, u32, u8)>,
    named: Vec<((i32, i64), i64)>,
    letters: Vec<((i32, i64), i64, &'static str)>,
    dlq_log_start: Option<i64>,
}

fn sound() -> World {
    World {
        is_compacted: false,
        range: Range { log_start: 2, committed: Some(7), end: 8 },
        log_start_after: 2,
        records: vec![(2, "c"), (3, "d"), (5, "f"), (6, "g"), (7, "h")],
        lines: vec![(2, "c", 0, 0), (3, "d", 0, 0), (5, "f", 0, DEAD), (6, "g", 0, 0)],
        named: vec![((0, 9), 5)],
        letters: vec![((0, 9), 5, "f")],
        dlq_log_start: Some(0),
    }
}

fn of(text: &str) -> Content {
    content_of(Some(b"key"), Some(text.as_bytes()))
}

fn id(offset: i64) -> Uuid {
    crate::models::dead_letter_id("g", TOPIC, 0, offset)
}

fn judge(world: &World) -> (Counts, Violations) {
    let lines = world
        .lines
        .iter()
        .map(|(offset, text, journal, flags)| Line {
            offset: *offset,
            content: of(text),
            journal: *journal,
            flags: *flags,
        })
        .collect();
    let letters = world.named.iter().map(|(at, origin)| Expected {
        at: *at,
        origin: (0, *origin),
        id: id(*origin),
        found: false,
    });
    let written =
        Written { lines: BTreeMap::from([(0, lines)]), letters: letters.collect(), ..Written::default() };
    let ranges = BTreeMap::from([(0, world.range)]);
    let mut comparison = Comparison::new(TOPIC, "orders-dlq", world.is_compacted, ranges, written);
    let to_read = comparison.ranges_to_read();
    for (offset, text) in &world.records {
        if to_read.iter().any(|(_, from, to)| from <= offset && offset < to) {
            comparison.record(0, *offset, of(text));
        }
    }
    comparison.finish_records(&BTreeMap::from([(0, world.log_start_after)]));
    for (at, origin, text) in &world.letters {
        comparison.letter(*at, &Letter { id: id(*origin), origin: (0, *origin), content: Some(of(text)) });
    }
    let starts = world.dlq_log_start.map(|start| BTreeMap::from([(0, start)]));
    comparison.finish_letters(starts.as_ref());
    let (partitions, violations) = comparison.finish();
    (partitions[0].counts, violations)
}

#[test]
fn a_sound_world_is_proven_and_counted() {
    let (counts, violations) = judge(&sound());
    assert_eq!(violations, Violations::default());
    let expected =
        Counts { records: 4, processed: 3, dead_lettered: 1, gaps: 1, letters: 1, ..Counts::default() };
    assert_eq!(counts, expected);
}

/// Spoils the sound world.
type Spoil = fn(&mut World);

#[test]
fn every_kind_of_violation_is_found_at_its_place() {
    use ViolationKind as V;
    let table: [(&str, Spoil, V, &str); 18] = [
        ("a line is gone", |w| w.lines.retain(|line| line.0 != 3), V::Missing, "orders/0@3"),
        ("the first line is gone", |w| w.lines.retain(|line| line.0 != 2), V::Missing, "orders/0@2"),
        ("the last line is gone", |w| w.lines.truncate(3), V::Missing, "orders/0@6"),
        ("a line stands twice", |w| w.lines.push((3, "d", 0, 0)), V::Duplicate, "orders/0@3"),
        (
            "a line that is not committed stands twice",
            |w| {
                w.lines.extend([(7, "h", 0, 0), (7, "h", 0, 0)]);
            },
            V::Duplicate,
            "orders/0@7",
        ),
        ("an expired line stands twice", |w| w.lines.extend([(1, "b", 0, 0); 2]), V::Duplicate, "orders/0@1"),
        ("a payload differs", |w| w.lines[0].1 = "x", V::Differing, "orders/0@2"),
        (
            "a payload that is not committed differs",
            |w| w.lines.push((7, "x", 0, 0)),
            V::Differing,
            "orders/0@7",
        ),
        ("a line about a marker", |w| w.lines.push((4, "e", 0, 0)), V::Orphan, "orders/0@4"),
        ("a line beyond the end", |w| w.lines.push((8, "i", 0, 0)), V::Orphan, "orders/0@8"),
        (
            "a line beyond the end of a compacted topic",
            |w| {
                w.is_compacted = true;
                w.lines.push((9, "i", 0, 0));
            },
            V::Orphan,
            "orders/0@9",
        ),
        ("a dead letter is gone", |w| w.letters.clear(), V::LetterLost, "orders/0@5"),
        (
            "the dead letter topic is gone",
            |w| {
                w.letters.clear();
                w.dlq_log_start = None;
            },
            V::LetterLost,
            "orders/0@5",
        ),
        (
            "a line names no dead letter",
            |w| {
                w.named[0].0 = (-1, -1);
                w.dlq_log_start = Some(100);
            },
            V::LetterLost,
            "orders/0@5",
        ),
        (
            "another dead letter is there",
            |w| {
                w.letters[0] = ((0, 9), 6, "g");
                w.lines[3].3 = DEAD;
                w.named.push(((0, 9), 6));
            },
            V::LetterLost,
            "orders/0@5",
        ),
        (
            "a dead letter of what was processed",
            |w| w.letters.push(((0, 10), 3, "d")),
            V::LetterUnlisted,
            "orders-dlq/0@10",
        ),
        (
            "a dead letter holds something else",
            |w| w.letters[0].2 = "x",
            V::LetterDiffering,
            "orders-dlq/0@9",
        ),
        ("more is committed than there is", |w| w.range.committed = Some(9), V::BeyondEnd, "orders/0@9"),
    ];
    for (name, spoil, kind, at) in table {
        let mut world = sound();
        spoil(&mut world);
        let (_, violations) = judge(&world);
        let first = violations.first.first().unwrap_or_else(|| panic!("{name}: not found"));
        assert_eq!((first.kind, first.at.as_str()), (kind, at), "{name}");
        // More being committed leaves the last record without its line as well.
        let others = u64::from(kind == V::BeyondEnd);
        assert_eq!(violations.total, 1 + others, "{name}: {violations:?}");
    }
}

#[test]
fn what_is_no_violation_is_counted() {
    type Count = fn(&Counts) -> u64;
    let table: [(&str, Spoil, Count); 13] = [
        ("another journal repeats a line", |w| w.lines.push((3, "d", 1, 0)), |c| c.repeats),
        ("a line is not committed yet", |w| w.lines.push((7, "h", 0, 0)), |c| c.pending),
        ("a line below the log start", |w| w.lines.push((1, "b", 0, 0)), |c| c.expired),
        (
            "retention passes by while reading",
            |w| {
                w.records.remove(0);
                w.log_start_after = 3;
            },
            |c| c.expired,
        ),
        (
            "compaction has removed a record",
            |w| {
                w.is_compacted = true;
                w.records.remove(1);
            },
            |c| c.compacted,
        ),
        ("a line without its payload", |w| w.lines[1] = (3, "?", 0, UNCHECKED), |c| c.unchecked),
        (
            "a dead letter was purged",
            |w| {
                w.letters.clear();
                w.dlq_log_start = Some(10);
            },
            |c| c.letters_purged,
        ),
        ("a crash repeats a dead letter", |w| w.letters.push(((0, 12), 5, "f")), |c| c.letters_repeated),
        ("a dead letter has no line yet", |w| w.letters.push(((0, 12), 7, "h")), |c| c.letters_pending),
        (
            "a dead letter outlives its record and line",
            |w| w.letters.push(((0, 12), 1, "b")),
            |c| c.letters_expired,
        ),
        (
            "nothing is committed",
            |w| {
                w.range.committed = None;
                w.lines.drain(..3);
                w.named.clear();
                w.letters.clear();
            },
            |c| c.pending,
        ),
        (
            "a hole of compaction without any line",
            |w| {
                w.is_compacted = true;
                w.records.remove(1);
                w.lines.remove(1);
                w.lines.push((7, "h", 0, 0));
            },
            |c| c.pending,
        ),
        (
            "a takeover repeats a dead letter, one of them purged",
            |w| {
                w.lines.push((5, "f", 1, DEAD));
                w.named.push(((0, 3), 5));
                w.dlq_log_start = Some(4);
            },
            |c| c.letters_purged,
        ),
    ];
    for (name, change, count) in table {
        let mut world = sound();
        change(&mut world);
        let (counts, violations) = judge(&world);
        assert_eq!(violations, Violations::default(), "{name}");
        assert_eq!(count(&counts), 1, "{name}: {counts:?}");
    }
}

#[test]
fn only_the_first_violations_are_named_and_all_are_counted() {
    let mut world = sound();
    world.range.end = 1000;
    world.range.committed = Some(1000);
    world.records.extend((8..1000).map(|offset| (offset, "z")));
    let (counts, violations) = judge(&world);
    assert_eq!((counts.missing, violations.total), (993, 993));
    let named: Vec<_> = violations.first.iter().map(|violation| violation.at.clone()).collect();
    assert_eq!(named, (7..17).map(|offset| format!("orders/0@{offset}")).collect::<Vec<_>>());
}

#[test]
fn lines_of_a_partition_that_the_topic_does_not_have_are_orphans() {
    let line = Line { offset: 0, content: of("a"), journal: 0, flags: 0 };
    let written = Written { lines: BTreeMap::from([(7, vec![line])]), ..Written::default() };
    let mut comparison = Comparison::new(TOPIC, "orders-dlq", false, BTreeMap::new(), written);
    assert!(comparison.ranges_to_read().is_empty());
    comparison.finish_records(&BTreeMap::new());
    let (_, violations) = comparison.finish();
    assert_eq!(violations.first[0].at, "orders/7@0");
}

#[test]
fn another_topic_of_the_same_name_is_not_the_one_that_was_read() {
    let none = || Comparison::new(TOPIC, "orders-dlq", false, BTreeMap::new(), Written::default());
    let named = BTreeSet::from(["a".to_owned()]);
    let (mut same, mut other) = (none(), none());
    same.topic_is("a", &named);
    other.topic_is("b", &named);
    assert_eq!((same.finish().1.total, other.finish().1.total), (0, 1));
}

#[test]
fn null_empty_key_and_payload_are_told_apart() {
    let cases = [(None, None), (Some(&b""[..]), None), (None, Some(&b""[..])), (Some(b"a"), Some(&b"b"[..]))];
    let contents: BTreeSet<_> = cases.iter().map(|(key, payload)| content_of(*key, *payload)).collect();
    assert_eq!(contents.len(), cases.len());
    assert_ne!(content_of(Some(b"a"), Some(b"b")), content_of(Some(b"b"), Some(b"a")));
}
