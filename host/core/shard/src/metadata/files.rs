//! What the quorum keeps beside its log: who we are in it, our term and vote, and where it begins.
//!
//! ```text
//! quorum-state  magic u32 · version u16 · zero u16 · directory id 16 B · term u64 · vote u64 · commit u64 · crc u32
//! quorum-start  magic u32 · version u16 · zero u16 · index u64 · term u64 · members · image · crc u32
//! ```
//!
//! Numbers are big-endian, checksums are CRC-32C. A vote of zero is none; `members` is what `quorum::Members::put` writes, and the
//! image is the state at the start ([`super::image`]), or nothing: then it is what the log has before it.
//!
//! **What it decides.** What is made of files that are not there or not whole. A member that votes a second time in a term
//! can make two leaders of it, so a lost vote is refused, unless there is nobody else to vote for.
//!
//! **What the log holds.** All entries behind the start's index. Before it there may be others, of which those before a start
//! without an image are its state: facts from when there was no quorum.
//!
//! A folder that has a state and no start is to become a member, and waits to be told of the quorum.

use std::io;

use brooklet_log::Disk;
use brooklet_log::disk::{read_small, replace};
use brooklet_quorum::{DirectoryId, HardState, Index, Mark, Member, MemberNumber, Members, Term};
use brooklet_types::BrokerId;
use brooklet_wire::checksum;
use bytes::{Buf, BufMut, Bytes};

use super::FOLDER;

const STATE: &str = "quorum-state";
const START: &str = "quorum-start";
const STATE_MAGIC: u32 = 0x424b_5153;
const START_MAGIC: u32 = 0x424b_514d;
const VERSION: u16 = 1;
const CRC_BYTES: usize = 4;
/// The largest image: what a message between members may carry, too.
pub(super) const IMAGE_BYTES_MAX: usize = 64 << 20;
/// An image, 256 members, and what stands before them.
const FILE_BYTES_MAX: usize = IMAGE_BYTES_MAX + (16 << 10);

/// Why what the quorum keeps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuorumFileError {
    /// The disk says no.
    #[error("{FOLDER}/{file}: {source}")]
    Disk { file: &'static str, source: io::Error },
    /// It is not what was written, or a later release has written it.
    #[error("{FOLDER}/{file} is damaged, or of a later release")]
    Damaged { file: &'static str },
    /// The log has entries, and nothing says where it begins.
    #[error("{FOLDER}/{START} is missing")]
    NoStart,
    /// Without its vote a member may vote twice.
    #[error(
        "{FOLDER}/{STATE} is damaged or missing, and others vote too: remove this broker from the quorum, empty its folder, \
         and let it join again"
    )]
    LostVote,
    /// The folder is a member that the quorum does not have.
    #[error(
        "the quorum on this folder is of broker {owner}, and this is configured as broker {claimed}"
    )]
    OtherBroker { owner: BrokerId, claimed: BrokerId },
}

/// What was kept.
pub(super) struct Kept {
    pub(super) directory: DirectoryId,
    pub(super) hard_state: HardState,
    /// None until somebody has told us of the quorum.
    pub(super) start: Option<Start>,
}

/// Where a quorum's log begins.
pub(super) struct Start {
    pub(super) mark: Mark,
    /// Empty, where the log has it.
    pub(super) image: Bytes,
}

/// Reads what was kept; nothing on a folder that has been in no quorum.
pub(super) fn read<D: Disk>(disk: &D, broker: BrokerId) -> Result<Option<Kept>, QuorumFileError> {
    let (state, start) = (read_file(disk, STATE)?, read_file(disk, START)?);
    let Some(start) = start else {
        let Some(state) = state else { return Ok(None) };
        let (directory, hard_state) = parse_state(&state).ok_or(QuorumFileError::LostVote)?;
        return Ok(Some(Kept { directory, hard_state, start: None }));
    };
    let start = parse_start(start).ok_or(QuorumFileError::Damaged { file: START })?;
    let (state, members) = (state.as_deref().and_then(parse_state), &start.mark.members);
    let (directory, hard_state) = match state {
        Some(state) => state,
        None => (alone(members).ok_or(QuorumFileError::LostVote)?, HardState::default()),
    };
    let owner = members.iter().find(|(member, _)| member.directory == directory);
    let owner = owner.map(|(member, _)| member.broker).filter(|owner| *owner != broker);
    match owner {
        Some(owner) => Err(QuorumFileError::OtherBroker { owner, claimed: broker }),
        None => Ok(Some(Kept { directory, hard_state, start: Some(start) })),
    }
}

/// The folder of the only member there is.
fn alone(members: &Members) -> Option<DirectoryId> {
    let mut all = members.iter();
    match (all.next(), all.next()) {
        (Some((member, _)), None) => Some(member.directory),
        _ => None,
    }
}

/// Writes down where the log begins, durably.
pub(super) fn write_start<D: Disk>(
    disk: &D,
    mark: &Mark,
    image: &[u8],
) -> Result<(), QuorumFileError> {
    let mut bytes = header(START_MAGIC);
    bytes.put_u64(mark.index.0);
    bytes.put_u64(mark.term.0);
    mark.members.put(&mut bytes);
    bytes.put_slice(image);
    write_file(disk, START, bytes)
}

/// Writes down who we are and how we voted, durably.
pub(super) fn write_state<D: Disk>(
    disk: &D,
    directory: DirectoryId,
    state: HardState,
) -> Result<(), QuorumFileError> {
    let mut bytes = header(STATE_MAGIC);
    bytes.put_slice(&directory.0);
    bytes.put_u64(state.term.0);
    bytes.put_u64(state.vote.map_or(0, |vote| vote.0));
    bytes.put_u64(state.commit.0);
    write_file(disk, STATE, bytes)
}

fn parse_state(mut bytes: &[u8]) -> Option<(DirectoryId, HardState)> {
    let mut directory = [0; 16];
    take_header(&mut bytes, STATE_MAGIC)?;
    bytes.try_copy_to_slice(&mut directory).ok()?;
    let mut number = || bytes.try_get_u64().ok();
    let (term, vote, commit) = (number()?, number()?, number()?);
    let vote = (vote != 0).then_some(MemberNumber(vote));
    let state = HardState { term: Term(term), vote, commit: Index(commit) };
    bytes.is_empty().then_some((DirectoryId(directory), state))
}

fn parse_start(file: Vec<u8>) -> Option<Start> {
    let file = Bytes::from(file);
    let mut bytes = &file[..];
    take_header(&mut bytes, START_MAGIC)?;
    let (index, term) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    let members = Members::take(&mut bytes).ok()?;
    let mark = Mark { index: Index(index), term: Term(term), members };
    Some(Start { mark, image: file.slice_ref(bytes) })
}

fn header(magic: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u32(magic);
    bytes.put_u16(VERSION);
    bytes.put_u16(0);
    bytes
}

fn take_header(bytes: &mut &[u8], magic: u32) -> Option<()> {
    let found = (bytes.try_get_u32().ok()?, bytes.try_get_u16().ok()?, bytes.try_get_u16().ok()?);
    (found == (magic, VERSION, 0)).then_some(())
}

fn write_file<D: Disk>(
    disk: &D,
    file: &'static str,
    mut bytes: Vec<u8>,
) -> Result<(), QuorumFileError> {
    bytes.put_u32(checksum::of(&bytes));
    let written = replace(disk, FOLDER, file, &bytes);
    written.map_err(|source| QuorumFileError::Disk { file, source })
}

/// What is in a file, without its checksum; empty where that does not hold. None where there is no file.
fn read_file<D: Disk>(disk: &D, file: &'static str) -> Result<Option<Vec<u8>>, QuorumFileError> {
    let found = read_small(disk, &format!("{FOLDER}/{file}"), FILE_BYTES_MAX);
    let found = found.map_err(|source| QuorumFileError::Disk { file, source })?;
    Ok(found.map(|mut bytes| {
        let crc = bytes.split_off(bytes.len().saturating_sub(CRC_BYTES));
        if crc == checksum::of(&bytes).to_be_bytes() { bytes } else { Vec::new() }
    }))
}

/// The only member of a new quorum.
pub(super) fn only(broker: BrokerId, directory: DirectoryId) -> Members {
    Members::first(&[Member { broker, directory }])
}
