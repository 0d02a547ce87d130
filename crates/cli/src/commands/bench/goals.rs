//! What the project wants to be true, held against what was measured. Pure.

use serde::Serialize;

use super::{latency::Way, programs::Program, report::BenchReport, statistics::float};

/// The number of clients at which throughput is held against the raw rate.
const CLIENTS: usize = 16;

/// One goal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Goal {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) comparison: Comparison,
    pub(super) limit: f64,
    /// Nothing when it could not be measured.
    pub(super) measured: Option<f64>,
    /// Nothing likewise.
    pub(super) reached: Option<bool>,
}

/// What the numbers of a goal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Unit {
    /// One time or rate to another one.
    Ratio,
    Mebibytes,
    /// Per cent of one core.
    PercentOfCore,
    /// The completed part of all.
    Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Comparison {
    AtMost,
    AtLeast,
}

impl Goal {
    fn new(name: &str, comparison: Comparison, limit: f64, unit: Unit, measured: Option<f64>) -> Self {
        let measured = measured.filter(|measured| measured.is_finite());
        let reached = measured.map(|measured| match comparison {
            Comparison::AtMost => measured <= limit,
            Comparison::AtLeast => measured >= limit,
        });
        Self { name: name.to_owned(), unit, comparison, limit, measured, reached }
    }

    /// The limit as it is written: `≤ 1/10`.
    pub(super) fn limit_text(&self) -> String {
        let sign = match self.comparison {
            Comparison::AtMost => '\u{2264}',
            Comparison::AtLeast => '\u{2265}',
        };
        format!("{sign} {}", self.number(self.limit))
    }

    /// What was measured, in the same unit.
    pub(super) fn measured_text(&self) -> String {
        self.measured.map_or_else(|| "-".to_owned(), |measured| self.number(measured))
    }

    fn number(&self, number: f64) -> String {
        match (self.unit, self.comparison) {
            (Unit::Ratio, Comparison::AtMost) if number > 0.0 && number < 0.75 => {
                format!("1/{}", trimmed(1.0 / number))
            }
            (Unit::Ratio, Comparison::AtMost) if number < 10.0 => format!("{} \u{d7}", two_places(number)),
            (Unit::Ratio, Comparison::AtMost) => format!("{} \u{d7}", trimmed(number)),
            (Unit::Ratio, Comparison::AtLeast) | (Unit::Part, _) => format!("{} %", trimmed(number * 100.0)),
            (Unit::Mebibytes, _) => format!("{} MiB", trimmed(number)),
            (Unit::PercentOfCore, _) => format!("{} %", two_places(number)),
        }
    }
}

/// One place after the point, where it says something.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn two_places(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// All goals that this report can tell of: those of parts that were left out are not among them.
pub(super) fn goals(report: &BenchReport) -> Vec<Goal> {
    [of_latency(report), of_throughput(report), of_footprint(report), of_density(report)].concat()
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    Some(ours? / theirs?)
}

fn of_latency(report: &BenchReport) -> Vec<Goal> {
    use Comparison::AtMost;
    use Program::{All, Describe, Hello};

    let p50 = |program, way| report.times(program, way).map(|times| times.p50_ms);
    let p99 = |program, way| report.times(program, way).map(|times| times.p99_ms);
    let at_most = |name, limit, ours, theirs| Goal::new(name, AtMost, limit, Unit::Ratio, ratio(ours, theirs));
    let mut goals = Vec::new();
    if report.latency(Hello).is_some() {
        let ours = p50(Hello, Way::Sandbox);
        goals.push(at_most("print(\"hi\") to bubblewrap + python", 0.1, ours, p50(Hello, Way::Bubblewrap)));
        goals.push(at_most("print(\"hi\"): p99 to p50", 5.0, p99(Hello, Way::Sandbox), ours));
    }
    if report.latency(All).is_some() {
        let (ours, theirs) = (p50(All, Way::Sandbox), p50(All, Way::Python));
        goals.push(at_most("all seven imports to plain python", 0.01, ours, theirs));
    }
    if report.latency(Describe).is_some() {
        let ours = p50(Describe, Way::Sandbox);
        let (bubblewrap, warm) = (p50(Describe, Way::Bubblewrap), p50(Describe, Way::WarmInterpreter));
        goals.push(at_most("DataFrame.describe() to bubblewrap + python", 1.0 / 30.0, ours, bubblewrap));
        goals.push(at_most("DataFrame.describe() to a warm interpreter", 4.0, ours, warm));
        goals.push(at_most(
            "DataFrame.describe() with 100m CPU to the default",
            2.0,
            p50(Describe, Way::SandboxTenth),
            ours,
        ));
    }
    goals
}

fn of_throughput(report: &BenchReport) -> Vec<Goal> {
    let of = |program: Program, zygote: &str| {
        let throughput = report.throughput(program)?;
        let ours = throughput.at(CLIENTS).map(|point| point.per_second);
        let name = format!("{} with {CLIENTS} clients to the raw forks of {zygote}", program.title());
        let measured = ratio(ours, throughput.raw.per_second);
        Some(Goal::new(&name, Comparison::AtLeast, 0.5, Unit::Ratio, measured))
    };
    [of(Program::Hello, "a bare python"), of(Program::Pandas, "a python with pandas")].into_iter().flatten().collect()
}

fn of_footprint(report: &BenchReport) -> Vec<Goal> {
    let parked = |program, name, limit| {
        let measured = report.parked(program)?.profile_mib;
        Some(Goal::new(name, Comparison::AtMost, limit, Unit::Mebibytes, measured))
    };
    let idle = report.idle.as_ref().map(|idle| {
        let measured = Some(idle.percent_of_core);
        Goal::new("CPU time of an idle server", Comparison::AtMost, 0.5, Unit::PercentOfCore, measured)
    });
    [
        parked(Program::Hello, "private memory of a parked worker, bare", 3.0),
        parked(Program::All, "private memory of a parked worker, all packages", 12.0),
        idle,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_density(report: &BenchReport) -> Vec<Goal> {
    let Some(density) = &report.density else { return Vec::new() };
    let count = density.sandboxes;
    let part = |number: usize| Some(float(number) / float(count));
    let p50 = |times: &Option<super::statistics::Summary>| times.as_ref().map(|times| times.p50_ms);
    vec![
        Goal::new(
            &format!("{count} sandboxes with numpy: completed"),
            Comparison::AtLeast,
            1.0,
            Unit::Part,
            part(density.completed),
        ),
        Goal::new(
            &format!("{count} sandboxes with numpy: alive at once"),
            Comparison::AtLeast,
            1.0,
            Unit::Part,
            part(density.alive_at_once),
        ),
        Goal::new(
            &format!("{count} sandboxes with numpy: memory, each"),
            Comparison::AtMost,
            12.0,
            Unit::Mebibytes,
            Some(density.memory_mib_each),
        ),
        Goal::new(
            &format!("print(\"hi\") beside {count} sandboxes to an empty server"),
            Comparison::AtMost,
            3.0,
            Unit::Ratio,
            ratio(p50(&density.hello_full), p50(&density.hello_empty)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn numbers_are_written_as_people_say_them() {
        let goal = |limit, unit, comparison, measured| {
            let goal = Goal::new("x", comparison, limit, unit, measured);
            (goal.limit_text(), goal.measured_text(), goal.reached)
        };
        let text = str::to_owned;
        for (goal, expected) in [
            (
                goal(0.1, Unit::Ratio, Comparison::AtMost, Some(0.08)),
                (text("\u{2264} 1/10"), text("1/12.5"), Some(true)),
            ),
            (
                goal(1.0 / 30.0, Unit::Ratio, Comparison::AtMost, Some(1.5)),
                (text("\u{2264} 1/30"), text("1.5 \u{d7}"), Some(false)),
            ),
            (goal(0.5, Unit::Ratio, Comparison::AtLeast, Some(0.5)), (text("\u{2265} 50 %"), text("50 %"), Some(true))),
            (goal(3.0, Unit::Mebibytes, Comparison::AtMost, None), (text("\u{2264} 3 MiB"), text("-"), None)),
            (
                goal(0.5, Unit::PercentOfCore, Comparison::AtMost, Some(0.0)),
                (text("\u{2264} 0.5 %"), text("0 %"), Some(true)),
            ),
        ] {
            assert_eq!(goal, expected);
        }
        let nonsense = Goal::new("x", Comparison::AtMost, 1.0, Unit::Ratio, Some(f64::INFINITY));
        assert_eq!((nonsense.measured, nonsense.reached), (None, None));
    }

    #[test]
    fn every_goal_is_told_of_a_whole_bench() {
        let goals = goals(&sample::report());
        assert_eq!(goals.len(), 15);
        let of = |name: &str| goals.iter().find(|goal| goal.name.contains(name)).unwrap();
        assert_eq!(of("to bubblewrap").measured_text(), "1/12");
        assert_eq!(of("to bubblewrap").reached, Some(true));
        assert_eq!(of("p99 to p50").measured_text(), "6 \u{d7}");
        assert_eq!(of("p99 to p50").reached, Some(false));
        assert_eq!(of("raw forks of a bare python").measured_text(), "60 %");
        // Where the other side could not be measured, nothing is claimed.
        assert_eq!(of("raw forks of a python with pandas").reached, None);
    }

    #[test]
    fn what_was_left_out_has_no_goals() {
        let mut report = sample::report();
        (report.latency, report.throughput, report.parked) = (Vec::new(), Vec::new(), Vec::new());
        (report.idle, report.density) = (None, None);
        assert_eq!(goals(&report), []);
    }
}
