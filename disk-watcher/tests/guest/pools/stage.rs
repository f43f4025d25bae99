//! A class on two disks, onboarded, with a small pool and a volume in it.

use serde_json::Value;

use crate::faults::status::status;
use crate::harness::{self, Bystanders, Watcher, run, wait_for};

/// The class: two disks of 512 MiB, `pool` in the words of `spec.thinPool`.
pub(crate) fn class(pool: &str) -> String {
    format!(
        "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {{name: fast}}
spec:
  mode: Enforce
  select: {{transport: [ubd], size: {{min: 64Mi}}}}
  limits: {{settle: 1s, minDisks: 2, maxDisks: 2}}
  safety: {{allowUniqueIdMissing: true, requireZeroed: HeadAndTail}}
  volumeGroup: {{name: fast}}
  thinPool: {{name: pool0, {pool}}}
"
    )
}

/// The same on one of these disks, and what has the other join it later.
pub(crate) fn one_then_two(pool: &str) -> [String; 2] {
    let one = class(pool)
        .replace("minDisks: 2, maxDisks: 2", "maxDisks: 1")
        .replace(
            "  mode: Enforce\n",
            "  mode: Enforce\n  discovery: Continuous\n",
        );
    let two = one.replace("maxDisks: 1", "maxDisks: 2");
    [one, two]
}

/// A watcher that has made the pool and set its threshold. At its end no byte of the other disks
/// may be another one.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) class: String,
    others: Option<Bystanders>,
    watcher: Option<Watcher>,
}

impl Stage {
    pub(crate) fn new(pool: &str) -> Self {
        Self::of(class(pool))
    }

    /// The same of two disks of several GiB.
    pub(crate) fn large(pool: &str) -> Self {
        Self::of(class(pool).replace("min: 64Mi", "min: 4Gi"))
    }

    pub(crate) fn of(class: String) -> Self {
        Self::with(class, || Some(Bystanders::beside(2)))
    }

    /// With other disks that the test itself writes to.
    pub(crate) fn with_free_disks(pool: &str) -> Self {
        Self::with(class(pool), || None)
    }

    fn with(class: String, others: impl FnOnce() -> Option<Bystanders>) -> Self {
        harness::clean();
        let stage = Self {
            dir: tempfile::tempdir().unwrap(),
            class,
            others: others(),
            watcher: None,
        };
        let stage = stage.started();
        stage.wait("the pool is made and armed", |pool| {
            pool["state"] == "Active" && condition(pool, "LowWaterArmed")["status"] == true
        });
        stage
    }

    /// The same with the watcher running.
    pub(crate) fn started(mut self) -> Self {
        self.watcher = Some(Watcher::start(self.dir.path(), &self.class));
        self
    }

    /// The watcher runs again, with these flags.
    pub(crate) fn start_with(&mut self, flags: &[&str]) {
        self.watcher = Some(Watcher::with(self.dir.path(), &self.class, flags));
    }

    /// The watcher is killed, and what it started has ended.
    pub(crate) fn stop(&mut self) {
        self.watcher.take();
    }

    /// The watcher is asked to end, and has.
    pub(crate) fn terminate(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.terminate();
        }
    }

    /// The pool as status shows it; null while it does not.
    pub(crate) fn pool(&self) -> Value {
        status(self.dir.path())["pools"][0].clone()
    }

    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        wait_for(self.dir.path(), what, || holds(&self.pool()));
        self.pool()
    }

    /// Sends the watcher a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.watcher.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Makes a snapshot of a volume, as lvmd would.
    pub(crate) fn snapshot(&self, source: &str, name: &str) {
        let threshold = "activation/thin_pool_autoextend_threshold=70";
        let source = format!("fast/{source}");
        let args = [
            "lvcreate", "--config", threshold, "-y", "-s", "-k", "n", "-a", "y", "-n", name,
            &source,
        ];
        // LVM makes none in a pool that is just about to grow.
        wait_for(self.dir.path(), name, || {
            harness::output("lvm", &args).status.success()
        });
    }

    /// Makes a thin volume, as lvmd would.
    pub(crate) fn volume(&self, name: &str, size: &str) -> String {
        let threshold = "activation/thin_pool_autoextend_threshold=70";
        let args = [
            "lvcreate",
            "--config",
            threshold,
            "-y",
            "-W",
            "n",
            "-V",
            size,
            "-n",
            name,
            "-T",
            "fast/pool0",
        ];
        run("lvm", &args);
        format!("/dev/fast/{name}")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.watcher.take();
        harness::output("lvm", &["vgremove", "-y", "fast"]);
        if let (Some(others), false) = (&self.others, std::thread::panicking()) {
            others.check();
        }
    }
}

/// One condition of a pool.
pub(crate) fn condition(pool: &Value, kind: &str) -> Value {
    let all = pool["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|c| c["type"] == kind));
    found.cloned().unwrap_or_default()
}

/// Successful extensions of a part, oldest first.
pub(crate) fn extensions<'a>(pool: &'a Value, part: &'a str) -> Vec<&'a Value> {
    let all = pool["history"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    all.iter()
        .filter(|e| e["part"] == part && e["result"] == "Done")
        .collect()
}
