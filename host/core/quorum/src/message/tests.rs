//! Envelopes: what is refused before anything is decoded.

use raft::eraftpb::{Entry, MessageType, Snapshot, SnapshotMetadata};

use super::*;
use crate::testing::{member, settings};

fn heartbeat() -> Message {
    let mut message = Message { term: 3, commit: 5, ..Message::default() };
    message.set_msg_type(MessageType::MsgHeartbeat);
    message
}

#[test]
fn a_message_is_read_as_it_was_written() {
    let settings = settings(member(2));
    let bytes = seal(&settings, &heartbeat());
    assert_eq!(open(&settings, &bytes), Ok((member(2), heartbeat())));
}

#[test]
fn bytes_that_are_no_message_of_this_cluster_are_refused() {
    let settings = settings(member(2));
    let bytes = seal(&settings, &heartbeat());
    let header = 1 + 16 + MEMBER_BYTES;
    for cut in 0..header {
        assert_eq!(open(&settings, &bytes[..cut]), Err(MessageError::Malformed), "cut to {cut}");
    }
    let edited = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x80;
        open(&settings, &bytes)
    };
    assert_eq!(edited(0), Err(MessageError::Version(VERSION ^ 0x80)));
    assert_eq!(edited(1), Err(MessageError::WrongCluster));
    assert_eq!(edited(17), Err(MessageError::Malformed), "a broker below zero");
    let large = vec![VERSION; bytes_max(&settings) + 1];
    let (bytes, limit) = (large.len(), large.len() - 1);
    assert_eq!(open(&settings, &large), Err(MessageError::TooLarge { bytes, limit }));
}

#[test]
fn what_would_become_much_memory_is_counted_first() {
    let settings = Settings { append_bytes_max: 40, ..settings(member(2)) };
    let entries = |count| Message { entries: vec![Entry::default(); count], ..heartbeat() };
    let open = |message| open(&settings, &seal(&settings, &message)).map(|_| ());
    assert_eq!(open(entries(11)), Ok(()));
    assert_eq!(open(entries(12)), Err(MessageError::TooMany { what: "entries", limit: 11 }));

    let with_voters = |count| {
        let state = raft::eraftpb::ConfState { voters: vec![1; count], ..Default::default() };
        let metadata = SnapshotMetadata { conf_state: Some(state), ..Default::default() };
        let snapshot = Snapshot { metadata: Some(metadata), ..Default::default() };
        Message { snapshot: Some(snapshot), ..heartbeat() }
    };
    assert_eq!(open(with_voters(1000)), Ok(()));
    let (what, limit) = ("bytes of a snapshot's metadata", METADATA_BYTES_MAX);
    assert_eq!(open(with_voters(METADATA_BYTES_MAX)), Err(MessageError::TooMany { what, limit }));

    // Fields that come twice are merged.
    let bytes = [seal(&settings, &with_voters(9)).to_vec(), vec![0x4a, 0]].concat();
    let twice = super::open(&settings, &bytes).map(|_| ());
    assert_eq!(twice, Err(MessageError::TooMany { what: "snapshots", limit: 1 }));
}

#[test]
fn the_largest_messages_that_are_sent_are_taken() {
    let settings =
        Settings { append_bytes_max: 1 << 10, snapshot_bytes_max: 1 << 16, ..settings(member(2)) };
    // As small as raft's entries get, and as many as it sends.
    let entry = Entry { term: 1, index: 1, ..Entry::default() };
    let count = settings.append_bytes_max / ENTRY_BYTES_MIN;
    let small = Message { entries: vec![entry; count], ..heartbeat() };
    let data = vec![1; settings.proposal_bytes_max];
    let large = Message { entries: vec![Entry { data, ..Entry::default() }], ..heartbeat() };
    let data = vec![1; settings.snapshot_bytes_max];
    let snapshot = Some(Snapshot { data, metadata: Some(SnapshotMetadata::default()) });
    for message in [small, large, Message { snapshot, ..heartbeat() }] {
        assert!(open(&settings, &seal(&settings, &message)).is_ok());
    }
}
