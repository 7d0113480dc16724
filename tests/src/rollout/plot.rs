//! Draws a drill as an SVG of its own: reconnects per second over the drain windows, and below it the latency.

use std::fmt::Write as _;

use super::{Figures, figures::Second};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
/// Top and height of the two panels.
const RATE: (f64, f64) = (56.0, 190.0);
const LATENCY: (f64, f64) = (300.0, 120.0);
const HEIGHT: f64 = 470.0;
/// About so many labels on an axis.
const LABELS: f64 = 5.0;

/// The picture of a drill, titled `title`.
pub fn plot(figures: &Figures, title: &str) -> String {
    let seconds = &figures.seconds;
    let x = |second: f64| LEFT + second / (seconds.len().max(1) as f64) * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" fill=\"#1f2933\">{title}</text>\n"
    );
    for (node, from, to) in &figures.drains {
        let (left, width) = (x(*from), x(*to) - x(*from));
        for (top, height) in [RATE, LATENCY] {
            line(
                &mut svg,
                &format!(
                    "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"#fff3d6\"/>"
                ),
            );
        }
        let (middle, above) = (left + width / 2.0, RATE.0 - 6.0);
        line(
            &mut svg,
            &format!(
                "<text x=\"{middle:.1}\" y=\"{above}\" text-anchor=\"middle\" fill=\"#8a6d1a\">{node} drains</text>"
            ),
        );
    }
    bars(&mut svg, seconds, x);
    latency(&mut svg, seconds, x);
    let step = nice(seconds.len() as f64 / (LABELS * 2.0)).max(1.0);
    let bottom = LATENCY.0 + LATENCY.1;
    for second in ticks(seconds.len() as f64, step) {
        label(
            &mut svg,
            (x(second), bottom + 16.0),
            "middle",
            &format!("{second:.0}"),
        );
    }
    label(
        &mut svg,
        ((LEFT + WIDTH - RIGHT) / 2.0, bottom + 36.0),
        "middle",
        "seconds",
    );
    svg += "</svg>\n";
    svg
}

fn bars(svg: &mut String, seconds: &[Second], x: impl Fn(f64) -> f64) {
    let most = seconds
        .iter()
        .map(|second| second.reconnects)
        .max()
        .unwrap_or_default();
    let y = axis(svg, RATE, f64::from(most), "reconnects per second");
    let bottom = RATE.0 + RATE.1;
    for (at, second) in seconds
        .iter()
        .enumerate()
        .filter(|(_, second)| second.reconnects > 0)
    {
        let (left, top) = (x(at as f64), y(f64::from(second.reconnects)));
        let (width, height) = (x(at as f64 + 1.0) - left - 0.5, bottom - top);
        line(
            svg,
            &format!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#2f6f9f\"/>"
            ),
        );
    }
}

fn latency(svg: &mut String, seconds: &[Second], x: impl Fn(f64) -> f64) {
    let most = seconds.iter().map(|second| second.p99).fold(0.0, f64::max);
    let what = "99th percentile of the time from publish to the client in ms, reconnects included";
    let y = axis(svg, LATENCY, most, what);
    let points: Vec<String> = seconds
        .iter()
        .enumerate()
        .map(|(at, second)| format!("{:.1},{:.1}", x(at as f64 + 0.5), y(second.p99)))
        .collect();
    line(
        svg,
        &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#b3432f\" stroke-width=\"1.5\"/>",
            points.join(" ")
        ),
    );
}

/// Draws a panel's lines and labels and gives back where a value stands.
fn axis(
    svg: &mut String,
    (top, height): (f64, f64),
    most: f64,
    what: &str,
) -> impl Fn(f64) -> f64 + use<> {
    let step = nice(most / LABELS).max(1.0);
    let full = ((most / step).ceil() * step).max(step);
    let y = move |value: f64| top + height - value / full * height;
    for value in ticks(full, step) {
        let at = y(value);
        line(
            svg,
            &format!(
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#d5dbe1\"/>",
                WIDTH - RIGHT
            ),
        );
        label(svg, (LEFT - 6.0, at + 4.0), "end", &format!("{value:.0}"));
    }
    label(svg, (LEFT + 4.0, top + 14.0), "start", what);
    y
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    line(
        svg,
        &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#3e4c59\">{text}</text>"
        ),
    );
}

fn line(svg: &mut String, text: &str) {
    // Writing into a text cannot fail.
    let _ = writeln!(svg, "{text}");
}

/// 0, one step, two steps, … up to `full`.
fn ticks(full: f64, step: f64) -> impl Iterator<Item = f64> {
    let count = (full / step + 1e-9) as u32;
    (0..=count).map(move |n| f64::from(n) * step)
}

/// The next of 1, 2, 5, 10, 20, … that is not below `value`.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_with_reconnects_has_its_bar_and_every_drain_its_window() {
        let second = |reconnects, p99| Second { reconnects, p99 };
        let figures = Figures {
            seconds: vec![second(0, 1.0), second(40, 2.0), second(7, 900.0)],
            drains: vec![("old-0".to_owned(), 0.5, 2.5)],
            json: serde_json::Value::Null,
        };
        let svg = plot(&figures, "a roll");
        assert_eq!(svg.matches("#2f6f9f").count(), 2, "{svg}");
        assert_eq!(svg.matches("#fff3d6").count(), 2, "{svg}");
        assert!(
            svg.contains("old-0 drains") && svg.contains("a roll"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn steps_of_an_axis_are_round() {
        assert_eq!(
            [0.3, 1.0, 1.2, 34.0, 60.0].map(nice),
            [0.5, 1.0, 2.0, 50.0, 100.0]
        );
    }
}
