//! Objects of one kind, as a watch last told of them, and waiting for what comes next.

use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use kube::runtime::{WatchStreamExt, reflector as reflect};
use kube::{Resource, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// See the module. What it has may be old, never wrong: each answer was true once, and
/// who must know what is true now asks the API server.
#[derive(Debug, Clone)]
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    /// Counts what the watch told.
    ticks: watch::Receiver<u64>,
    stop: CancellationToken,
}

/// How long a watch that broke waits before it is tried again. kube's own limit, 30 s and as much
/// again by chance, would leave a pod without its volume for a minute after an API server that is
/// back: what comes once in 8 to 16 s from each node is nothing beside a kubelet.
pub(crate) fn taken_up_again() -> ExponentialBackoff {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(8))
        .without_max_times();
    waits.with_jitter().into()
}

/// Why a wait ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its time was over.
    Late,
    /// The program ends.
    Stopped,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    /// Follows `events` until `stop`. A watch that breaks is taken up where it was.
    pub fn follow(
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (store, writer) = reflector::store();
        let (tick, ticks) = watch::channel(0);
        let events = events
            .modify(|object| object.managed_fields_mut().clear())
            .backoff(taken_up_again());
        let events = reflect(writer, events).take_until(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(_) => tick.send_modify(|count| *count += 1),
                    Err(error) => {
                        warn!(kind = %K::kind(&()), %error, "the watch broke off and is tried again");
                    }
                }
            }
        });
        Self {
            store,
            ticks,
            stop: stop.clone(),
        }
    }

    /// Whether the watch told of everything once.
    pub fn is_filled(&self) -> bool {
        self.store.wait_until_ready().now_or_never().is_some()
    }

    /// What the watch told last.
    pub fn store(&self) -> &Store<K> {
        &self.store
    }

    /// Moves with each thing the watch tells.
    pub fn told(&self) -> watch::Receiver<u64> {
        self.ticks.clone()
    }

    /// Looks after each thing the watch tells, until `look` has an answer.
    ///
    /// # Errors
    /// There was none within `limit`, or the program ends.
    pub async fn until<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&Store<K>) -> Option<T>,
    ) -> Result<T, Ended> {
        let mut ticks = self.ticks.clone();
        let end = tokio::time::sleep(limit);
        tokio::pin!(end);
        loop {
            ticks.borrow_and_update();
            if let Some(answer) = look(&self.store) {
                return Ok(answer);
            }
            tokio::select! {
                changed = ticks.changed() => changed.map_err(|_| Ended::Stopped)?,
                () = &mut end => return Err(Ended::Late),
                () = self.stop.cancelled() => return Err(Ended::Stopped),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    fn node(name: &str) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.into());
        node
    }

    #[tokio::test]
    async fn a_wait_ends_when_the_watch_tells_of_it_and_not_before() {
        let (tell, told) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let cache = Cache::follow(UnboundedReceiverStream::new(told), &tasks, &stop);
        let named = |name: &'static str| {
            move |store: &Store<Node>| store.find(|node| node.name_any() == name).map(|_| name)
        };
        let short = Duration::from_millis(20);
        assert_eq!(cache.until(short, named("a")).await, Err(Ended::Late));
        let waiting = cache.clone();
        let wait =
            tokio::spawn(async move { waiting.until(Duration::from_secs(10), named("a")).await });
        tell.send(Ok(Event::Apply(node("b")))).unwrap();
        tell.send(Ok(Event::Apply(node("a")))).unwrap();
        assert_eq!(wait.await.unwrap(), Ok("a"));
        stop.cancel();
        let ended = cache.until(Duration::from_secs(10), named("c")).await;
        assert_eq!(ended, Err(Ended::Stopped));
        tasks.close();
        tasks.wait().await;
    }
}
