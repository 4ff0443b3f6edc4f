//! Source: DESIGN §3, "corruption is found, not served": a read gives the bytes of an append at its
//! offset, once and in order, or an error.

use std::collections::BTreeMap;

use crate::log::oracle::{Oracle, Written};

/// Says which record nobody wrote, or not there.
pub fn check(oracle: &Oracle, read: &BTreeMap<u64, Written>) -> Result<(), String> {
    for (offset, record) in read {
        if oracle.written.get(offset) != Some(record) {
            let expected = oracle.written.get(offset);
            return Err(format!("offset {offset} gives {record:?}, written was {expected:?}"));
        }
    }
    Ok(())
}
