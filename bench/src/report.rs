//! The result: for each case, each target's median round and its ratio to the relay.

use std::collections::BTreeMap;
use std::io::Write as _;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::load::{Case, Sample};

/// All rounds of a run.
#[derive(Debug)]
pub(crate) struct Report {
    targets: Vec<String>,
    samples: BTreeMap<(Case, String), Vec<Sample>>,
}

impl Report {
    /// Expects samples of `targets`; the first is the one that the others are compared with.
    pub(crate) fn new(targets: Vec<String>) -> Self {
        Self {
            targets,
            samples: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, case: Case, target: &str, sample: Sample) {
        self.samples
            .entry((case, target.to_owned()))
            .or_default()
            .push(sample);
    }

    /// Prints a table, or JSON, on the standard output.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            writeln!(
                out,
                "{:#}",
                Value::Array(self.rows().iter().map(Row::to_json).collect())
            )?;
        } else {
            writeln!(out, "{}", table(&self.rows()))?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let cases: std::collections::BTreeSet<Case> =
            self.samples.keys().map(|(case, _)| *case).collect();
        for case in cases {
            let mut base: Option<Sample> = None;
            for target in &self.targets {
                let Some(rounds) = self.samples.get(&(case, target.clone())) else {
                    continue;
                };
                let sample = median(rounds);
                let ratio = base.map(|base| sample.cpu_micros / base.cpu_micros);
                base.get_or_insert(sample);
                rows.push(Row {
                    case,
                    target: target.clone(),
                    sample,
                    ratio,
                });
            }
        }
        rows
    }
}

/// One line of the result.
#[derive(Debug)]
struct Row {
    case: Case,
    target: String,
    sample: Sample,
    /// Processor time for each request, relative to the first target.
    ratio: Option<f64>,
}

impl Row {
    fn to_json(&self) -> Value {
        json!({
            "case": self.case.to_string(),
            "target": self.target,
            "requests_per_second": self.sample.rate,
            "cpu_micros_per_request": self.sample.cpu_micros,
            "cpu_ratio": self.ratio,
            "latency_micros": { "p50": self.sample.p50, "p99": self.sample.p99, "max": self.sample.max },
            "resident_kib": self.sample.resident_kib,
        })
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "case",
        "target",
        "requests/s",
        "CPU µs/request",
        "ratio",
        "p50 µs",
        "p99 µs",
        "max µs",
        "MiB",
    ]);
    for row in rows {
        let sample = &row.sample;
        table.add_row([
            row.case.to_string(),
            row.target.clone(),
            format!("{:.0}", sample.rate),
            format!("{:.1}", sample.cpu_micros),
            row.ratio
                .map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            sample.p50.to_string(),
            sample.p99.to_string(),
            sample.max.to_string(),
            format!("{:.1}", sample.resident_kib as f64 / 1024.0),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Each figure's median over the rounds; memory is the largest seen.
fn median(rounds: &[Sample]) -> Sample {
    Sample {
        rate: middle(rounds, |sample| sample.rate),
        cpu_micros: middle(rounds, |sample| sample.cpu_micros),
        p50: middle(rounds, |sample| f64::from(sample.p50)) as u32,
        p99: middle(rounds, |sample| f64::from(sample.p99)) as u32,
        max: rounds
            .iter()
            .map(|sample| sample.max)
            .max()
            .unwrap_or_default(),
        resident_kib: rounds
            .iter()
            .map(|sample| sample.resident_kib)
            .max()
            .unwrap_or_default(),
    }
}

fn middle(rounds: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_medians_with_the_first_target() {
        let mut report = Report::new(vec!["relay".to_owned(), "product".to_owned()]);
        for cpu_micros in [10.0, 12.0, 90.0] {
            report.add(
                Case::H1,
                "relay",
                Sample {
                    cpu_micros,
                    ..Sample::default()
                },
            );
            report.add(
                Case::H1,
                "product",
                Sample {
                    cpu_micros: cpu_micros * 1.5,
                    ..Sample::default()
                },
            );
        }
        let rows = report.rows();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ratio, None);
        assert_eq!(rows[1].sample.cpu_micros, 18.0);
        assert_eq!(rows[1].ratio, Some(1.5));
        assert!(table(&rows).to_string().contains("product"));
    }
}
