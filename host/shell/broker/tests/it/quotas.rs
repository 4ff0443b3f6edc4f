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
