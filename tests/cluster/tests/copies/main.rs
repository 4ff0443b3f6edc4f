//! One copy: what a large batch costs in memory on its way through a whole broker, counted by the allocator.
//!
//! *Method.* The broker runs in this process, over TCP, on a real disk. Copying a batch takes memory of its
//! size from somewhere, so all bytes allocated while one request is worked on are counted, in all threads.
//! The client's own frames are made before, and its replies are read into memory that is there already.
//!
//! *What is expected.* A produced batch is taken from the socket into one frame, and from there it goes to
//! the page cache: no second frame's worth of memory. A fetch at the head sends that frame's memory again. A
//! fetch from the disk reads into one buffer, and the connection's next fetch reads into the same one.
//!
//! *What is not seen here.* A batch of up to 16 KiB is copied once more, into the tail cache, so that it does
//! not pin its frame; and a copy into memory that is there already, of which the record path has none but
//! the buffer that reads go to.

#![expect(clippy::unwrap_used, reason = "a test may panic; that is how it speaks")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brooklet_broker::config::Config;
use brooklet_broker::{Ready, run};
use brooklet_cluster::Raw;
use brooklet_hook::NoHooks;
use brooklet_types::Timestamp;
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, StrBytes, decode_response,
    encode_request, fetch_request, make, produce_request,
};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const TOPIC: &str = "large";
/// A batch that one request may bring and one fetch may take.
const BATCH_BYTES: usize = 1_000_000;
/// What everything else of a request may take: headers, replies, plans, tasks.
const OVERHEAD_BYTES: u64 = 64 << 10;

const WITH_ONE_COPY: std::ops::Range<u64> = BATCH_BYTES as u64..BATCH_BYTES as u64 + OVERHEAD_BYTES;
const WITHOUT_A_COPY: std::ops::Range<u64> = 0..OVERHEAD_BYTES;

/// A broker in this process.
struct Running {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

fn start(folder: &Path) -> Running {
    let data = folder.display().to_string();
    let text =
        format!("(data: {data:?}, listeners: [\"tcp://127.0.0.1:0\"], admin: \"none\", shards: 1)");
    let config = Config::read("test.ron", &text).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stop = CancellationToken::new();
    let (tell, ready) = oneshot::channel();
    let stopping = stop.clone();
    let done = runtime.spawn(async move {
        let told = |ready: &Ready| tell.send(ready.clone()).unwrap();
        run(config, Arc::new(NoHooks), stopping, told).await.unwrap();
    });
    let ready = runtime.block_on(ready).unwrap();
    Running { runtime, address: ready.listeners[0].address, stop, done }
}

impl Running {
    fn stop(self) {
        self.stop.cancel();
        self.runtime.block_on(self.done).unwrap();
    }
}

/// A connection that takes no memory while it is used.
struct Client {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream, reply: vec![0; 2 * BATCH_BYTES] }
    }

    /// Asks, and says how many bytes were allocated until the answer was here.
    fn ask(&mut self, frame: &[u8]) -> (u64, Bytes) {
        let before = dhat::HeapStats::get().total_bytes;
        self.stream.write_all(frame).unwrap();
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let length = u32::from_be_bytes(length) as usize;
        self.stream.read_exact(&mut self.reply[..length]).unwrap();
        let allocated = dhat::HeapStats::get().total_bytes - before;
        (allocated, Bytes::copy_from_slice(&self.reply[..length]))
    }

    /// Fetches from `offset` on, and says what that cost.
    fn fetch(&mut self, offset: i64) -> u64 {
        let request = make(|it: &mut FetchRequest| {
            it.replica_id = -1;
            it.replica_state.replica_id = -1;
            it.max_wait_ms = 1000;
            it.min_bytes = 1;
            it.max_bytes = 10 << 20;
            it.session_epoch = -1;
            it.topics = vec![make(|it: &mut fetch_request::FetchTopic| {
                it.topic = StrBytes::from(TOPIC);
                it.partitions = vec![make(|it: &mut fetch_request::FetchPartition| {
                    it.fetch_offset = offset;
                    it.current_leader_epoch = -1;
                    it.last_fetched_epoch = -1;
                    // As much is read from a file at once.
                    it.partition_max_bytes = i32::try_from(BATCH_BYTES + 4096).unwrap();
                })];
            })];
        });
        let frame = encode_request(1, 12, Some("copies"), &request).unwrap();
        let (allocated, reply) = self.ask(&frame);
        let (_, response) = decode_response::<FetchResponse>(reply, 12).unwrap();
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        assert!(partition.records.as_ref().unwrap().len() > BATCH_BYTES, "a whole batch");
        allocated
    }

    /// Produces one large batch, and says what that cost.
    fn produce(&mut self) -> u64 {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(Timestamp(1), None, Some(&vec![b'x'; BATCH_BYTES]), &[]).unwrap();
        let batch = builder.build().unwrap();
        let request = make(|it: &mut ProduceRequest| {
            it.acks = -1;
            it.timeout_ms = 10_000;
            it.topic_data = vec![make(|it: &mut produce_request::TopicProduceData| {
                it.name = StrBytes::from(TOPIC);
                it.partition_data = vec![make(|it: &mut produce_request::PartitionProduceData| {
                    it.records = Some(batch);
                })];
            })];
        });
        let frame = encode_request(1, 9, Some("copies"), &request).unwrap();
        let (allocated, reply) = self.ask(&frame);
        let (_, response) = decode_response::<ProduceResponse>(reply, 9).unwrap();
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        allocated
    }
}

#[test]
fn a_batch_is_copied_once_on_its_way_in_and_not_at_all_to_readers_at_the_head() {
    let _counting = dhat::Profiler::builder().testing().build();
    let data = tempfile::tempdir().unwrap();
    let running = start(data.path());
    Raw::connect(running.address).unwrap().create_topic(TOPIC, 1);
    let mut producer = Client::connect(running.address);
    let mut reader = Client::connect(running.address);
    let at_the_head = (0..3).map(|offset| (producer.produce(), reader.fetch(offset)));
    let at_the_head: Vec<_> = at_the_head.collect();
    running.stop();

    // Nothing is in memory now: what is read comes from the files.
    let running = start(data.path());
    let mut reader = Client::connect(running.address);
    let from_files: Vec<_> = (0..3).map(|offset| reader.fetch(offset)).collect();
    running.stop();

    for (produced, fetched) in at_the_head {
        assert!(WITH_ONE_COPY.contains(&produced), "a produce took {produced} bytes");
        assert!(WITHOUT_A_COPY.contains(&fetched), "a fetch at the head took {fetched} bytes");
    }
    assert!(WITH_ONE_COPY.contains(&from_files[0]), "the first fetch: {from_files:?}");
    assert!(from_files[1..].iter().all(|took| WITHOUT_A_COPY.contains(took)), "{from_files:?}");
}
