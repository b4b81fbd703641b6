//! Which faults come, in which order and how: all of it from the seed. Each round goes through every kind of fault in a
//! new order before one comes again.

use std::fmt;
use std::time::Duration;

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

macro_rules! kinds {
    ($($name:ident $text:literal $brokers:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($name,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How many brokers it needs.
            pub fn brokers(self) -> u16 {
                match self { $(Self::$name => $brokers,)* }
            }
        }
    };
}

kinds! {
    Kill "kill" 1,
    KillAll "kill-both-trackers" 1,
    AfterPublish "die-after-publish" 1,
    AfterAppend "die-after-append" 1,
    AfterSync "die-after-fdatasync" 1,
    BeforeCommit "die-before-commit" 1,
    AfterSeal "die-after-seal" 1,
    AfterRename "die-after-rename" 1,
    PowerCut "power-cut" 1,
    SyncError "fsync-error" 1,
    FullDisk "full-disk" 1,
    Freeze "freeze-past-session" 1,
    TermInRetry "term-in-retry" 1,
    RebalanceStorm "rebalance-storm" 1,
    ClockStep "clock-step" 1,
    TargetFails "target-fails" 1,
    TargetHangs "target-hangs" 1,
    LeaderKilled "leader-killed" 3,
    CoordinatorKilled "coordinator-killed" 3,
    BelowMinIsr "below-min-isr" 3,
    BrokerFrozen "broker-frozen" 1,
    AllDown "all-brokers-down" 1,
    NetHold "network-drops" 1,
    NetDelay "network-delays" 1,
    NetDrip "network-drips" 1,
    NetReset "network-resets" 1,
    NetLoses "produce-answer-lost" 1,
}

impl Kind {
    /// The failpoint that it arms.
    pub fn failpoint(self) -> Option<(&'static str, std::ops::Range<u32>)> {
        Some(match self {
            Self::AfterPublish => ("after-publish", 1..30),
            Self::AfterAppend => ("after-append", 4..300),
            Self::AfterSync => ("after-fdatasync", 4..300),
            Self::BeforeCommit => ("before-commit", 1..8),
            Self::AfterSeal => ("after-seal", 1..2),
            Self::AfterRename => ("after-rename", 1..2),
            Self::PowerCut => ("power-cut", 4..300),
            Self::SyncError => ("fsync-error", 4..300),
            _ => return None,
        })
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub kind: Kind,
    /// How long all is well before it.
    pub calm: Duration,
    /// How long it lasts, where it is of that sort.
    pub lasts: Duration,
    /// Chooses among trackers, partitions or brokers.
    pub who: usize,
    /// The failpoint's number.
    pub nth: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "+{:.1}s {} for {:.1}s on #{}",
            self.calm.as_secs_f32(),
            self.kind.name(),
            self.lasts.as_secs_f32(),
            self.who
        )?;
        if self.kind.failpoint().is_some() {
            write!(f, " at the {}th time", self.nth)?;
        }
        Ok(())
    }
}

/// The faults of one round, without end.
pub struct Plan {
    rng: ChaCha8Rng,
    kinds: Vec<Kind>,
    bag: Vec<Kind>,
}

impl Plan {
    /// The same seed and round give the same faults.
    pub fn new(seed: u64, round: u64, kinds: Vec<Kind>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(round);
        Self { rng, kinds, bag: Vec::new() }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
            self.bag.shuffle(&mut self.rng);
        }
        let kind = self.bag.pop()?;
        let mut millis = |from: u64, to: u64| Duration::from_millis(self.rng.random_range(from..to));
        let (calm, lasts) = (millis(1_000, 4_000), millis(3_000, 9_000));
        let (_, times) = kind.failpoint().unwrap_or(("", 1..2));
        let all: Vec<u32> = times.collect();
        Some(Step {
            kind,
            calm,
            lasts,
            who: self.rng.random_range(0..6),
            nth: all.choose(&mut self.rng).copied().unwrap_or(1),
        })
    }
}
