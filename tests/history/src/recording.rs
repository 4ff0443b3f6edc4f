//! A history while it is read: events in, tables out.
//!
//! Memory follows the number of records: names are kept once, an event is a row of a few numbers, and only sends that are
//! under way can be looked up.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::num::NonZeroU32;

use crate::error::HistoryError;
use crate::event::{Event, Kind, Op, Polled, Sent};
use crate::history::History;

/// The longest line that is read: a poll of as many records as clients hand out at once fits in many times over.
pub const LINE_BYTES_MAX: u64 = 64 << 20;

/// A line's number, from 1.
pub(crate) type Line = NonZeroU32;

/// An offset that nobody knows. No offset is as large.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// A record that was sent.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) value: u64,
    /// Where the broker said it lies, or `UNKNOWN`.
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) invoked: Line,
    pub(crate) completed: Option<Line>,
    pub(crate) outcome: Outcome,
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    Failed,
    Indeterminate,
}

/// A record that was polled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    pub(crate) value: u64,
}

/// Something happened to a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) line: Line,
    pub(crate) what: What,
}

/// What happened to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// `count` records from `first` in `History::records`.
    Polled {
        partition: u32,
        first: u32,
        count: u32,
    },
    Rebalanced {
        partition: u32,
    },
    /// `count` partitions from `first` in `History::assigned`.
    Assigned {
        first: u32,
        count: u32,
    },
    Subscribed {
        group: u32,
    },
    Sought {
        partition: u32,
        offset: u64,
    },
    Closed,
}

/// A partition's end, and when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) invoked: Line,
    pub(crate) line: Line,
}

/// Names, each once, by number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    /// The name's number. There are at most as many as `Recording::next_line` lets records through.
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer names than fit into memory");
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// The tables, one row for each thing of their kind, in the order of lines.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) partitions: Names,
    pub(crate) groups: Names,
    /// By line.
    pub(crate) times: Vec<u64>,
    /// By line.
    pub(crate) processes: Vec<u32>,
    pub(crate) sends: Vec<Send>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) records: Vec<Record>,
    pub(crate) assigned: Vec<u32>,
    pub(crate) ends: Vec<End>,
}

/// A history that is being read.
#[derive(Debug, Default)]
pub struct Recording {
    tables: Tables,
    /// Sends under way, by process, partition and value.
    under_way: HashMap<(u32, u32, u64), u32>,
    /// Ends that were asked for, by process.
    asked: HashMap<u32, Line>,
}

impl Recording {
    /// Reads JSON, one event a line, to its end.
    ///
    /// # Errors
    /// For what cannot be read, is no event, or contradicts what was read before.
    pub fn read(mut reader: impl BufRead) -> Result<History, HistoryError> {
        let mut recording = Recording::default();
        let mut text = Vec::new();
        loop {
            let line = recording.next_line();
            text.clear();
            let read = (&mut reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut text);
            let read = read.map_err(|source| HistoryError::Read { line, source })?;
            if read == 0 {
                return recording.finish();
            }
            if read as u64 > LINE_BYTES_MAX {
                return Err(HistoryError::LineTooLong { line, limit: LINE_BYTES_MAX });
            }
            let event = serde_json::from_slice(&text);
            let event = event.map_err(|source| HistoryError::NotAnEvent { line, source })?;
            recording.push(&event)?;
        }
    }

    /// Adds the next line.
    ///
    /// # Errors
    /// If it contradicts those before it; the recording is of no use then.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), HistoryError> {
        let line = self.next_line();
        let full = [self.tables.sends.len(), self.tables.records.len(), self.tables.assigned.len()];
        let number = u32::try_from(line).ok().and_then(NonZeroU32::new);
        let number = number.filter(|_| full.iter().all(|rows| *rows <= ROWS_MAX as usize));
        let number = number.ok_or(HistoryError::TooLong { line, limit: ROWS_MAX })?;
        let last = self.tables.times.last().copied().unwrap_or(0);
        if event.time < last {
            return Err(HistoryError::TimeRunsBackwards { line, time: event.time, last });
        }
        self.tables.times.push(event.time);
        self.tables.processes.push(event.process);
        match &event.op {
            Op::Send(sent) if event.kind == Kind::Invoke => self.invoke(number, event, sent)?,
            Op::Send(sent) => self.complete(number, event, sent)?,
            Op::Poll(polled) => self.poll(number, event.kind, polled)?,
            Op::End(_) if event.kind == Kind::Invoke => {
                self.asked.insert(event.process, number);
            }
            Op::End(_) | Op::Assign(_) | Op::Subscribe { .. } | Op::Seek(_) | Op::Close => {
                if event.kind == Kind::Ok {
                    self.consumer(number, event)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a history of it.
    ///
    /// # Errors
    /// If a value was sent twice.
    pub fn finish(self) -> Result<History, HistoryError> {
        History::new(self.tables)
    }

    fn invoke(
        &mut self,
        line: Line,
        event: &Event<'_>,
        sent: &[Sent<'_>],
    ) -> Result<(), HistoryError> {
        for Sent { partition, value, offset } in sent {
            if offset.is_some() {
                return Err(HistoryError::ResultTooEarly { line: line.get().into() });
            }
            let number = self.tables.partitions.number(partition);
            let index = self.row(self.tables.sends.len())?;
            let before = self.under_way.insert((event.process, number, *value), index);
            if let Some(before) = before {
                return Err(HistoryError::SentTwice {
                    first: self.tables.sends[before as usize].invoked.get(),
                    second: line.get(),
                    partition: partition.to_string(),
                    value: *value,
                });
            }
            self.tables.sends.push(Send {
                value: *value,
                offset: UNKNOWN,
                partition: number,
                invoked: line,
                completed: None,
                outcome: Outcome::Indeterminate,
            });
        }
        Ok(())
    }

    fn complete(
        &mut self,
        line: Line,
        event: &Event<'_>,
        sent: &[Sent<'_>],
    ) -> Result<(), HistoryError> {
        for Sent { partition, value, offset } in sent {
            let number = self.tables.partitions.number(partition);
            let index = self.under_way.remove(&(event.process, number, *value));
            let index = index.ok_or_else(|| HistoryError::SendNotInvoked {
                line: line.get().into(),
                process: event.process,
                partition: partition.to_string(),
                value: *value,
            })?;
            let send = &mut self.tables.sends[index as usize];
            send.completed = Some(line);
            send.outcome = match event.kind {
                Kind::Ok => Outcome::Acknowledged,
                Kind::Fail => Outcome::Failed,
                Kind::Info | Kind::Invoke => Outcome::Indeterminate,
            };
            if let Some(offset) = offset {
                if event.kind != Kind::Ok {
                    return Err(HistoryError::ResultTooEarly { line: line.get().into() });
                }
                send.offset = checked(line, *offset)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, line: Line, kind: Kind, polled: &Polled<'_>) -> Result<(), HistoryError> {
        if kind != Kind::Ok {
            let empty = polled.partitions.is_empty() && polled.rebalanced.is_empty();
            return match empty {
                true => Ok(()),
                false => Err(HistoryError::ResultTooEarly { line: line.get().into() }),
            };
        }
        for partition in &polled.rebalanced {
            let partition = self.tables.partitions.number(partition);
            self.tables.turns.push(Turn { line, what: What::Rebalanced { partition } });
        }
        for part in &polled.partitions {
            let partition = self.tables.partitions.number(&part.partition);
            let first = self.row(self.tables.records.len())?;
            for (offset, value) in &part.records {
                let offset = checked(line, *offset)?;
                self.tables.records.push(Record { offset, value: *value });
            }
            let count = self.row(self.tables.records.len())? - first;
            let what = What::Polled { partition, first, count };
            self.tables.turns.push(Turn { line, what });
        }
        Ok(())
    }

    /// What a consumer did, other than polling.
    fn consumer(&mut self, line: Line, event: &Event<'_>) -> Result<(), HistoryError> {
        match &event.op {
            Op::Assign(partitions) => {
                let first = self.row(self.tables.assigned.len())?;
                for partition in partitions {
                    let number = self.tables.partitions.number(partition);
                    self.tables.assigned.push(number);
                }
                let count = self.row(self.tables.assigned.len())? - first;
                self.tables.turns.push(Turn { line, what: What::Assigned { first, count } });
            }
            Op::Subscribe { group } => {
                let group = self.tables.groups.number(group);
                self.tables.turns.push(Turn { line, what: What::Subscribed { group } });
            }
            Op::Seek(positions) => {
                for position in positions {
                    let partition = self.tables.partitions.number(&position.partition);
                    let offset = checked(line, position.offset)?;
                    let what = What::Sought { partition, offset };
                    self.tables.turns.push(Turn { line, what });
                }
            }
            Op::End(positions) => {
                let process = event.process;
                let invoked = self.asked.remove(&process);
                let at = line.get().into();
                let invoked = invoked.ok_or(HistoryError::EndNotInvoked { line: at, process })?;
                for position in positions {
                    let partition = self.tables.partitions.number(&position.partition);
                    let offset = checked(line, position.offset)?;
                    self.tables.ends.push(End { partition, offset, invoked, line });
                }
            }
            Op::Close => self.tables.turns.push(Turn { line, what: What::Closed }),
            Op::Send(_) | Op::Poll(_) => unreachable!("`push` hands these to others"),
        }
        Ok(())
    }

    /// The next row's number in a table that has `rows`.
    fn row(&self, rows: usize) -> Result<u32, HistoryError> {
        let number = u32::try_from(rows).ok().filter(|rows| *rows <= ROWS_MAX);
        number.ok_or(HistoryError::TooLong { line: self.next_line() - 1, limit: ROWS_MAX })
    }

    fn next_line(&self) -> u64 {
        self.tables.times.len() as u64 + 1
    }
}

/// Rows are numbered with 32 bits, and acknowledgements and polled records are put into one table, so each has half of it.
const ROWS_MAX: u32 = u32::MAX / 2 - 1;

fn checked(line: Line, offset: u64) -> Result<u64, HistoryError> {
    let valid = i64::try_from(offset).is_ok_and(|offset| offset < i64::MAX);
    if valid { Ok(offset) } else { Err(HistoryError::NoOffset { line: line.get().into(), offset }) }
}
