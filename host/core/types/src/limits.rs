//! Every bound that more than one room must agree on, each with its reason. Bounds that only one
//! module knows stand beside their user.

/// A partition's folder is `<topic>-<partition>`, and file names end at 255 bytes. Kafka's value.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The largest request frame. Kafka's default `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 << 20;

/// The largest record batch unless a topic says otherwise. Kafka's default `max.message.bytes`:
/// 1 MiB plus the overhead of a batch header.
pub const BATCH_BYTES_MAX_DEFAULT: u32 = 1_048_588;

/// The most bytes one fetch may return, whatever it asks for. Kafka's default `fetch.max.bytes`
/// on the broker.
pub const FETCH_BYTES_MAX: u32 = 55 << 20;

/// A batch or a record set may not decompress to more. One record of a bomb would otherwise
/// exhaust the machine; no ordinary batch comes near it.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Requests of one connection that are being worked on at once. Java keeps 5 in flight and
/// librdkafka up to a thousand; what is beyond waits in the socket.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// Bytes of requests one connection may have in memory at once, beyond its newest frame.
pub const CONNECTION_BYTES_MAX: usize = 32 << 20;

/// The most partitions one topic may have. Kafka has no limit and fails far earlier.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;

/// Bytes of metadata a client may attach to a committed offset. Kafka's
/// `offset.metadata.max.bytes`.
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;

/// The longest group id, member id and instance id we store. Kafka's wire allows 32,767.
pub const GROUP_ID_BYTES_MAX: usize = 32_767;

/// Requests waiting for a shard. Full means that connections stop reading.
pub const SHARD_QUEUE_MAX: usize = 1024;

/// Batches remembered per producer and partition for recognising duplicates. Kafka's
/// `NUM_BATCHES_TO_RETAIN`; Java producers keep at most five requests in flight because of it.
pub const PRODUCER_BATCHES_MAX: usize = 5;
