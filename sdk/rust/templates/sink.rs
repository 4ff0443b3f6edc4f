//! A sink that logs what it is given.

use brooklet::metrics::Counter;
use brooklet::{Batch, Columns, Context, Error, NoConfig, Reject, Rejects, Sink};

/// An instance.
#[derive(Debug)]
pub struct Logging {
    logged: Counter,
}

impl Sink for Logging {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<Logging, Error> {
        Ok(Logging { logged: Counter::new("records_logged", &[]) })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn write(&mut self, batch: &Batch<'_>, rejects: &mut Rejects) -> Result<(), Error> {
        for record in batch {
            match record.value().map(std::str::from_utf8) {
                Some(Ok(text)) => {
                    brooklet::info!(offset = record.offset(), "{}", text);
                    self.logged.add(1);
                }
                Some(Err(error)) => rejects.push(record.index(), Reject::new("text", error)),
                None => {}
            }
        }
        Ok(())
    }

    /// Makes everything written so far safe: offsets are committed when this returns.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

brooklet::plugin! {
    description: "Logs what it is given.",
    roles: { sink: Logging },
}

#[cfg(test)]
mod tests {
    use brooklet::stand_in;
    use brooklet_testing::{Rec, Sinking};

    use super::*;

    #[test]
    fn values_are_logged() {
        let mut sink = Sinking::<Logging>::start("{}").unwrap();
        let rejects = sink.write(&[Rec::value("hello"), Rec::value([0xff])]).unwrap();
        assert_eq!(rejects, [(1, "text".to_owned())]);
        assert_eq!(sink.flush().unwrap(), Some(2));
        assert_eq!(stand_in::take_log()[0].message, "hello");
    }
}
