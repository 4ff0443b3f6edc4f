//! Messages of the metadata's quorum on their way to other brokers.
//!
//! **What it decides.** That a broker that is not reached has no more than [`QUEUE_MAX`] of them wait for it: raft sends what
//! counts again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use brooklet_client::RequestError;
use brooklet_client::connection::Pending;
use brooklet_types::BrokerId;
use brooklet_wire::message::QuorumMessageRequest;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Peers;
use super::ways::{ANSWER_MAX, Lane};

/// Messages that wait for one broker: a few of raft's heartbeats, and what one round trip carries of entries.
pub(super) const QUEUE_MAX: usize = 128;

/// The answer to what was sent first.
type Answer = Pin<Box<dyn Future<Output = Result<(), RequestError>> + Send>>;

/// Brings messages to one broker, for as long as there is somebody who sends any.
pub(super) async fn deliver(peers: Arc<Peers>, to: BrokerId, mut queue: mpsc::Receiver<Bytes>) {
    let mut under_way: VecDeque<Answer> = VecDeque::new();
    loop {
        let message = tokio::select! {
            message = queue.recv() => message,
            // An answer that does not come ends the connection, and so is noticed.
            answered = first(&mut under_way), if !under_way.is_empty() => {
                under_way.pop_front();
                if let Err(error) = answered {
                    tracing::debug!(broker = %to, %error, "message to the quorum lost");
                    under_way.clear();
                }
                continue;
            }
        };
        let Some(message) = message else { return };
        match send(&peers, to, message).await {
            Ok(pending) => {
                under_way.push_back(Box::pin(async { pending.answer().await.map(|_| ()) }));
            }
            Err(reason) => tracing::debug!(broker = %to, reason, "message to the quorum not sent"),
        }
    }
}

/// Dropped half way, it can be waited for again.
async fn first(under_way: &mut VecDeque<Answer>) -> Result<(), RequestError> {
    match under_way.front_mut() {
        Some(answer) => answer.await,
        None => Ok(()),
    }
}

async fn send(
    peers: &Peers,
    to: BrokerId,
    message: Bytes,
) -> Result<Pending<QuorumMessageRequest>, String> {
    let target = peers.target(to).ok_or("its address is not known")?;
    let connection = peers.ways.connection(&target, Lane::Quorum).await;
    let connection = connection.map_err(|error| error.to_string())?;
    let request = peers.quorum_message(message);
    let pending = connection.submit(&request, ANSWER_MAX).await;
    pending.map_err(|error| error.to_string())
}
