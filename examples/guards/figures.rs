//! Times, and what many rounds say together: medians, and how far they can be trusted.

use std::collections::HashMap;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};

use crate::acknowledged::At;
use crate::watch::Seen;

/// What one round has shown of some orders: milliseconds from the acknowledgement to the line, and how many have no line
/// or a bad one.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub half: f64,
    pub p99: f64,
    #[expect(dead_code, reason = "what each round found is printed")]
    pub most: f64,
    pub orders: usize,
    pub errors: usize,
}

/// The times of those orders that count.
pub fn judge(sent: &HashMap<At, Instant>, seen: &Seen, counts: impl Fn(&At) -> bool) -> Times {
    let mut times = Vec::new();
    let mut errors = 0;
    for (at, acknowledged) in sent.iter().filter(|(at, _)| counts(at)) {
        match seen.get(at) {
            Some((line, true)) => times.push(line.saturating_duration_since(*acknowledged)),
            Some((_, false)) | None => errors += 1,
        }
    }
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    Times { half: at(0.5), p99: at(0.99), most: at(1.0), orders: times.len() + errors, errors }
}

/// Three of many: a quarter of them is below the first, half below the second, a quarter above the third.
pub fn quarters(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| {
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    })
}

/// Two cells: the median of the p50, of the p99 and its middle half, and the errors of all rounds.
pub fn shown(rounds: &[Times]) -> String {
    if rounds.is_empty() {
        return "– | –".to_owned();
    }
    let half = quarters(rounds.iter().map(|one| one.half))[1];
    let [low, median, high] = quarters(rounds.iter().map(|one| one.p99));
    let errors: usize = rounds.iter().map(|one| one.errors).sum();
    format!("{half:.2}; {median:.2} ({low:.2}–{high:.2}) | {errors}")
}

/// How the p99 of rounds compares with that of the others together, of which each was run close to its own: the quotient of
/// the medians, and between which two it is in nine of ten draws of as many sets of rounds from these. So many of the rounds
/// that follow each other are a set: they have more in common with each other than with the rest.
pub fn quotient<const N: usize>(rounds: &[Times], others: [&[Times]; N], set: usize) -> [f64; 3] {
    let count = others.iter().map(|others| others.len()).fold(rounds.len(), usize::min);
    let sets = count.div_ceil(set);
    let of = |drawn: &[usize]| {
        let places = || drawn.iter().flat_map(|at| at * set..count.min((at + 1) * set));
        let p99s = |rounds: &[Times]| places().map(|at| rounds[at].p99).collect::<Vec<_>>();
        let median = |values: Vec<f64>| quarters(values.into_iter())[1];
        median(p99s(rounds)) / median(others.iter().flat_map(|rounds| p99s(rounds)).collect())
    };
    let all: Vec<usize> = (0..sets).collect();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(6);
    let mut draws: Vec<f64> = (0..2000)
        .map(|_| of(&all.iter().map(|_| random.random_range(0..sets)).collect::<Vec<_>>()))
        .collect();
    draws.sort_unstable_by(f64::total_cmp);
    [of(&all), draws[100], draws[1899]]
}
