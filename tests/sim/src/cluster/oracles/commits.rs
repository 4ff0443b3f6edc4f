//! Source: ARCHITECTURE §4: what a group has committed never goes backwards, whoever coordinates it. Each group here
//! commits one position after the other, each further on.

use std::collections::BTreeMap;

/// What each group has committed.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    groups: BTreeMap<u64, Group>,
    /// How many were acknowledged.
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
struct Group {
    sent: u64,
    acknowledged: u64,
    /// The furthest that anybody was told.
    told: u64,
}

impl Commits {
    /// A group commits a position.
    pub(crate) fn sent(&mut self, group: u64, value: u64) {
        let group = self.groups.entry(group).or_default();
        assert!(group.sent < value, "each is further on");
        group.sent = value;
    }

    /// It was told that this is done.
    pub(crate) fn committed(&mut self, group: u64, value: u64) {
        let group = self.groups.entry(group).or_default();
        group.acknowledged = group.acknowledged.max(value);
        self.count += 1;
    }

    /// The last that was acknowledged, or that anybody was told.
    pub(crate) fn acknowledged(&self, group: u64) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.acknowledged.max(group.told))
    }

    /// It asked when `acknowledged` was, and was told this.
    pub(crate) fn fetched(
        &mut self,
        group: u64,
        acknowledged: u64,
        value: Option<i64>,
    ) -> Result<(), String> {
        let known = self.groups.entry(group).or_default();
        let value = value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        if value < acknowledged {
            return Err(format!("group {group} had committed {acknowledged}, and has {value}"));
        }
        if value > known.sent {
            return Err(format!("group {group} has {value}, and committed {} at most", known.sent));
        }
        known.told = known.told.max(value);
        Ok(())
    }
}
