//! The result: for each row, each target's median round, its ratios to the relay, and what misses its target.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::load::Sample;
use crate::row::{ROWS, Row, Work};

/// The relay's name, which all others are compared with.
pub(crate) const RELAY: &str = "bare relay";
/// The product's name.
pub(crate) const PRODUCT: &str = "agent-vault";

/// Most processor time for each unit, relative to the relay.
const MAX_CPU: f64 = 1.15;
/// Least units a second, relative to the relay.
const MIN_RATE: f64 = 0.9;
/// The same for one large transfer.
const MIN_BULK_RATE: f64 = 0.95;
/// Most that the median of one connection grows by, in microseconds.
const MAX_ADDED_P50: f64 = 50.0;
/// Most that the 99th of 100 grows by at half load, in microseconds.
const MAX_ADDED_P99: f64 = 1000.0;
/// Most memory of an idle tunnel beyond the relay's, in KiB.
const MAX_TUNNEL_KIB: f64 = 20.0;
/// Longest first tunnel to a host, in microseconds.
const MAX_COLD: f64 = 3000.0;
/// Most that `run` adds to a command, in milliseconds.
const MAX_RUN: f64 = 30.0;

/// All rounds of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    samples: BTreeMap<(usize, String), Vec<Sample>>,
    /// Targets in the order in which they were first measured.
    targets: Vec<String>,
    run_overhead: Option<f64>,
}

/// One line of the table.
#[derive(Debug)]
struct Line {
    row: Row,
    target: String,
    sample: Sample,
    /// The relay's sample of the same row.
    relay: Option<Sample>,
}

impl Report {
    pub(crate) fn add(&mut self, row: &Row, target: &str, sample: Sample) {
        if !self.targets.iter().any(|known| known == target) {
            self.targets.push(target.to_owned());
        }
        let place = ROWS.iter().position(|known| known.name == row.name);
        self.samples
            .entry((place.unwrap_or(ROWS.len()), target.to_owned()))
            .or_default()
            .push(sample);
    }

    pub(crate) fn set_run_overhead(&mut self, milliseconds: f64) {
        self.run_overhead = Some(milliseconds);
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (place, row) in ROWS.iter().enumerate() {
            let of = |target: &str| {
                self.samples
                    .get(&(place, target.to_owned()))
                    .map(|rounds| median(rounds))
            };
            let relay = of(RELAY);
            for target in &self.targets {
                if let Some(sample) = of(target) {
                    lines.push(Line {
                        row: *row,
                        target: target.clone(),
                        sample,
                        relay: relay.filter(|_| target != RELAY),
                    });
                }
            }
        }
        lines
    }

    /// What misses its target, and by how much.
    pub(crate) fn misses(&self) -> Vec<String> {
        let lines = self.lines();
        let mut misses = Vec::new();
        for line in lines.iter().filter(|line| line.target == PRODUCT) {
            misses.extend(line.misses());
            for peer in &lines {
                let cheaper = peer.sample.cpu_micros < line.sample.cpu_micros;
                if peer.row.name == line.row.name
                    && ![PRODUCT, RELAY].contains(&&*peer.target)
                    && cheaper
                {
                    misses.push(format!(
                        "{}: {} needs less processor time",
                        line.row.name, peer.target
                    ));
                }
            }
        }
        if let Some(run) = self.run_overhead.filter(|run| *run > MAX_RUN) {
            misses.push(format!("run: adds {run:.1} ms, more than {MAX_RUN}"));
        }
        misses
    }

    /// The table, what `run` adds, and the misses, for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", table(&self.lines()));
        if let Some(run) = self.run_overhead {
            text.push_str(&format!("`run` adds {run:.1} ms to a command\n"));
        }
        let misses = self.misses();
        if misses.is_empty() {
            text.push_str("every target is met\n");
        }
        for miss in misses {
            text.push_str(&format!("missed: {miss}\n"));
        }
        text
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "rows": self.lines().iter().map(Line::to_json).collect::<Vec<_>>(),
            "run_added_ms": self.run_overhead,
            "misses": self.misses(),
        })
    }

    /// Processor time relative to the relay as bars: one for each row and target.
    pub(crate) fn to_svg(&self) -> String {
        let lines = self.lines();
        let bars: Vec<(&Line, f64)> = lines
            .iter()
            .filter_map(|line| Some((line, line.cpu_ratio()?)))
            .collect();
        let most = bars
            .iter()
            .map(|(_, ratio)| *ratio)
            .fold(1.0, f64::max)
            .min(8.0);
        let height = bars.len() * 22 + 60;
        let scale = 480.0 / most;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" \
             font-size=\"14\">Processor time for each unit, relative to the bare relay (shorter is better)</text>\n"
        );
        for (index, (line, ratio)) in bars.iter().enumerate() {
            let y = index * 22 + 40;
            let colour = if line.target == PRODUCT {
                "#2563eb"
            } else {
                "#9ca3af"
            };
            let width = ratio.min(most) * scale;
            svg.push_str(&format!(
                "<text x=\"10\" y=\"{text}\">{name} · {target}</text><rect x=\"300\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" \
                 fill=\"{colour}\"/><text x=\"{end:.1}\" y=\"{text}\">{ratio:.2}</text>\n",
                text = y + 13,
                name = line.row.name,
                target = line.target,
                end = 306.0 + width,
            ));
        }
        for (at, colour) in [(1.0, "#111827"), (MAX_CPU, "#dc2626")] {
            let x = at * scale + 300.0;
            svg.push_str(&format!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"30\" y2=\"{}\" stroke=\"{colour}\" stroke-dasharray=\"3 3\"/>\n",
                height - 10
            ));
        }
        svg + "</svg>\n"
    }
}

impl Line {
    fn ratio(&self, figure: fn(&Sample) -> f64) -> Option<f64> {
        let base = figure(&self.relay?);
        (base > 0.0).then(|| figure(&self.sample) / base)
    }

    fn cpu_ratio(&self) -> Option<f64> {
        self.ratio(|sample| sample.cpu_micros)
    }

    fn rate_ratio(&self) -> Option<f64> {
        self.ratio(|sample| sample.rate)
    }

    fn added(&self, figure: fn(&Sample) -> u32) -> Option<f64> {
        Some(f64::from(figure(&self.sample)) - f64::from(figure(&self.relay?)))
    }

    fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        let mut most = |what: &str, figure: Option<f64>, bound: f64| {
            if let Some(figure) = figure.filter(|figure| *figure > bound) {
                misses.push(format!(
                    "{}: {what} {figure:.2}, more than {bound}",
                    self.row.name
                ));
            }
        };
        // Opening idle tunnels is measured by rows of its own.
        if self.row.work != Work::Idle {
            most(
                "processor time relative to the relay",
                self.cpu_ratio(),
                MAX_CPU,
            );
        }
        match self.row.work {
            Work::HalfLoad => most(
                "added p99 in µs",
                self.added(|sample| sample.p99),
                MAX_ADDED_P99,
            ),
            Work::ColdHosts => most("p50 in µs", Some(f64::from(self.sample.p50)), MAX_COLD),
            Work::Idle => {
                let relay = self.relay.and_then(|relay| relay.each_kib);
                let added = self
                    .sample
                    .each_kib
                    .zip(relay)
                    .map(|(own, relay)| own - relay);
                most("added KiB for each tunnel", added, MAX_TUNNEL_KIB);
            }
            Work::Requests(_) if self.row.connections == 1 => {
                most(
                    "added p50 in µs",
                    self.added(|sample| sample.p50),
                    MAX_ADDED_P50,
                );
            }
            _ => {}
        }
        let least = match self.row.work {
            Work::Down | Work::Up => MIN_BULK_RATE,
            Work::Requests(_) | Work::Tunnels => MIN_RATE,
            _ => 0.0,
        };
        if let Some(rate) = self.rate_ratio().filter(|rate| *rate < least) {
            misses.push(format!(
                "{}: {rate:.2} of the relay's rate, less than {least}",
                self.row.name
            ));
        }
        misses
    }

    fn to_json(&self) -> Value {
        let sample = &self.sample;
        json!({
            "row": self.row.name,
            "target": self.target,
            "unit": self.row.unit(),
            "units_per_second": sample.rate,
            "rate_ratio": self.rate_ratio(),
            "cpu_micros_per_unit": sample.cpu_micros,
            "cpu_ratio": self.cpu_ratio(),
            "latency_micros": { "p50": sample.p50, "p99": sample.p99, "max": sample.max },
            "added_micros": { "p50": self.added(|sample| sample.p50), "p99": self.added(|sample| sample.p99) },
            "peak_kib": sample.peak_kib,
            "kib_for_each_connection": sample.each_kib,
        })
    }
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "row", "target", "unit", "units/s", "x relay", "CPU µs", "x relay", "p50 µs", "p99 µs",
        "peak MiB", "KiB each",
    ]);
    let shown = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(String::new, |figure| format!("{figure:.digits$}"))
    };
    for line in lines {
        let sample = &line.sample;
        let latency = |micros: u32| {
            if sample.max == 0 {
                String::new()
            } else {
                micros.to_string()
            }
        };
        table.add_row([
            line.row.name.to_owned(),
            line.target.clone(),
            line.row.unit().to_owned(),
            format!("{:.0}", sample.rate),
            shown(line.rate_ratio(), 2),
            format!("{:.1}", sample.cpu_micros),
            shown(line.cpu_ratio(), 2),
            latency(sample.p50),
            latency(sample.p99),
            format!("{:.1}", sample.peak_kib as f64 / 1024.0),
            shown(sample.each_kib, 1),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Each figure's median over the rounds; of memory and the worst latency the largest.
fn median(rounds: &[Sample]) -> Sample {
    let worst = |figure: fn(&Sample) -> u64| rounds.iter().map(figure).max().unwrap_or_default();
    Sample {
        rate: middle(rounds, |sample| sample.rate),
        cpu_micros: middle(rounds, |sample| sample.cpu_micros),
        p50: middle(rounds, |sample| f64::from(sample.p50)) as u32,
        p99: middle(rounds, |sample| f64::from(sample.p99)) as u32,
        max: worst(|sample| u64::from(sample.max)) as u32,
        peak_kib: worst(|sample| sample.peak_kib),
        each_kib: rounds
            .iter()
            .all(|sample| sample.each_kib.is_some())
            .then(|| middle(rounds, |sample| sample.each_kib.unwrap_or_default())),
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

    fn sample(cpu_micros: f64) -> Sample {
        Sample {
            rate: 100.0,
            cpu_micros,
            max: 1,
            ..Sample::default()
        }
    }

    fn report(product: f64, peer: f64) -> Report {
        let mut report = Report::default();
        let row = &ROWS[1];
        for cpu_micros in [10.0, 12.0, 90.0] {
            report.add(row, RELAY, sample(cpu_micros));
            report.add(row, PRODUCT, sample(cpu_micros * product));
            report.add(row, "squid", sample(cpu_micros * peer));
        }
        report
    }

    #[test]
    fn ratios_compare_medians_with_the_relay() {
        let report = report(1.1, 3.0);
        let lines = report.lines();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].cpu_ratio(), None);
        assert_eq!(lines[0].sample.cpu_micros, 12.0);
        assert!((lines[1].cpu_ratio().unwrap() - 1.1).abs() < 1e-9);
        assert!(report.misses().is_empty(), "{:?}", report.misses());
        assert!(report.to_text().contains("every target is met"));
        assert!(report.to_svg().contains("squid"));
    }

    #[test]
    fn what_misses_is_named() {
        let misses = report(1.5, 1.4).misses();
        assert_eq!(misses.len(), 2, "{misses:?}");
        assert!(misses[0].contains("1.50, more than 1.15"));
        assert!(misses[1].contains("squid"));
    }
}
