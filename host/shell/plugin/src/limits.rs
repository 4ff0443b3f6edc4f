//! What one call may cost, and what a plugin may cost altogether.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest call of a source or sink, which wait for others, unless the binding says otherwise.
const TASK_CALL: Duration = Duration::from_secs(60);

/// Limits of one plugin. Each may be set per binding up to the operator's ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The longest that a call may take.
    pub time: Duration,
    /// Bytes of linear memory of one instance.
    pub memory: usize,
    /// Bytes that a call may give back.
    pub output: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { time: Duration::from_secs(1), memory: 64 << 20, output: 32 << 20 }
    }
}

/// The most that any binding may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Time of one call.
    pub time: Duration,
    /// Memory of one instance, bytes.
    pub memory: usize,
    /// Output of one call, bytes.
    pub output: usize,
    /// Instances of all plugins that are alive at once.
    pub instances: u32,
}

impl Default for Ceiling {
    fn default() -> Ceiling {
        Ceiling {
            time: Duration::from_secs(120),
            memory: 256 << 20,
            output: 128 << 20,
            instances: 256,
        }
    }
}

/// What a binding says about its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    /// Milliseconds a call may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Bytes of memory of one instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes a call may give back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

impl LimitsSpec {
    /// The budget, or what is wrong with it.
    pub(crate) fn budget(self, is_task: bool, ceiling: &Ceiling) -> Result<Budget, String> {
        let default = Budget::default();
        let time = if is_task { TASK_CALL } else { default.time };
        let time = self.time_ms.map_or(time, Duration::from_millis);
        let size = |given: Option<u64>, default: usize| {
            given.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
        };
        let budget = Budget {
            time,
            memory: size(self.memory, default.memory),
            output: size(self.output, default.output),
        };
        if budget.time.is_zero() || budget.time > ceiling.time {
            return Err(format!("limits.time_ms: 1 to {} are possible", ceiling.time.as_millis()));
        }
        if budget.memory > ceiling.memory {
            return Err(format!("limits.memory: at most {} are possible", ceiling.memory));
        }
        if budget.output > ceiling.output {
            return Err(format!("limits.output: at most {} are possible", ceiling.output));
        }
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_gets_what_it_asks_for_up_to_the_ceiling() {
        let ceiling = Ceiling::default();
        let of =
            |time_ms, memory| LimitsSpec { time_ms, memory, output: None }.budget(false, &ceiling);
        assert_eq!(of(None, None), Ok(Budget::default()));
        assert_eq!(of(Some(5), None).map(|it| it.time), Ok(Duration::from_millis(5)));
        assert!(of(Some(0), None).is_err());
        assert!(of(Some(1_000_000), None).is_err());
        assert!(of(None, Some(1 << 40)).is_err());
    }
}
