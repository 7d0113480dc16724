//! A scrape of `/metrics`, taken apart (Prometheus text format 0.0.4).

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// All series of one scrape, by name and labels as printed.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Takes the text of a scrape apart; fails on a line that is no sample.
    pub fn parse(text: &str) -> Result<Metrics> {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = samples.map(|line| {
            let (series, value) = line
                .rsplit_once(' ')
                .with_context(|| format!("sample {line:?}"))?;
            Ok((
                series.to_owned(),
                value.parse().with_context(|| format!("sample {line:?}"))?,
            ))
        });
        Ok(Metrics(series.collect::<Result<_>>()?))
    }

    /// The sum over all series of `name`; 0 when there is none.
    pub fn total(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// The sum over the series of `name` that carry `label="value"`; 0 when there is none.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let wanted = format!("{label}=\"{value}\"");
        self.series(name)
            .filter(|(labels, _)| labels.split(',').any(|one| one == wanted))
            .map(|(_, value)| value)
            .sum()
    }

    /// Whether the scrape has any series of `name`.
    pub fn has(&self, name: &str) -> bool {
        self.series(name).next().is_some()
    }

    /// The value of `label` in the first series of `name` that has one.
    pub fn label<'a>(&'a self, name: &'a str, label: &str) -> Option<&'a str> {
        let before = format!("{label}=\"");
        self.series(name)
            .flat_map(|(labels, _)| labels.split(','))
            .find_map(|one| one.strip_prefix(&before)?.strip_suffix('"'))
    }

    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            if labels.is_empty() {
                return Some(("", *value));
            }
            Some((labels.strip_prefix('{')?.strip_suffix('}')?, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_name_and_label() {
        let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"2\"} 4.5\nab 100\nc 1\n";
        let metrics = Metrics::parse(text).expect("a good scrape");
        assert_eq!(metrics.total("a"), 7.5);
        assert_eq!(metrics.labelled("a", "x", "1"), 3.0);
        assert_eq!(metrics.total("ab"), 100.0);
        assert_eq!(metrics.label("a", "y"), Some("2"));
        assert_eq!(metrics.label("a", "z"), None);
        assert_eq!(metrics.total("missing"), 0.0);
        assert!(metrics.has("c") && !metrics.has("missing"));
        assert!(Metrics::parse("no_value").is_err());
    }
}
