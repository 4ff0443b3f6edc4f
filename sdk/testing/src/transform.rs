//! A transform at work.

use std::collections::BTreeMap;

use brooklet::bindings::transform::exports::brooklet::plugin::transform::Outcome;
use brooklet::{Error, Transform};
use brooklet_golden::{Rec, Shown};

use crate::record::{apply, batch};

/// A transform that was initialised.
#[derive(Debug)]
pub struct Transforming<T>(T);

impl<T: Transform> Transforming<T> {
    /// Initialises it with a configuration in JSON.
    pub fn start(config: &str) -> Result<Transforming<T>, Error> {
        crate::start("transform", config, T::new).map(Transforming)
    }

    /// Hands it one batch, and says of each record what became of it.
    pub fn show(&mut self, records: &[Rec]) -> Result<Vec<Shown>, Error> {
        let columns = self.0.columns();
        let input = batch("topic", 0, 0, columns, records);
        let transformed = brooklet::role::transform::run(&mut self.0, columns, &input)?;
        let mut rejects: BTreeMap<usize, Shown> = BTreeMap::new();
        for reject in transformed.rejects.into_iter().flatten() {
            let shown = Shown::Rejected { code: reject.code, message: reject.message };
            rejects.insert(reject.index as usize, shown);
        }
        let mut shown = match transformed.outcome {
            Outcome::Pass => records.iter().cloned().map(Shown::Record).collect(),
            Outcome::Select(bits) => {
                let is_kept = |index: usize| bits[index / 8] & (1 << (index % 8)) != 0;
                let one = |(index, record): (usize, &Rec)| {
                    if is_kept(index) { Shown::Record(record.clone()) } else { Shown::Dropped }
                };
                records.iter().enumerate().map(one).collect()
            }
            Outcome::Emit(out) => {
                let mut shown = vec![Shown::Dropped; records.len()];
                let everyone: Vec<u32> = (0..out.count).collect();
                let sources = out.sources.as_ref().unwrap_or(&everyone);
                for (source, record) in sources.iter().zip(apply(&out, Some(records))) {
                    shown[*source as usize] = Shown::Record(record);
                }
                shown
            }
        };
        for (index, reject) in rejects {
            shown[index] = reject;
        }
        Ok(shown)
    }

    /// Hands it one record with this value, and returns what became of the value. Panics if the record
    /// was dropped or rejected.
    pub fn value(&mut self, value: &str) -> String {
        let shown = self.show(&[Rec::value(value)]).expect("the call succeeds");
        match &shown[..] {
            [Shown::Record(record)] => record.text().to_owned(),
            other => panic!("{value} became {other:?}"),
        }
    }
}
