//! A member's place in its group, kept until the group changes.
//!
//! It ends with the first thing worth saying. As the group's leader it also looks, as often as
//! metadata may grow old, whether the topics have other partitions than those it has spread.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_types::ErrorCode;
use brooklet_wire::message::{HeartbeatRequest, make};
use tokio::time::{Instant, sleep, timeout};

use super::membership::Identity;
use super::rebalance::partition_counts;
use crate::client::{Client, Lane};
use crate::error::{ApiError, Code};

/// What a member's place came to.
pub(crate) enum Standing {
    /// Everybody has to join again.
    GroupChanges,
    /// It is gone; the broker may still know the member.
    Lost { known: bool },
    /// Somebody else joined under the same instance id.
    Fenced,
}

pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) lane: Lane,
    pub(crate) group: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) interval: Duration,
    pub(crate) identity: Identity,
    /// What the member spread as the leader.
    pub(crate) led: Option<BTreeMap<String, u32>>,
}

impl Keeper {
    /// Says that the member lives, until that is not all there is to say.
    pub(crate) async fn run(self) -> Standing {
        let request = make::<HeartbeatRequest>(|request| {
            request.group_id = self.group.as_str().into();
            request.generation_id = self.identity.generation;
            request.member_id = self.identity.member_id.as_str().into();
            request.group_instance_id = self.instance_id.as_deref().map(Into::into);
        });
        let mut looked = Instant::now();
        loop {
            sleep(self.interval).await;
            let code = async {
                let connection = self.client.coordinator(&self.group, &self.lane).await?;
                Ok::<_, ApiError>(Code(connection.call(&request).await?.error_code))
            };
            let code = match code.await {
                Ok(code) => code,
                // It has moved, or restarts; the session outlives that.
                Err(_) => {
                    self.client.forget_coordinator(&self.group);
                    continue;
                }
            };
            if code == Code::NONE {
                if looked.elapsed() >= self.client.config().metadata_age_max {
                    looked = Instant::now();
                    if self.partitions_changed().await {
                        return Standing::GroupChanges;
                    }
                }
                continue;
            }
            match code.known() {
                Some(ErrorCode::IllegalGeneration) => return Standing::Lost { known: true },
                Some(ErrorCode::UnknownMemberId) => return Standing::Lost { known: false },
                Some(ErrorCode::FencedInstanceId) => return Standing::Fenced,
                Some(known) if known.is_retriable() => {
                    self.client.forget_coordinator(&self.group);
                }
                // What else is wrong, joining again will tell.
                Some(_) | None => return Standing::GroupChanges,
            }
        }
    }

    async fn partitions_changed(&self) -> bool {
        let Some(led) = &self.led else { return false };
        let topics: Vec<String> = led.keys().cloned().collect();
        // The next heartbeat must not wait for a cluster that does not answer.
        let look = timeout(self.interval, partition_counts(&self.client, &topics)).await;
        matches!(look, Ok(Ok(counts)) if counts != *led)
    }
}
