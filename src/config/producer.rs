//! The producer's settings: how layers go over each other, and which bounds involve two of them.

use super::{ConfigError, Files, Layer as _, ProducerRaw};

impl ProducerRaw {
    /// Lays flags and environment over the files, and checks what involves two settings.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`].
    pub fn resolve(self, files: &Files) -> Result<Self, ConfigError> {
        let raw = self.laid_over(files.given.producer.clone()).laid_over(files.defaults.producer.clone());
        if raw.interval.is_some() && raw.rate.is_some() {
            return Err(ConfigError::Contradiction(
                "--interval and --rate both set the pace; give one of them".to_owned(),
            ));
        }
        let (invalid, malformed) =
            (raw.invalid_ratio.map_or(0.0, |r| r.0), raw.malformed_ratio.map_or(0.0, |r| r.0));
        if invalid + malformed > 1.0 {
            return Err(ConfigError::Contradiction(format!(
                "--invalid-ratio ({invalid}) and --malformed-ratio ({malformed}) must be at most 1 together"
            )));
        }
        Ok(raw)
    }

    /// The pace is one setting with two spellings: whichever the upper layer gives hides both of the lower one.
    fn laid_over(self, mut below: Self) -> Self {
        if self.interval.is_some() || self.rate.is_some() {
            (below.interval, below.rate) = (None, None);
        }
        self.over(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{Decimal, Rate, Span};
    use std::time::Duration;

    fn resolve(file: &str, flags: ProducerRaw) -> Result<ProducerRaw, String> {
        let files = Files::parse("x.toml", file).map_err(|e| e.to_string())?;
        flags.resolve(&files).map_err(|e| e.to_string())
    }

    #[test]
    fn the_upper_layer_chooses_the_pace() {
        let none = ProducerRaw::default;
        let interval = || ProducerRaw { interval: Some(Span(Duration::from_secs(1))), ..none() };
        let rate = || ProducerRaw { rate: Some(Rate::Max), ..none() };
        for (file, flags, expected) in [
            ("", none(), (Some(2), None)),
            ("", rate(), (None, Some(Rate::Max))),
            ("", interval(), (Some(1), None)),
            ("[producer]\nrate = 5", none(), (None, Some(Rate::PerSecond(5.0)))),
            ("[producer]\nrate = 5", interval(), (Some(1), None)),
            ("[producer]\ninterval = '9s'", rate(), (None, Some(Rate::Max))),
        ] {
            let raw = resolve(file, flags).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!((raw.interval.map(|i| i.0.as_secs()), raw.rate), expected, "{file}");
        }
        let both = resolve("[producer]\nrate = 5\ninterval = '9s'", none()).err().unwrap_or_default();
        assert_eq!(both, "--interval and --rate both set the pace; give one of them");
    }

    #[test]
    fn the_ratios_are_at_most_one_together() {
        let flags = ProducerRaw { invalid_ratio: Some(Decimal(0.6)), ..ProducerRaw::default() };
        let error = resolve("[producer]\nmalformed-ratio = 0.5", flags).err().unwrap_or_default();
        assert_eq!(error, "--invalid-ratio (0.6) and --malformed-ratio (0.5) must be at most 1 together");
    }
}
