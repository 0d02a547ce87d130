//! A report as tables for the terminal, which are Markdown as well.

use std::fmt::Write as _;

use super::{
    density::DensityReport,
    goals::Goal,
    latency::{LatencyReport, Way},
    paths,
    report::{BenchReport, Host},
    statistics::Summary,
    throughput::{LoadPoint, ThroughputReport},
};

/// For what was not measured.
const NOTHING: &str = "-";

/// A table whose columns are as wide as what they hold.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The first column to the left, all others to the right.
    fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &[String], column: usize| row.get(column).map_or("", String::as_str).replace('|', "\\|");
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = cell(row, column);
                // Writing to a string cannot fail.
                let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - usize::from(column > 0));
                    let _ = write!(text, "| {dashes}{} ", if column == 0 { "" } else { ":" });
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// The whole report.
pub(super) fn text(report: &BenchReport) -> String {
    let mut parts = vec![head(report)];
    if !report.latency.is_empty() {
        parts.push(format!("One after the other: medians in ms.\n\n{}", latency(&report.latency)));
    }
    if !report.throughput.is_empty() {
        parts.push(format!("Many at once: executions per second, and ms.\n\n{}", throughput(&report.throughput)));
    }
    let footprint = footprint(report);
    if !footprint.is_empty() {
        parts.push(footprint);
    }
    if !report.goals.is_empty() {
        parts.push(format!("Goals.\n\n{}", goals(&report.goals)));
    }
    if !report.notes.is_empty() {
        let notes: Vec<String> = report.notes.iter().map(|note| format!("note: {note}")).collect();
        parts.push(notes.join("\n") + "\n");
    }
    parts.join("\n")
}

fn head(report: &BenchReport) -> String {
    let Host { kernel, architecture, cpus, cpu_model, memory_mib, root, python, load_average } = &report.host;
    let model = if cpu_model.is_empty() { String::new() } else { format!(" ({cpu_model})") };
    let user = if *root { "root" } else { "an ordinary user" };
    let date = report.started_at.strftime("%Y-%m-%d %H:%M UTC");
    format!(
        "aevatar-sandbox {} on Linux {kernel}, {architecture}, {cpus} CPUs{model}, {:.1} GiB, CPython {python}, as {user}\n\
         {date}, load before {load_average:.2}, took {:.0} s\n",
        report.version,
        memory_mib / 1024.0,
        report.duration_seconds,
    )
}

/// Three digits, whatever the size.
fn number(number: f64) -> String {
    match number {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), number)
}

fn latency(reports: &[LatencyReport]) -> String {
    let others = [
        Way::SandboxCold,
        Way::SandboxTenth,
        Way::WarmInterpreter,
        Way::Python,
        Way::Bubblewrap,
        Way::CommandLine,
        Way::CommandLineInMemory,
    ];
    let shown: Vec<_> =
        others.into_iter().filter(|way| reports.iter().any(|report| report.times(*way).is_some())).collect();
    let mut head = vec!["program", Way::Sandbox.title(), "p99", "started"];
    head.extend(shown.iter().map(|way| way.title()));
    let mut table = Table::new(&head);
    for report in reports {
        let ours = report.way(Way::Sandbox);
        let times = ours.and_then(|ours| ours.times);
        let mut row = vec![
            report.program.title().to_owned(),
            optional(times.map(|times| times.p50_ms)),
            optional(times.map(|times| times.p99_ms)),
            ours.map_or_else(String::new, |ours| paths::shares(&ours.paths)),
        ];
        row.extend(shown.iter().map(|way| optional(report.times(*way).map(|times| times.p50_ms))));
        table.row(row);
    }
    table.text()
}

fn throughput(reports: &[ThroughputReport]) -> String {
    let mut head = vec!["clients".to_owned()];
    for report in reports {
        head.extend([report.program.title().to_owned(), "p50".to_owned(), "p99".to_owned(), "started".to_owned()]);
    }
    let mut table = Table::default();
    table.row(head);
    let clients = reports.first().into_iter().flat_map(|report| &report.points).map(|point| point.clients);
    for clients in clients {
        let mut row = vec![clients.to_string()];
        for point in reports.iter().filter_map(|report| report.at(clients)) {
            let LoadPoint { per_second, times, paths, .. } = point;
            let times = |of: fn(Summary) -> f64| optional(times.map(of));
            row.extend([
                number(*per_second),
                times(|times| times.p50_ms),
                times(|times| times.p99_ms),
                paths::shares(paths),
            ]);
        }
        table.row(row);
    }
    let mut raw = vec!["raw forks".to_owned()];
    for report in reports {
        raw.extend([optional(report.raw.per_second), String::new(), String::new(), String::new()]);
    }
    table.row(raw);
    table.text()
}

fn footprint(report: &BenchReport) -> String {
    let mut text = String::new();
    for parked in &report.parked {
        let _ = match (&parked.unavailable, parked.profile_mib) {
            (None, Some(size)) => writeln!(
                text,
                "Parked worker after {}: {size:.1} MiB of private memory ({} parked).",
                parked.program.title(),
                parked.sandboxes_mib.len()
            ),
            (why, _) => writeln!(
                text,
                "Parked worker after {}: not measured: {}.",
                parked.program.title(),
                why.as_deref().unwrap_or(NOTHING)
            ),
        };
    }
    if let Some(idle) = &report.idle {
        let _ = writeln!(
            text,
            "Idle server: {:.0} ms of CPU time in {:.0} s, {} processes.",
            idle.cpu_time_ms, idle.seconds, idle.processes
        );
    }
    if let Some(density) = &report.density {
        let DensityReport { sandboxes, completed, alive_at_once, .. } = density;
        let p50 = |times: &Option<Summary>| optional(times.map(|times| times.p50_ms));
        let _ = writeln!(
            text,
            "{sandboxes} sandboxes that sleep: {completed} completed, {alive_at_once} alive at once, all started within \
             {} ms; each took {:.1} MiB of the host, {} MiB by its cgroup's peak; print(\"hi\") {} ms, {} ms before.",
            number(density.all_started_ms),
            density.host_memory_mib_each,
            optional(density.peak_memory_mib_p50),
            p50(&density.hello_full),
            p50(&density.hello_empty)
        );
    }
    text
}

fn goals(goals: &[Goal]) -> String {
    let mut table = Table::new(&["goal", "measured", "wanted", "reached"]);
    for goal in goals {
        let reached = match goal.reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not measured",
        };
        table.row([goal.name.clone(), goal.measured_text(), goal.limit_text(), reached.to_owned()]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn columns_are_aligned_and_bars_escaped() {
        let mut table = Table::new(&["name", "\u{d7}"]);
        table.row(["a|b".to_owned(), "1".to_owned()]);
        table.row(["long name".to_owned(), "22.5".to_owned()]);
        table.row(["short".to_owned()]);
        let expected = "\
| name      |    \u{d7} |
| --------- | ---: |
| a\\|b      |    1 |
| long name | 22.5 |
| short     |      |
";
        assert_eq!(table.text(), expected);
        assert_eq!(Table::default().text(), "");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [(0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_whole_report() {
        insta::assert_snapshot!(text(&sample::report()));
    }

    #[test]
    fn an_empty_report_is_its_head() {
        let mut report = sample::report();
        (report.latency, report.throughput, report.parked) = (Vec::new(), Vec::new(), Vec::new());
        (report.idle, report.density, report.goals, report.notes) = (None, None, Vec::new(), Vec::new());
        assert_eq!(text(&report).lines().count(), 2);
    }
}
