//! Batches there and back, against kafka-protocol, cut and flipped.

use super::*;

fn sample(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec)
        .base_offset(Offset::new(40))
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(1), 5);
    builder.push(Timestamp(1000), Some(b"k"), Some(b"value"), &[(b"h", None)]).unwrap();
    builder.push(Timestamp(990), None, None, &[(b"a", Some(b"b"))]).unwrap();
    builder.build().unwrap()
}

#[test]
fn a_batch_gives_back_what_was_put_in() {
    for codec in Codec::ALL {
        let batch = sample(codec);
        let (header, whole) = split(&batch).next().unwrap().unwrap();
        assert_eq!(whole.len(), header.total_bytes());
        check_crc(whole).unwrap();
        assert_eq!(header.encode(), batch[..HEADER_BYTES]);
        assert_eq!(
            (header.base_offset(), header.last_offset()),
            (Offset::new(40), Offset::new(41))
        );
        assert_eq!(header.max_timestamp, Timestamp(1000));
        let opened = records(whole).unwrap();
        let all: Vec<_> = opened.iter().map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].key, all[0].value), (Some(&b"k"[..]), Some(&b"value"[..])));
        assert_eq!(all[1].headers.clone().collect::<Vec<_>>(), [(&b"a"[..], Some(&b"b"[..]))]);
        assert_eq!((all[1].offset, all[1].timestamp), (Offset::new(41), Timestamp(990)));
    }
}

#[test]
fn a_batch_cut_anywhere_is_truncated_and_a_flipped_bit_is_seen() {
    let batch = sample(Codec::None);
    for end in 1..batch.len() {
        let result = split(&batch[..end]).next().unwrap();
        assert!(matches!(result, Err(BatchError::Truncated { .. })), "{end}");
    }
    for place in 17..batch.len() {
        let mut bad = batch.to_vec();
        bad[place] ^= 0x10;
        assert!(matches!(check_crc(&bad), Err(BatchError::Crc { .. })), "{place}");
    }
}

#[test]
fn patching_keeps_the_checksum() {
    let mut batch = sample(Codec::None).to_vec();
    patch(batch.first_chunk_mut().unwrap(), Offset::new(77), LeaderEpoch(8));
    check_crc(&batch).unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.base_offset, Offset::new(77));
    assert_eq!(header.partition_leader_epoch, Some(LeaderEpoch(8)));
}

#[test]
fn the_checksum_is_crc_32c() {
    // RFC 3720's check value.
    assert_eq!(crc_fast::crc32_iscsi(b"123456789"), 0xe306_9283);
}

#[test]
fn records_kept_while_editing_are_the_bytes_they_were() {
    for codec in Codec::ALL {
        let batch = sample(codec);
        let opened = records(&batch).unwrap();
        let mut builder = BatchBuilder::editing(opened.header()).unwrap();
        let all: Vec<_> = opened.iter().map(Result::unwrap).collect();
        builder
            .push_at(all[0].offset, Timestamp(3), None, Some(b"new"), 0, [].into_iter())
            .unwrap();
        let stored: Vec<_> = opened.stored().map(Result::unwrap).collect();
        builder.keep(&stored[1]).unwrap();
        let edited = builder.build().unwrap();
        check_crc(&edited).unwrap();
        let opened = records(&edited).unwrap();
        let now: Vec<_> = opened.iter().map(Result::unwrap).collect();
        assert_eq!((now[0].value, now[0].timestamp), (Some(&b"new"[..]), Timestamp(3)));
        assert_eq!((now[1].timestamp, now[1].offset), (all[1].timestamp, all[1].offset));
        assert_eq!(now[1].headers, all[1].headers);
        assert_eq!(opened.header().last_offset(), Offset::new(41));
    }
}
