//! A set of offsets as ranges: outcomes nearly always follow each other, so millions of them are a few ranges.

use std::collections::BTreeMap;

/// A set of offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetSet {
    /// From each range's first offset to its last.
    ranges: BTreeMap<i64, i64>,
}

impl OffsetSet {
    /// Adds an offset; says whether it was new.
    pub fn insert(&mut self, offset: i64) -> bool {
        let before = self.ranges.range(..=offset).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= offset) {
            return false;
        }
        let joins_before = before.filter(|(_, last)| last + 1 == offset);
        let joins_after = self.ranges.get(&(offset + 1)).copied();
        let last = joins_after.unwrap_or(offset);
        if joins_after.is_some() {
            self.ranges.remove(&(offset + 1));
        }
        let first = joins_before.map_or(offset, |(first, _)| first);
        self.ranges.insert(first, last);
        true
    }

    /// Adds every offset from `first` to `last`.
    pub fn insert_range(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // What overlaps or touches is swallowed.
        while let Some((from, to)) = self.ranges.range(..=last + 1).next_back().map(|(from, to)| (*from, *to))
        {
            if to + 1 < first {
                break;
            }
            self.ranges.remove(&from);
            first = first.min(from);
            last = last.max(to);
        }
        self.ranges.insert(first, last);
    }

    /// Adds offsets; runs of them that follow each other cost as much as one.
    pub fn insert_all(&mut self, offsets: &[i64]) {
        let mut offsets = offsets.iter().copied();
        let Some(mut first) = offsets.next() else { return };
        let mut last = first;
        for offset in offsets {
            if offset != last + 1 {
                self.insert_range(first, last);
                first = offset;
            }
            last = offset;
        }
        self.insert_range(first, last);
    }

    /// Adds every offset of another set.
    pub fn extend(&mut self, other: &Self) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
    }

    /// Whether an offset is in the set.
    pub fn contains(&self, offset: i64) -> bool {
        self.ranges.range(..=offset).next_back().is_some_and(|(_, last)| *last >= offset)
    }

    /// What is not in the set between an offset and an end: ranges, each with its first and last offset.
    pub fn missing_in(&self, from: i64, end: i64) -> Vec<(i64, i64)> {
        let mut missing = Vec::new();
        let mut next = from;
        for (first, last) in
            self.ranges().filter(|(_, last)| *last >= from).take_while(|(first, _)| *first < end)
        {
            if first > next {
                missing.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < end {
            missing.push((next, end - 1));
        }
        missing
    }

    /// Removes everything below an offset.
    pub fn drop_below(&mut self, offset: i64) {
        let kept = self.ranges.split_off(&offset);
        if let Some((_, last)) = self.ranges.pop_last()
            && last >= offset
        {
            self.ranges = kept;
            self.ranges.insert(offset, last);
            return;
        }
        self.ranges = kept;
    }

    /// The ranges, in order, each with its first and last offset.
    pub fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// How many offsets there are.
    pub fn len(&self) -> u64 {
        self.ranges().map(|(first, last)| u64::try_from(last - first + 1).unwrap_or(0)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(i64),
        All(Vec<i64>),
        Range(i64, i64),
        DropBelow(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0i64..60).prop_map(Step::Insert),
            2 => prop::collection::vec(0i64..60, 0..6).prop_map(Step::All),
            2 => (0i64..60, 0i64..20).prop_map(|(first, len)| Step::Range(first, first + len)),
            1 => (0i64..60).prop_map(Step::DropBelow),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_set_with_the_fewest_ranges(steps in prop::collection::vec(step(), 0..80)) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(offset) => prop_assert_eq!(set.insert(offset), model.insert(offset)),
                    Step::All(offsets) => {
                        set.insert_all(&offsets);
                        model.extend(offsets);
                    }
                    Step::Range(first, last) => {
                        set.insert_range(first, last);
                        model.extend(first..=last);
                    }
                    Step::DropBelow(offset) => {
                        set.drop_below(offset);
                        model = model.split_off(&offset);
                    }
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                for offset in 0..90 {
                    prop_assert_eq!(set.contains(offset), model.contains(&offset));
                }
                let mut absent = Vec::new();
                for (first, last) in set.missing_in(13, 47) {
                    prop_assert!(first <= last);
                    absent.extend(first..=last);
                }
                let expected: Vec<i64> = (13..47).filter(|offset| !model.contains(offset)).collect();
                prop_assert_eq!(absent, expected);
                let ranges: Vec<_> = set.ranges().collect();
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].1 + 1 < pair[1].0, "{:?}", ranges);
                }
            }
        }
    }
}
