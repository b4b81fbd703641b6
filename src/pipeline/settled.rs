//! Which offsets of a partition have a durable outcome already, kept as runs: what one assignment of the partition leaves
//! to the next one in the same process, however much of it was not committed.

use std::collections::BTreeMap;

/// A set of offsets, kept as runs that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The first offset of each run, and the one after its last.
    runs: BTreeMap<i64, i64>,
}

impl Settled {
    /// Adds every offset from `start` up to, but not including, `end`.
    pub fn insert_run(&mut self, mut start: i64, mut end: i64) {
        if start >= end {
            return;
        }
        // Runs that overlap or touch become part of the new one.
        while let Some((&first, &last)) = self.runs.range(..=end).next_back()
            && last >= start
        {
            start = start.min(first);
            end = end.max(last);
            self.runs.remove(&first);
        }
        self.runs.insert(start, end);
    }

    /// Adds one offset.
    pub fn insert(&mut self, offset: i64) {
        self.insert_run(offset, offset + 1);
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        for (start, end) in &other.runs {
            self.insert_run(*start, *end);
        }
    }

    /// Whether an offset is in the set.
    pub fn contains(&self, offset: i64) -> bool {
        self.runs.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// Forgets what is below `offset`: it is committed, so it is not read again.
    pub fn forget_below(&mut self, offset: i64) {
        while let Some((&start, &end)) = self.runs.first_key_value()
            && start < offset
        {
            self.runs.remove(&start);
            self.insert_run(start.max(offset), end);
        }
    }
}

impl Extend<i64> for Settled {
    fn extend<I: IntoIterator<Item = i64>>(&mut self, offsets: I) {
        for offset in offsets {
            self.insert(offset);
        }
    }
}

impl FromIterator<i64> for Settled {
    fn from_iter<I: IntoIterator<Item = i64>>(offsets: I) -> Self {
        let mut settled = Self::default();
        settled.extend(offsets);
        settled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_that_touch_become_one() {
        let mut settled: Settled = [1, 3, 2].into_iter().collect();
        settled.insert_run(4, 6);
        assert_eq!(settled.runs, BTreeMap::from([(1, 6)]));
        settled.forget_below(3);
        assert_eq!(settled.runs, BTreeMap::from([(3, 6)]));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(
            runs in prop::collection::vec((0i64..60, 0i64..12), 0..20), below in 0i64..70,
        ) {
            let (mut settled, mut plain) = (Settled::default(), BTreeSet::new());
            for (start, len) in runs {
                settled.insert_run(start, start + len);
                plain.extend(start..start + len);
            }
            prop_assert!((0..80).all(|offset| settled.contains(offset) == plain.contains(&offset)));
            let ends: Vec<_> = settled.runs.iter().collect();
            prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0), "runs touch: {ends:?}");
            settled.forget_below(below);
            prop_assert!((0..80).all(|at| settled.contains(at) == (at >= below && plain.contains(&at))));
        }
    }
}
