//! The page in the OpenMetrics text format, by the `prometheus-client` library: each figure with its help, its labels and
//! its value, read at this moment.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Histogram;

/// The labels of one row, by name.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Whoever has figures to show.
pub trait Figures: fmt::Debug + Send + Sync + 'static {
    /// Writes them all, those that are still 0 too.
    ///
    /// # Errors
    /// Only what the page itself returns.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page<'e> {
    encoder: DescriptorEncoder<'e>,
}

impl Page<'_> {
    /// A figure that only grows; `_total` is added to its name.
    ///
    /// # Errors
    /// The formatter's.
    pub fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            } else {
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    /// A figure that goes up and down.
    ///
    /// # Errors
    /// The formatter's.
    pub fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// How durations are spread; `_seconds` is added to its name.
    ///
    /// # Errors
    /// The formatter's.
    pub fn durations(
        &mut self,
        name: &str,
        help: &str,
        labels: &Labels<'_>,
        histogram: &Histogram,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut metric = self.encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        let (sum, count, buckets) = histogram.read();
        if labels.is_empty() {
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        } else {
            metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
    }
}

/// What the library calls when the page is asked for.
#[derive(Debug)]
struct Asked(Arc<dyn Figures>);

impl Collector for Asked {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page { encoder })
    }
}

/// The whole page.
///
/// # Errors
/// The formatter's.
pub(super) fn render(figures: &Arc<dyn Figures>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Asked(Arc::clone(figures))));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug)]
    struct Some(Histogram);

    impl Figures for Some {
        fn write(&self, page: &mut Page<'_>) -> fmt::Result {
            page.counter(
                "orders",
                "Orders",
                [(vec![("outcome", "good\"\n")], 3), (vec![("outcome", "bad")], 0)],
            )?;
            page.gauge("depth", "Depth", [(vec![], 2.5)])?;
            page.durations("work", "Work", &vec![("kind", "x")], &self.0)
        }
    }

    #[test]
    fn the_page_names_every_figure_with_its_help_and_escapes_labels() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(20));
        let page = render(&(Arc::new(Some(histogram)) as Arc<dyn Figures>)).expect("a page");
        for line in [
            "# HELP orders Orders",
            "# TYPE orders counter",
            r#"orders_total{outcome="good\"\n"} 3"#,
            r#"orders_total{outcome="bad"} 0"#,
            "depth 2.5",
            r#"work_seconds_bucket{le="0.01",kind="x"} 0"#,
            r#"work_seconds_bucket{le="0.025",kind="x"} 1"#,
            r#"work_seconds_bucket{le="+Inf",kind="x"} 1"#,
            r#"work_seconds_count{kind="x"} 1"#,
            r#"work_seconds_sum{kind="x"} 0.02"#,
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n---\n{page}");
        }
    }
}
