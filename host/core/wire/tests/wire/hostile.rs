//! Batches and compressed bytes made to hurt: cut, flipped, lying and exploding.

use std::io::Write;

use brooklet_types::ErrorCode;
use brooklet_wire::batch::{self, BatchError, HEADER_BYTES};
use brooklet_wire::compress::{Codec, CompressError, compress, decompress};

use crate::meter::peak_bytes;
use crate::{forge, read_all, sample};

#[test]
fn a_batch_cut_at_any_byte_is_refused() {
    for codec in Codec::ALL {
        let batch = sample(codec);
        assert_eq!(read_all(&batch).unwrap(), 5);
        for end in 1..batch.len() {
            let error = read_all(&batch[..end]).unwrap_err();
            assert!(matches!(error, BatchError::Truncated { .. }), "{codec:?} {end}: {error}");
            // The same with a length field that agrees with the bytes.
            if end > HEADER_BYTES {
                let forged = forge(codec.to_wire(), 5, &batch[HEADER_BYTES..end]);
                read_all(&forged).unwrap_err();
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_seen_by_the_checksum_and_harms_no_reader() {
    for codec in Codec::ALL {
        let batch = sample(codec);
        for bit in 0..batch.len() * 8 {
            let mut bad = batch.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Whether the reader objects depends on the bit; it only has to come back.
            let (bytes, _) = peak_bytes(|| read_all(&bad));
            assert!(bytes < DECODER_BYTES_MAX, "{codec:?} bit {bit}: {bytes} bytes");
            if bit / 8 >= batch::CRC_FROM {
                assert!(batch::check_crc(&bad).is_err(), "{codec:?} bit {bit}");
            }
        }
    }
}

/// What a decoder may hold whatever its input is: LZ4's reservation for blocks of 4 MiB.
const DECODER_BYTES_MAX: usize = 13 << 20;

#[test]
fn a_bomb_is_refused_at_the_limit_without_more_memory() {
    const LIMIT: usize = 1 << 20;
    let zeroes = vec![0; 64 << 20];
    for codec in Codec::ALL {
        let bomb = compress(codec, None, &zeroes).unwrap();
        let (bytes, result) = peak_bytes(|| decompress(codec, &bomb, LIMIT));
        let limit = LIMIT;
        assert_eq!(result, Err(CompressError::TooLarge { codec: codec.name(), limit }));
        assert!(bytes <= 4 * LIMIT, "{codec:?}: {bytes} bytes for a limit of {LIMIT}");
    }
}

#[test]
fn bombs_of_many_members_are_refused_at_the_limit_of_all() {
    const LIMIT: usize = 1 << 20;
    // Gzip members and zstd frames may follow each other; xerial blocks always do.
    for codec in [Codec::Gzip, Codec::Zstd] {
        let member = compress(codec, None, &[0; 64 << 10]).unwrap();
        let limit = LIMIT;
        assert_eq!(decompress(codec, &member.repeat(16), LIMIT).unwrap().len(), LIMIT);
        let error = decompress(codec, &member.repeat(17), LIMIT).unwrap_err();
        assert_eq!(error, CompressError::TooLarge { codec: codec.name(), limit });
    }
}

#[test]
fn an_announced_size_reserves_nothing() {
    const LIMIT: usize = 256 << 20;
    let zstd_window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
    let zstd_content = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0x0f, 0x01, 0x00, 0x00];
    let snappy = [0xff, 0xff, 0xff, 0x7f, 0x00];
    let xerial = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff"[..], &snappy].concat();
    let cases: [(&str, Codec, &[u8]); 4] = [
        ("zstd window", Codec::Zstd, &zstd_window),
        ("zstd content", Codec::Zstd, &zstd_content),
        ("snappy length", Codec::Snappy, &snappy),
        ("xerial length", Codec::Snappy, &xerial),
    ];
    for (name, codec, input) in cases {
        let (bytes, result) = peak_bytes(|| decompress(codec, input, LIMIT));
        assert!(bytes < 1 << 10, "{name}: {bytes} bytes");
        assert!(result.is_err() || result == Ok(Vec::new()), "{name}: {result:?}");
    }
}

#[test]
fn an_lz4_frame_reserves_its_block_size_and_no_block_is_believed() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Linked)
        .content_size(Some(u64::MAX));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(b"small").unwrap();
    // The writer would object to the announced content size, so the end is written here.
    encoder.flush().unwrap();
    let mut frame = encoder.get_ref().clone();
    frame.extend_from_slice(&[0; 4]);
    let (bytes, result) = peak_bytes(|| decompress(Codec::Lz4, &frame, 1 << 20));
    assert!(result.is_err());
    assert!(bytes < DECODER_BYTES_MAX, "{bytes} bytes");

    let lying = [&frame[..15], &[0, 0, 0x3f, 0x80, 1, 2, 3]].concat();
    let (bytes, result) = peak_bytes(|| decompress(Codec::Lz4, &lying, 1 << 20));
    assert!(result.is_err());
    assert!(bytes < 1 << 10, "{bytes} bytes");
}

#[test]
fn numbers_that_lie_are_refused() {
    let whole = sample(Codec::None);
    let body = &whole[HEADER_BYTES..];
    // One record: length, attributes, time, offset, key, value, number of headers.
    let cases: &[(&str, i32, &[u8])] = &[
        ("no length", 1, &[]),
        ("a length beyond the bytes", 1, &[0x7e, 0, 0, 0, 1, 1, 0]),
        ("a negative length", 1, &[0x01, 0, 0, 0, 1, 1, 0]),
        ("a length of six bytes", 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]),
        ("a length beyond 32 bits", 1, &[0xfe, 0xff, 0xff, 0xff, 0x7f, 0]),
        ("a time of eleven bytes", 1, &[0x1a, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ("a time beyond 64 bits", 1, &[0x1e, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
        ("an offset below zero", 1, &[0x0c, 0, 0, 1, 1, 1, 0]),
        ("an offset beyond the batch", 1, &[0x0c, 0, 0, 10, 1, 1, 0]),
        ("a key beyond the record", 1, &[0x0c, 0, 0, 0, 0x7e, 1, 0]),
        ("a key of length -2", 1, &[0x0c, 0, 0, 0, 3, 1, 0]),
        ("a value beyond the record", 1, &[0x0c, 0, 0, 0, 1, 0x7e, 0]),
        ("headers that are not there", 1, &[0x0c, 0, 0, 0, 1, 1, 2]),
        ("billions of headers", 1, &[0x14, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("fewer than no headers", 1, &[0x0c, 0, 0, 0, 1, 1, 1]),
        ("a header without a name", 1, &[0x10, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("bytes behind the headers", 1, &[0x0e, 0, 0, 0, 1, 1, 0, 0]),
        ("bytes behind the records", 1, &[0x0c, 0, 0, 0, 1, 1, 0, 0]),
        ("records that are not there", 6, body),
        ("records that are not counted", 4, body),
        ("no records, but bytes", 0, body),
        ("billions of records", i32::MAX, body),
        ("fewer than no records", -1, body),
    ];
    for (name, count, body) in cases {
        for codec in Codec::ALL {
            let body = compress(codec, None, body).unwrap();
            let error = read_all(&forge(codec.to_wire(), *count, &body)).unwrap_err();
            let number = matches!(error, BatchError::Record { .. } | BatchError::Count { .. });
            assert!(number, "{codec:?} {name}: {error}");
            assert_eq!(error.code(), ErrorCode::InvalidRecord);
        }
    }
    // An honest record of that shape.
    assert_eq!(read_all(&forge(0, 1, &[0x0c, 0, 0, 0, 1, 1, 0])).unwrap(), 1);
}

#[test]
fn headers_are_refused_with_kafkas_codes() {
    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut batch = forge(0, 5, &sample(Codec::None)[HEADER_BYTES..]);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = batch::crc(&batch);
        if at != 17 {
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        batch
    }
    // As answered by Kafka 4.3.1, but for the codecs, where an exception escapes it.
    let cases = [
        ("magic 0", with(16, &[0]), ErrorCode::InvalidRecord),
        ("magic 1", with(16, &[1]), ErrorCode::InvalidRecord),
        ("magic 3", with(16, &[3]), ErrorCode::CorruptMessage),
        ("magic -1", with(16, &[255]), ErrorCode::CorruptMessage),
        ("length 48", with(8, &48_i32.to_be_bytes()), ErrorCode::CorruptMessage),
        ("length 0", with(8, &0_i32.to_be_bytes()), ErrorCode::CorruptMessage),
        ("length -5", with(8, &(-5_i32).to_be_bytes()), ErrorCode::CorruptMessage),
        ("length 2^31 - 1", with(8, &i32::MAX.to_be_bytes()), ErrorCode::InvalidRecord),
        ("checksum", with(17, &[1, 2, 3, 4]), ErrorCode::CorruptMessage),
        ("base offset -1", with(0, &[255; 8]), ErrorCode::InvalidRecord),
        ("base offset 2^63 - 1", with(0, &i64::MAX.to_be_bytes()), ErrorCode::InvalidRecord),
        ("last offset -1", with(23, &[255; 4]), ErrorCode::InvalidRecord),
        ("count -1", with(57, &[255; 4]), ErrorCode::InvalidRecord),
        ("codec 5", with(21, &[0, 5]), ErrorCode::UnsupportedCompressionType),
        ("codec 7", with(21, &[0, 7]), ErrorCode::UnsupportedCompressionType),
        ("gzip of nothing", with(21, &[0, 1]), ErrorCode::InvalidRecord),
    ];
    for (name, batch, code) in cases {
        let checked = batch::split(&batch).try_for_each(|it| batch::check_crc(it?.1));
        let error = checked.and_then(|()| read_all(&batch).map(drop)).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
    }
}
