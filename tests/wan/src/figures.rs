//! Figures of one run, how a load hands them over, and the middle of several.

/// What a run measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Megabytes (10^6) of values a second, acknowledged.
    pub(crate) produce: f64,
    /// And read.
    pub(crate) consume: f64,
    /// From the moment a record was due to its acknowledgement, in milliseconds; of what has none, its age at the end.
    pub(crate) ack_p50: f64,
    pub(crate) ack_p99: f64,
    /// And until it was read.
    pub(crate) end_p99: f64,
}

const NAMES: [&str; 5] = ["produce", "consume", "ack_p50", "ack_p99", "end_p99"];

impl Figures {
    fn values(&self) -> [f64; 5] {
        [self.produce, self.consume, self.ack_p50, self.ack_p99, self.end_p99]
    }

    fn of([produce, consume, ack_p50, ack_p99, end_p99]: [f64; 5]) -> Figures {
        Figures { produce, consume, ack_p50, ack_p99, end_p99 }
    }

    /// As one line.
    pub(crate) fn line(&self) -> String {
        let words = NAMES.iter().zip(self.values()).map(|(name, value)| format!("{name}={value}"));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Reads such a line.
    pub(crate) fn read(line: &str) -> Option<Figures> {
        let mut values = [0.0; 5];
        let mut words = line.split_whitespace();
        for (name, value) in NAMES.iter().zip(&mut values) {
            let (found, text) = words.next()?.split_once('=')?;
            if found != *name {
                return None;
            }
            *value = text.parse().ok()?;
        }
        words.next().is_none().then(|| Figures::of(values))
    }

    /// The middle of several, each figure for itself.
    pub(crate) fn median(all: &[Figures]) -> Figures {
        let mut values = [0.0; 5];
        for (index, value) in values.iter_mut().enumerate() {
            let of = all.iter().filter_map(|figures| figures.values().get(index).copied());
            *value = at(of.collect(), 0.5);
        }
        Figures::of(values)
    }
}

/// The smallest value that is not below this share of all of them; NaN of none.
pub(crate) fn at(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let figures = Figures::of([1.5, 0.25, 20.0, 41.125, 60.5]);
        assert_eq!(Figures::read(&figures.line()), Some(figures));
        for wrong in ["", "produce=1", "produce=1 consume=1 ack_p50=1 ack_p99=x end_p99=1"] {
            assert_eq!(Figures::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_share_is_a_value_that_was_there() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let cases = [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)];
        for (share, expected) in cases {
            assert_eq!(at(hundred.clone(), share).to_bits(), f64::to_bits(expected), "{share}");
        }
        assert!(at(Vec::new(), 0.5).is_nan());
        let of = |value| Figures::of([value, 1.0, -value, 2.0, 3.0]);
        assert_eq!(Figures::median(&[of(3.0), of(1.0), of(2.0)]), of(2.0));
    }
}
