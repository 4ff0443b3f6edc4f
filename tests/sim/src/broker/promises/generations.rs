//! Source: Kafka's group protocol: a generation has one leader, and what each member is given is what that
//! leader gave it.

use std::collections::BTreeMap;

/// Behind the name in a member's id.
const UUID_LENGTH: usize = 36;

/// One generation of a group, as one run of the broker knows it.
type Key = (u64, String, u32);

/// Every generation there was.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    /// Counts the runs of the broker.
    run: u64,
    leaders: BTreeMap<Key, String>,
    /// Whose plan was handed out.
    plans: BTreeMap<Key, u64>,
    next_plan: u64,
    /// Somebody has asked that all groups be forgotten: generations come again.
    forgotten: bool,
}

impl Generations {
    /// The broker has ended: a generation that was not stored may come again.
    pub(crate) fn run_ended(&mut self) {
        self.run += 1;
    }

    /// A member was told who leads. A static one that came back under a new id is the same: what counts is what
    /// comes before the id's random part.
    pub(crate) fn led_by(
        &mut self,
        group: &str,
        generation: u32,
        leader: &str,
    ) -> Result<(), String> {
        let leader = leader.get(..leader.len().saturating_sub(UUID_LENGTH)).unwrap_or(leader);
        let key = (self.run, group.to_owned(), generation);
        let known = self.leaders.entry(key).or_insert_with(|| leader.to_owned());
        if known != leader && !self.forgotten {
            return Err(format!(
                "generation {generation} of {group} has leaders {known}, {leader}"
            ));
        }
        Ok(())
    }

    /// Somebody asks to delete the topic of all groups.
    pub(crate) fn may_be_forgotten(&mut self) {
        self.forgotten = true;
    }

    /// A leader makes a plan. Gives its number.
    pub(crate) fn plan(&mut self) -> u64 {
        self.next_plan += 1;
        self.next_plan
    }

    /// What a leader of plan `plan` gives to the client `name`.
    pub(crate) fn part(plan: u64, name: &str) -> String {
        format!("{plan} {name}")
    }

    /// The client `name` was given `assignment`; nothing, when the plan does not know it.
    pub(crate) fn assigned(
        &mut self,
        group: &str,
        generation: u32,
        name: &str,
        assignment: &str,
    ) -> Result<(), String> {
        let Some((plan, whose)) = assignment.split_once(' ') else {
            return if assignment.is_empty() {
                Ok(())
            } else {
                Err("not an assignment".to_owned())
            };
        };
        if whose != name {
            return Err(format!("{name} was given what is {whose}'s"));
        }
        let plan = plan.parse().map_err(|_| "not an assignment")?;
        let key = (self.run, group.to_owned(), generation);
        let known = *self.plans.entry(key).or_insert(plan);
        if known != plan && !self.forgotten {
            return Err(format!("generation {generation} of {group} has plans {known} and {plan}"));
        }
        Ok(())
    }
}
