//! A compaction policy that keeps the largest value of each key.

use brooklet::{Columns, CompactionPolicy, Context, Entries, Error, KeyMap, NoConfig, Pass, Verdict};

/// An instance.
#[derive(Debug, Default)]
pub struct Largest {
    dirty_end: i64,
    /// Size and offset of the largest record of each key.
    largest: KeyMap<(u32, i64)>,
}

impl CompactionPolicy for Largest {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<Largest, Error> {
        Ok(Largest::default())
    }

    /// Keys, offsets, times and sizes are always there; ask for `VALUES` to see values.
    fn columns(&self) -> Columns {
        Columns::empty()
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        *self = Largest { dirty_end: pass.dirty_end, ..Largest::default() };
        Ok(())
    }

    /// The first pass learns.
    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        for entry in entries.iter() {
            let largest = self.largest.entry(entry.key).or_default();
            *largest = (*largest).max((entry.size, entry.offset));
        }
        Ok(())
    }

    /// The second answers.
    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        for entry in entries.iter() {
            let is_largest = self.largest.get(&entry.key) == Some(&(entry.size, entry.offset));
            verdict.keep(is_largest || entry.offset >= self.dirty_end);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.largest = KeyMap::default();
    }
}

brooklet::plugin! {
    description: "Keeps the largest value of each key.",
    roles: { compaction: Largest },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Compacting, Rec};

    use super::*;

    #[test]
    fn the_largest_of_each_key_stays() {
        let mut plugin = Compacting::<Largest>::start("{}").unwrap();
        let records = [Rec::new("a", "xxx"), Rec::new("b", "x"), Rec::new("a", "xx"), Rec::new("b", "y")];
        let survivors = plugin.compact(&records, 0).unwrap();
        let offsets: Vec<usize> = survivors.iter().map(|survivor| survivor.offset).collect();
        assert_eq!(offsets, [0, 3]);
    }
}
