//! The figures of a run: faults by kind with the time to progress after each, and what was found at the end of the rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::Kind;
use crate::round::Ended;

/// The sum of what has happened so far.
#[derive(Default)]
pub struct Report {
    faults: BTreeMap<Kind, Vec<Duration>>,
    not_injected: u64,
    rounds: u64,
    sent: u64,
    acknowledged: u64,
    records: u64,
    processed: u64,
    dead_lettered: u64,
    missing: u64,
    duplicates: u64,
    orphans: u64,
    repeats: u64,
    mixed: u64,
    letters_repeated: u64,
    taken_again: u64,
    pub trouble: Vec<String>,
}

impl Report {
    /// A fault, and how long it took until every partition had new outcomes after it.
    pub fn fault(&mut self, kind: Kind, took_place: bool, progress: Duration) {
        if took_place {
            self.faults.entry(kind).or_default().push(progress);
        } else {
            self.not_injected += 1;
        }
    }

    /// The end of a round.
    pub fn round(&mut self, number: u64, ended: Ended) {
        let found = &ended.found;
        let proven = ended.proof["proven"] == true;
        println!(
            "round {number}: {} records, {} processed, {} dead-lettered, missing {}, duplicates {}, orphans {}, repeats {}; {}",
            found.records,
            found.processed,
            found.dead_lettered,
            found.missing,
            found.duplicates,
            found.orphans,
            found.repeats,
            if proven { "proven" } else { "NOT proven" },
        );
        self.rounds += 1;
        self.sent += ended.sent;
        self.acknowledged += ended.acknowledged;
        self.records += found.records;
        self.processed += found.processed;
        self.dead_lettered += found.dead_lettered;
        self.missing += found.missing;
        self.duplicates += found.duplicates;
        self.orphans += found.orphans;
        self.repeats += found.repeats;
        self.mixed += found.mixed;
        self.letters_repeated += found.letters_repeated;
        self.taken_again += ended.taken_again;
        self.trouble.extend(ended.trouble.into_iter().map(|what| format!("round {number}: {what}")));
        if !proven {
            self.trouble.push(format!("round {number}: not proven"));
        }
    }

    /// Writes it all down.
    pub fn print(&self, seed: u64, brokers: u16) {
        println!("\nseed {seed}, {brokers} brokers, {} rounds", self.rounds);
        println!("| fault | injected | time to progress, p50 | max |\n|---|---|---|---|");
        let mut all = Vec::new();
        for (kind, times) in &self.faults {
            println!("| {} | {} | {} |", kind.name(), times.len(), spread(times));
            all.extend(times);
        }
        println!("| all | {} | {} |", all.len(), spread(&all));
        println!("not injected (the point was not reached): {}", self.not_injected);
        println!(
            "orders sent {}, acknowledged {}, in the topic {}",
            self.sent, self.acknowledged, self.records
        );
        println!("processed {}, dead-lettered {}", self.processed, self.dead_lettered);
        println!(
            "missing {}, duplicates in a file {}, orphans {}",
            self.missing, self.duplicates, self.orphans
        );
        println!("repeats across files {}, of them with another outcome {}", self.repeats, self.mixed);
        println!("dead letters repeated {}, deliveries repeated {}", self.letters_repeated, self.taken_again);
        println!("findings: {}", self.trouble.len());
        for what in &self.trouble {
            println!("  {what}");
        }
    }
}

fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort();
    let seconds = |time: Option<&Duration>| {
        time.map_or_else(|| "-".to_owned(), |t| format!("{:.1} s", t.as_secs_f32()))
    };
    format!("{} | {}", seconds(sorted.get(sorted.len() / 2)), seconds(sorted.last()))
}
