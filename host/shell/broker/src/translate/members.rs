//! AddRaftVoter and RemoveRaftVoter: who belongs to the metadata's quorum, in Kafka's words.

use brooklet_shard::{ChangeError, DirectoryId, Member, ProposeError, QuorumDescription};
use brooklet_types::{BrokerId, ErrorCode, TopicId};
use brooklet_wire::message::Uuid;

/// What is to become of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoterChange {
    /// It is to vote.
    Add,
    /// It is not to any more.
    Remove,
}

/// Why a voter is not added or removed: the code and the text.
pub type Refused = (ErrorCode, String);

/// The voter that is meant, by a client that takes the cluster for the one of that id, if it takes it for any.
///
/// # Errors
/// If it is another cluster, or no voter is meant.
pub fn voter(
    change: VoterChange,
    (given, cluster_id): (Option<&str>, &str),
    broker: i32,
    directory: Uuid,
) -> Result<Member, Refused> {
    if let Some(given) = given.filter(|given| *given != cluster_id) {
        let message =
            format!("The given id \"{given}\" doesn't match the cluster id \"{cluster_id}\"");
        return Err((ErrorCode::InconsistentClusterId, message));
    }
    let directory = DirectoryId(directory.to_bytes());
    if broker < 0 || directory == DirectoryId([0; 16]) {
        let which = match change {
            VoterChange::Add => "Add",
            VoterChange::Remove => "Remove",
        };
        let message = format!("{which} voter request didn't include a valid voter");
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(Member { broker: BrokerId(broker), directory })
}

/// What whoever wanted a change of voters is told when `error` says that there is none. `quorum` is how its leader sees it; a broker that is
/// `alone` is in no cluster.
pub fn refused(
    (change, member): (VoterChange, Member),
    error: ChangeError,
    quorum: &QuorumDescription,
    alone: bool,
) -> Refused {
    let plain = |code| (code, error.to_string());
    match error {
        ChangeError::Propose(ProposeError::NotLeader(_) | ProposeError::Transferring) => {
            plain(ErrorCode::NotController)
        }
        ChangeError::Propose(ProposeError::TooLarge { .. }) => plain(ErrorCode::InvalidRequest),
        // They pass.
        ChangeError::Propose(ProposeError::Full { .. })
        | ChangeError::UnderWay
        | ChangeError::Behind { .. } => plain(ErrorCode::RequestTimedOut),
        ChangeError::TooMany { .. } => plain(ErrorCode::PolicyViolation),
        ChangeError::Leads { .. } => plain(ErrorCode::InvalidRequest),
        ChangeError::BrokerTaken { .. } | ChangeError::Already { .. } => is_one(member, quorum),
        ChangeError::LastVoter { .. } => is_none(member, quorum),
        ChangeError::Unknown { .. } => match change {
            VoterChange::Remove => is_none(member, quorum),
            VoterChange::Add if voters(quorum).any(|it| it.broker == member.broker) => {
                is_one(member, quorum)
            }
            VoterChange::Add if alone => {
                let message = "Cluster doesn't support adding voter because this broker is alone";
                (ErrorCode::UnsupportedVersion, message.to_owned())
            }
            // A voter has been an observer, which a broker becomes by joining.
            VoterChange::Add => plain(ErrorCode::InvalidRequest),
        },
    }
}

/// Who is to vote does, or its broker does on another folder.
fn is_one(member: Member, quorum: &QuorumDescription) -> Refused {
    let (key, all) = (key(member), keys(quorum));
    let message = format!("The voter id for {key} is already part of the set of voters {all}.");
    (ErrorCode::DuplicateVoter, message)
}

/// Who is to vote no more does not, or must.
pub fn is_none(member: Member, quorum: &QuorumDescription) -> Refused {
    let (key, all) = (key(member), keys(quorum));
    (ErrorCode::VoterNotFound, format!("Cannot remove voter {key} from the set of voters {all}"))
}

/// Everybody who votes.
pub fn voters(quorum: &QuorumDescription) -> impl Iterator<Item = Member> {
    quorum.replicas.iter().filter(|replica| replica.voter).map(|replica| replica.member)
}

fn keys(quorum: &QuorumDescription) -> String {
    let keys: Vec<String> = voters(quorum).map(key).collect();
    format!("[{}]", keys.join(", "))
}

fn key(member: Member) -> String {
    // Kafka writes all ids of sixteen bytes alike.
    let directory = TopicId(member.directory.0);
    format!("ReplicaKey(id={}, directoryId={directory})", member.broker)
}

#[cfg(test)]
mod tests {
    use brooklet_shard::{Index, Replica, Term};

    use super::*;

    fn member(broker: u8, directory: u8) -> Member {
        let broker = BrokerId(i32::from(broker));
        Member { broker, directory: DirectoryId([directory; 16]) }
    }

    /// Broker 1 votes, broker 2 does not.
    fn quorum() -> QuorumDescription {
        let replica = |broker, voter| {
            let acknowledged = Index(1);
            Replica { member: member(broker, broker), voter, acknowledged, active: true }
        };
        QuorumDescription {
            leader: Some(BrokerId(1)),
            term: Term(1),
            committed: Index(1),
            replicas: vec![replica(1, true), replica(2, false)],
        }
    }

    #[test]
    fn a_voter_of_another_cluster_or_none_is_not_meant() {
        let directory = Uuid::from_bytes([3; 16]);
        let ask = |given, broker, directory| {
            voter(VoterChange::Remove, (given, "own"), broker, directory)
        };
        assert_eq!(ask(None, 3, directory), Ok(member(3, 3)));
        assert_eq!(ask(Some("own"), 3, directory), Ok(member(3, 3)));
        let message = "The given id \"other\" doesn't match the cluster id \"own\"".to_owned();
        let other = Err((ErrorCode::InconsistentClusterId, message));
        assert_eq!(ask(Some("other"), -1, directory), other);
        let message = "Remove voter request didn't include a valid voter".to_owned();
        let none = Err((ErrorCode::InvalidRequest, message));
        assert_eq!(ask(None, -1, directory), none);
        assert_eq!(ask(None, 3, Uuid::default()), none);
    }

    #[test]
    fn who_cannot_be_added_or_removed_is_told_why() {
        let (add, remove) = (VoterChange::Add, VoterChange::Remove);
        let ask = |change, member, error, alone| refused((change, member), error, &quorum(), alone);
        let one = member(1, 1);
        let unknown = |member| ChangeError::Unknown { member };
        let cases = [
            (ask(add, one, ChangeError::Already { member: one }, false), ErrorCode::DuplicateVoter),
            (ask(add, member(1, 9), unknown(member(1, 9)), true), ErrorCode::DuplicateVoter),
            (ask(add, member(3, 3), unknown(member(3, 3)), true), ErrorCode::UnsupportedVersion),
            (ask(add, member(3, 3), unknown(member(3, 3)), false), ErrorCode::InvalidRequest),
            (ask(remove, member(3, 3), unknown(member(3, 3)), true), ErrorCode::VoterNotFound),
            (
                ask(remove, one, ChangeError::LastVoter { member: one }, true),
                ErrorCode::VoterNotFound,
            ),
            (
                ask(remove, one, ChangeError::Leads { member: one }, false),
                ErrorCode::InvalidRequest,
            ),
            (ask(add, one, ChangeError::UnderWay, false), ErrorCode::RequestTimedOut),
        ];
        for ((code, message), expected) in cases {
            assert_eq!(code, expected, "{message}");
        }
        let (_, message) = ask(remove, one, ChangeError::LastVoter { member: one }, false);
        let key = "ReplicaKey(id=1, directoryId=AQEBAQEBAQEBAQEBAQEBAQ)";
        assert_eq!(message, format!("Cannot remove voter {key} from the set of voters [{key}]"));
    }
}
