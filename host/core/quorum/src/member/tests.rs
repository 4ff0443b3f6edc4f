//! Members as bytes, and which changes there are.

use super::*;
use crate::testing::{member, members, on_disk};

#[test]
fn a_number_is_the_broker_and_the_beginning_of_its_directory() {
    let directory = DirectoryId([0xab, 0xcd, 0xef, 0x01, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let number = |broker| Member { broker: BrokerId(broker), directory }.number();
    assert_eq!(number(0), MemberNumber(0x0000_0001_abcd_ef01));
    assert_eq!(number(i32::MAX), MemberNumber(0x8000_0000_abcd_ef01));
    assert_ne!(on_disk(3, 1).number(), on_disk(3, 2).number());
}

#[test]
fn a_change_is_read_as_it_was_written() {
    for change in
        [Change::AddObserver(member(3)), Change::AddVoter(member(0)), Change::Remove(member(9))]
    {
        let bytes = change.to_bytes();
        assert_eq!(Change::from_bytes(&bytes), Ok(change));
        for cut in 0..bytes.len() {
            assert_eq!(Change::from_bytes(&bytes[..cut]), Err(DecodeError::Length), "{cut}");
        }
        let edited = |at: usize, value| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            Change::from_bytes(&bytes)
        };
        assert_eq!(edited(0, 9), Err(DecodeError::Version(9)));
        assert_eq!(edited(1, 3), Err(DecodeError::Kind(3)));
        let broker = edited(2, 0xff);
        assert!(matches!(broker, Err(DecodeError::Broker(..0))), "{broker:?}");
    }
}

#[test]
fn members_are_read_as_they_were_written() {
    let mut some = members(&[1, 2, 3]);
    some.apply(Change::AddObserver(member(7)));
    let mut bytes = Vec::new();
    some.put(&mut bytes);
    bytes.push(42);
    let mut rest = bytes.as_slice();
    assert_eq!(Members::take(&mut rest), Ok(some.clone()));
    assert_eq!(rest, [42], "what follows is left");
    for cut in 0..bytes.len() - 1 {
        assert_eq!(Members::take(&mut &bytes[..cut]), Err(DecodeError::Length), "{cut}");
    }
}

#[test]
fn members_that_cannot_be_together_are_refused() {
    let bytes = |list: &[(u8, Member)]| {
        let mut bytes = vec![1, 0, u8::try_from(list.len()).unwrap()];
        for (standing, member) in list {
            bytes.push(*standing);
            member.put(&mut bytes);
        }
        bytes
    };
    let many: Vec<_> = (0..10).map(|broker| (1, member(broker))).collect();
    let table = [
        ("nobody", bytes(&[])),
        ("no voter", bytes(&[(0, member(1))])),
        ("one twice", bytes(&[(1, member(1)), (1, member(1))])),
        ("a broker on two disks", bytes(&[(1, on_disk(1, 1)), (0, on_disk(1, 2))])),
        ("too many voters", bytes(&many)),
    ];
    for (name, bytes) in table {
        assert_eq!(Members::take(&mut bytes.as_slice()), Err(DecodeError::Together), "{name}");
    }
    assert_eq!(Members::take(&mut bytes(&[(2, member(1))]).as_slice()), Err(DecodeError::Kind(2)));
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn changes_that_can_be_made() {
    let mut some = members(&[1, 2]);
    some.apply(Change::AddObserver(member(3)));
    let full = members(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut full_and_one = full.clone();
    full_and_one.apply(Change::AddObserver(member(10)));
    let unknown = |member| Err(ChangeError::Unknown { member });
    let already = |member| Err(ChangeError::Already { member });
    let (a, b) = (members(&[1]), on_disk(1, 2));
    let table = [
        (&some, Change::AddObserver(member(4)),    Ok(())),
        (&some, Change::AddObserver(member(3)),    already(member(3))),
        (&some, Change::AddObserver(member(2)),    already(member(2))),
        (&some, Change::AddObserver(b),            Err(ChangeError::BrokerTaken { other: member(1) })),
        (&some, Change::AddVoter(member(3)),       Ok(())),
        (&some, Change::AddVoter(member(2)),       already(member(2))),
        (&some, Change::AddVoter(member(4)),       unknown(member(4))),
        (&some, Change::AddVoter(b),               unknown(b)),
        (&some, Change::Remove(member(1)),         Ok(())),
        (&some, Change::Remove(member(3)),         Ok(())),
        (&some, Change::Remove(b),                 unknown(b)),
        (&a,    Change::Remove(member(1)),         Err(ChangeError::LastVoter { member: member(1) })),
        (&full, Change::AddObserver(member(10)),   Ok(())),
        (&full_and_one, Change::AddVoter(member(10)), Err(ChangeError::TooMany { limit: VOTERS_MAX })),
    ];
    for (members, change, expected) in table {
        assert_eq!(members.check(change), expected, "{change:?} of {members:?}");
    }
}
