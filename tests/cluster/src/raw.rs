//! A connection without a client behind it: frames out, frames in, every wait with a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use brooklet_types::{ErrorCode, Timestamp};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{
    CreateTopicsRequest, CreateTopicsResponse, KafkaRequest, KafkaResponse, ProduceRequest,
    ProduceResponse, RequestResponsePair, StrBytes, create_topics_request, decode_response,
    encode_request, make, produce_request,
};
use bytes::Bytes;

/// Long enough for a debug build on a loaded machine, short enough to notice that nothing comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One TCP connection to a broker.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    correlation: i32,
}

impl Raw {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Raw> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Raw { stream, correlation: 0 })
    }

    /// The same connection, for another thread.
    pub fn try_clone(&self) -> io::Result<Raw> {
        Ok(Raw { stream: self.stream.try_clone()?, correlation: self.correlation })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a length and what it announces.
    pub fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = i32::try_from(frame.len()).expect("a frame of a test is small");
        self.send(&length.to_be_bytes())?;
        self.send(frame)
    }

    /// Reads one frame, without its length.
    pub fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        assert!(length < 64 << 20, "a reply of {length} bytes");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// Whether the broker closes the connection, and says nothing before.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
        }
    }

    /// Asks and waits for the answer.
    pub fn ask<R>(&mut self, version: i16, request: &R) -> io::Result<R::Response>
    where
        R: KafkaRequest + RequestResponsePair,
        R::Response: KafkaResponse,
    {
        self.correlation += 1;
        let frame = encode_request(self.correlation, version, Some("raw"), request);
        self.send(&frame.expect("a request that can be written"))?;
        let (correlation, response) =
            decode_response(self.receive()?, version).expect("a response that can be read");
        assert_eq!(correlation, self.correlation, "replies come in order");
        Ok(response)
    }

    /// Creates a topic, which may be there already.
    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        let request = make(|request: &mut CreateTopicsRequest| {
            request.timeout_ms = 10_000;
            request.topics = vec![make(|topic: &mut create_topics_request::CreatableTopic| {
                topic.name = StrBytes::from(name);
                topic.num_partitions = partitions;
                topic.replication_factor = 1;
            })];
        });
        let response: CreateTopicsResponse = self.ask(5, &request).expect("an answer");
        let code = response.topics[0].error_code;
        let accepted = [ErrorCode::None.to_wire(), ErrorCode::TopicAlreadyExists.to_wire()];
        assert!(accepted.contains(&code), "create {name}: error {code}");
    }

    /// Produces one record with `acks=all` and says at which offset it was stored.
    pub fn produce(&mut self, topic: &str, partition: i32, value: &[u8]) -> Result<i64, ErrorCode> {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(Timestamp(1), Some(b"key"), Some(value), &[]).expect("one record");
        self.produce_batch(topic, partition, &batch.build().expect("one record"))
    }

    /// Produces a batch with `acks=all` and says at which offset it was stored.
    pub fn produce_batch(
        &mut self,
        topic: &str,
        partition: i32,
        records: &Bytes,
    ) -> Result<i64, ErrorCode> {
        let request = make(|request: &mut ProduceRequest| {
            request.acks = -1;
            request.timeout_ms = 10_000;
            request.topic_data = vec![make(|data: &mut produce_request::TopicProduceData| {
                data.name = StrBytes::from(topic);
                data.partition_data =
                    vec![make(|data: &mut produce_request::PartitionProduceData| {
                        data.index = partition;
                        data.records = Some(records.clone());
                    })];
            })];
        });
        let response: ProduceResponse = self.ask(7, &request).expect("an answer");
        let stored = &response.responses[0].partition_responses[0];
        match ErrorCode::from_wire(stored.error_code) {
            Some(ErrorCode::None) => Ok(stored.base_offset),
            code => Err(code.expect("a code that Kafka has")),
        }
    }
}
