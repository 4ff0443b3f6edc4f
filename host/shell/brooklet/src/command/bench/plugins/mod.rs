//! `brooklet bench plugins`: what plugins cost, as ratios of two things measured in one run.
//!
//! **Where it sits.** Beside the other measurements, but it needs no broker: it starts its own, with folders that go away
//! again, and has the plugin room in this process for what no network may blur.
//!
//! **What it decides.** Nothing about plugins. Each figure stands beside the one it should reach; one that does not is
//! shown as what it is.

mod boundary;
mod catch_up;
mod first_call;
mod idle;
mod scratch;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each thing is measured; what is shown is the median
    #[arg(long, default_value = "7", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Records of a kibibyte that are read and written at a time
    #[arg(long, default_value = "200000", value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    records: u32,
    /// Topics with an idle plugin each
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    idle: u32,
    /// Seconds until their plugins count as idle; a minute is how long they keep what they had
    #[arg(long, default_value = "65", value_parser = clap::value_parser!(u64).range(0..=3600))]
    idle_seconds: u64,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// It explains another one.
    None,
}

/// One thing that was measured.
#[derive(Clone, Debug)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    aim: Aim,
    /// What it is made of.
    detail: String,
}

impl Figure {
    fn is_reached(&self) -> Option<bool> {
        match self.aim {
            Aim::AtLeast(least) => Some(self.value >= least),
            Aim::AtMost(most) => Some(self.value <= most),
            Aim::None => None,
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let (at_least, at_most) = match self.aim {
            Aim::AtLeast(least) => (Some(least), None),
            Aim::AtMost(most) => (None, Some(most)),
            Aim::None => (None, None),
        };
        json!({
            "figure": self.name,
            "value": self.value,
            "unit": self.unit,
            "at_least": at_least,
            "at_most": at_most,
            "reached": self.is_reached(),
            "detail": self.detail,
        })
    }

    fn row(&self) -> Vec<String> {
        let aim = match self.aim {
            Aim::AtLeast(least) => format!("≥ {least}"),
            Aim::AtMost(most) => format!("≤ {most}"),
            Aim::None => String::new(),
        };
        let reached = match self.is_reached() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        vec![
            self.name.to_owned(),
            format!("{:.2} {}", self.value, self.unit).trim_end().to_owned(),
            aim,
            reached.to_owned(),
            self.detail.clone(),
        ]
    }
}

/// Measures everything, one after the other.
pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut figures = Vec::new();
    let mut add = |context: &mut Context, more: Vec<Figure>| {
        if context.is_json() {
            for figure in &more {
                context.output.json(&figure.as_json())?;
            }
            context.output.flush()?;
        }
        figures.extend(more);
        Ok::<_, Failure>(())
    };
    add(context, boundary::measure(arguments.rounds).await?)?;
    add(context, first_call::measure(arguments.rounds).await?)?;
    add(context, catch_up::measure(arguments.rounds, arguments.records).await?)?;
    if arguments.idle > 0 {
        let wait = Duration::from_secs(arguments.idle_seconds);
        add(context, idle::measure(arguments.idle, wait).await?)?;
    }
    if context.is_json() {
        return Ok(());
    }
    const HEAD: [&str; 5] = ["FIGURE", "MEASURED", "AIM", "REACHED", "DETAIL"];
    context.output.table(&HEAD, figures.iter().map(Figure::row).collect())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn seconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_knows_whether_it_is_what_it_should_be() {
        let figure =
            |value, aim| Figure { name: "f", value, unit: "×", aim, detail: String::new() };
        assert_eq!(figure(0.91, Aim::AtLeast(0.9)).is_reached(), Some(true));
        assert_eq!(figure(0.89, Aim::AtLeast(0.9)).is_reached(), Some(false));
        assert_eq!(figure(2.3, Aim::AtMost(2.2)).is_reached(), Some(false));
        assert_eq!(figure(2.3, Aim::None).is_reached(), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
