//! A quorum of one on its folder: born, older than itself, damaged, and somebody else's.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::MetaRecord;

use super::*;

const BROKER: BrokerId = BrokerId(1);
const CLOCK: Timestamp = Timestamp(1_000_000);
const SEED: QuorumSeed = QuorumSeed {
    cluster: ClusterId([1; 16]),
    directory: DirectoryId([2; 16]),
    entropy: 3,
    joins: false,
};

fn start(disk: &MemoryDisk, broker: BrokerId) -> Result<Metadata<MemoryDisk>, MetadataError> {
    Metadata::start(disk, Cluster::default(), broker, true, (CLOCK, SEED))
}

/// Starts and stops in good order; says which cluster there was, and in which term.
fn run(disk: &MemoryDisk) -> (Arc<Cluster>, Term) {
    let mut metadata = start(disk, BROKER).unwrap();
    let ran = (metadata.cluster(), metadata.quorum.term());
    metadata.take_partition().log.close().unwrap();
    ran
}

fn topic(name: &str) -> MetaRecord {
    MetaRecord::TopicCreated {
        id: TopicId([u8::try_from(name.len()).unwrap(); 16]),
        name: TopicName::new(name).unwrap(),
        partitions: 3,
        settings: Vec::new(),
    }
}

fn path(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

/// A folder of before there was a quorum: a fact to a record, several records to a batch.
fn old_folder() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut log =
        Log::open(disk.clone(), FOLDER, LogSettings::default(), TailBudget::new(0)).unwrap();
    let started = MetaRecord::BrokerStarted { broker: BROKER, clean: true };
    for facts in [vec![started], vec![topic("flights"), topic("weather.")]] {
        let records: Vec<_> = facts.iter().map(stored::metadata_record).collect();
        log.write(stored::batch_of(&records, CLOCK).bytes(), LeaderEpoch(0)).unwrap();
    }
    log.close().unwrap();
    disk
}

#[test]
fn a_folder_of_before_the_quorum_goes_on_in_one() {
    let disk = old_folder();
    let mut terms = Vec::new();
    // Three facts were there, and each start is another one.
    for version in [4, 5, 6] {
        let (cluster, term) = run(&disk);
        assert_eq!(cluster.version(), version);
        for name in ["flights", "weather."] {
            let topic = cluster.topic(name).unwrap();
            assert!(topic.partitions.iter().all(|it| it.leader == Some(BROKER)), "{name}");
        }
        terms.push(term);
    }
    assert!(terms.is_sorted_by(|one, next| one < next), "each start has a term: {terms:?}");
}

#[test]
fn a_folder_is_taken_into_the_quorum_whatever_was_written_before_the_power_went() {
    let disk = old_folder();
    run(&disk);
    // In the order in which they are written the last first: what a crash can have left out.
    for files in [&["quorum-state"][..], &["quorum-state", "quorum-start"]] {
        let disk = disk.clone();
        for file in files {
            disk.remove(&path(file)).unwrap();
        }
        if files.len() == 2 {
            // The log of before, and the quorum's first entry.
            let settings = LogSettings::default();
            let mut log = Log::open(disk.clone(), FOLDER, settings, TailBudget::new(0)).unwrap();
            log.truncate_to(Offset::new(4)).unwrap();
            log.close().unwrap();
        }
        let (cluster, _) = run(&disk);
        assert!(cluster.topic("flights").is_some(), "without {files:?}");
        assert_eq!(run(&disk).0.topics().len(), 2, "without {files:?}");
    }
}

#[test]
fn what_is_damaged_is_named_or_not_missed() {
    let disk = MemoryDisk::default();
    let (_, term) = run(&disk);
    let flipped = |file: &str| {
        let disk = disk.clone();
        let mut bytes = disk.files()[&path(file)].clone();
        bytes[9] ^= 4;
        disk.put(&path(file), bytes);
        disk
    };
    // Alone, a member has nobody to vote for but itself, and its log knows the term.
    let (cluster, next) = run(&flipped("quorum-state"));
    assert_eq!((cluster.version(), next > term), (2, true));
    let refused = start(&flipped("quorum-start"), BROKER).unwrap_err();
    let text = "cluster metadata: topics/__cluster_metadata-0/quorum-start is damaged, or of a later release";
    assert_eq!(refused.to_string(), text);
    disk.remove(&path("quorum-start")).unwrap();
    let refused = start(&disk, BROKER).unwrap_err();
    let text = "cluster metadata: topics/__cluster_metadata-0/quorum-start is missing";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn a_folder_of_another_broker_is_refused() {
    let disk = MemoryDisk::default();
    run(&disk);
    let refused = start(&disk, BrokerId(2)).unwrap_err();
    assert!(
        matches!(refused, MetadataError::File(QuorumFileError::OtherBroker { .. })),
        "{refused}"
    );
}

#[test]
fn a_lost_vote_is_refused_where_others_vote() {
    let disk = MemoryDisk::default();
    run(&disk);
    let voter = |broker, directory| Member {
        broker: BrokerId(broker),
        directory: DirectoryId([directory; 16]),
    };
    let members = Members::first(&[voter(1, 2), voter(2, 7)]);
    let mark = Mark { index: Index(1), term: Term(1), members };
    files::write_start(&disk, &mark, &[]).unwrap();
    disk.remove(&path("quorum-state")).unwrap();
    let refused = start(&disk, BROKER).unwrap_err();
    assert!(matches!(refused, MetadataError::File(QuorumFileError::LostVote)), "{refused}");
}

#[test]
fn a_state_of_more_facts_than_a_decision_has_is_written_and_read() {
    let mut cluster = Cluster::default();
    cluster.apply(&MetaRecord::BrokerStarted { broker: BROKER, clean: true });
    for number in 0..10_050_u32 {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        cluster.apply(&MetaRecord::TopicCreated {
            id: TopicId(id),
            name: TopicName::new(&format!("topic-{number}")).unwrap(),
            partitions: 1,
            settings: Vec::new(),
        });
    }
    let image = image::write(&cluster);
    let at = Offset::ZERO;
    assert_eq!(image::read(&Cluster::default(), at, image.clone()).unwrap(), cluster);
    for cut in [4, 11, image.len() - 1] {
        let read = image::read(&Cluster::default(), at, image.slice(..cut));
        assert!(matches!(read, Err(LoadError::Image { .. })), "cut to {cut} bytes");
    }
}
