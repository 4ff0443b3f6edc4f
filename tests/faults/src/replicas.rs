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

#[cfg(test)]
mod tests {
    use brooklet_types::Timestamp;
    use brooklet_wire::batch::BatchBuilder;
    use brooklet_wire::compress::Codec;

    use super::*;

    /// A batch of one record, at an offset.
    fn batch(offset: i64, value: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(Timestamp(1), None, Some(value.as_bytes()), &[]).unwrap();
        let mut bytes = builder.build().unwrap().to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    /// Copies, each of segments.
    fn differences(copies: &[&[(&str, Vec<u8>)]]) -> (usize, Vec<String>) {
        let scratch = tempfile::tempdir().unwrap();
        let mut folders = Vec::new();
        for (place, segments) in copies.iter().enumerate() {
            let folder = scratch.path().join(place.to_string());
            fs::create_dir(&folder).unwrap();
            for (name, bytes) in *segments {
                fs::write(folder.join(name), bytes).unwrap();
            }
            folders.push(folder);
        }
        compare(&folders).unwrap()
    }

    #[test]
    fn the_same_batches_in_other_segments_are_the_same() {
        let (one, two) = (batch(0, "a"), batch(1, "b"));
        let room = vec![0; 4096];
        let whole = [("0.log", [one.clone(), two.clone(), room].concat())];
        let parts = [("0.log", one), ("1.log", two), ("1.index", vec![1, 2, 3])];
        assert_eq!(differences(&[&whole, &parts, &whole]), (2, Vec::new()));
    }

    #[test]
    fn another_batch_and_a_missing_one_are_differences() {
        let one = batch(0, "a");
        let good = [("0.log", [one.clone(), batch(1, "b")].concat())];
        let short = [("0.log", one.clone())];
        let other = [("0.log", [one, batch(1, "c")].concat())];
        let (count, found) = differences(&[&good, &short, &other]);
        assert_eq!(count, 2);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("end with") && found[1].contains("batch at 1"), "{found:?}");
    }
}
