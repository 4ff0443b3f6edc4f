//! Those who write and read: producers with `acks=all` and some with `acks=1`, a consumer, and retention.

use brooklet_replica::RequestId;
use brooklet_types::{BrokerId, Offset};

use crate::replica::host::Role;
use crate::replica::log::Record;
use crate::replica::world::{Event, World};

impl World {
    /// A producer sends a record to whom it takes for the leader.
    pub(crate) fn produce(&mut self) -> Result<(), String> {
        if !self.produces {
            return Ok(());
        }
        let after = self.prng.below(self.plan.produce_every);
        self.schedule.after(after, Event::Produce);
        let known = self.controller.partition().leader;
        let to = known.filter(|_| self.prng.chance(80)).unwrap_or_else(|| self.any_broker());
        let waits = self.prng.chance(90);
        self.next_value += 1;
        let value = self.next_value;
        let mut wrote = None;
        self.act(to, |host, now, outbox| {
            let (id, incarnation) = (host.id, host.incarnation);
            let Some(run) = &mut host.run else { return };
            let Role::Leader(leader) = &mut run.role else { return };
            if waits && leader.accept().is_err() {
                return;
            }
            let record = Record { epoch: leader.leader_epoch(), value };
            let offset = host.log.append(record);
            leader.local(host.log.ends(), now, outbox);
            if waits {
                let request = RequestId(value);
                run.requests.insert(request, (offset, record));
                leader.wait(request, Offset::new(offset + 1), now, outbox);
            }
            wrote = Some((record, id, incarnation, offset));
        })?;
        let Some((record, id, incarnation, offset)) = wrote else { return Ok(()) };
        self.note(format_args!("{id} writes {value} at {offset} in {}", record.epoch));
        self.promises.epochs.wrote(record.epoch, id, incarnation, offset)
    }

    /// The consumer asks any leader that it finds for the end, and for what it has not read.
    pub(crate) fn consume(&mut self) -> Result<(), String> {
        let after = self.prng.below(300_000);
        self.schedule.after(after, Event::Consume);
        let from = self.any_broker();
        let host = self.hosts.get_mut(&from).expect("all brokers are there");
        let Some(leader) = host.leader() else { return Ok(()) };
        if !self.promises.consumer.believes(leader.leader_epoch()) {
            return Ok(());
        }
        let (end, latest) = (leader.high_watermark().value(), leader.latest_offset());
        if let Some(latest) = latest {
            self.promises.consumer.told(latest)?;
        }
        let consumer = &mut self.promises.consumer;
        for offset in consumer.position.max(host.log.start())..end {
            self.promises.agreement.check_read(offset, host.log.at(offset))?;
            consumer.position = offset + 1;
        }
        Ok(())
    }

    /// A leader deletes some of what is safe.
    pub(crate) fn retain(&mut self) -> Result<(), String> {
        let after = self.prng.below(10_000_000);
        self.schedule.after(after, Event::Retain);
        let at = self.any_broker();
        let host = self.hosts.get_mut(&at).expect("all brokers are there");
        let Some(leader) = host.leader() else { return Ok(()) };
        let end = leader.high_watermark().value();
        let start = host.log.start();
        let to = start + self.prng.below(end.saturating_sub(start) + 1);
        host.log.delete_before(to);
        self.promises.acknowledged.delete_before(to);
        self.note(format_args!("{at} deletes what is before {to}"));
        Ok(())
    }

    pub(crate) fn any_broker(&mut self) -> BrokerId {
        let count = self.plan.brokers.len() as u64;
        self.plan.brokers[usize::try_from(self.prng.below(count)).expect("few")]
    }
}
