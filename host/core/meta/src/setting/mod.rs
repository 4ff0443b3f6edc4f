//! Settings of topics and brokers: which there are, what they may be, and where a value comes from.
//!
//! Names, types, defaults, limits and messages are Kafka's, taken from a running 4.3.1. A setting
//! that Kafka knows is accepted here even if it does nothing; its documentation then says so.

pub mod broker;
pub mod describe;
pub mod effective;
pub mod kind;
pub mod topic;

pub use describe::{
    Described, Source, Synonym, describe_broker, describe_broker_defaults, describe_topic,
};
pub use kind::{Kind, SettingError};

/// What is known about one setting.
#[derive(Debug)]
pub struct Setting {
    /// Kafka's name, or ours with `brooklet.` in front.
    pub name: &'static str,
    /// Type and limits.
    pub kind: Kind,
    /// The value without anybody's doing; none where Kafka has none.
    pub default: Option<&'static str>,
    /// Who may change it, and how.
    pub change: Change,
    /// For a topic's setting: the broker's setting that is its default.
    pub synonym: Option<&'static str>,
    /// Whether it changes anything here.
    pub effective: bool,
    /// What it does, in a sentence or two.
    pub text: &'static str,
}

/// How a setting can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// While running, by any administrator.
    Online,
    /// In the configuration file only.
    File,
    /// Not at all: it says what this broker is.
    Never,
}

impl Setting {
    /// Reads `value` as Kafka would and says in Kafka's words what is wrong with it.
    pub fn check(&self, value: &str) -> Result<(), SettingError> {
        self.kind.check(self.name, value)
    }

    /// What an administrator is told about it.
    pub fn documentation(&self) -> String {
        if self.effective {
            return self.text.to_owned();
        }
        format!("{} Accepted for compatibility: it has no effect in this version.", self.text)
    }
}
