//! A daemon on real disks: what every guest test stands on.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lvmd::proto::activation_client::ActivationClient;
use lvmd::proto::lv_service_client::LvServiceClient;
use lvmd::proto::vg_service_client::VgServiceClient;
use lvmd::proto::{
    ActivateLvRequest, CreateLvRequest, CreateLvSnapshotRequest, GetFreeBytesRequest,
    GetLvListRequest, LogicalVolume, RemoveLvRequest, ResizeLvRequest,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

#[path = "harness/host.rs"]
mod host;

pub use host::{clean, disks, lvm, make_vg, output, run};

pub const MIB: i64 = 1 << 20;
pub const GIB: i64 = 1 << 30;

/// Whether the full counts are asked for.
pub fn all() -> bool {
    std::env::vars().any(|(key, _)| key == "BASALT_ALL")
}

/// A thick class `thick` (default) and a thin class `thin` on the same VG, without spare space.
pub const BOTH: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none}
- {name: thin, volume-group: vg, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 5.0}}
";

/// Starts a program that goes on beside the test.
pub fn start(program: &str, args: &[&str]) -> std::process::Child {
    #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs lvm and kills it before its `nth` ioctl.
pub fn lvm_killed_at(nth: u32, args: &[&str]) {
    let inject = format!("inject=ioctl:signal=KILL:when={nth}");
    let strace = [
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=ioctl",
        "-e",
        &inject,
        "lvm",
    ];
    output("strace", &[&strace[..], args].concat());
}

/// A running lvmd.
pub struct Daemon {
    pub child: Child,
    pub dir: tempfile::TempDir,
    pub metrics_port: u16,
    group: PathBuf,
    channel: Channel,
}

impl Daemon {
    /// Starts lvmd with this lvmd.yaml (without socket-name) and waits until it serves.
    pub async fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    pub async fn start_in(dir: tempfile::TempDir, config: &str) -> Self {
        Self::start_behind(&[], dir, config).await
    }

    /// Starts it as in a pod without the host's IPC: /dev, /run/udev and the lock directory
    /// are the host's, the rest of /run is not.
    pub async fn start_in_pod(config: &str) -> Self {
        let script = "set -e
            mkdir -p /tmp/host/run; mount --bind /run /tmp/host/run; mount -t tmpfs tmpfs /run
            for part in udev lock/lvm; do
                mkdir -p /run/$part; mount --bind /tmp/host/run/$part /run/$part
            done
            exec \"$0\" \"$@\"";
        let pod = "unshare --mount --ipc --propagation slave bash -c";
        let pod: Vec<_> = pod.split(' ').chain([script]).collect();
        Self::start_behind(&pod, tempfile::tempdir().unwrap(), config).await
    }

    /// Starts it as the last argument of `prefix`, a program that becomes it.
    async fn start_behind(prefix: &[&str], dir: tempfile::TempDir, config: &str) -> Self {
        let socket = dir.path().join("lvmd.sock");
        write_config(dir.path(), config);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .unwrap();
        let metrics_port = free_port();
        // A control group of its own: what lvmd starts is killed with it in one go.
        let group = PathBuf::from(format!("/sys/fs/cgroup/lvmd-{metrics_port}"));
        std::fs::create_dir_all(&group).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the door of the guest tests")]
        let child = std::process::Command::new("sh")
            .args(["-euc", "echo $$ >$0/cgroup.procs; exec \"$@\""])
            .arg(&group)
            .args(prefix)
            .arg(env!("CARGO_BIN_EXE_lvmd"))
            .args(["--config", dir.path().join("lvmd.yaml").to_str().unwrap()])
            .args([
                "--metrics-bind-address",
                &format!("127.0.0.1:{metrics_port}"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap();
        let started = Instant::now();
        let channel = loop {
            match endpoint.connect().await {
                Ok(channel) => break channel,
                Err(error) if started.elapsed() > Duration::from_secs(30) => {
                    panic!(
                        "lvmd does not serve: {error}: {}",
                        std::fs::read_to_string(dir.path().join("log")).unwrap()
                    )
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        Self {
            child,
            dir,
            metrics_port,
            group,
            channel,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub fn lv(&self) -> LvServiceClient<Channel> {
        LvServiceClient::new(self.channel.clone())
    }

    pub fn vg(&self) -> VgServiceClient<Channel> {
        VgServiceClient::new(self.channel.clone())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Kills it and all it started at one moment, and gives its folder for the next start.
    pub fn kill(mut self) -> tempfile::TempDir {
        std::fs::write(self.group.join("cgroup.kill"), "1").unwrap();
        self.child.wait().unwrap();
        // One that writes ends when its write does; until then the group is busy.
        let started = Instant::now();
        while let Err(error) = std::fs::remove_dir(&self.group) {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "what was killed has not ended: {error}"
            );
            std::thread::yield_now();
        }
        self.take_dir()
    }

    fn take_dir(mut self) -> tempfile::TempDir {
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) -> tempfile::TempDir {
        run("kill", &["-TERM", &self.pid().to_string()]);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        self.take_dir()
    }

    pub async fn create(
        &self,
        name: &str,
        class: &str,
        size: i64,
    ) -> Result<LogicalVolume, Status> {
        self.create_tagged(name, class, size, &[]).await
    }

    pub async fn create_tagged(
        &self,
        name: &str,
        class: &str,
        size: i64,
        tags: &[&str],
    ) -> Result<LogicalVolume, Status> {
        let request = CreateLvRequest {
            name: name.into(),
            device_class: class.into(),
            size_bytes: size,
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            ..Default::default()
        };
        self.lv()
            .create_lv(request)
            .await
            .map(|r| r.into_inner().volume.unwrap())
    }

    pub async fn remove(&self, name: &str, class: &str) -> Result<(), Status> {
        self.lv()
            .remove_lv(RemoveLvRequest {
                name: name.into(),
                device_class: class.into(),
            })
            .await
            .map(drop)
    }

    pub async fn resize(&self, name: &str, class: &str, size: i64) -> Result<i64, Status> {
        let request = ResizeLvRequest {
            name: name.into(),
            device_class: class.into(),
            size_bytes: size,
        };
        self.lv()
            .resize_lv(request)
            .await
            .map(|r| r.into_inner().size_bytes)
    }

    pub async fn snapshot(
        &self,
        source: &str,
        name: &str,
        access: &str,
        size: i64,
    ) -> Result<LogicalVolume, Status> {
        self.snapshot_in("thin", source, name, access, size, &[])
            .await
    }

    pub async fn snapshot_in(
        &self,
        class: &str,
        source: &str,
        name: &str,
        access: &str,
        size: i64,
        tags: &[&str],
    ) -> Result<LogicalVolume, Status> {
        let request = CreateLvSnapshotRequest {
            name: name.into(),
            source_volume: source.into(),
            device_class: class.into(),
            access_type: access.into(),
            size_bytes: size,
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        };
        self.lv()
            .create_lv_snapshot(request)
            .await
            .map(|r| r.into_inner().snapshot.unwrap())
    }

    pub async fn activate(&self, name: &str, class: &str) -> Result<LogicalVolume, Status> {
        let request = ActivateLvRequest {
            name: name.into(),
            device_class: class.into(),
        };
        ActivationClient::new(self.channel.clone())
            .activate_lv(request)
            .await
            .map(|r| r.into_inner().volume.unwrap())
    }

    pub async fn list(&self, class: &str) -> Result<Vec<LogicalVolume>, Status> {
        self.vg()
            .get_lv_list(GetLvListRequest {
                device_class: class.into(),
            })
            .await
            .map(|r| r.into_inner().volumes)
    }

    pub async fn names(&self, class: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .list(class)
            .await
            .unwrap()
            .into_iter()
            .map(|v| v.name)
            .collect();
        names.sort();
        names
    }

    pub async fn free(&self, class: &str) -> Result<u64, Status> {
        self.vg()
            .get_free_bytes(GetFreeBytesRequest {
                device_class: class.into(),
            })
            .await
            .map(|r| r.into_inner().free_bytes)
    }

    /// A page of the HTTP side door: status code and body.
    pub fn page(&self, path: &str) -> (u32, String) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.metrics_port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let code = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of lvmd\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir(&self.group);
    }
}

pub fn write_config(dir: &Path, config: &str) {
    let socket = dir.join("lvmd.sock");
    let next = dir.join(".lvmd.yaml.next");
    std::fs::write(
        &next,
        format!("socket-name: {}\n{config}", socket.display()),
    )
    .unwrap();
    std::fs::rename(next, dir.join("lvmd.yaml")).unwrap();
}

/// The process ids of a process's children and theirs.
pub fn children(pid: i32) -> Vec<i32> {
    let direct = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|task| {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            text.split_whitespace()
                .filter_map(|p| p.parse().ok())
                .collect::<Vec<i32>>()
        });
    direct
        .flat_map(|child| {
            std::iter::once(child)
                .chain(children(child))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Resident memory in KiB.
pub fn rss(pid: i32) -> u64 {
    kib(pid, "VmRSS:")
}

/// What a process has made itself of its resident memory, in KiB: without the pages of its program and libraries, which
/// become resident when their code is first run and can be dropped.
pub fn anonymous(pid: i32) -> u64 {
    kib(pid, "RssAnon:")
}

fn kib(pid: i32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .find_map(|l| l.strip_prefix(field))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// How many descriptors are open.
pub fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

pub fn kill9(pid: i32) {
    output("kill", &["-9", &pid.to_string()]);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The code an operation was refused with.
pub fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("it must be refused").code()
}

/// Waits until `holds`, at most 30 s.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "after 30 s still not: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for the node of a volume and gives it.
pub fn node(lv: &LogicalVolume) -> PathBuf {
    let path = PathBuf::from(format!("/dev/dm-{}", lv.dev_minor));
    assert!(path.exists(), "{} of {lv:?}", path.display());
    path
}
