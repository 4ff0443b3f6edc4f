//! Source: host/decisions/0010: everybody folds the same log, so two images of the cluster with the same version are
//! the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_meta::Cluster;

/// Every image that any broker has made of what was decided.
#[derive(Debug, Default)]
pub(crate) struct Images {
    by_version: BTreeMap<u64, Arc<Cluster>>,
}

impl Images {
    /// A broker has this image.
    pub(crate) fn decided(&mut self, image: &Arc<Cluster>) -> Result<(), String> {
        let version = image.version();
        let known = self.by_version.entry(version).or_insert_with(|| Arc::clone(image));
        if known == image {
            return Ok(());
        }
        Err(format!(
            "version {version} of the cluster is not the same to two: {image:?} and {known:?}"
        ))
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&Arc<Cluster>> {
        self.by_version.last_key_value().map(|(_, image)| image)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_version.len()
    }
}
