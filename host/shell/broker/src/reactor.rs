//! The threads that serve connections: one for each processor, each connection on one of them.
//!
//! **Where it sits.** Below the broker, which hands it every client that was accepted.
//!
//! **What it decides.** Where a connection lives: on the thread with the fewest. There it stays, so
//! that a request, its turn of the shard and its reply need no other thread (host/decisions/0003
//! has the measurement). What takes long is not done here: it goes to the blocking pool, and a
//! plugin yields.
//!
//! **Invariant.** A connection that is handed over is served, or dropped with the process.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// All of them. They end when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Reactors {
    all: Arc<[Reactor]>,
    _end: Arc<End>,
}

#[derive(Debug)]
struct Reactor {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// Ends the threads when it is dropped, and waits until they have ended.
#[derive(Debug)]
struct End {
    threads: Vec<JoinHandle<()>>,
    signal: Option<DropGuard>,
}

impl Reactors {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize) -> io::Result<Reactors> {
        let stop = CancellationToken::new();
        let mut end = End { threads: Vec::new(), signal: Some(stop.clone().drop_guard()) };
        let mut all = Vec::new();
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            all.push(Reactor { handle: runtime.handle().clone(), connections: Arc::default() });
            let stopped = stop.clone();
            let thread = std::thread::Builder::new().name(format!("reactor-{number}"));
            end.threads.push(thread.spawn(move || runtime.block_on(stopped.cancelled()))?);
        }
        Ok(Reactors { all: all.into(), _end: Arc::new(end) })
    }

    /// The first of them: what has a packet for all of them.
    pub(crate) fn first(&self) -> &Handle {
        &self.all.first().expect("there is at least one").handle
    }

    /// Serves a connection on the thread that has the fewest.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = |reactor: &&Reactor| reactor.connections.load(Ordering::Relaxed);
        let reactor = self.all.iter().min_by_key(fewest).expect("there is at least one");
        let counted = Counted::new(&reactor.connections);
        reactor.handle.spawn(async move {
            connection.await;
            drop(counted);
        });
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.signal.take());
        for thread in self.threads.drain(..) {
            // A panic of a reactor is a bug of the runtime; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// One connection of a thread's count, also when its task panics.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(connections: &Arc<AtomicUsize>) -> Counted {
        connections.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
