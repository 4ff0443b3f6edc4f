//! Kafka's four codecs, each behind an output limit.
//!
//! **Decides** what compressed bytes mean. **Never** produces more than it is allowed, whatever the
//! input announces, and never allocates on an announcement.

use std::io::{self, Read, Write};

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy; written with xerial's framing, read with it and without.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

/// Why bytes cannot be decompressed or compressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// Not what the codec writes.
    #[error("malformed {codec} data: {detail}")]
    Malformed { codec: &'static str, detail: String },
    /// More output than allowed.
    #[error("{codec} data expands beyond {limit} bytes")]
    TooLarge { codec: &'static str, limit: usize },
}

impl Codec {
    /// Every codec, by number.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number.
    pub fn from_wire(raw: i16) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.to_wire() == raw)
    }

    /// Kafka's number for it.
    pub const fn to_wire(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Kafka's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// The bytes behind `input`, at most `limit` of them.
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    match codec {
        Codec::None if input.len() > limit => {
            Err(CompressError::TooLarge { codec: codec.name(), limit })
        }
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => read_within(codec, flate2::read::MultiGzDecoder::new(input), limit),
        Codec::Snappy => snappy(input, limit),
        Codec::Lz4 => {
            let frame = lz4_frame(input).map_err(|problem| malformed(codec, problem))?;
            read_within(codec, lz4_flex::frame::FrameDecoder::new(frame), limit)
        }
        Codec::Zstd => zstd(input, limit),
    }
}

/// `input`, compressed; without a level, with the one Kafka takes by default.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8]) -> Result<Vec<u8>, CompressError> {
    let result = match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => {
            let level = level.and_then(|it| u32::try_from(it).ok()).filter(|&it| it <= 9);
            let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(input).and_then(|()| encoder.finish())
        }
        Codec::Snappy => xerial(input),
        // The safe encoder has one level. Readers cannot tell.
        Codec::Lz4 => lz4(input),
        Codec::Zstd => {
            zstd::stream::encode_all(input, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
        }
    };
    result.map_err(|error| malformed(codec, error))
}

/// xerial's magic, followed by two version numbers that no reader has ever needed.
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;

/// Block size of Kafka's own snappy writer.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

fn read_within(codec: Codec, reader: impl Read, limit: usize) -> Result<Vec<u8>, CompressError> {
    let mut output = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(one_more).read_to_end(&mut output).map_err(|error| malformed(codec, error))?;
    if output.len() > limit {
        return Err(CompressError::TooLarge { codec: codec.name(), limit });
    }
    Ok(output)
}

/// The first frame of `input`, all of whose blocks and whose end are there. The decoder would zero
/// a block's announced length before reading it and take a lost end for the end; Kafka refuses
/// both, ignores what follows the frame, and knows neither legacy nor skippable frames.
///
/// The decoder still reserves room for two to three blocks of the announced size, at most 12 MiB,
/// untouched and for the time of the call.
fn lz4_frame(input: &[u8]) -> Result<&[u8], &'static str> {
    const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
    const DICTIONARY: u8 = 0x01;
    const CONTENT_CHECKSUM: u8 = 0x04;
    const CONTENT_SIZE: u8 = 0x08;
    const BLOCK_CHECKSUM: u8 = 0x10;
    /// Set in a block's length when the block is stored as it is.
    const STORED: u32 = 1 << 31;
    const CUT: &str = "cut short";

    let field = |flags: u8, bit: u8, bytes: usize| if flags & bit == 0 { 0 } else { bytes };
    let (magic, rest) = input.split_first_chunk::<4>().ok_or(CUT)?;
    if *magic != MAGIC {
        return Err("not a frame");
    }
    let ([flags, _block_size], rest) = rest.split_first_chunk::<2>().ok_or(CUT)?;
    let optional = field(*flags, CONTENT_SIZE, 8).saturating_add(field(*flags, DICTIONARY, 4));
    let mut rest = rest.get(optional.saturating_add(1)..).ok_or(CUT)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let length = u32::from_le_bytes(*length);
        let (bytes, checksum) = match length {
            0 => (0, field(*flags, CONTENT_CHECKSUM, 4)),
            _ => (length & !STORED, field(*flags, BLOCK_CHECKSUM, 4)),
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(checksum);
        rest = after.get(bytes..).ok_or(CUT)?;
        if length == 0 {
            let frame = input.len().saturating_sub(rest.len());
            return input.get(..frame).ok_or(CUT);
        }
    }
}

/// Decodes straight into the output: unlike the streaming decoder, this needs no buffer of the
/// window's announced size. The room grows when zstd asks for more, which a lying block can make it
/// do; so never beyond what that many bytes can expand to, and a lie leaves the room untouched.
fn zstd(input: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    /// What most batches expand to at most: one pass is then enough.
    const EXPANSION_USUAL: usize = 8;
    /// Each further pass has this much more room, so all of them cost a third more than the last.
    const GROWTH: usize = 4;
    /// The least block, a header and one byte, and the most one block expands to.
    const BLOCK_BYTES: (usize, usize) = (4, 128 << 10);
    /// The code of `ZSTD_error_dstSize_tooSmall`, which zstd promises to keep.
    const NO_ROOM: usize = 70_usize.wrapping_neg();

    let mut context = zstd::zstd_safe::DCtx::create();
    let blocks = input.len().div_ceil(BLOCK_BYTES.0);
    let room_max = blocks.saturating_mul(BLOCK_BYTES.1).min(limit);
    let mut room = input.len().saturating_mul(EXPANSION_USUAL).min(room_max);
    loop {
        let mut output = Vec::with_capacity(room);
        match context.decompress(&mut output, input) {
            // The allocator may have given more room than it was asked for.
            Ok(_) if output.len() <= limit => return Ok(output),
            Err(NO_ROOM) if room < room_max => room = room.saturating_mul(GROWTH).min(room_max),
            Err(code) if code != NO_ROOM || room < limit => {
                return Err(malformed(Codec::Zstd, zstd::zstd_safe::get_error_name(code)));
            }
            Ok(_) | Err(_) => {
                return Err(CompressError::TooLarge { codec: Codec::Zstd.name(), limit });
            }
        }
    }
}

fn snappy(input: &[u8], limit: usize) -> Result<Vec<u8>, CompressError> {
    let mut output = Vec::new();
    if !input.starts_with(XERIAL_MAGIC) {
        snappy_block(input, limit, &mut output)?;
        return Ok(output);
    }
    let cut = || malformed(Codec::Snappy, "cut short");
    let mut rest = input.get(XERIAL_HEADER_BYTES..).ok_or_else(cut)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, after) = after.split_at_checked(length).ok_or_else(cut)?;
        snappy_block(block, limit, &mut output)?;
        rest = after;
    }
    Ok(output)
}

fn snappy_block(block: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), CompressError> {
    /// The format's best: a three-byte copy of 64 bytes.
    const EXPANSION_MAX: usize = 32;
    let fail = |error: snap::Error| malformed(Codec::Snappy, error);
    let length = snap::raw::decompress_len(block).map_err(fail)?;
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(malformed(Codec::Snappy, "announces more than its bytes can hold"));
    }
    let from = output.len();
    let to = from.saturating_add(length);
    if to > limit {
        return Err(CompressError::TooLarge { codec: Codec::Snappy.name(), limit });
    }
    output.resize(to, 0);
    let room = output.get_mut(from..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, room).map_err(fail)?;
    Ok(())
}

fn xerial(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::from(XERIAL_MAGIC);
    output.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(io::Error::other)?;
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&packed);
    }
    Ok(output)
}

fn lz4(input: &[u8]) -> io::Result<Vec<u8>> {
    // As Kafka writes: independent blocks of 64 KiB.
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::other)
}

fn malformed(codec: Codec, detail: impl ToString) -> CompressError {
    CompressError::Malformed { codec: codec.name(), detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_returns_what_it_was_given_within_its_limit() {
        let text = b"flights in, flights out; ".repeat(5000);
        for codec in Codec::ALL {
            for input in [&text[..], b"x", b""] {
                let packed = compress(codec, None, input).unwrap();
                assert_eq!(decompress(codec, &packed, input.len()).unwrap(), input, "{codec:?}");
            }
            let packed = compress(codec, None, &text).unwrap();
            let limit = text.len() - 1;
            let error = decompress(codec, &packed, limit).unwrap_err();
            assert_eq!(error, CompressError::TooLarge { codec: codec.name(), limit });
        }
    }

    #[test]
    fn snappy_without_framing_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"librdkafka").unwrap();
        assert_eq!(decompress(Codec::Snappy, &packed, 100).unwrap(), b"librdkafka");
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(decompress(Codec::Snappy, &huge, usize::MAX).is_err());
    }

    #[test]
    fn compressed_bytes_cut_anywhere_never_yield_the_whole() {
        let text = b"0123456789abcdef".repeat(20);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let packed = compress(codec, None, &text).unwrap();
            for end in 0..packed.len() {
                let result = decompress(codec, &packed[..end], 1 << 20);
                assert_ne!(result.as_deref(), Ok(&text[..]), "{codec:?} {end}");
            }
        }
    }
}
