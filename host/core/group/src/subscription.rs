//! Which topics a consumer's metadata names, as far as a coordinator needs to know.
//!
//! The metadata is the client's business and opaque, with one exception that Kafka makes too:
//! offsets of topics somebody subscribes to are neither deleted nor expired. Every version of the
//! consumer protocol begins with `version: i16, topics: [string]`; nothing behind that is read.

use std::collections::BTreeSet;

/// The topics that `metadata` subscribes to, or `None` when it is not a consumer's.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<Box<str>>> {
    let mut rest = metadata;
    let version = i16::from_be_bytes(take(&mut rest)?);
    if version < 0 {
        return None;
    }
    let count = u32::try_from(i32::from_be_bytes(take(&mut rest)?)).ok()?;
    let mut topics = BTreeSet::new();
    // The count is a claim: nothing is allocated for it, and each round consumes two bytes.
    for _ in 0..count {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        topics.insert(Box::from(std::str::from_utf8(name).ok()?));
    }
    Some(topics)
}

fn take<const BYTES: usize>(rest: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (head, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_subscriptions_are_read() {
        let valid = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff tail";
        let names = |topics: Option<BTreeSet<Box<str>>>| topics.map(|t| t.into_iter().collect());
        assert_eq!(names(topics(valid)), Some(vec![Box::from("a"), Box::from("bc")]));
        for cut in 0..13 {
            assert_eq!(topics(&valid[..cut]), None, "cut to {cut} bytes");
        }
        let hostile: &[&[u8]] = &[
            b"\xff\xff\x00\x00\x00\x00",
            b"\x00\x00\xff\xff\xff\xff",
            b"\x00\x00\x7f\xff\xff\xff\x00\x00",
            b"\x00\x00\x00\x00\x00\x01\xff\xff",
            b"\x00\x00\x00\x00\x00\x01\x00\x01\xff",
        ];
        for bytes in hostile {
            assert_eq!(topics(bytes), None, "{bytes:?}");
        }
    }
}
