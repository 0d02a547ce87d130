//! The report as a picture: latencies as bars on a logarithmic scale, throughput as curves over the number of clients.

use super::{
    latency::{LatencyReport, Way},
    programs::Program,
    report::BenchReport,
    statistics::{Summary, float},
    svg::{Anchor, Picture, TextStyle},
    throughput::ThroughputReport,
};

const WIDTH: f64 = 860.0;
/// Left of the bars: names of programs.
const BARS_LEFT: f64 = 190.0;
/// Right of the bars: the value of the longest one.
const BARS_RIGHT: f64 = 90.0;
/// Left of the curves: numbers of the scale.
const CURVES_LEFT: f64 = 76.0;
/// Right of the curves: their names.
const CURVES_RIGHT: f64 = 160.0;
const BAR: f64 = 15.0;
const BAR_PITCH: f64 = 18.0;
const GROUP_GAP: f64 = 16.0;
const CURVES_HEIGHT: f64 = 240.0;

const INK: &str = "#1f2328";
const FAINT_INK: &str = "#59636e";
const GRID: &str = "#e4e8ec";
const AXIS: &str = "#aab2bb";

/// Programs that are shown, where they were measured.
const SHOWN: [Program; 5] = [Program::Hello, Program::Numpy, Program::Pandas, Program::Describe, Program::All];

/// The kinds of bars, the slowest first: name, colour.
const KINDS: [(&str, &str); 6] = [
    ("plain python", "#b8bfc7"),
    ("bubblewrap + python", "#e0a458"),
    ("sandbox, cold", "#9cc3e6"),
    ("sandbox, forked", "#3f87c9"),
    ("sandbox, parked", "#0b4f91"),
    ("warm exec, no isolation", "#7a9e7e"),
];
/// The colours of curves.
const CURVES: [&str; 2] = ["#0b4f91", "#c2571a"];

/// The picture, or nothing when nothing was measured that it shows.
pub(super) fn svg(report: &BenchReport) -> Option<String> {
    let mut picture = Picture::new(WIDTH);
    let mut y = 0.0;
    if report.latency.iter().any(|latency| SHOWN.contains(&latency.program)) {
        y = bars(&mut picture, y, &report.latency);
    }
    if report.throughput.iter().any(|throughput| throughput.points.len() > 1) {
        y = curves(&mut picture, y, &report.throughput);
    }
    if y <= 0.0 {
        return None;
    }
    let host = &report.host;
    let model = if host.cpu_model.is_empty() { &host.architecture } else { &host.cpu_model };
    let footer = format!(
        "aevatar-sandbox {}, {} CPUs, {model}, Linux {}, CPython {}, {}",
        report.version,
        host.cpus,
        host.kernel,
        host.python,
        report.started_at.strftime("%Y-%m-%d")
    );
    picture.text((WIDTH / 2.0, y + 24.0), style(11.0, FAINT_INK, Anchor::Middle), &footer);
    Some(picture.finish(y + 40.0, "Latency and throughput of aevatar-sandbox"))
}

const fn style(size: f64, color: &'static str, anchor: Anchor) -> TextStyle {
    TextStyle { size, color, anchor, bold: false }
}

const fn heading() -> TextStyle {
    TextStyle { size: 16.0, color: INK, anchor: Anchor::Start, bold: true }
}

/// A bar: its kind, and the median in ms.
type Bar = (usize, f64);

/// The bars of a program.
fn bars_of(latency: &LatencyReport) -> Vec<Bar> {
    let path = |path: &str| latency.way(Way::Sandbox)?.paths.get(path).copied();
    // Without zygotes, the plain way is the cold one.
    let cold = latency.times(Way::SandboxCold).or_else(|| path("cold"));
    let times: [Option<Summary>; KINDS.len()] = [
        latency.times(Way::Python),
        latency.times(Way::Bubblewrap),
        cold,
        path("forked"),
        path("parked"),
        latency.times(Way::WarmInterpreter),
    ];
    times.iter().enumerate().filter_map(|(kind, times)| Some((kind, times.as_ref()?.p50_ms))).collect()
}

/// A scale of whole decades.
#[derive(Clone, Copy, Debug)]
struct LogScale {
    /// Powers of ten of both ends.
    from: i32,
    to: i32,
}

impl LogScale {
    /// One that has room for all `values` above 0.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let logarithms = values.filter(|value| *value > 0.0).map(f64::log10);
        let least = logarithms.clone().fold(f64::INFINITY, f64::min);
        let most = logarithms.fold(f64::NEG_INFINITY, f64::max);
        // Times from a nanosecond to eleven days, in ms: more is a mistake.
        let power =
            |value: f64, of_nothing| (-6..=9).rev().find(|power| f64::from(*power) <= value).unwrap_or(of_nothing);
        let from = power(least, -6);
        Self { from, to: (power(most, from) + 1).max(from + 1) }
    }

    /// Where `value` is, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        let (from, to) = (f64::from(self.from), f64::from(self.to));
        ((value.log10() - from) / (to - from)).clamp(0.0, 1.0)
    }
}

/// Draws below `top`; the new bottom.
fn bars(picture: &mut Picture, top: f64, reports: &[LatencyReport]) -> f64 {
    let groups: Vec<(Program, Vec<Bar>)> = SHOWN
        .iter()
        .filter_map(|program| reports.iter().find(|report| report.program == *program))
        .map(|report| (report.program, bars_of(report)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    picture.text((24.0, top + 34.0), heading(), "From request to result, one after the other (medians)");
    let used = |kind: usize| groups.iter().any(|(_, bars)| bars.iter().any(|(of, _)| *of == kind));
    let mut x = 24.0;
    for (kind, (name, color)) in KINDS.iter().enumerate().filter(|(kind, _)| used(*kind)) {
        picture.rectangle((x, top + 50.0), (12.0, 12.0), color, KINDS.get(kind).map_or("", |(name, _)| name));
        picture.text((x + 17.0, top + 60.0), style(12.0, FAINT_INK, Anchor::Start), name);
        // Letters of this size are at most some 6.6 pixels wide.
        x += 28.0 + 6.6 * float(name.len());
    }

    let scale = LogScale::of(groups.iter().flat_map(|(_, bars)| bars).map(|(_, value)| *value));
    let width = WIDTH - BARS_LEFT - BARS_RIGHT;
    let chart = top + 78.0;
    let lines: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let bottom = chart + float(lines) * BAR_PITCH + float(groups.len()) * GROUP_GAP;
    for power in scale.from..=scale.to {
        let value = 10_f64.powi(power);
        let x = BARS_LEFT + width * scale.place(value);
        picture.line((x, chart), (x, bottom), if power == scale.from { AXIS } else { GRID }, 1.0, false);
        picture.text((x, bottom + 16.0), style(11.0, FAINT_INK, Anchor::Middle), &milliseconds(value));
    }
    let mut y = chart + GROUP_GAP / 2.0;
    for (program, bars) in &groups {
        let middle = y + float(bars.len()) * BAR_PITCH / 2.0 + 3.0;
        picture.text((BARS_LEFT - 12.0, middle), style(13.0, INK, Anchor::End), program.title());
        for (kind, value) in bars {
            let (name, color) = KINDS.get(*kind).copied().unwrap_or_default();
            let length = (width * scale.place(*value)).max(1.0);
            let title = format!("{}: {name}: {}", program.title(), milliseconds(*value));
            picture.rectangle((BARS_LEFT, y), (length, BAR), color, &title);
            let ink = if name.starts_with("sandbox") { INK } else { FAINT_INK };
            picture.text((BARS_LEFT + length + 6.0, y + 12.0), style(11.0, ink, Anchor::Start), &milliseconds(*value));
            y += BAR_PITCH;
        }
        y += GROUP_GAP;
    }
    bottom + 26.0
}

/// `2.3 ms`, `140 ms`, `1.6 s`.
fn milliseconds(value: f64) -> String {
    match value {
        small if small < 0.095 => format!("{small:.2} ms"),
        small if small < 9.95 => format!("{small:.1} ms").replace(".0 ms", " ms"),
        middle if middle < 999.5 => format!("{middle:.0} ms"),
        large => format!("{:.1} s", large / 1000.0).replace(".0 s", " s"),
    }
}

/// A round number that is not below `value`, and a good step up to it.
fn round_up(value: f64) -> (f64, f64) {
    let decade = 10_f64.powf(value.max(1.0).log10().floor());
    let step = [0.2, 0.5, 1.0, 2.0].into_iter().map(|step| step * decade).find(|step| value / step <= 6.0);
    let step = step.unwrap_or(2.0 * decade);
    ((value / step).ceil().max(1.0) * step, step)
}

/// Draws below `top`; the new bottom.
fn curves(picture: &mut Picture, top: f64, reports: &[ThroughputReport]) -> f64 {
    picture.text((24.0, top + 40.0), heading(), "Executions per second, by clients at once");
    let (chart, width) = (top + 62.0, WIDTH - CURVES_LEFT - CURVES_RIGHT);
    let bottom = chart + CURVES_HEIGHT;
    let rates = reports
        .iter()
        .flat_map(|report| report.points.iter().map(|point| point.per_second).chain(report.raw.per_second));
    let (most, step) = round_up(rates.fold(0.0, f64::max));
    let height = |rate: f64| bottom - CURVES_HEIGHT * (rate / most).clamp(0.0, 1.0);
    let mut rate = 0.0;
    while rate <= most + step / 2.0 {
        picture.line(
            (CURVES_LEFT, height(rate)),
            (CURVES_LEFT + width, height(rate)),
            if rate > 0.0 { GRID } else { AXIS },
            1.0,
            false,
        );
        picture.text(
            (CURVES_LEFT - 10.0, height(rate) + 4.0),
            style(11.0, FAINT_INK, Anchor::End),
            &format!("{rate:.0}"),
        );
        rate += step;
    }
    let clients: Vec<usize> =
        reports.first().map(|report| report.points.iter().map(|point| point.clients).collect()).unwrap_or_default();
    let place = |index: usize| {
        CURVES_LEFT + 20.0 + (width - 40.0) * float(index) / float(clients.len().saturating_sub(1).max(1))
    };
    for (index, clients) in clients.iter().enumerate() {
        picture.text((place(index), bottom + 18.0), style(11.0, FAINT_INK, Anchor::Middle), &clients.to_string());
    }
    // Names at the right end, moved apart where they would overlap.
    let mut names: Vec<(f64, &str, String)> = Vec::new();
    for (report, color) in reports.iter().zip(CURVES) {
        if let Some(raw) = report.raw.per_second {
            picture.line((CURVES_LEFT, height(raw)), (CURVES_LEFT + width, height(raw)), color, 1.5, true);
            names.push((height(raw), color, format!("raw forks, {}", profile(report.program))));
        }
        let points: Vec<(f64, f64)> =
            report.points.iter().enumerate().map(|(index, point)| (place(index), height(point.per_second))).collect();
        picture.curve(&points, color);
        names.extend(points.last().map(|(_, y)| (*y, color, report.program.title().to_owned())));
    }
    names.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut free = f64::NEG_INFINITY;
    for (y, color, name) in names {
        let y = (y + 4.0).max(free);
        free = y + 15.0;
        let color = CURVES.into_iter().find(|known| *known == color).unwrap_or(INK);
        picture.text((CURVES_LEFT + width + 10.0, y), style(12.0, color, Anchor::Start), &name);
    }
    bottom + 26.0
}

/// What the raw rate's interpreters had imported.
const fn profile(program: Program) -> &'static str {
    match program {
        Program::Hello => "bare python",
        _ => "with pandas",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{sample, svg::check_well_formed},
        *,
    };

    #[test]
    fn a_whole_report_is_a_well_formed_picture() {
        let document = svg(&sample::report()).unwrap();
        let names = check_well_formed(&document);
        assert!(document.starts_with("<svg xmlns="));
        // Background, legend, and the bars of three programs.
        assert_eq!(names.iter().filter(|name| *name == "rect").count(), 1 + 6 + 5 + 6 + 5);
        assert_eq!(names.iter().filter(|name| *name == "polyline").count(), 2);
        assert_eq!(document.matches("stroke-dasharray").count(), 1, "one raw rate was measured");
        assert!(document.contains("A &lt;fast&gt; &amp; &quot;good&quot; CPU"));
        assert!(!document.contains("NaN") && !document.contains("inf"), "{document}");
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let mut report = sample::report();
        report.throughput.clear();
        assert!(!svg(&report).unwrap().contains("polyline"));
        report.latency.clear();
        assert_eq!(svg(&report), None);
        report.latency = sample::report().latency;
        for latency in &mut report.latency {
            latency.ways.clear();
        }
        check_well_formed(&svg(&report).unwrap());
    }

    #[test]
    fn scales_have_room_for_all_values() {
        let scale = LogScale::of([2.0, 1600.0].into_iter());
        assert_eq!((scale.from, scale.to), (0, 4));
        assert!(scale.place(2.0) > 0.0 && scale.place(1600.0) < 1.0);
        let scale = LogScale::of([0.5].into_iter());
        assert_eq!((scale.from, scale.to), (-1, 0));
        let scale = LogScale::of(std::iter::empty());
        assert!(scale.from < scale.to);
        for value in [0.0, 1.0, 7.0, 99.0, 100.0, 640.0, 12_345.0] {
            let (most, step) = round_up(value);
            assert!(most >= value && step > 0.0 && most / step <= 7.0, "{value}: {most} in steps of {step}");
        }
    }

    #[test]
    fn times_are_written_short() {
        for (value, text) in
            [(0.05, "0.05 ms"), (0.1, "0.1 ms"), (1.0, "1 ms"), (2.34, "2.3 ms"), (140.2, "140 ms"), (1600.0, "1.6 s")]
        {
            assert_eq!(milliseconds(value), text);
        }
    }
}
