//! The cluster's state as bytes: a snapshot of the quorum's.
//!
//! `version u64 · for each piece of the facts it comes to: length u32 · that piece, as one decision is stored`. In pieces, as
//! a decision may have so many facts and a cluster may have more.

use brooklet_meta::Cluster;
use brooklet_types::Offset;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::stored::{self, LoadError};

/// Facts in one piece: as many as a client's request may come to.
const PIECE: usize = brooklet_meta::decide::RECORDS_MAX;

/// The state of `cluster`, but for what its broker was configured with.
pub(super) fn write(cluster: &Cluster) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(cluster.version());
    for piece in cluster.facts().chunks(PIECE) {
        let stored = stored::metadata_decision(piece).expect("a piece has facts");
        bytes.put_u32(u32::try_from(stored.len()).expect("facts are short"));
        bytes.put_slice(&stored);
    }
    bytes.freeze()
}

/// The state that was written, on the broker of `cluster`. `at` is where in the log it stands.
pub(super) fn read(cluster: &Cluster, at: Offset, mut image: Bytes) -> Result<Cluster, LoadError> {
    let short = || LoadError::Image { offset: at };
    let version = image.try_get_u64().map_err(|_| short())?;
    let mut facts = Vec::new();
    while !image.is_empty() {
        let length = image.try_get_u32().map_err(|_| short())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= image.len());
        let piece = image.split_to(length.ok_or_else(short)?);
        facts.extend(stored::read_metadata_decision(at, Some(piece))?);
    }
    Ok(Cluster::restored(cluster.configured().clone(), version, &facts))
}
