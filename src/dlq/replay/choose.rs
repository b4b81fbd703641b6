//! Which entries of a plan are sent: by what was predicted and by how each dead letter stands now. Reads nothing.

use serde::Serialize;

use super::{PlanEntry, Prediction};
use crate::dlq::{State, Status};

/// Why an entry is not sent, though nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// A newer state of the order was processed.
    Superseded,
    /// It was replayed by another plan.
    AlreadyReplayed,
    /// It was discarded.
    Discarded,
    /// It was replayed too often.
    ReplayedTooOften,
}

impl LeftOut {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::Superseded, Self::AlreadyReplayed, Self::Discarded, Self::ReplayedTooOften];

    /// The name on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::AlreadyReplayed => "already_replayed",
            Self::Discarded => "discarded",
            Self::ReplayedTooOften => "replayed_too_often",
        }
    }

    /// What has it sent all the same.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Superseded => "--include-superseded sends them",
            Self::AlreadyReplayed => "--include-replayed sends them again",
            Self::Discarded => "dlq reopen takes that back",
            Self::ReplayedTooOften => "--include-over-replayed sends them, or a higher --max-replays",
        }
    }
}

/// What is sent all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Orders of which a newer state was processed.
    pub include_superseded: bool,
    /// What was replayed by another plan.
    pub include_replayed: bool,
    /// What was replayed `max_replays` times or more.
    pub include_over_replayed: bool,
    /// How often a record may be replayed.
    pub max_replays: u32,
}

impl Default for Limits {
    /// Nothing that has a reason to be left out, and no record more than three times.
    fn default() -> Self {
        Self {
            include_superseded: false,
            include_replayed: false,
            include_over_replayed: false,
            max_replays: 3,
        }
    }
}

/// What is to be done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Send it.
    Send,
    /// This plan has sent it.
    Sent,
    /// Leave it out.
    Leave(LeftOut),
}

/// Decides about an entry; `has_newer` says that a newer state of its order was processed.
pub(super) fn choose(entry: &PlanEntry, status: Option<&Status>, has_newer: bool, limits: &Limits) -> Choice {
    if let Some(status) = status {
        let by_us = status.tells_of(entry.replay_id);
        match status.status {
            State::Replayed if by_us => return Choice::Sent,
            State::Replayed if !limits.include_replayed => return Choice::Leave(LeftOut::AlreadyReplayed),
            State::Discarded => return Choice::Leave(LeftOut::Discarded),
            State::Open | State::Replayed => {}
        }
    }
    if (has_newer || entry.prediction == Prediction::Superseded) && !limits.include_superseded {
        return Choice::Leave(LeftOut::Superseded);
    }
    if entry.replay_count >= limits.max_replays && !limits.include_over_replayed {
        return Choice::Leave(LeftOut::ReplayedTooOften);
    }
    Choice::Send
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::plan::tests::entry;
    use super::*;
    use crate::dlq::ReplayedTo;

    const STRICT: Limits = Limits {
        include_superseded: false,
        include_replayed: false,
        include_over_replayed: false,
        max_replays: 3,
    };

    fn status(state: State, replay_id: Option<Uuid>) -> Status {
        let to = |replay_id| ReplayedTo {
            replay_id,
            plan_id: Uuid::nil(),
            topic: "orders".to_owned(),
            partition: 0,
            offset: 0,
        };
        Status {
            id: Uuid::nil(),
            status: state,
            timestamp: Timestamp::UNIX_EPOCH,
            by: String::new(),
            why: None,
            replayed_to: replay_id.map(to),
            edited: None,
        }
    }

    #[test]
    fn what_is_left_out_and_what_flags_include() {
        use Choice::{Leave, Send, Sent};
        let plain = entry(0, 1, 1);
        let ours = plain.replay_id;
        let superseded = PlanEntry { prediction: Prediction::Superseded, ..plain.clone() };
        let often = PlanEntry { replay_count: 3, ..plain.clone() };
        let all = Limits {
            include_superseded: true,
            include_replayed: true,
            include_over_replayed: true,
            max_replays: 3,
        };
        let replayed = Some(status(State::Replayed, Some(Uuid::nil())));
        for (entry, status, newer, strict, lenient) in [
            (&plain, None, false, Send, Send),
            (&plain, None, true, Leave(LeftOut::Superseded), Send),
            (&superseded, None, false, Leave(LeftOut::Superseded), Send),
            (&often, None, false, Leave(LeftOut::ReplayedTooOften), Send),
            (&plain, replayed, false, Leave(LeftOut::AlreadyReplayed), Send),
            (&plain, Some(status(State::Replayed, Some(ours))), false, Sent, Sent),
            (
                &plain,
                Some(status(State::Discarded, None)),
                false,
                Leave(LeftOut::Discarded),
                Leave(LeftOut::Discarded),
            ),
            (&plain, Some(status(State::Open, Some(ours))), false, Send, Send),
        ] {
            assert_eq!(choose(entry, status.as_ref(), newer, &STRICT), strict, "{status:?}");
            assert_eq!(choose(entry, status.as_ref(), newer, &all), lenient, "{status:?}");
        }
        assert_eq!(choose(&often, None, false, &Limits { max_replays: 4, ..STRICT }), Send);
    }
}
