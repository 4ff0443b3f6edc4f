//! Precedence as a table, waits as Kafka computes them, and memory that does not grow.

use brooklet_types::{QuotaEntity, QuotaName};
use proptest::prelude::*;

use super::*;

const BYTES: QuotaKey = QuotaKey::ProducerByteRate;
const ADA: Taker<'static> = Taker { user: "ada", client_id: "app" };

/// `user=ada`, `client-id=*`, `user=*,client-id=app`, `ip=::1`: a star is the default.
fn entity(text: &str) -> QuotaEntity {
    let name = |text: &str| match text {
        "*" => QuotaName::Default,
        text => QuotaName::Exactly(text.to_owned()),
    };
    let part = |kind: &str| text.split(',').find_map(|part| part.strip_prefix(kind)).map(name);
    match (part("user="), part("client-id="), part("ip=")) {
        (Some(user), Some(client), _) => QuotaEntity::UserClientId(user, client),
        (Some(user), None, _) => QuotaEntity::User(user),
        (None, Some(client), _) => QuotaEntity::ClientId(client),
        (None, None, Some(ip)) => QuotaEntity::Ip(ip),
        (None, None, None) => panic!("{text}"),
    }
}

fn table(key: QuotaKey, quotas: &[(&str, f64)]) -> QuotaTable {
    let quotas: Vec<_> = quotas.iter().map(|(text, limit)| (entity(text), *limit)).collect();
    quotas.iter().map(|(entity, limit)| (entity, key, *limit)).collect()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn the_most_specific_quota_holds() {
    let all = [
        ("user=ada,client-id=app", 1.0),
        ("user=ada,client-id=*", 2.0),
        ("user=ada", 3.0),
        ("user=*,client-id=app", 4.0),
        ("user=*,client-id=*", 5.0),
        ("user=*", 6.0),
        ("client-id=app", 7.0),
        ("client-id=*", 8.0),
    ];
    let pair = Whose::UserClientId("ada".to_owned(), "app".to_owned());
    let (user, client) = (Whose::User("ada".to_owned()), Whose::ClientId("app".to_owned()));
    let whose = [&pair, &pair, &user, &pair, &pair, &user, &client, &client];
    for (from, whose) in whose.into_iter().enumerate() {
        let found = table(BYTES, &all[from..]).find(BYTES, ADA);
        assert_eq!(found, Some((whose.clone(), all[from].1)), "{:?}", all[from]);
    }
    let others =
        table(BYTES, &[("user=bob", 1.0), ("client-id=other", 2.0), ("user=bob,client-id=*", 3.0)]);
    assert_eq!(others.find(BYTES, ADA), None);
    assert_eq!(table(BYTES, &all).find(QuotaKey::ConsumerByteRate, ADA), None);
}

/// Kafka's `ClientQuotaManagerTest.testQuotaViolation`: 500 bytes a second for 11 windows.
#[test]
fn a_burst_is_paid_for_until_the_rate_is_right_again() {
    let mut quotas = Quotas::new(table(BYTES, &[("client-id=*", 500.0)]));
    for second in 0..10 {
        assert_eq!(quotas.take(BYTES, ADA, 400.0, at(second * 1000)), Duration::ZERO);
    }
    // 10.5 seconds: 4,000 before and 2,300 now are 600 bytes a second, 100 too many for 10.5 seconds.
    let wait = quotas.take(BYTES, ADA, 2300.0, at(10_500));
    assert_eq!(wait, Duration::from_millis(2100));
    // The first window is forgotten, whole: 5,900 in 10 seconds.
    let wait = quotas.take(BYTES, ADA, 0.0, at(11_000));
    assert_eq!(wait, Duration::from_millis(1800));
    assert_eq!(quotas.take(BYTES, ADA, 0.0, at(13_500)), Duration::ZERO);
    // And what is forgotten is forgotten.
    assert_eq!(quotas.take(BYTES, ADA, 5000.0, at(60_000)), Duration::ZERO);
}

#[test]
fn ten_seconds_worth_may_be_taken_at_once() {
    let mut quotas = Quotas::new(table(BYTES, &[("user=*", 1000.0)]));
    assert_eq!(quotas.most(BYTES, ADA), Some(10_000.0));
    assert_eq!(quotas.take(BYTES, ADA, 10_000.0, at(0)), Duration::ZERO);
    assert_eq!(quotas.take(BYTES, ADA, 1.0, at(0)), Duration::from_millis(1));
    // Another user has a quota of their own, and who gives back has not taken.
    let bob = Taker { user: "bob", ..ADA };
    assert_eq!(quotas.take(BYTES, bob, 10_000.0, at(0)), Duration::ZERO);
    quotas.take(BYTES, ADA, -1.0, at(0));
    assert_eq!(quotas.take(BYTES, ADA, 0.0, at(0)), Duration::ZERO);
    quotas.set(table(BYTES, &[("user=*", 500.0)]));
    assert_eq!(quotas.take(BYTES, ADA, 0.0, at(0)), Duration::from_secs(10));
    quotas.set(QuotaTable::default());
    assert_eq!(quotas.take(BYTES, ADA, 1e12, at(0)), Duration::ZERO);
    assert_eq!(quotas.most(BYTES, ADA), None);
}

#[test]
fn time_of_requests_and_connections_is_waited_for_a_second_at_most() {
    let key = QuotaKey::RequestPercentage;
    let mut quotas = Quotas::new(table(key, &[("user=ada", 1.0)]));
    assert_eq!(quotas.take(key, ADA, 500.0, at(0)), Duration::from_secs(1));

    let mut quotas =
        Quotas::new(table(QuotaKey::ConnectionCreationRate, &[("ip=*", 2.0), ("ip=::9", 1.0)]));
    for _ in 0..20 {
        assert_eq!(quotas.connect("::1", at(0)), Ok(()));
    }
    // The one more does not count, so that it is no worse to try again.
    for _ in 0..3 {
        assert_eq!(quotas.connect("::1", at(0)), Err(Duration::from_millis(500)));
    }
    assert_eq!(quotas.connect("::1", at(10_500)), Ok(()));
    assert_eq!((0..20).filter(|_| quotas.connect("::9", at(0)).is_ok()).count(), 10);
    assert_eq!((0..40).filter(|_| quotas.connect("::2", at(0)).is_ok()).count(), 20);
}

/// KIP-599: a request is carried out whole as long as nothing is owed.
#[test]
fn partitions_are_changed_on_credit_once() {
    let key = QuotaKey::ControllerMutationRate;
    let mut quotas = Quotas::new(table(key, &[("user=ada", 5.0)]));
    assert_eq!(quotas.change_partitions(ADA, 55, at(0)), Ok(()));
    assert_eq!(quotas.change_partitions(ADA, 10, at(0)), Ok(()));
    assert_eq!(quotas.change_partitions(ADA, 1, at(0)), Err(Duration::from_secs(2)));
    assert_eq!(quotas.change_partitions(ADA, 1, at(1500)), Err(Duration::from_millis(500)));
    assert_eq!(quotas.change_partitions(ADA, 1, at(2000)), Ok(()));
    let bob = Taker { user: "bob", ..ADA };
    assert_eq!(quotas.change_partitions(bob, 1_000_000, at(0)), Ok(()));
}

/// Who does not know the error is served at once and waits longer.
#[test]
fn partitions_may_be_owed_for() {
    let key = QuotaKey::ControllerMutationRate;
    let mut quotas = Quotas::new(table(key, &[("user=ada", 5.0)]));
    assert_eq!(quotas.owe_partitions(ADA, 55, at(0)), Duration::ZERO);
    assert_eq!(quotas.owe_partitions(ADA, 10, at(0)), Duration::from_secs(2));
    assert_eq!(quotas.owe_partitions(ADA, 5, at(1000)), Duration::from_secs(2));
    assert_eq!(quotas.change_partitions(ADA, 1, at(2000)), Err(Duration::from_secs(1)));
    assert_eq!(quotas.owe_partitions(ADA, 0, at(3000)), Duration::ZERO);
    let bob = Taker { user: "bob", ..ADA };
    assert_eq!(quotas.owe_partitions(bob, 1_000_000, at(0)), Duration::ZERO);
}

#[test]
fn who_finds_no_place_is_measured_with_the_others_that_do_not() {
    let mut quotas = Quotas::new(table(BYTES, &[("client-id=*", 10.0)]));
    let mut take = |client: u64, now: u64| {
        let client_id = format!("client-{client}");
        quotas.take(BYTES, Taker { user: "ada", client_id: &client_id }, 60.0, at(now))
    };
    let count = u64::try_from(TRACKED_MAX).unwrap();
    for client in 0..count {
        assert!(take(client, 0).is_zero());
    }
    assert!(take(count, 0).is_zero());
    assert!(!take(count + 1, 0).is_zero(), "a name of its own gets nobody a second quota");
    assert!(!take(0, 0).is_zero(), "who has a place keeps it");
    // Much later the places are free again.
    assert!(take(count + 2, 20_000).is_zero());
    assert!(take(count + 3, 20_000).is_zero());
    assert!(quotas.meters.len() < 10);
}

proptest! {
    /// Windows are forgotten whole, so that a rate may rise while nothing is taken: as Kafka's, this is no
    /// exact measure. But who waits as told takes a burst, and then not twice the quota.
    #[test]
    fn who_waits_as_told_keeps_to_the_quota(
        amounts in proptest::collection::vec(1.0..5000.0f64, 1..60),
        pauses in proptest::collection::vec(0..400u64, 60),
    ) {
        const LIMIT: f64 = 1000.0;
        let mut quotas = Quotas::new(table(BYTES, &[("user=ada", LIMIT)]));
        let (mut now, mut taken) = (0, 0.0);
        for (amount, pause) in amounts.iter().zip(pauses) {
            let wait = quotas.take(BYTES, ADA, *amount, at(now));
            taken += amount;
            now += pause + u64::try_from(wait.as_millis()).unwrap();
            // Eleven seconds' worth on credit, and the last amount.
            let allowed = LIMIT * (2.0 * now as f64 / 1000.0 + 11.0) + amount;
            prop_assert!(taken <= allowed, "{} of {} after {} ms", taken, allowed, now);
        }
    }
}
