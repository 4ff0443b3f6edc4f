//! What a cluster promises, and whether it was kept. One promise, one file.

pub(crate) mod acknowledged;
pub(crate) mod agreement;
pub(crate) mod commits;
pub(crate) mod epochs;
pub(crate) mod healing;
pub(crate) mod images;
pub(crate) mod producer_ids;
pub(crate) mod terms;
pub(crate) mod watermark;

use acknowledged::Acknowledged;
use agreement::Agreement;
use commits::Commits;
use epochs::Epochs;
use images::Images;
use producer_ids::ProducerIds;
use terms::Terms;
use watermark::Watermark;

/// Everything that was promised.
#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) acknowledged: Acknowledged,
    pub(crate) agreement: Agreement,
    pub(crate) commits: Commits,
    pub(crate) epochs: Epochs,
    pub(crate) images: Images,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) terms: Terms,
    pub(crate) watermark: Watermark,
}

impl Oracles {
    /// How much there was to keep, for the history.
    pub(crate) fn counts(&self) -> String {
        format!(
            "{} records acknowledged, {} read, {} commits, {} images, {} terms of partitions",
            self.acknowledged.count(),
            self.agreement.reads,
            self.commits.count,
            self.images.count(),
            self.epochs.count()
        )
    }
}
