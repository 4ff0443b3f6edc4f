//! Groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups, DeleteGroups.
//!
//! **Decides** which partition of `__consumer_offsets` a group lives on, by Kafka's hash of its id.
//! All else is translation: the coordinator decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_group::{
    DescribeReply, Generation, GroupState, HeartbeatRequest as GroupHeartbeat, JoinRequest,
    LeaveRequest, LeavingMember, ListRequest, Reply, Request, SyncRequest,
};
use brooklet_types::{ErrorCode, Operation, PartitionIndex, ResourceType, TopicPartition};
use brooklet_wire::message::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, StrBytes, SyncGroupRequest,
    SyncGroupResponse, delete_groups_response, describe_groups_response, join_group_response,
    leave_group_response, list_groups_response, make,
};

use crate::context::Call;

/// Where groups and their offsets are kept. Kafka's name.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The client did not ask what it may do.
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// Java's `String.hashCode`: over UTF-16, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition that `group` lives on, of `count`. Kafka's `Utils.abs(hash) % count`.
pub(crate) fn partition_of(group: &str, count: u32) -> PartitionIndex {
    let hash = java_hash(group) & i32::MAX;
    PartitionIndex(hash.unsigned_abs() % count.max(1))
}

/// Asks the coordinator of `group`, or says why it cannot be asked. A broker that is stopping, and
/// one on which no group has been yet, both send the client to look for the coordinator again.
pub(crate) async fn ask(call: &Call, group: &str, request: Request) -> Result<Reply, ErrorCode> {
    let cluster = call.cluster();
    let topic = cluster.topic(OFFSETS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
    let count = u32::try_from(topic.partitions.len()).expect("partitions are limited");
    let partition = TopicPartition { topic: topic.id, partition: partition_of(group, count) };
    let entropy = brooklet_io::entropy::bytes();
    let reply = call.context.shards.group(partition, request, entropy).await;
    reply.map_err(|_stopping| ErrorCode::CoordinatorNotAvailable)
}

/// As [`ask`], by a client that has to be allowed `operation`.
async fn ask_permitted(
    call: &Call,
    operation: Operation,
    group: &str,
    request: Request,
) -> Result<Reply, ErrorCode> {
    call.may(&call.cluster()).need_group(operation, group)?;
    ask(call, group, request).await
}

/// As [`ask`], for what only a group with a name can be asked. The one without has offsets only.
pub(crate) async fn ask_named(
    call: &Call,
    group: &str,
    request: Request,
) -> Result<Reply, ErrorCode> {
    if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { ask(call, group, request).await }
}

/// As [`ask_named`], by a member, which has to be allowed to read.
async fn ask_as_member(call: &Call, group: &str, request: Request) -> Result<Reply, ErrorCode> {
    call.may(&call.cluster()).need_group(Operation::Read, group)?;
    ask_named(call, group, request).await
}

/// Text of the wire as the coordinator keeps it: not as a slice that would keep a frame alive.
pub(crate) fn text(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

pub(crate) fn optional(value: &Option<StrBytes>) -> Option<Arc<str>> {
    value.as_ref().map(text)
}

fn wire(text: &Arc<str>) -> StrBytes {
    StrBytes::from(&**text)
}

fn wire_optional(value: &Option<Arc<str>>) -> Option<StrBytes> {
    value.as_ref().map(wire)
}

/// A coordinator answers a request with the reply of the same name, by its contract.
pub(crate) fn mismatched(reply: &Reply) -> ! {
    panic!("a coordinator answered with {reply:?}")
}

/// Answers JoinGroup.
pub(crate) async fn join(call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let member = request.member_id.clone();
    let refuse = |code: ErrorCode| {
        make(|it: &mut JoinGroupResponse| {
            it.error_code = call.code(code);
            it.generation_id = -1;
            it.member_id = member.clone();
            it.protocol_name = (call.version < 7).then(StrBytes::default);
        })
    };
    let asked = Request::Join(join_request(call, &request));
    let reply = match ask_permitted(call, Operation::Read, &group, asked).await {
        Ok(Reply::Join(reply)) => reply,
        Ok(other) => mismatched(&other),
        Err(code) => return refuse(code),
    };
    make(|it: &mut JoinGroupResponse| {
        it.error_code = call.code(reply.error);
        it.generation_id = reply.generation.map_or(-1, Generation::to_wire);
        it.protocol_type = wire_optional(&reply.protocol_type);
        it.protocol_name = wire_optional(&reply.protocol);
        if call.version < 7 && it.protocol_name.is_none() {
            // Null is allowed from version 7 on.
            it.protocol_name = Some(StrBytes::default());
        }
        it.leader = wire(&reply.leader);
        it.skip_assignment = reply.skip_assignment && call.version >= 9;
        it.member_id = wire(&reply.member_id);
        it.members = reply.members.iter().map(joined_member).collect();
    })
}

fn joined_member(
    member: &brooklet_group::JoinedMember,
) -> join_group_response::JoinGroupResponseMember {
    make(|it: &mut join_group_response::JoinGroupResponseMember| {
        it.member_id = wire(&member.member_id);
        it.group_instance_id = wire_optional(&member.instance_id);
        it.metadata = member.metadata.clone();
    })
}

fn join_request(call: &Call, request: &JoinGroupRequest) -> JoinRequest {
    let protocols = request.protocols.iter();
    let rebalance =
        if call.version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms };
    JoinRequest {
        group: text(&request.group_id),
        member_id: text(&request.member_id),
        instance_id: optional(&request.group_instance_id),
        client_id: call.client_id.as_ref().map_or_else(|| Arc::from(""), text),
        client_host: Arc::from(format!("/{}", call.peer.remote.ip().to_canonical())),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: rebalance,
        protocol_type: text(&request.protocol_type),
        // Copied: what the coordinator keeps for days must not hold a frame.
        protocols: protocols
            .map(|it| (text(&it.name), bytes::Bytes::copy_from_slice(&it.metadata)))
            .collect(),
        requires_known_member_id: call.version >= 4,
        supports_skipping_assignment: call.version >= 9,
    }
}

/// Answers SyncGroup.
pub(crate) async fn sync(call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let asked = SyncRequest {
        group: text(&request.group_id),
        generation: Generation::from_wire(request.generation_id),
        member_id: text(&request.member_id),
        instance_id: optional(&request.group_instance_id),
        protocol_type: optional(&request.protocol_type),
        protocol: optional(&request.protocol_name),
        assignments: request
            .assignments
            .iter()
            .map(|it| (text(&it.member_id), bytes::Bytes::copy_from_slice(&it.assignment)))
            .collect(),
    };
    // From version 5 on a member says what it takes the group's protocol to be.
    if call.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        let code = ErrorCode::InconsistentGroupProtocol;
        return make(|it: &mut SyncGroupResponse| it.error_code = call.code(code));
    }
    match ask_as_member(call, &request.group_id, Request::Sync(asked)).await {
        Ok(Reply::Sync(reply)) => make(|it: &mut SyncGroupResponse| {
            it.error_code = call.code(reply.error);
            it.protocol_type = wire_optional(&reply.protocol_type);
            it.protocol_name = wire_optional(&reply.protocol);
            it.assignment = reply.assignment.clone();
        }),
        Ok(other) => mismatched(&other),
        Err(code) => make(|it: &mut SyncGroupResponse| it.error_code = call.code(code)),
    }
}

/// Answers Heartbeat.
pub(crate) async fn heartbeat(call: &Call, request: HeartbeatRequest) -> HeartbeatResponse {
    let asked = GroupHeartbeat {
        group: text(&request.group_id),
        generation: Generation::from_wire(request.generation_id),
        member_id: text(&request.member_id),
        instance_id: optional(&request.group_instance_id),
    };
    let asked = Request::Heartbeat(asked);
    let code = match ask_as_member(call, &request.group_id, asked).await {
        Ok(Reply::Heartbeat(code)) | Err(code) => code,
        Ok(other) => mismatched(&other),
    };
    make(|it: &mut HeartbeatResponse| it.error_code = call.code(code))
}

/// Answers LeaveGroup.
pub(crate) async fn leave(call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let members = if call.version < 3 {
        vec![LeavingMember { member_id: text(&request.member_id), instance_id: None }]
    } else {
        let leaving = request.members.iter().map(|member| LeavingMember {
            member_id: text(&member.member_id),
            instance_id: optional(&member.group_instance_id),
        });
        leaving.collect()
    };
    let asked = LeaveRequest { group: text(&request.group_id), members };
    let reply = match ask_as_member(call, &request.group_id, Request::Leave(asked)).await {
        Ok(Reply::Leave(reply)) => reply,
        Ok(other) => mismatched(&other),
        Err(code) => return make(|it: &mut LeaveGroupResponse| it.error_code = call.code(code)),
    };
    make(|it: &mut LeaveGroupResponse| {
        it.error_code = call.code(reply.error);
        if call.version < 3 {
            if let (true, Some((_, code))) = (reply.error.is_none(), reply.members.first()) {
                it.error_code = call.code(*code);
            }
            return;
        }
        for (member, code) in &reply.members {
            it.members.push(make(|line: &mut leave_group_response::MemberResponse| {
                line.member_id = wire(&member.member_id);
                line.group_instance_id = wire_optional(&member.instance_id);
                line.error_code = call.code(*code);
            }));
        }
    })
}

/// Answers DescribeGroups.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut response = DescribeGroupsResponse::default();
    for group in &request.groups {
        let asked = Request::Describe { group: text(group) };
        let described = match ask_permitted(call, Operation::Describe, group, asked).await {
            Ok(Reply::Describe(reply)) => {
                let mut group = described(call, group, &reply);
                if request.include_authorized_operations && group.error_code == 0 {
                    let may = call.may(&call.cluster());
                    let name = &*group.group_id;
                    group.authorized_operations = may.operations(ResourceType::Group, name);
                }
                group
            }
            Ok(other) => mismatched(&other),
            Err(code) => blank_group(group, call.code(code)),
        };
        response.groups.push(described);
    }
    response
}

fn blank_group(group: &StrBytes, code: i16) -> describe_groups_response::DescribedGroup {
    make(|it: &mut describe_groups_response::DescribedGroup| {
        it.error_code = code;
        it.group_id = group.clone();
        it.authorized_operations = OPERATIONS_NOT_ASKED;
    })
}

fn described(
    call: &Call,
    group: &StrBytes,
    reply: &DescribeReply,
) -> describe_groups_response::DescribedGroup {
    let mut line = blank_group(group, 0);
    line.group_state = reply.state.name().into();
    if reply.state == GroupState::Dead && call.version >= 6 {
        line.error_code = call.code(ErrorCode::GroupIdNotFound);
        line.error_message = Some(format!("Group {} not found.", group.as_str()).into());
        return line;
    }
    line.protocol_type = wire(&reply.protocol_type);
    line.protocol_data = wire(&reply.protocol);
    for member in &reply.members {
        line.members.push(make(|it: &mut describe_groups_response::DescribedGroupMember| {
            it.member_id = wire(&member.member_id);
            it.group_instance_id = wire_optional(&member.instance_id);
            it.client_id = wire(&member.client_id);
            it.client_host = wire(&member.client_host);
            it.member_metadata = member.metadata.clone();
            it.member_assignment = member.assignment.clone();
        }));
    }
    line
}

/// Answers ListGroups.
pub(crate) async fn list(call: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
    let asked = ListRequest {
        states: request.states_filter.iter().map(text).collect(),
        types: request.types_filter.iter().map(text).collect(),
    };
    let Ok(groups) = call.context.shards.all_groups(&asked).await else {
        let code = call.code(ErrorCode::CoordinatorNotAvailable);
        return make(|it: &mut ListGroupsResponse| it.error_code = code);
    };
    let may = call.may(&call.cluster());
    let all = may.sees_cluster(Operation::Describe);
    let seen = |group: &str| all || may.sees(Operation::Describe, ResourceType::Group, group);
    make(|it: &mut ListGroupsResponse| {
        for group in groups.iter().filter(|it| seen(&it.group)) {
            it.groups.push(make(|line: &mut list_groups_response::ListedGroup| {
                line.group_id = wire(&group.group);
                line.protocol_type = wire(&group.protocol_type);
                if call.version >= 4 {
                    line.group_state = group.state.name().into();
                }
                if call.version >= 5 {
                    line.group_type = "classic".into();
                }
            }));
        }
    })
}

/// Answers DeleteGroups.
pub(crate) async fn delete(call: &Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    let mut seen = BTreeSet::new();
    for group in request.groups_names.iter().filter(|name| seen.insert(*name)) {
        let asked = Request::Delete { group: text(group) };
        let code = match ask_permitted(call, Operation::Delete, group, asked).await {
            Ok(Reply::Delete(code)) | Err(code) => code,
            Ok(other) => mismatched(&other),
        };
        response.results.push(make(|it: &mut delete_groups_response::DeletableGroupResult| {
            it.group_id = group.clone();
            it.error_code = call.code(code);
        }));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_where_kafka_would_put_it() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(partition_of("hello", 50), PartitionIndex(22));
        assert_eq!(partition_of("polygenelubricants", 50), PartitionIndex(0));
    }
}
