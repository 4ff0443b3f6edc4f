//! What is wanted: values to be decided, reads, changes of members, another leader.

use brooklet_quorum::{Change, ChangeError, Member, ProposeError, Ticket};
use bytes::Bytes;

use crate::quorum::bug::Bug;
use crate::quorum::world::{Event, World};

impl World {
    /// Somebody wants something of a host.
    pub(crate) fn wish(&mut self) -> Result<(), String> {
        let after = self.prng.below(2 * self.plan.wish_every);
        self.schedule.after(after, Event::Wish);
        let at = self.whom();
        if self.hosts[at].running.is_none() {
            return Ok(());
        }
        let calm = self.calm.is_some();
        match self.prng.below(100) {
            0..60 => self.propose(at),
            60..85 => self.read(at)?,
            85..95 if self.plan.changes && !calm => self.change(at),
            95..98 if !calm => self.transfer(at),
            _ => {}
        }
        self.drain(at)
    }

    /// Usually who leads, sometimes anybody.
    fn whom(&mut self) -> usize {
        let leaders: Vec<_> = (0..self.hosts.len()).filter(|at| self.hosts[*at].leads()).collect();
        let anybody = self.prng.chance(20) && self.calm.is_none();
        match self.prng.pick(&leaders) {
            Some(leader) if !anybody => *leader,
            Some(_) | None => self.any_host(),
        }
    }

    pub(crate) fn any_host(&mut self) -> usize {
        let count = u64::try_from(self.hosts.len()).expect("few");
        usize::try_from(self.prng.below(count)).expect("few")
    }

    fn propose(&mut self, at: usize) {
        self.values += 1;
        let value = self.values;
        let padding = usize::try_from(self.prng.below(100)).expect("small");
        let mut data = value.to_be_bytes().to_vec();
        data.resize(8 + padding, 0);
        let running = self.running(at).expect("seen");
        match running.quorum.propose(&Bytes::from(data)) {
            Ok(proposed) => {
                running.proposals.insert(proposed, value);
                self.note(format_args!("{value} is proposed at host {at}: {proposed:?}"));
            }
            Err(error) => self.note(format_args!("{value} is not proposed at host {at}: {error}")),
        }
    }

    fn read(&mut self, at: usize) -> Result<(), String> {
        let ticket = self.promises.reads.ask(at, self.promises.agreement.last());
        let blind = self.bug == Bug::ReadWithoutProof;
        let running = self.running(at).expect("seen");
        if blind && running.quorum.is_leader() {
            let applied = running.applied;
            return self.promises.reads.answer(ticket, Some(applied));
        }
        if let Err(error) = running.quorum.read_index(Ticket(ticket)) {
            self.promises.reads.refused(ticket);
            self.note(format_args!("read {ticket} is refused at host {at}: {error}"));
        }
        Ok(())
    }

    /// Changes members at random, but for a disk that is gone: nobody else leaves before that one has.
    fn change(&mut self, at: usize) {
        let agreement = &self.promises.agreement;
        let members: Vec<_> = agreement.members(agreement.last()).iter().collect();
        let gone = |member: &Member| self.hosts.iter().all(|host| host.me != *member);
        let lost = members.iter().map(|(member, _)| *member).find(gone);
        let host = self.any_host();
        let member = self.hosts[host].me;
        let voters = members.iter().filter(|(_, votes)| *votes).count();
        let found = members.iter().find(|(known, _)| *known == member);
        let change = match (lost, found) {
            (Some(lost), _) => Change::Remove(lost),
            (None, None) => Change::AddObserver(member),
            (None, Some((_, false))) if self.prng.chance(80) => Change::AddVoter(member),
            (None, Some((_, false))) => Change::Remove(member),
            (None, Some((_, true))) if voters > 2 => Change::Remove(member),
            (None, Some((_, true))) => return,
        };
        let running = self.running(at).expect("seen");
        let changed = running.quorum.change_members(change);
        self.note(format_args!("{change:?} at host {at}: {changed:?}"));
        match changed {
            Err(ChangeError::Leads { .. }) => self.transfer(at),
            // What this host has applied may be older than what we know.
            Ok(_)
            | Err(
                ChangeError::Propose(
                    ProposeError::NotLeader(_)
                    | ProposeError::Transferring
                    | ProposeError::Full { .. }
                    | ProposeError::TooLarge { .. },
                )
                | ChangeError::UnderWay
                | ChangeError::BrokerTaken { .. }
                | ChangeError::Already { .. }
                | ChangeError::Unknown { .. }
                | ChangeError::TooMany { .. }
                | ChangeError::LastVoter { .. }
                | ChangeError::Behind { .. },
            ) => {}
        }
    }

    fn transfer(&mut self, at: usize) {
        let to = self.any_host();
        let broker = self.hosts[to].me.broker;
        let running = self.running(at).expect("seen");
        let begun = running.quorum.transfer_leadership(broker);
        self.note(format_args!("leadership from host {at} to broker {broker}: {begun:?}"));
    }
}
