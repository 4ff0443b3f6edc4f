//! Clusters for tests, as lines.

use super::*;

/// Brokers as `1 2@rack 3!`, where 3 is fenced; partitions as `t-0 1,2,3`, in sync everywhere and led by the first that
/// takes part, or `t-0 1,2,3 in 2` with those in sync, and led by the first of them that takes part.
pub(crate) fn picture(brokers: &str, partitions: &[&str]) -> Picture {
    let mut picture = Picture { cluster_id: "c".to_owned(), ..Picture::default() };
    for text in brokers.split_whitespace() {
        let (text, fenced) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
        let (id, rack) = text.split_once('@').map_or((text, None), |(id, rack)| (id, Some(rack)));
        let id: i32 = id.parse().unwrap();
        let address = format!("127.0.0.1:{}", 9000 + id).parse().unwrap();
        let rack = rack.map(str::to_owned);
        picture.brokers.insert(BrokerId(id), Broker { address, rack, fenced });
    }
    for line in partitions {
        let mut words = line.split_whitespace();
        let (topic, index) = words.next().unwrap().rsplit_once('-').unwrap();
        let replicas = ids(words.next().unwrap());
        let in_sync = words.nth(1).map_or_else(|| replicas.clone(), ids);
        let leader = in_sync.iter().copied().find(|it| picture.is_active(*it));
        let placed = Placed { leader, wanted: replicas.clone(), replicas, in_sync };
        picture.partitions.insert((topic.to_owned(), index.parse().unwrap()), placed);
    }
    picture
}

/// Numbers of brokers, with commas.
pub(crate) fn ids(text: &str) -> Vec<BrokerId> {
    text.split(',').map(|id| BrokerId(id.parse().unwrap())).collect()
}
