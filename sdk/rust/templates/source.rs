//! A source that counts.

use brooklet::{Context, Error, Limits, Outgoing, Poll, Source, Split, task};

/// What the operator configures; the schema below says the same to the broker.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    up_to: u64,
}

/// Where to go on. The broker keeps it together with the records.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Position {
    next: u64,
}

/// An instance.
#[derive(Debug)]
pub struct Counting {
    up_to: u64,
    next: u64,
}

impl Source for Counting {
    type Config = Config;
    type Position = Position;

    fn new(config: Config, _: &Context) -> Result<Counting, Error> {
        Ok(Counting { up_to: config.up_to, next: 0 })
    }

    fn start(&mut self, _: Vec<Split>, position: Option<Position>) -> Result<(), Error> {
        self.next = position.map_or(0, |position| position.next);
        Ok(())
    }

    fn poll(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<Poll<Position>, Error> {
        if self.next >= self.up_to {
            // Nothing to do: wait, but no longer than asked, and less if the task is to stop.
            task::sleep(limits.wait);
        }
        while self.next < self.up_to {
            let value = self.next.to_string();
            if !out.has_room(limits, value.len()) {
                break;
            }
            out.push_value(value.as_bytes());
            self.next += 1;
        }
        Ok(Poll { position: Position { next: self.next }, more: self.next < self.up_to })
    }
}

brooklet::plugin! {
    description: "Counts.",
    roles: { source: Counting },
    config: {
        "type": "object",
        "required": ["up_to"],
        "additionalProperties": false,
        "properties": { "up_to": { "type": "integer", "minimum": 0 } }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::Sourcing;

    use super::*;

    #[test]
    fn it_goes_on_where_it_stopped() {
        let config = r#"{"up_to":5}"#;
        let mut first = Sourcing::<Counting>::start(config, None).unwrap().records_max(2);
        let polled = first.poll().unwrap();
        assert_eq!((polled.records[1].text(), polled.more), ("1", true));
        let mut again = Sourcing::<Counting>::start(config, Some(&polled.position)).unwrap();
        assert_eq!(again.texts().unwrap(), ["2", "3", "4"]);
    }
}
