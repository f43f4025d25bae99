//! A watcher that notes when each message came.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lvmd::proto::{Empty, WatchItem, WatchResponse};

use crate::harness::Daemon;

/// All messages of one `Watch` stream.
pub struct Watcher {
    messages: Arc<Mutex<Vec<(Instant, WatchResponse)>>>,
}

impl Watcher {
    /// Watches; when this returns the first message is there.
    pub async fn of(daemon: &Daemon) -> Self {
        let mut stream = daemon.vg().watch(Empty {}).await.unwrap().into_inner();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = messages.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                kept.lock().unwrap().push((Instant::now(), message));
            }
        });
        let this = Self { messages };
        this.when("the first message", |_| true).await;
        this
    }

    pub fn count(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// What the last message says of a class.
    pub fn last(&self, class: &str) -> Option<WatchItem> {
        let messages = self.messages.lock().unwrap();
        item(&messages.last()?.1, class).cloned()
    }

    /// When the first message came, from the `from`th on, of which `holds` is true; at most 30 s.
    pub async fn when_from(
        &self,
        from: usize,
        what: &str,
        holds: impl Fn(&WatchResponse) -> bool,
    ) -> Instant {
        let began = Instant::now();
        loop {
            let found = {
                let messages = self.messages.lock().unwrap();
                let mut later = messages.iter().skip(from);
                later.find(|(_, m)| holds(m)).map(|(at, _)| *at)
            };
            if let Some(at) = found {
                return at;
            }
            let messages = self.messages.lock().unwrap().len();
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "after 30 s and {messages} messages still not: {what}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn when(&self, what: &str, holds: impl Fn(&WatchResponse) -> bool) -> Instant {
        self.when_from(0, what, holds).await
    }
}

pub fn item<'a>(message: &'a WatchResponse, class: &str) -> Option<&'a WatchItem> {
    message.items.iter().find(|i| i.device_class == class)
}

/// Whether a class has a condition of this code.
pub fn has(message: &WatchResponse, class: &str, code: &str) -> bool {
    item(message, class).is_some_and(|i| i.conditions.iter().any(|c| c.code == code))
}
