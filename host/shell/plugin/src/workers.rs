//! Threads for what plugins do that takes long.
//!
//! **Where it sits.** Between the hook's calls, which happen on the thread that serves a client, and the plugins. That
//! thread serves other clients too: they would wait a tick, every time, behind a guest that loops.
//!
//! **What it decides.** Where a call goes on. It begins where it was asked for, which is the fastest for the many that are
//! done in a moment; one that isn't is carried over to threads of its own, which yield to all others. Where calls have
//! taken long the next begins there.
//!
//! **Invariants.** Nobody is served by these threads, and they run below everybody's priority: what a plugin costs beyond
//! its first moment, those pay who chose the topic. They come with the first call that needs them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How nice they are: with a tenth of the weight of a thread that serves.
const NICE: i32 = 10;
/// A processor of so many runs them at the most: a thread that serves finds one that is free, whatever plugins do. To wait
/// until a busy one is taken from a guest is to wait for milliseconds, however nice that is.
const PROCESSORS_EACH: usize = 2;
/// What is over sooner than this is begun where it is asked for.
const SHORT: Duration = Duration::from_micros(400);

/// A call under way.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is known of earlier calls of the same kind.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    takes_long: AtomicBool,
}

/// The threads, once there are any.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Protects the making of them.
    runtime: Mutex<Option<Runtime>>,
}

impl Workers {
    /// Begins `work` here, and has the threads finish it if it isn't done at once; where that is the habit they begin it
    /// too. Dropping the answer drops the work.
    pub(crate) async fn carry<T: Send + 'static>(
        &self,
        habit: &Arc<Habit>,
        mut work: Work<T>,
    ) -> T {
        if !habit.takes_long.load(Ordering::Relaxed) {
            let begun = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            if let Poll::Ready(done) = begun {
                return done;
            }
            habit.takes_long.store(true, Ordering::Relaxed);
        }
        let habit = Arc::clone(habit);
        let timed = async move {
            let began = Instant::now();
            let done = work.await;
            habit.takes_long.store(began.elapsed() > SHORT, Ordering::Relaxed);
            done
        };
        match self.threads() {
            Some(threads) => Carried(threads.spawn(timed)).await,
            None => timed.await,
        }
    }

    /// None where the system has no more threads: then what is long is done where it began.
    fn threads(&self) -> Option<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if runtime.is_none() {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let built = Builder::new_multi_thread()
                .worker_threads((processors / PROCESSORS_EACH).max(1))
                .thread_name("plugin-worker")
                .on_thread_start(yield_to_others)
                .enable_all()
                .build();
            match built {
                Ok(built) => *runtime = Some(built),
                Err(error) => tracing::warn!(%error, "no threads for plugins"),
            }
        }
        runtime.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // Waiting for them is what nobody may do who is a task himself; what they do is of no use any more.
            runtime.shutdown_background();
        }
    }
}

fn yield_to_others() {
    // On Linux a priority is a thread's. One that can't be lowered is as any other.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "priority of a plugin's thread");
    }
}

/// Work on another thread, and ended with this.
struct Carried<T>(JoinHandle<T>);

impl<T> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(done)) => Poll::Ready(done),
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                // As if it had happened here, where it closes a connection.
                Ok(panic) => std::panic::resume_unwind(panic),
                // The threads end with the program, and nobody waits for an answer then.
                Err(_cancelled) => Poll::Pending,
            },
        }
    }
}

impl<T> Drop for Carried<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the thread on which the second half of some work is done.
    fn named_after(pause: bool) -> Work<Option<String>> {
        Box::pin(async move {
            if pause {
                tokio::task::yield_now().await;
            }
            std::thread::current().name().map(str::to_owned)
        })
    }

    #[tokio::test]
    async fn what_is_done_at_once_stays_and_what_takes_long_moves() {
        let (workers, habit) = (Workers::default(), Arc::default());
        let here = std::thread::current().name().map(str::to_owned);
        assert_eq!(workers.carry(&habit, named_after(false)).await, here);
        assert!(workers.runtime.lock().unwrap().is_none(), "no thread without need");
        let there = workers.carry(&habit, named_after(true)).await.expect("a name");
        assert!(there.starts_with("plugin-worker"), "{there}");
        habit.takes_long.store(true, Ordering::Relaxed);
        let there = workers.carry(&habit, named_after(false)).await.expect("a name");
        assert!(there.starts_with("plugin-worker"), "it begins where it would end: {there}");
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_ends_the_work() {
        let (workers, habit) = (Workers::default(), Arc::default());
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let work: Work<()> = Box::pin(async move {
            let _alive = alive;
            loop {
                tokio::task::yield_now().await;
            }
        });
        let given_up =
            tokio::time::timeout(Duration::from_millis(20), workers.carry(&habit, work)).await;
        assert!(given_up.is_err());
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.expect("it ends").is_err());
    }
}
