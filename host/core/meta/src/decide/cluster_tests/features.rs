//! Levels of features, and what becomes possible with them.

use brooklet_types::{BrokerId, ErrorCode, TopicId};

use super::{cluster, create, live, partition, run, shown, step, topic, unfence};
use crate::broker::FeatureRange;
use crate::cluster::{Cluster, Settings};
use crate::decide::broker::register_broker;
use crate::decide::feature::{FeatureUpdate, Upgrade, begin_cluster, update_features};
use crate::decide::setting::{Alteration, Operation, Resource, alter_settings};
use crate::decide::topic::{NewTopic, create_topics};
use crate::record::{FEATURE, MetaRecord};

fn update(name: &str, level: i16, upgrade: Upgrade) -> FeatureUpdate {
    FeatureUpdate { name: name.to_owned(), level, upgrade }
}

/// Broker 1 on its own, as a log of a release without clusters has it, with one topic.
fn alone(settings: &[(&str, &str)]) -> Cluster {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut cluster = Cluster::new(settings.iter().map(owned).collect::<Settings>());
    cluster.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true });
    create(&mut cluster, topic(&[&[1]], &[]));
    cluster
}

#[test]
fn a_level_is_refused_in_kafkas_words() {
    let mut cluster = cluster(&[1]);
    let mut other = run(2, 1, true);
    other.features.insert(FEATURE.to_owned(), FeatureRange { min: 1, max: 2 });
    let registered = register_broker(&cluster, false, &other).unwrap();
    live(&mut cluster, &registered.records);
    let (up, safe) = (Upgrade::Upgrade, Upgrade::SafeDowngrade);
    let cases = [
        (update(FEATURE, -1, up), "A feature version cannot be less than 0."),
        (update(FEATURE, 2, up), "Local controller 1 only supports versions 0-1"),
        (update("foo", 1, up), "Local controller 1 does not support this feature."),
        (update(FEATURE, 0, up), "Broker 2 only supports versions 1-2"),
    ];
    let refused = |cluster: &Cluster, update: &FeatureUpdate, reason: &str| {
        let asked = std::slice::from_ref(update);
        let error = update_features(cluster, BrokerId(1), asked, false).unwrap_err();
        let FeatureUpdate { name, level, .. } = update;
        let expected = format!("Invalid update version {level} for feature {name}. {reason}");
        assert_eq!((error.code(), error.to_string()), (ErrorCode::InvalidUpdateVersion, expected));
    };
    for (update, reason) in &cases {
        refused(&cluster, update, reason);
    }
    let gone = step(&cluster, "unregister 2");
    live(&mut cluster, &gone);
    let lower = "Can't downgrade the version of this feature without setting the upgrade type to \
                 either safe or unsafe downgrade.";
    refused(&cluster, &update(FEATURE, 0, up), lower);
    let unsafe_only = "Unsafe metadata downgrade is not supported in this version.";
    refused(&cluster, &update(FEATURE, 0, safe), unsafe_only);
    let same = update_features(&cluster, BrokerId(1), &[update(FEATURE, 1, up)], false).unwrap();
    assert!(same.records.is_empty(), "it has that level");
    let begun = alone(&[]);
    refused(&begun, &update(FEATURE, 1, safe), "Can't downgrade to a newer version.");
}

#[test]
fn a_broker_alone_writes_what_every_release_can_read_until_its_level_is_raised() {
    let mut cluster = alone(&[("min.insync.replicas", "2")]);
    assert_eq!(shown(partition(&cluster)), "1@0.0 of 1 in 1");
    let more = NewTopic { id: TopicId([9; 16]), name: "more".to_owned(), ..topic(&[], &[]) };
    let before = create_topics(&cluster, std::slice::from_ref(&more), false);
    assert!(before.records.iter().all(|record| record.level() == 0), "{:?}", before.records);
    let raise = [update(FEATURE, 1, Upgrade::Upgrade)];
    let tried = update_features(&cluster, BrokerId(1), &raise, true).unwrap();
    assert!(tried.records.is_empty());
    let raised = update_features(&cluster, BrokerId(1), &raise, false).unwrap();
    live(&mut cluster, &raised.records);
    assert_eq!((cluster.level(), cluster.feature("foo")), (1, 0));
    // Everybody counts alike from now on, whatever their configuration files say.
    assert_eq!(cluster.broker_defaults()["min.insync.replicas"], "2");
    assert!(begin_cluster(&cluster).records.is_empty(), "it has begun");

    let registered = register_broker(&cluster, false, &run(1, 1, false)).unwrap();
    live(&mut cluster, &registered.records);
    assert_eq!(shown(partition(&cluster)), "-@1.1 of 1 in - eligible 1 last 1");
    unfence(&mut cluster, 1);
    assert_eq!(shown(partition(&cluster)), "1@2.2 of 1 in 1");
    let after = create_topics(&cluster, &[more], false);
    assert!(after.reply[0].is_ok() && after.records[0].level() == 1);
}

#[test]
fn how_many_have_to_be_in_sync_is_no_brokers_own_business_in_a_cluster() {
    let change = |broker: &str, operation, value: Option<&str>| {
        let name = "min.insync.replicas".to_owned();
        let value = value.map(str::to_owned);
        (Resource::Broker(broker.to_owned()), vec![Alteration { name, operation, value }])
    };
    let own = change("1", Operation::Set, Some("2"));
    let mut cluster = alone(&[]);
    let set = alter_settings(&cluster, std::slice::from_ref(&own), false);
    assert_eq!(set.reply, [Ok(())]);
    live(&mut cluster, &set.records);
    let begun = begin_cluster(&cluster).records;
    live(&mut cluster, &begun);
    assert!(cluster.broker(BrokerId(1)).unwrap().settings.is_empty());
    let cases = [
        (own, "Broker-level min.insync.replicas cannot be altered while ELR is enabled."),
        (
            change("", Operation::Delete, None),
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ),
    ];
    for (change, expected) in cases {
        let decision = alter_settings(&cluster, &[change], false);
        let error = decision.reply[0].as_ref().unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (ErrorCode::InvalidConfig, expected)
        );
    }
}
