//! The same as a picture: a row for each measure, a panel for each round trip, a line for each carrier.

use std::fmt::Write;

use crate::plan::{Carrier, Congestion, Weather};
use crate::report::{END_P99, Measure, PRODUCE, Results, value, weathers};

const PANEL_WIDTH: f64 = 230.0;
const PANEL_HEIGHT: f64 = 190.0;
/// Around a panel, for its title and its numbers.
const LEFT: f64 = 52.0;
const TOP: f64 = 44.0;
const GAP: f64 = 46.0;
/// Values span decades; a line that would leave the panel runs along its edge.
const DECADES: [(Measure, i32, i32); 2] = [(PRODUCE, -2, 1), (END_P99, 1, 4)];

/// The picture, in SVG.
pub(crate) fn svg(results: &Results) -> String {
    let mut round_trips: Vec<u64> = weathers(results).iter().map(|it| it.round_trip_ms).collect();
    round_trips.dedup();
    let columns = round_trips.len() as f64;
    let width = columns * (LEFT + PANEL_WIDTH) + 20.0;
    let height = 2.0 * (TOP + PANEL_HEIGHT + GAP) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (row, (measure, low, high)) in DECADES.iter().enumerate() {
        for (column, round_trip) in round_trips.iter().enumerate() {
            let left = LEFT + column as f64 * (LEFT + PANEL_WIDTH);
            let top = TOP + row as f64 * (TOP + PANEL_HEIGHT + GAP);
            let panel = Panel { measure, low: *low, high: *high, left, top };
            panel.draw(&mut svg, results, *round_trip);
        }
    }
    legend(&mut svg, height - 14.0);
    svg.push_str("</svg>\n");
    svg
}

struct Panel<'a> {
    measure: &'a Measure,
    /// Powers of ten at the bottom and at the top.
    low: i32,
    high: i32,
    left: f64,
    top: f64,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, results: &Results, round_trip: u64) {
        let (left, top) = (self.left, self.top);
        let bottom = top + PANEL_HEIGHT;
        text(svg, left, top - 10.0, "start", &format!("{}, {round_trip} ms", self.measure.title));
        for power in self.low..=self.high {
            let y = self.y(10_f64.powi(power));
            let right = left + PANEL_WIDTH;
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"#ddd\"/>"
            );
            text(svg, left - 6.0, y + 4.0, "end", &10_f64.powi(power).to_string());
        }
        let links = weathers(results).into_iter().filter(|it| it.round_trip_ms == round_trip);
        let links: Vec<Weather> = links.collect();
        for link in &links {
            let mark = format!("{} %", link.loss_percent);
            text(svg, self.x(*link), bottom + 16.0, "middle", &mark);
        }
        for carrier in Carrier::ALL {
            let of = |link: &Weather| Some((*link, value(self.measure, results, *link, carrier)?));
            let points = links.iter().filter_map(of).map(|(link, value)| {
                let (x, y) = (self.x(link), self.y(value));
                format!("{x:.1},{y:.1}")
            });
            let points = points.collect::<Vec<_>>().join(" ");
            let _ = writeln!(svg, "<polyline points=\"{points}\" {}/>", stroke(carrier));
        }
    }

    fn x(&self, link: Weather) -> f64 {
        // Zero to five per cent, with some room on both sides.
        self.left + PANEL_WIDTH * (f64::from(link.loss_percent) + 0.3) / 5.6
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let share = (value.max(f64::MIN_POSITIVE).log10().clamp(low, high) - low) / (high - low);
        self.top + PANEL_HEIGHT * (1.0 - share)
    }
}

fn legend(svg: &mut String, y: f64) {
    for (place, carrier) in Carrier::ALL.into_iter().enumerate() {
        let x = LEFT + place as f64 * 150.0;
        let (end, line) = (x + 28.0, y - 4.0);
        let points = format!("{x},{line} {end},{line}");
        let _ = writeln!(svg, "<polyline points=\"{points}\" {}/>", stroke(carrier));
        text(svg, end + 6.0, y, "start", &carrier.to_string());
    }
}

/// A colour for the transport, dashes for BBR.
fn stroke(carrier: Carrier) -> String {
    let colour = if carrier.is_quic() { "#0b6e4f" } else { "#c44900" };
    let dashes = match carrier.congestion() {
        Congestion::Cubic => "",
        Congestion::Bbr => " stroke-dasharray=\"5 3\"",
    };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}")
}

/// Words of ours only: nothing in them has to be escaped.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_value_is_higher_and_an_impossible_one_on_the_edge() {
        let panel = Panel { measure: &PRODUCE, low: -2, high: 1, left: 0.0, top: 0.0 };
        let places = [0.0, 0.01, 1.0, 10.0, 1e9].map(|value| panel.y(value).round());
        let height = PANEL_HEIGHT;
        assert_eq!(places, [height, height, (height / 3.0).round(), 0.0, 0.0]);
    }

    #[test]
    fn every_carrier_has_a_line_in_every_panel_and_in_the_legend() {
        let results = crate::report::tests::results([6.0; 4], [0.2; 4]);
        assert_eq!(svg(&results).matches("<polyline").count(), 2 * 4 + 4);
    }
}
