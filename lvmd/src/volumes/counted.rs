//! How long operations take and how they end, told to the engine's observer: those that come over the socket and those
//! that the CSI node asks for in its own process.

use std::time::Instant;

use tonic::Code;

use super::{VolumeError, Volumes};
use crate::cmd::Runner;
use crate::engine::Observer;
use crate::status;

/// An operation that is under way. It is told also when whoever asked for it goes away before its end.
struct UnderWay<'a> {
    observer: &'a dyn Observer,
    operation: &'static str,
    since: Instant,
    code: Code,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs_f64();
        let code = status::name(self.code);
        self.observer.operation_ended(self.operation, code, seconds);
    }
}

impl<R: Runner + Clone> Volumes<R> {
    /// Does `work`, which has the name `operation` in lvmd's gRPC API, and tells how it ended.
    pub(super) async fn counted<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, VolumeError>>,
    ) -> Result<T, VolumeError> {
        let mut under_way = UnderWay {
            observer: self.engine().observer(),
            operation,
            since: Instant::now(),
            code: Code::Cancelled,
        };
        let result = work.await;
        under_way.code = result.as_ref().map_or_else(status::code, |_| Code::Ok);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use prometheus_client::registry::Registry;
    use tokio::sync::watch;

    use super::*;
    use crate::cmd::Host;
    use crate::config::Config;
    use crate::engine::Engine;
    use crate::lvm::reader::ReadObserver;
    use crate::lvm::tool::Tool;
    use crate::metrics::{Metrics, Page};
    use crate::units::Bytes;
    use crate::volumes::{Create, SnapshotOf};

    fn volumes(observer: Arc<dyn Observer>) -> Volumes<Host> {
        let text = "device-classes: [{name: ssd, volume-group: vg, default: true}]";
        let config = Config::parse(text, std::path::Path::new("lvmd.yaml")).unwrap();
        let engine = Engine::new(Host, Tool::beside_us("test"), observer);
        Volumes::new(engine, watch::channel(Arc::new(config)).1)
    }

    #[tokio::test]
    async fn each_operation_is_counted_wherever_it_is_asked_for() {
        let mut registry = Registry::default();
        let volumes = volumes(Arc::new(Metrics::register(&mut registry, Some("n1"))));
        let (name, class) = ("v", "no-such-class");
        let create = Create {
            name: name.into(),
            class: class.into(),
            ..Create::default()
        };
        let copy = SnapshotOf {
            name: name.into(),
            class: class.into(),
            ..SnapshotOf::default()
        };
        volumes.create(&create).await.unwrap_err();
        volumes.snapshot(&copy).await.unwrap_err();
        volumes.resize(name, class, Bytes(1)).await.unwrap_err();
        volumes.activate(name, class).await.unwrap_err();
        volumes.remove(name, class).await.unwrap_err();
        volumes.list(class).await.unwrap_err();
        volumes.list(class).await.unwrap_err();
        volumes.free(class).await.unwrap_err();
        let (_, page) = Page::new(registry).render(None);
        for (operation, result, count) in [
            ("CreateLV", "NotFound", 1),
            ("CreateLVSnapshot", "NotFound", 1),
            ("ResizeLV", "NotFound", 1),
            ("ActivateLV", "NotFound", 1),
            ("RemoveLV", "FailedPrecondition", 1),
            ("GetLVList", "NotFound", 2),
            ("GetFreeBytes", "NotFound", 1),
        ] {
            let line = format!(
                "lvmd_operation_seconds_count{{operation=\"{operation}\",result=\"{result}\"}} {count}"
            );
            assert!(page.lines().any(|l| l == line), "{line} not in:\n{page}");
        }
    }

    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<(String, String)>>);

    impl ReadObserver for Told {}

    impl Observer for Told {
        fn command_ended(&self, _: &str, _: &str, _: f64) {}

        fn operation_ended(&self, operation: &str, result: &str, _: f64) {
            let told = (operation.to_owned(), result.to_owned());
            self.0.lock().unwrap().push(told);
        }
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_any_more_is_counted_as_given_up() {
        let told = Arc::new(Told::default());
        let volumes = volumes(told.clone());
        let never = volumes.counted("CreateLV", std::future::pending::<Result<(), _>>());
        let waited = tokio::time::timeout(Duration::from_millis(1), never).await;
        assert!(waited.is_err());
        volumes.counted("RemoveLV", async { Ok(()) }).await.unwrap();
        let said = told.0.lock().unwrap();
        let said: Vec<_> = said.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(said, [("CreateLV", "Canceled"), ("RemoveLV", "OK")]);
    }
}
