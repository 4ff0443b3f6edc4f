//! What the configuration says, as a tree of names.

use brooklet::{Error, json};

use crate::Config;

/// What is said about a field and those within it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    included: bool,
    excluded: bool,
    renamed: Option<String>,
    below: Vec<(String, Rules)>,
}

impl Rules {
    pub(crate) fn new(config: &Config) -> Result<Rules, Error> {
        let mut rules = Rules { included: config.include.is_none(), ..Rules::default() };
        for path in config.include.iter().flatten() {
            rules.at("include", path)?.included = true;
        }
        for path in &config.exclude {
            rules.at("exclude", path)?.excluded = true;
        }
        for (path, name) in &config.renames {
            rules.at("renames", path)?.renamed = Some(name.clone());
        }
        Ok(rules)
    }

    fn at(&mut self, setting: &str, path: &str) -> Result<&mut Rules, Error> {
        let names = json::split(path);
        let names = names.map_err(|error| Error::Config(format!("{setting}: {error}")))?;
        Ok(names.into_iter().fold(self, |rules, name| {
            let known = rules.below.iter().position(|(child, _)| *child == name);
            let index = known.unwrap_or_else(|| {
                rules.below.push((name, Rules::default()));
                rules.below.len() - 1
            });
            &mut rules.below[index].1
        }))
    }

    pub(crate) fn below(&self, name: &str) -> Option<&Rules> {
        self.below.iter().find(|(child, _)| child == name).map(|(_, rules)| rules)
    }

    pub(crate) fn renamed(&self, name: &str) -> Option<&str> {
        self.below(name)?.renamed.as_deref()
    }

    /// Whether what no rule names is shown at the top.
    pub(crate) fn shows_all(&self) -> bool {
        self.included
    }

    pub(crate) fn is_included(&self) -> bool {
        self.included
    }

    pub(crate) fn is_excluded(&self) -> bool {
        self.excluded
    }

    /// Whether nothing is said about anything within.
    pub(crate) fn are_over(&self) -> bool {
        self.below.is_empty()
    }
}
