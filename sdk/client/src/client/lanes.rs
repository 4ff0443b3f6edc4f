//! Who sends on which connection: one place for each broker and lane.
//!
//! **What it decides.** When a connection is opened, which one a lane takes that can have none of its own, and when the
//! connections of a lane end: with the lane.
//!
//! Over QUIC a lane has parts, each a stream in one connection, so that a lost packet holds up what is on its stream
//! and nothing else. The first part is a lane's first connection; the others are opened beside it, where the
//! broker gives streams for them, and share another part's stream where it does not. Over TCP and TLS there is the first part only.
//!
//! **Invariant.** What one part sends goes over one connection until that is closed: the order in which it was sent is the order
//! in which a broker sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use brooklet_types::BrokerId;
use tokio::time::sleep;

use crate::config::{ClientConfig, Transport};
use crate::connection::Connection;
use crate::error::{ConnectError, Peer};
use crate::transport::Dialer;

/// What was written last to a lane's connections leaves within this.
const LINGER: Duration = Duration::from_secs(1);

/// Connections that nobody else's requests hold back. They end with the last clone of it.
#[derive(Clone, Debug)]
pub struct Lane {
    /// None for the lane that everybody shares.
    owner: Option<Arc<Owner>>,
    part: u32,
}

#[derive(Debug)]
struct Owner {
    number: u32,
    places: Weak<Places>,
}

/// The brokers' addresses that a client was given, and those that the cluster named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Given(usize),
    Known(BrokerId),
}

/// All connections of a client.
#[derive(Default)]
pub(super) struct Places {
    /// By broker, lane and its part. Held to find the place only; the place has its own lock, which is held while
    /// dialling so that nobody dials twice.
    all: Mutex<BTreeMap<(u32, Target, u32), Place>>,
    owners: AtomicU32,
}

type Place = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// What it takes to reach a broker.
pub(super) struct Reach<'a> {
    pub(super) dialer: &'a Dialer,
    pub(super) config: &'a ClientConfig,
    pub(super) target: Target,
    pub(super) peer: Peer,
}

impl Lane {
    /// The lane for requests that are answered at once.
    pub const COMMON: Lane = Lane { owner: None, part: 0 };

    /// One of its parts.
    pub(crate) fn part(&self, part: u32) -> Lane {
        Lane { owner: self.owner.clone(), part }
    }

    fn number(&self) -> u32 {
        self.owner.as_ref().map_or(0, |owner| owner.number)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(places) = self.places.upgrade() {
            places.release(self.number);
        }
    }
}

impl Places {
    /// A lane nobody else has.
    pub(super) fn new_lane(self: &Arc<Places>) -> Lane {
        let number = self.owners.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Lane { owner: Some(Arc::new(Owner { number, places: Arc::downgrade(self) })), part: 0 }
    }

    /// The lane's connection to a broker: the one that there is, or a new one.
    pub(super) async fn connect(
        &self,
        lane: &Lane,
        reach: Reach<'_>,
    ) -> Result<Connection, ConnectError> {
        let place = self.place(lane, reach.target);
        let mut place = place.lock().await;
        if let Some(connection) = usable(&place, &reach.peer) {
            return Ok(connection);
        }
        // On the heap: dialling is rare, and every request would carry what it takes.
        let connection = Box::pin(self.dial(lane, &reach)).await?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    async fn dial(&self, lane: &Lane, reach: &Reach<'_>) -> Result<Connection, ConnectError> {
        if lane.part == 0 {
            return open(reach).await;
        }
        let first = self.first(lane, reach).await?;
        Ok(self.beside(first, lane, reach).await)
    }

    /// The connection of the lane's first part. Whoever has a place of another part waits for this one's, and never the
    /// other way round.
    async fn first(&self, lane: &Lane, reach: &Reach<'_>) -> Result<Connection, ConnectError> {
        let place = self.place(&lane.part(0), reach.target);
        let mut place = place.lock().await;
        if let Some(connection) = usable(&place, &reach.peer) {
            return Ok(connection);
        }
        let connection = open(reach).await?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// A stream beside `first`, or, where none is to be had, one that the lane has already.
    async fn beside(&self, first: Connection, lane: &Lane, reach: &Reach<'_>) -> Connection {
        if first.transport() != Transport::Quic {
            return first;
        }
        match Connection::beside(reach.dialer, reach.peer.clone(), reach.config).await {
            Ok(Some(connection)) => connection,
            Ok(None) => self.shared(first, lane, reach),
            Err(error) => {
                tracing::debug!(%error, "a lane has no stream of its own");
                self.shared(first, lane, reach)
            }
        }
    }

    /// One of the lane's connections; `first`, unless another is at hand.
    fn shared(&self, first: Connection, lane: &Lane, reach: &Reach<'_>) -> Connection {
        let (number, target) = (lane.number(), reach.target);
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let others = all.range((number, target, 1)..=(number, target, u32::MAX));
        let mut open: Vec<Connection> = others
            .filter_map(|(_, place)| usable(place.try_lock().ok().as_deref()?, &reach.peer))
            .collect();
        open.push(first);
        let at = usize::try_from(lane.part).expect("usize has at least 32 bits") % open.len();
        open.swap_remove(at)
    }

    fn place(&self, lane: &Lane, target: Target) -> Place {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((lane.number(), target, lane.part)).or_default().clone()
    }

    /// Forgets the connections of a lane that has gone.
    fn release(&self, number: u32) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut released = all.split_off(&(number, Target::Given(0), 0));
        let behind = number.checked_add(1).map(|next| (next, Target::Given(0), 0));
        if let Some(behind) = behind {
            all.append(&mut released.split_off(&behind));
        }
        drop(all);
        // Without a runtime there is nobody to send anything either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !released.is_empty()
        {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(released);
            });
        }
    }
}

async fn open(reach: &Reach<'_>) -> Result<Connection, ConnectError> {
    Connection::open(reach.dialer, reach.peer.clone(), reach.config).await
}

/// What is in a place, as long as it leads to where the broker is now.
fn usable(place: &Option<Connection>, peer: &Peer) -> Option<Connection> {
    let open = |connection: &&Connection| {
        !connection.is_closed() && connection.peer().address == peer.address
    };
    place.as_ref().filter(open).cloned()
}
