//! Numbered batches that a partitioner distributes: each record once, whatever is sent again.

use brooklet_types::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::stage::Stage;

const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];

/// A batch of these origins, whose first record has this number.
fn batch(sequence: i32, origins: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    builder = builder.producer(ProducerId(77), ProducerEpoch(0), sequence);
    for (number, origin) in (sequence..).zip(origins) {
        let value = format!(r#"{{"origin":"{origin}","n":{number}}}"#);
        builder.push(Timestamp(1), Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// `table` says, in JSON, which origins have which partitions.
fn bind(stage: &Stage, table: &str) {
    let config = format!(r#"{{"field":"origin",{table}}}"#);
    let bind = ["plugin", "bind", "geo", "--topic", "flights", "--on-failure", "reject"];
    stage.run(&[&bind[..], &["--config", &config]].concat());
}

/// What lies in each partition: origins and numbers.
fn stored(stage: &Stage) -> Vec<Vec<String>> {
    let read = |partition: u32| {
        let partition = partition.to_string();
        let text = stage.run(&["consume", "flights", "--partition", &partition]);
        text.lines().map(str::to_owned).collect()
    };
    (0..3).map(read).collect()
}

fn line(origin: &str, number: i32) -> String {
    format!(r#"{{"origin":"{origin}","n":{number}}}"#)
}

#[test]
fn what_is_sent_again_is_stored_once_wherever_it_was_placed() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::on(data.path(), &[]);
    let mut raw = stage.raw();
    raw.create_topic("flights", 3);
    bind(&stage, r#""regions":{"EWR":[0]},"otherwise":[1]"#);
    let first = batch(0, &["EWR", "JFK", "EWR", "LGA"]);
    assert_eq!(raw.produce_batch("flights", -1, &first), Ok(-1), "its offsets are several");
    assert_eq!(raw.produce_batch("flights", -1, &first), Ok(-1));
    // One that is missing is missed, though none of its records need have been for this partition.
    let skipping = batch(5, &["EWR"]);
    let out_of_order = Err(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(raw.produce_batch("flights", -1, &skipping), out_of_order);
    let second = batch(4, &["JFK", "JFK"]);
    assert_eq!(raw.produce_batch("flights", -1, &second), Ok(-1));
    let expected = vec![
        vec![line("EWR", 0), line("EWR", 2)],
        vec![line("JFK", 1), line("LGA", 3), line("JFK", 4), line("JFK", 5)],
        Vec::new(),
    ];
    assert_eq!(stored(&stage), expected);

    // Another table, and another process: what was stored is known all the same.
    bind(&stage, r#""regions":{"EWR":[2]},"otherwise":[0]"#);
    assert_eq!(raw.produce_batch("flights", -1, &second), Ok(-1));
    assert_eq!(stored(&stage), expected);
    stage.broker.kill();
    let stage = Stage::on(data.path(), &[]);
    let mut raw = stage.raw();
    assert_eq!(raw.produce_batch("flights", -1, &first), Ok(-1));
    assert_eq!(raw.produce_batch("flights", -1, &second), Ok(-1));
    assert_eq!(stored(&stage), expected);
    assert_eq!(raw.produce_batch("flights", -1, &batch(6, &["EWR"])), Ok(-1));
    assert_eq!(stored(&stage)[2], [line("EWR", 6)]);
}

#[test]
fn the_command_line_leaves_the_partition_to_the_partitioner_while_there_is_one() {
    let stage = Stage::new(&[]);
    stage.raw().create_topic("flights", 3);
    bind(&stage, r#""regions":{"EWR":[2],"JFK":[0],"LGA":[1]}"#);
    let input = stage.broker.data().join("input.jsonl");
    let lines: Vec<String> =
        (0..300).map(|it| line(ORIGINS[it % 3], it.try_into().unwrap())).collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let input = input.display().to_string();
    let produce = ["produce", "flights", &input, "--input", "json", "--key-column", "n"];
    stage.run(&produce);
    let stored_once = stored(&stage);
    for (partition, origin) in [(2, "EWR"), (0, "JFK"), (1, "LGA")] {
        let own: Vec<String> = lines.iter().filter(|line| line.contains(origin)).cloned().collect();
        assert_eq!(stored_once[partition], own, "{origin}, in the order they had");
    }
    // Without it the keys say where.
    stage.run(&["plugin", "unbind", "geo", "--topic", "flights"]);
    stage.run(&produce);
    let stored_twice = stored(&stage);
    assert_eq!(stored_twice.iter().map(Vec::len).sum::<usize>(), 600);
    let mixed = stored_twice.iter().zip(&stored_once).all(|(now, then)| {
        ORIGINS.iter().all(|origin| now[then.len()..].iter().any(|line| line.contains(origin)))
    });
    assert!(mixed, "every partition has some of every origin");
}
