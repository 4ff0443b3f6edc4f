//! Whole brokers that serve nothing but QUIC, and clients that know nothing but TCP.

use brooklet_client::{
    Address, Client, ClientConfig, Consumer, ConsumerConfig, Event, GroupConfig, Producer,
    ProducerConfig, ProducerRecord,
};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;

use super::*;

const QUIC: &str = r#"["quic://127.0.0.1:0"]"#;

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    let now = brooklet_io::Clock::start().timestamp();
    builder.push(now, None, Some(value), &[]).unwrap();
    builder.build().unwrap()
}

fn produce(topic: &str, value: &[u8], acks: i16) -> ProduceRequest {
    make(|it: &mut ProduceRequest| {
        (it.acks, it.timeout_ms) = (acks, 10_000);
        it.topic_data = vec![make(|it: &mut produce_request::TopicProduceData| {
            it.name = topic.into();
            it.partition_data = vec![make(|it: &mut produce_request::PartitionProduceData| {
                it.records = Some(batch(value));
            })];
        })];
    })
}

fn fetch(topic: Uuid, offset: i64) -> FetchRequest {
    make(|it: &mut FetchRequest| {
        (it.replica_id, it.replica_state.replica_id) = (-1, -1);
        (it.max_wait_ms, it.min_bytes, it.max_bytes) = (50, 1, 50 << 20);
        it.session_epoch = -1;
        it.topics = vec![make(|it: &mut fetch_request::FetchTopic| {
            it.topic_id = topic;
            it.partitions = vec![make(|it: &mut fetch_request::FetchPartition| {
                (it.fetch_offset, it.partition_max_bytes) = (offset, 50 << 20);
                (it.current_leader_epoch, it.last_fetched_epoch) = (-1, -1);
            })];
        })];
    })
}

fn base_offset(answer: &ProduceResponse) -> i64 {
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
    partition.base_offset
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tcp_produces_and_consumes_in_a_group_at_a_broker_of_quic() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), QUIC).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    // What we were told to reach is the broker, so one door does.
    let [door] = tunnel.ready.doors[..] else { panic!("{:?}", tunnel.ready) };
    let address: Address = format!("tcp://{door}").parse().unwrap();
    Raw::connect(door).await.metadata("flights").await;
    let client = Client::new(ClientConfig::new(vec![address.clone()]));
    let found = soon(client.metadata(Some(&[]))).await.unwrap();
    let found: Vec<_> = found.brokers.into_values().map(|it| it.address).collect();
    assert_eq!(found, [address]);
    let producer = Producer::start(client.clone(), ProducerConfig::default()).unwrap();
    for number in 0..500 {
        let value = Some(Bytes::from(format!("flight {number}")));
        let record = ProducerRecord { topic: "flights".into(), value, ..Default::default() };
        soon(producer.send(record)).await.unwrap();
    }
    soon(producer.flush()).await;
    let (group, topics) = (GroupConfig::new("towers"), vec!["flights".to_owned()]);
    let config = ConsumerConfig::default();
    let mut consumer = Consumer::subscribe(client.clone(), config, group, topics);
    let mut values = Vec::new();
    while values.len() < 500 {
        match soon(Box::pin(consumer.poll(SOON))).await.unwrap() {
            Event::Records(batch) => values.extend(batch.records.into_iter().map(|it| it.value)),
            Event::Assigned(_) => {}
            Event::Idle => panic!("nothing after {} records", values.len()),
        }
    }
    let expected = (0..500).map(|number| Some(Bytes::from(format!("flight {number}"))));
    assert!(values.into_iter().eq(expected));
    soon(Box::pin(consumer.close())).await.unwrap();
    soon(client.close()).await;
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_come_byte_by_byte_and_many_at_once_with_some_that_nobody_answers() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), QUIC).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    let door = tunnel.ready.doors[0];
    let mut client = Raw::connect(door).await;
    let frame = encode_request(1, 12, Some("it"), &metadata_of("flights")).unwrap();
    for byte in frame.iter() {
        client.send(&[*byte]).await;
    }
    let metadata: MetadataResponse = client.answer(1, 12).await;
    assert_eq!(metadata.brokers[0].host.as_ref() as &str, "127.0.0.1");
    assert_eq!(metadata.brokers[0].port, i32::from(door.port()));
    let mut frames = Vec::new();
    for number in 1..=600 {
        let (acks, version) = (if number % 7 == 0 { 0 } else { -1 }, 9 + (number % 4) as i16);
        let request = produce("flights", format!("{number}").as_bytes(), acks);
        frames.extend(encode_request(number, version, Some("it"), &request).unwrap());
    }
    client.send(&frames).await;
    for number in (1..=600).filter(|number| number % 7 != 0) {
        let answer = client.answer(number, 9 + (number % 4) as i16).await;
        assert_eq!(base_offset(&answer), i64::from(number) - 1);
    }
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_fetches_pass_in_every_version_and_what_was_asked_before_the_end_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), QUIC).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    let mut client = Raw::connect(tunnel.ready.doors[0]).await;
    let topic = client.metadata("flights").await.topics[0].topic_id;
    let value = vec![b'x'; 900_000];
    for number in 0..12 {
        let answer = client.ask(9, &produce("flights", &value, -1)).await;
        assert_eq!(base_offset(&answer), number);
    }
    for version in [13, 16, 17, 18] {
        let answer: FetchResponse = client.ask(version, &fetch(topic, 0)).await;
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "{version}");
        let records = partition.records.clone().unwrap();
        assert!(records.len() > 12 * value.len(), "{} in {version}", records.len());
        for batch in brooklet_wire::batch::split(&records) {
            batch.unwrap();
        }
    }
    // A client that has no more to ask still hears the answer, and then the end.
    client.send(&encode_request(8, 17, None, &fetch(topic, 0)).unwrap()).await;
    client.stream.shutdown().await.unwrap();
    let answer: FetchResponse = client.answer(8, 17).await;
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 12);
    assert!(client.closes().await);
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_make_no_sense_are_closed_and_no_other_notices() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), QUIC).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    let door = tunnel.ready.doors[0];
    let mut good = Raw::connect(door).await;
    good.metadata("flights").await;
    let newer = [0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff];
    let garbage: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0x7f; 8], &[0xff; 8], &[0, 0, 0, 7, 0, 0, 0], &newer];
    for bytes in garbage {
        let mut client = Raw::connect(door).await;
        client.send(bytes).await;
        assert!(client.closes().await, "{bytes:?}");
    }
    // What a broker alone can judge, it does: this frame is whole, and no request.
    let mut client = Raw::connect(door).await;
    client.send(&[0, 0, 0, 8, 0x70, 0, 0, 0, 0, 0, 0, 1]).await;
    assert!(client.closes().await);
    // What was asked before is answered.
    let mut client = Raw::connect(door).await;
    let frame = encode_request(5, 12, None, &metadata_of("flights")).unwrap();
    client.send(&[&frame[..], &[0xff; 8]].concat()).await;
    let _: MetadataResponse = client.answer(5, 12).await;
    assert!(client.closes().await);
    assert_eq!(base_offset(&good.ask(9, &produce("flights", b"one", -1)).await), 0);
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_waits_for_its_broker_and_takes_clients_again_when_that_is_back() {
    let data = tempfile::tempdir().unwrap();
    let first = broker(data.path(), QUIC).await;
    let quic = first.ready.listeners[0].to_string();
    let listeners = format!("[\"quic://{}\"]", first.ready.listeners[0].address);
    first.stop().await;
    let tunnel = tunnel(&quic).await;
    let door = tunnel.ready.doors[0];
    assert!(Raw::connect(door).await.closes().await);
    for round in 0..2 {
        let running = broker(data.path(), &listeners).await;
        let mut client = Raw::connect(door).await;
        let metadata = client.metadata("flights").await;
        assert_eq!(metadata.brokers[0].port, i32::from(door.port()));
        assert_eq!(base_offset(&client.ask(9, &produce("flights", b"x", -1)).await), round);
        running.stop().await;
        // Its connection has gone with the broker.
        assert!(client.closes().await);
    }
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_was_asked_and_takes_nobody_more() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), QUIC).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    let door = tunnel.ready.doors[0];
    let mut client = Raw::connect(door).await;
    let topic = client.metadata("flights").await.topics[0].topic_id;
    let waiting = make(|it: &mut FetchRequest| {
        *it = fetch(topic, 0);
        it.max_wait_ms = 1_000;
    });
    client.send(&encode_request(9, 17, None, &waiting).unwrap()).await;
    let idle = Raw::connect(door).await;
    // Behind the fetch in its own stream, and so in the broker when this is answered.
    let mut other = Raw::connect(door).await;
    other.metadata("flights").await;
    let stopping = tokio::spawn(tunnel.stop());
    let answer: FetchResponse = client.answer(9, 17).await;
    assert_eq!(answer.error_code, 0);
    assert!(client.closes().await && idle.closes().await && other.closes().await);
    soon(stopping).await.unwrap();
    assert!(TcpStream::connect(door).await.is_err());
    broker.stop().await;
}
