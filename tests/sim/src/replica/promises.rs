//! What a replicated partition promises, and whether it was kept. One promise, one file.

pub(crate) mod acknowledged;
pub(crate) mod agreement;
pub(crate) mod epochs;
pub(crate) mod healing;
pub(crate) mod watermark;

use acknowledged::Acknowledged;
use agreement::Agreement;
use epochs::Epochs;
use watermark::Consumer;

/// Everything that was promised.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) acknowledged: Acknowledged,
    pub(crate) agreement: Agreement,
    pub(crate) epochs: Epochs,
    pub(crate) consumer: Consumer,
}
