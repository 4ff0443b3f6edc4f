//! The copies of a partition as they lie on the disks, compared batch by batch once all brokers have ended.
//!
//! What clients read came from leaders alone; that a follower has the same is seen here. Segments may begin at different offsets on
//! different brokers, so it is batches that are compared: where they begin, in which epoch, and their checksums.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use brooklet_wire::batch::{BatchHeader, split};

use crate::failure::{Failure, context};

/// A batch: its first offset, its epoch, and its checksum, which covers its records and who sent them.
type Batch = (i64, Option<u32>, u32);

/// Says in what the copies of a partition in these folders differ; nothing if they do not. Also how many batches there are.
pub(crate) fn compare(folders: &[PathBuf]) -> Result<(usize, Vec<String>), Failure> {
    let copies = folders.iter().map(|folder| batches(folder)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, others)) = copies.split_first() else { return Ok((0, Vec::new())) };
    let mut differences = Vec::new();
    for (other, folder) in others.iter().zip(&folders[1..]) {
        let differs = first.iter().zip(other).find(|(one, other)| one != other);
        let where_ = format!("{} and {}", folders[0].display(), folder.display());
        if let Some((one, other)) = differs {
            differences.push(format!("{where_}: {} and {}", said(one), said(other)));
        } else if first.len() != other.len() {
            let ends = (first.last().map(said), other.last().map(said));
            let (one, other) = (ends.0.unwrap_or_default(), ends.1.unwrap_or_default());
            differences.push(format!("{where_} end with: {one} and {other}"));
        }
    }
    Ok((first.len(), differences))
}

fn said((offset, epoch, crc): &Batch) -> String {
    let epoch = epoch.map_or("none".to_owned(), |epoch| epoch.to_string());
    format!("batch at {offset} of epoch {epoch} with checksum {crc:08x}")
}

/// All batches of a partition's folder, in the order of its segments.
fn batches(folder: &Path) -> Result<Vec<Batch>, Failure> {
    let failed = context(&format!("read {}", folder.display()));
    let mut segments: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            segments.insert(name, entry.path());
        }
    }
    let mut all = Vec::new();
    for path in segments.values() {
        let bytes = fs::read(path).map_err(&failed)?;
        // Behind the last batch there may be room that was taken beforehand.
        let whole = split(&bytes).map_while(Result::ok);
        all.extend(whole.map(|(header, _)| told(&header)));
    }
    Ok(all)
}

fn told(header: &BatchHeader) -> Batch {
    let epoch = header.partition_leader_epoch.map(|epoch| epoch.0);
    (header.base_offset.to_wire(), epoch, header.crc)
}
