//! What was measured, as text for people: tables, and where which carrier wins.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::figures::Figures;
use crate::plan::{Carrier, Weather};

/// Medians, by link and carrier.
pub(crate) type Results = BTreeMap<(Weather, Carrier), Figures>;

/// One thing that is measured.
pub(crate) struct Measure {
    pub(crate) title: &'static str,
    pub(crate) of: fn(&Figures) -> f64,
    /// Whether the larger one is the better one.
    pub(crate) more_is_better: bool,
    decimals: usize,
}

pub(crate) const PRODUCE: Measure = Measure {
    title: "Produce, MB/s acknowledged",
    of: |figures| figures.produce,
    more_is_better: true,
    decimals: 2,
};
pub(crate) const END_P99: Measure = Measure {
    title: "From end to end at 100 records a second, p99, ms",
    of: |figures| figures.end_p99,
    more_is_better: false,
    decimals: 0,
};
const MEASURES: [Measure; 5] = [
    PRODUCE,
    Measure {
        title: "Consume, MB/s",
        of: |figures| figures.consume,
        more_is_better: true,
        decimals: 2,
    },
    Measure {
        title: "Acknowledged at 100 records a second, p50, ms",
        of: |figures| figures.ack_p50,
        more_is_better: false,
        decimals: 0,
    },
    Measure {
        title: "Acknowledged at 100 records a second, p99, ms",
        of: |figures| figures.ack_p99,
        more_is_better: false,
        decimals: 0,
    },
    END_P99,
];
/// What is closer than this is no difference between two carriers, but between two runs.
const CLOSE: f64 = 0.1;

/// The page. `about` says how it came about.
pub(crate) fn page(about: &str, results: &Results) -> String {
    let mut page = format!("# TCP+TLS and QUIC on links that lose packets\n\n{about}\n");
    page.push_str("\n![Produce and p99 by loss](results.svg)\n");
    page.push_str("\nThe best of a line, and what is within a tenth of it, is **bold**.\n");
    for measure in &MEASURES {
        table(&mut page, measure, results);
    }
    page.push_str(
        "\n## Where TCP+TLS wins\n\nThe better of its two against the better of QUIC's two.\n\n",
    );
    let wins: Vec<String> =
        MEASURES.iter().flat_map(|measure| wins_of_tls(measure, results)).collect();
    if wins.is_empty() {
        page.push_str("Nowhere by more than a tenth.\n");
    }
    page.extend(wins);
    page
}

fn table(page: &mut String, measure: &Measure, results: &Results) {
    let heads = Carrier::ALL.map(|carrier| carrier.to_string()).join(" | ");
    let line = "---|".repeat(Carrier::ALL.len());
    let title = measure.title;
    let _ = write!(page, "\n## {title}\n\n| round trip | loss | {heads} |\n|---|---|{line}\n");
    for weather in weathers(results) {
        let values = Carrier::ALL.map(|carrier| value(measure, results, weather, carrier));
        let best = best(measure, values.into_iter().flatten());
        let cells = values.map(|value| match value {
            None => "-".to_owned(),
            Some(value) if is_close(measure, value, best) => {
                format!("**{value:.*}**", measure.decimals)
            }
            Some(value) => format!("{value:.*}", measure.decimals),
        });
        let Weather { round_trip_ms, loss_percent } = weather;
        let cells = cells.join(" | ");
        let _ = writeln!(page, "| {round_trip_ms} ms | {loss_percent} % | {cells} |");
    }
}

/// A line for each link on which TLS is better than QUIC by more than is close.
fn wins_of_tls(measure: &Measure, results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for weather in weathers(results) {
        let of = |is_quic| {
            let carriers = Carrier::ALL.into_iter().filter(move |it| it.is_quic() == is_quic);
            best(measure, carriers.filter_map(|it| value(measure, results, weather, it)))
        };
        let (tls, quic) = (of(false), of(true));
        let wins = better(measure, tls, quic).to_bits() == tls.to_bits();
        if wins && !is_close(measure, quic, tls) {
            let Weather { round_trip_ms, loss_percent } = weather;
            let (title, decimals) = (measure.title, measure.decimals);
            lines.push(format!(
                "- {title}: {round_trip_ms} ms, {loss_percent} %: {tls:.decimals$} against {quic:.decimals$}\n"
            ));
        }
    }
    lines
}

pub(crate) fn value(
    measure: &Measure,
    results: &Results,
    weather: Weather,
    carrier: Carrier,
) -> Option<f64> {
    results.get(&(weather, carrier)).map(measure.of)
}

/// The links there are results of, in order.
pub(crate) fn weathers(results: &Results) -> Vec<Weather> {
    let mut weathers: Vec<Weather> = results.keys().map(|(weather, _)| *weather).collect();
    weathers.dedup();
    weathers
}

fn best(measure: &Measure, values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |best, value| better(measure, best, value))
}

/// The better of two; a number is better than none.
fn better(measure: &Measure, one: f64, other: f64) -> f64 {
    if measure.more_is_better { one.max(other) } else { one.min(other) }
}

fn is_close(measure: &Measure, value: f64, best: f64) -> bool {
    if measure.more_is_better {
        value >= best * (1.0 - CLOSE)
    } else {
        value <= best * (1.0 + CLOSE)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two links on which each figure of the carriers is given, in their order.
    pub(crate) fn results(lossless: [f64; 4], lossy: [f64; 4]) -> Results {
        let mut results = Results::new();
        for (loss_percent, values) in [(0, lossless), (5, lossy)] {
            let weather = Weather { round_trip_ms: 80, loss_percent };
            for (carrier, value) in Carrier::ALL.into_iter().zip(values) {
                let [produce, consume] = [value, 1.0];
                let [ack_p50, ack_p99, end_p99] = [10.0, 10.0, 10.0];
                let figures = Figures { produce, consume, ack_p50, ack_p99, end_p99 };
                results.insert((weather, carrier), figures);
            }
        }
        results
    }

    #[test]
    fn the_best_are_bold() {
        let page = page("About.", &results([6.0, 5.8, 5.0, 4.0], [0.2, 3.0, 0.5, 3.1]));
        assert!(page.contains("| 80 ms | 0 % | **6.00** | **5.80** | 5.00 | 4.00 |"), "{page}");
        assert!(page.contains("| 80 ms | 5 % | 0.20 | **3.00** | 0.50 | **3.10** |"), "{page}");
    }

    #[test]
    fn where_tcp_wins_is_said() {
        let wins = "- Produce, MB/s acknowledged: 80 ms, 0 %: 6.00 against 5.00\n";
        let cases = [
            ([6.0, 5.8, 5.0, 4.0], wins),
            ([6.0, 5.8, 5.5, 4.0], "Nowhere by more than a tenth.\n"),
            ([1.0, 1.0, 5.0, 4.0], "Nowhere by more than a tenth.\n"),
        ];
        for (lossless, expected) in cases {
            let page = page("About.", &results(lossless, [0.2, 3.0, 0.5, 3.1]));
            assert!(page.ends_with(&format!("QUIC's two.\n\n{expected}")), "{page}");
        }
    }
}
