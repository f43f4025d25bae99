//! A disk watcher on real disks: what every guest test stands on.

use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// Takes one of the disks of the guest itself. They have no serial number, so it allows that.
pub(crate) const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: fast}
spec:
  mode: Enforce
  select: {transport: [ubd], size: {min: 64Mi}}
  limits: {settle: 1s, maxDisks: 1}
  safety: {allowUniqueIdMissing: true, requireZeroed: HeadAndTail}
  volumeGroup: {name: fast}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";

/// The same, and a second disk joins later.
pub(crate) fn two_disks() -> String {
    CLASS.replace("maxDisks: 1", "maxDisks: 2").replace(
        "  mode: Enforce\n",
        "  mode: Enforce\n  discovery: Continuous\n",
    )
}

pub(crate) fn output(program: &str, args: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub(crate) fn disks() -> Vec<String> {
    let list = std::env::vars()
        .find(|(key, _)| key == "BASALT_DISKS")
        .map(|(_, value)| value);
    let list = list.expect("BASALT_DISKS is not set: run guest tests with `e2e-qemu test`");
    list.split(',').map(str::to_owned).collect()
}

/// The disk watcher, running in a folder of its own.
pub(crate) struct Watcher {
    child: Child,
}

impl Watcher {
    pub(crate) fn start(dir: &Path, class: &str) -> Self {
        Self::with(dir, class, &[])
    }

    /// With more flags.
    pub(crate) fn with(dir: &Path, class: &str, flags: &[&str]) -> Self {
        Self::inside(&[], dir, class, flags)
    }

    /// Started by another program, which ends with it.
    pub(crate) fn inside(starter: &[&str], dir: &Path, class: &str, flags: &[&str]) -> Self {
        let config = dir.join("config.yaml");
        std::fs::write(&config, class).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (journal, status) = (path("journal"), path("status"));
        let usual = [
            ["--config", config.to_str().unwrap()],
            ["--journal", &journal],
            ["--status-dir", &status],
            ["--metrics-bind-address", "0"],
        ];
        let usual = usual.into_iter().filter(|[flag, _]| !flags.contains(flag));
        // What an earlier one said is not taken for what this one says.
        let _ = std::fs::remove_dir_all(dir.join("status"));
        let argv = [starter, &[env!("CARGO_BIN_EXE_disk-watcher"), "run"]].concat();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new(argv[0])
            .args(&argv[1..])
            .args(usual.flatten())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        self.signal("-TERM");
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        run("kill", &[signal, &self.child.id().to_string()]);
    }

    /// Kills it and its lvm at the same moment; nothing is asked.
    pub(crate) fn kill(mut self) {
        // Stopped, it starts no lvm while they are looked for.
        let me = self.child.id().to_string();
        run("kill", &["-STOP", &me]);
        for pid in below(&me).iter().chain([&me]) {
            output("kill", &["-KILL", pid]);
        }
        self.child.wait().unwrap();
        while !pids("lvm").is_empty() {}
    }
}

/// The processes below this one.
fn below(pid: &str) -> Vec<String> {
    let out = output("ps", &["-o", "pid=", "--ppid", pid]).stdout;
    let children = String::from_utf8(out).unwrap();
    let mut all = Vec::new();
    for child in children.split_whitespace() {
        all.push(child.to_owned());
        all.extend(below(child));
    }
    all
}

/// The processes with this name.
fn pids(name: &str) -> Vec<String> {
    let out = output("ps", &["-o", "pid=", "-C", name]).stdout;
    let pids = String::from_utf8(out).unwrap();
    pids.split_whitespace().map(str::to_owned).collect()
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it started goes on without it, and would write where the test goes on.
        while !pids("lvm").is_empty() {}
    }
}

/// The stage of the one claim in the journal.
pub(crate) fn stage(dir: &Path) -> Option<String> {
    let entry = std::fs::read_dir(dir.join("journal/claims"))
        .ok()?
        .flatten()
        .find(|e| e.path().extension().is_some_and(|x| x == "json"))?;
    let claim: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(entry.path()).ok()?).ok()?;
    Some(claim["stage"].as_str()?.to_owned())
}

/// Whether the one claim in the journal is Ready.
pub(crate) fn is_ready(dir: &Path) -> bool {
    stage(dir).as_deref() == Some("Ready")
}

/// Makes the volume `data` in the pool of the group, and fills it.
pub(crate) fn make_data() {
    let make = [
        "lvcreate",
        "-q",
        "-V",
        "24M",
        "-T",
        "fast/pool0",
        "-n",
        "data",
    ];
    run("lvm", &make);
    let data = "if=/dev/urandom of=/dev/fast/data bs=1M count=24 oflag=direct status=none";
    run("dd", &data.split(' ').collect::<Vec<_>>());
}

/// The stages of all claims in the journal, the least first.
pub(crate) fn stages(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("journal/claims"))
        .into_iter()
        .flatten();
    let mut stages: Vec<String> = files
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "json"))
        .filter_map(|e| std::fs::read_to_string(e.path()).ok())
        .filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .filter_map(|claim| Some(claim["stage"].as_str()?.to_owned()))
        .collect();
    stages.sort();
    stages
}

pub(crate) fn wait_for(dir: &Path, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "after 90 s still not: {what}\n{}",
            log()
        );
        // Others have work to do.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

pub(crate) fn clean() {
    output("lvm", &["vgchange", "-an", "fast"]);
    for disk in disks() {
        run("wipefs", &["-aq", &disk]);
        run(
            "dd",
            &[
                "if=/dev/zero",
                &format!("of={disk}"),
                "bs=1M",
                "count=8",
                "oflag=direct",
                "status=none",
            ],
        );
    }
    run("udevadm", &["settle"]);
}

/// Whether everything is run: then counts are full.
pub(crate) fn all() -> bool {
    std::env::vars().any(|(key, _)| key == "BASALT_ALL")
}

/// A number between 0 and 1, another one each time.
pub(crate) fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap()) / f64::from(u32::MAX)
}

/// Disks of the guest beside those that are taken, full of somebody's data.
pub(crate) struct Bystanders(Vec<(String, String)>);

impl Bystanders {
    /// Fills the beginning and the end of each with random bytes, but for the first `taken`.
    pub(crate) fn beside(taken: usize) -> Self {
        let disks = disks().split_off(taken);
        for disk in &disks {
            for seek in ["0", "504"] {
                let (of, seek) = (format!("of={disk}"), format!("seek={seek}"));
                run(
                    "dd",
                    &[
                        "if=/dev/urandom",
                        &of,
                        &seek,
                        "bs=1M",
                        "count=8",
                        "oflag=direct",
                        "status=none",
                    ],
                );
            }
        }
        let sums = disks.into_iter().map(|disk| (sum(&disk), disk));
        Self(sums.map(|(sum, disk)| (disk, sum)).collect())
    }

    /// Not a byte of them changed.
    pub(crate) fn check(&self) {
        for (disk, before) in &self.0 {
            assert_eq!(sum(disk), *before, "{disk} is not ours");
        }
    }
}

/// The digest of a device.
pub(crate) fn sum(device: &str) -> String {
    output("blockdev", &["--flushbufs", device]);
    run("sha256sum", &[device])[..64].to_owned()
}

/// No command that was run asked for force, or said yes to a question about a disk.
pub(crate) fn no_force(dir: &Path) {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let commands: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("running command="))
        .collect();
    assert!(!commands.is_empty(), "{log}");
    for line in commands {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(
            !words.iter().any(|w| ["-f", "-ff", "--force"].contains(w)),
            "{line}"
        );
        let makes_volume = words.contains(&"lvcreate");
        // One volume by its UUID: what is left of our own pool. Or one without an extent: what a pvmove left.
        let selects = |word: &&str| word.starts_with("lv_uuid=") || *word == "segtype=error";
        let is_leftover = words.contains(&"lvremove") && words.iter().any(selects);
        assert!(
            makes_volume || is_leftover || !words.iter().any(|w| ["-y", "--yes"].contains(w)),
            "{line}"
        );
    }
}
