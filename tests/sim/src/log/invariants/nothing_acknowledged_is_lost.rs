//! Source: DESIGN §2, promise 1: what was acknowledged after a sync survives every loss of power.

use std::collections::BTreeMap;

use crate::log::oracle::{Oracle, Written};

/// Says which acknowledged record is missing from everything that can be read.
pub fn check(
    oracle: &Oracle,
    read: &BTreeMap<u64, Written>,
    end: u64,
    clock: i64,
) -> Result<(), String> {
    if end < oracle.acknowledged {
        return Err(format!("the log ends at {end}, {} was acknowledged", oracle.acknowledged));
    }
    if oracle.damaged || oracle.acknowledged < oracle.start {
        return Ok(());
    }
    for (offset, record) in oracle.written.range(oracle.start..oracle.acknowledged) {
        if !read.contains_key(offset) && !oracle.may_be_cleaned(*offset, clock) {
            return Err(format!("acknowledged record {offset} {record:?} is gone"));
        }
    }
    Ok(())
}
