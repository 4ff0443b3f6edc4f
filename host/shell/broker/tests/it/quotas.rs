//! Who takes too much waits for it, and nobody else does.

use std::time::Instant;

use brooklet_client::admin::{ClientQuota, QuotaFilter};
use brooklet_client::{Address, Admin, ClientConfig};
use brooklet_types::{QuotaEntity, QuotaKey, QuotaName};

use super::*;

fn admin(running: &Running) -> Admin {
    let address: Address = running.ready.listeners[0].address.to_string().parse().unwrap();
    let config = ClientConfig { client_id: "admin".to_owned(), ..ClientConfig::new(vec![address]) };
    Admin::new(brooklet_client::Client::new(config))
}

/// The clients of these tests call themselves `it`.
fn for_it() -> QuotaEntity {
    QuotaEntity::ClientId(QuotaName::Exactly("it".to_owned()))
}

async fn limit(running: &Running, entity: QuotaEntity, key: QuotaKey, limit: Option<f64>) {
    admin(running).set_quota(&entity, key, limit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_produces_too_much_is_answered_at_once_and_read_from_later() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    client.metadata("flights").await;
    limit(&running, for_it(), QuotaKey::ProducerByteRate, Some(900.0)).await;
    let value = "x".repeat(10_500);
    let began = Instant::now();
    let answer: ProduceResponse = client.ask(9, &produce("flights", &value, -1)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "it is stored");
    let told = Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap());
    assert!(told > Duration::from_secs(1) && told < Duration::from_secs(3), "{told:?}");
    assert!(began.elapsed() < told, "the answer does not wait");
    client.metadata("flights").await;
    let muted = began.elapsed();
    assert!(muted >= told, "{muted:?} of {told:?}");
    let line = "brooklet_quota_violations_total{quota=\"producer_byte_rate\"}";
    assert_eq!(scene::metric(&running, line).await, 1.0);
    // Others are not concerned, and neither is the broker's own process.
    let mut own = Client::over(running.ready.inner.enter().unwrap());
    let answer: ProduceResponse = own.ask(9, &produce("flights", &value, -1)).await;
    assert_eq!(answer.throttle_time_ms, 0);
    limit(&running, for_it(), QuotaKey::ProducerByteRate, None).await;
    let answer: ProduceResponse = client.ask(9, &produce("flights", &value, -1)).await;
    assert_eq!(answer.throttle_time_ms, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_too_much_gets_nothing_until_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    client.metadata("flights").await;
    client.produce("flights", &"x".repeat(3000)).await;
    limit(&running, for_it(), QuotaKey::ConsumerByteRate, Some(500.0)).await;
    let mut waits = 0;
    let began = Instant::now();
    for _ in 0..4 {
        let answer: FetchResponse = client.ask(12, &fetch("flights", 0)).await;
        let is_empty = answer.responses.is_empty();
        assert_eq!(is_empty, answer.throttle_time_ms > 0, "{answer:?}");
        waits += answer.throttle_time_ms;
    }
    assert!(waits > 0);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_broker_busy_waits_a_second_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    // A millionth of a processor: any request is too much.
    limit(&running, for_it(), QuotaKey::RequestPercentage, Some(0.0001)).await;
    let answer = client.metadata("flights").await;
    assert!((1..=1000).contains(&answer.throttle_time_ms), "{}", answer.throttle_time_ms);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_an_addresss_rate_are_closed_unheard() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let address = running.ready.listeners[0].address;
    let everybody = QuotaEntity::Ip(QuotaName::Default);
    limit(&running, everybody.clone(), QuotaKey::ConnectionCreationRate, Some(1.0)).await;
    let mut served = 0;
    for _ in 0..15 {
        let mut client = Client::connect(address).await;
        let frame = encode_request(1, 3, None, &scene::api_versions()).unwrap();
        client.send(&frame).await;
        let mut byte = [0];
        let read = client.stream.read(&mut byte);
        let read = tokio::time::timeout(scene::SOON, read).await.expect("answered or closed");
        served += usize::from(matches!(read, Ok(1)));
    }
    // Ten seconds' worth may come at once, and a while has passed.
    assert!((8..15).contains(&served), "{served}");
    let line = "brooklet_quota_violations_total{quota=\"connection_creation_rate\"}";
    assert!(scene::metric(&running, line).await >= 1.0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_listed_taken_away_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let ada = QuotaName::Exactly("ada".to_owned());
    let pair = QuotaEntity::UserClientId(ada.clone(), QuotaName::Default);
    limit(&running, pair.clone(), QuotaKey::ProducerByteRate, Some(5e6)).await;
    limit(&running, QuotaEntity::User(ada.clone()), QuotaKey::RequestPercentage, Some(50.5)).await;
    running.stop().await;
    let running = start(folder.path()).await;
    let all = admin(&running).quotas(&QuotaFilter::default()).await.unwrap();
    let expected = [
        ClientQuota {
            entity: QuotaEntity::User(ada),
            limits: vec![(QuotaKey::RequestPercentage, 50.5)],
        },
        ClientQuota { entity: pair.clone(), limits: vec![(QuotaKey::ProducerByteRate, 5e6)] },
    ];
    assert_eq!(all, expected);
    let error = admin(&running).set_quota(&pair, QuotaKey::ConnectionCreationRate, Some(1.0)).await;
    assert_eq!(error.unwrap_err().code(), Some(brooklet_types::ErrorCode::InvalidRequest));
    let only = QuotaFilter { entity: Some(pair.clone()) };
    assert_eq!(admin(&running).quotas(&only).await.unwrap().len(), 1);
    limit(&running, pair, QuotaKey::ProducerByteRate, None).await;
    assert!(admin(&running).quotas(&only).await.unwrap().is_empty());
    running.stop().await;
}

fn new_topics(names: &[&str], partitions: i32) -> CreateTopicsRequest {
    make(|it: &mut CreateTopicsRequest| {
        it.timeout_ms = 30_000;
        let topic = |name: &&str| {
            make(|it: &mut create_topics_request::CreatableTopic| {
                it.name = (*name).into();
                (it.num_partitions, it.replication_factor) = (partitions, -1);
            })
        };
        it.topics = names.iter().map(topic).collect();
    })
}

fn doomed(names: &[&str]) -> DeleteTopicsRequest {
    make(|it: &mut DeleteTopicsRequest| {
        it.timeout_ms = 30_000;
        it.topic_names = names.iter().map(|name| (*name).into()).collect();
    })
}

fn larger(name: &str, count: i32) -> CreatePartitionsRequest {
    make(|it: &mut CreatePartitionsRequest| {
        it.timeout_ms = 30_000;
        it.topics = vec![make(|it: &mut create_partitions_request::CreatePartitionsTopic| {
            (it.name, it.count, it.assignments) = (name.into(), count, None);
        })];
    })
}

/// What a request asks for that is paid for by partitions, and what it is told: codes, and how long to wait.
async fn ask_changes(
    running: &Running,
    request: &Change,
    version: i16,
) -> (Vec<(String, i16)>, i32) {
    // A connection of its own: who has to wait is not read from.
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    match request {
        Change::Create(request) => {
            let answer: CreateTopicsResponse = client.ask(version, request).await;
            let topics = answer.topics.iter().map(|it| (it.name.to_string(), it.error_code));
            (topics.collect(), answer.throttle_time_ms)
        }
        Change::Delete(request) => {
            let answer: DeleteTopicsResponse = client.ask(version, request).await;
            let name = |it: &delete_topics_response::DeletableTopicResult| {
                (it.name.as_ref().map(ToString::to_string).unwrap_or_default(), it.error_code)
            };
            (answer.responses.iter().map(name).collect(), answer.throttle_time_ms)
        }
        Change::Grow(request) => {
            let answer: CreatePartitionsResponse = client.ask(version, request).await;
            let topics = answer.results.iter().map(|it| (it.name.to_string(), it.error_code));
            (topics.collect(), answer.throttle_time_ms)
        }
    }
}

enum Change {
    Create(CreateTopicsRequest),
    Delete(DeleteTopicsRequest),
    Grow(CreatePartitionsRequest),
}

/// KIP-599: eleven seconds' worth may be changed at once, and then once more.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_come_and_go_as_fast_as_the_quota_allows() {
    const EXCEEDED: i16 = 89;
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let rate = QuotaKey::ControllerMutationRate;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    client.metadata("old").await;
    // So slow that nothing comes back while the test runs: 1.1 partitions may be changed at once.
    limit(&running, for_it(), rate, Some(0.1)).await;
    let table = [
        ("nothing is owed", Change::Create(new_topics(&["a"], 2)), 6, vec![("a", 0)]),
        ("strict", Change::Create(new_topics(&["b", "c"], 1)), 6, vec![("b", 89), ("c", 89)]),
        ("an error costs nothing", Change::Create(new_topics(&["a"], 1)), 6, vec![("a", 36)]),
        ("strict", Change::Delete(doomed(&["old"])), 5, vec![("old", 89)]),
        ("strict", Change::Grow(larger("a", 3)), 3, vec![("a", 89)]),
        ("no increase costs nothing", Change::Grow(larger("a", 2)), 3, vec![("a", 37)]),
        ("an old client is served", Change::Create(new_topics(&["b"], 1)), 5, vec![("b", 0)]),
        ("an old client is served", Change::Grow(larger("a", 3)), 2, vec![("a", 0)]),
        ("an old client is served", Change::Delete(doomed(&["old"])), 4, vec![("old", 0)]),
    ];
    let mut waits = Vec::new();
    for (what, request, version, expected) in table {
        let (told, wait) = ask_changes(&running, &request, version).await;
        let expected: Vec<_> =
            expected.into_iter().map(|(name, it)| (name.to_owned(), it)).collect();
        assert_eq!(told, expected, "{what}, version {version}");
        let is_put_off = told.iter().any(|(_, code)| *code == EXCEEDED);
        let is_old = what.starts_with("an old");
        assert_eq!(wait > 0, is_put_off || is_old, "{what}: {wait} ms");
        waits.push(wait);
    }
    // 0.9 partitions owed are nine seconds, and each one more is ten more.
    assert!((7000..=9000).contains(&waits[1]), "{waits:?}");
    assert!((35_000..=39_000).contains(&waits[8]), "{waits:?}");
    limit(&running, for_it(), rate, None).await;
    let (told, wait) = ask_changes(&running, &Change::Delete(doomed(&["a", "b"])), 5).await;
    assert_eq!((told.iter().map(|it| it.1).sum::<i16>(), wait), (0, 0));
    running.stop().await;
}
