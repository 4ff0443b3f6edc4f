//! A transform at work in a view.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_golden::{Rec, Shown};
use brooklet_hook::{DeadLetter, FetchHook, Hooks, Place, Shown as Answer, TopicPlugins};
use brooklet_plugin::{Journal, LimitsSpec, Plugins};
use brooklet_types::{PartitionIndex, TopicName};
use serde_json::{Value, json};

use crate::RunError;
use crate::batch::{decode, encode};

/// Where the host puts what the plugin rejects, so that it can be told from what it drops.
const REJECTED: &str = "rejected";
const OFFSET: &[u8] = b"brooklet.error.offset";

/// A view that shows records through the component.
#[derive(Debug)]
pub struct View {
    name: TopicName,
    hook: Arc<dyn FetchHook>,
    journal: Arc<Journal>,
    next_offset: u64,
}

impl View {
    pub(crate) async fn bind(
        plugins: &Arc<Plugins>,
        plugin: &str,
        config: &str,
        limits: LimitsSpec,
    ) -> Result<View, RunError> {
        let config: Value = serde_json::from_str(config)
            .map_err(|error| RunError::Refused(format!("the configuration is no JSON: {error}")))?;
        let binding = json!([{
            "plugin": plugin,
            "role": "transform",
            "config": config,
            "on_failure": "dead-letter",
            "dead_letters": REJECTED,
            "limits": limits,
        }]);
        let name = TopicName::new("view").expect("letters only");
        let said = TopicPlugins { name: name.clone(), is_view: true, plugins: binding.to_string() };
        // Bound twice it is bound anew, with nothing left of what another configuration made.
        plugins.follow(Vec::new()).await;
        plugins.check(&said).await.map_err(RunError::Refused)?;
        plugins.follow(vec![said]).await;
        let hook = plugins.on_fetch(&name).expect("it was bound just now");
        let journal = plugins.library().journal(plugin)?;
        Ok(View { name, hook, journal, next_offset: 0 })
    }

    /// Hands it one batch, and says of each record what a consumer of the view gets.
    pub async fn show(&mut self, records: &[Rec]) -> Result<Vec<Shown>, RunError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let base = self.next_offset;
        let batch = encode(base, records)?;
        self.next_offset += u64::try_from(records.len()).expect("memory holds fewer");
        let spoken = self.journal.since(0).last().map_or(0, |line| line.number + 1);
        let (topic, partition) = (&self.name, PartitionIndex(0));
        let place = Place { topic, partition, partitions: 1, is_placed: false };
        let answer = self.hook.show(place, std::slice::from_ref(&batch), usize::MAX).await;
        self.look_for_failure(spoken)?;
        let (batches, letters) = match answer {
            Answer::Pass => (vec![batch], Vec::new()),
            Answer::Replace(batches, letters) => (batches, letters),
            Answer::Refuse(why) => return Err(RunError::Refused(why)),
        };
        let mut shown = vec![Shown::Dropped; records.len()];
        let index = |offset: u64| usize::try_from(offset - base).expect("an index of the batch");
        for batch in &batches {
            for (offset, record) in decode(batch)? {
                shown[index(offset)] = Shown::Record(record);
            }
        }
        for letter in &letters {
            let (offset, rejected) = read_letter(letter);
            shown[index(offset)] = rejected;
        }
        Ok(shown)
    }

    /// A call that gave no answer stands in the journal, with its kind.
    fn look_for_failure(&self, since: u64) -> Result<(), RunError> {
        let failed = self.journal.since(since).into_iter().find(|line| {
            line.level == brooklet_plugin::Level::Error && line.fields.contains_key("kind")
        });
        match failed {
            Some(line) => {
                let kind = line.fields.get("kind").cloned().unwrap_or_default();
                Err(RunError::Call { kind, message: line.message })
            }
            None => Ok(()),
        }
    }
}

/// The offset of the record that a letter is about, and what was wrong with it.
fn read_letter(letter: &DeadLetter) -> (u64, Shown) {
    let mut last = BTreeMap::new();
    for (name, value) in &letter.headers {
        let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
        last.insert(name.as_slice(), text);
    }
    let mut take = |name: &[u8]| last.remove(name).unwrap_or_default();
    let offset = take(OFFSET).parse().expect("the host writes the offset of what a view shows");
    let code = take(b"brooklet.error.code");
    (offset, Shown::Rejected { code, message: take(b"brooklet.error.message") })
}
