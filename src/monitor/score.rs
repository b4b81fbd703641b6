//! What is good, what is a warning, and what is critical.
//!
//! The quality score, 0 to 100, is the share of records that were processed, in percent, less up to 15 % for what
//! needed more than one attempt and up to 15 % for what came late (more than 5 s after its record's own timestamp):
//! `100 × processed × (0.7 + 0.15 × first attempt + 0.15 × on time)`, each a share of all outcomes.

use serde::Serialize;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to gain.
    Excellent,
    /// As it should be.
    Good,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Level {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Of the share of records that were processed, in percent.
pub(super) fn success_level(percent: f64) -> Level {
    match percent {
        95.0.. => Level::Good,
        80.0.. => Level::Warning,
        _ => Level::Critical,
    }
}

/// Of the quality score.
pub(super) fn quality_level(score: f64) -> Level {
    match score {
        90.0.. => Level::Excellent,
        70.0.. => Level::Good,
        50.0.. => Level::Warning,
        _ => Level::Critical,
    }
}

/// The quality score, from shares of all outcomes.
pub(super) fn quality(processed: Option<f64>, first_try: Option<f64>, on_time: Option<f64>) -> Option<f64> {
    Some(100.0 * processed? * (0.7 + 0.15 * first_try? + 0.15 * on_time?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_belong_to_the_better_side() {
        for (percent, level) in [
            (100.0, Level::Good),
            (95.0, Level::Good),
            (94.999, Level::Warning),
            (80.0, Level::Warning),
            (79.999, Level::Critical),
            (0.0, Level::Critical),
        ] {
            assert_eq!(success_level(percent), level, "{percent}");
        }
        for (score, level) in [
            (90.0, Level::Excellent),
            (89.9, Level::Good),
            (70.0, Level::Good),
            (69.9, Level::Warning),
            (50.0, Level::Warning),
            (49.9, Level::Critical),
        ] {
            assert_eq!(quality_level(score), level, "{score}");
        }
    }

    #[test]
    fn the_score_falls_with_failures_retries_and_delay() {
        for (processed, first_try, on_time, expected) in [
            (1.0, 1.0, 1.0, 100.0),
            (0.93, 1.0, 1.0, 93.0),
            (1.0, 0.0, 1.0, 85.0),
            (1.0, 0.0, 0.0, 70.0),
            (0.0, 1.0, 1.0, 0.0),
        ] {
            let score = quality(Some(processed), Some(first_try), Some(on_time)).expect("a score");
            assert!((score - expected).abs() < 1e-9, "{score} for {expected}");
        }
        assert_eq!(quality(None, None, None), None);
    }
}
