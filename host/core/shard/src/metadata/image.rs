//! The cluster's state as bytes: a snapshot of the quorum's.
//!
//! `version u64 · the facts it comes to, as one decision is stored`.

use brooklet_meta::Cluster;
use brooklet_types::Offset;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stored::{self, LoadError};

/// The state of `cluster`, but for what its broker was configured with.
pub(super) fn write(cluster: &Cluster) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(cluster.version());
    bytes.put_slice(&stored::metadata_decision(&cluster.facts()).unwrap_or_default());
    bytes.freeze()
}

/// The state that was written, on the broker of `cluster`. `at` is where in the log it stands.
pub(super) fn read(cluster: &Cluster, at: Offset, mut image: Bytes) -> Result<Cluster, LoadError> {
    let version = image.try_get_u64().map_err(|_| LoadError::Image { offset: at })?;
    let facts = (!image.is_empty()).then_some(image);
    let facts = stored::read_metadata_decision(at, facts)?;
    Ok(Cluster::restored(cluster.configured().clone(), version, &facts))
}
